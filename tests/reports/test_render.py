"""The report: complete, self-contained, safe against what users write, and readable in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

import reports
from reports.files import RunFolderError

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.events: list[str] = []
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data"):
                self.links.append(value or "")
            if name.startswith("on"):
                self.events.append(name)

    def handle_data(self, data):
        self.words += data


def add_pictures(store, names):
    rng = np.random.default_rng(0)
    for name in names:
        arrays = {"maps": rng.normal(size=(2, 6, 28, 28)), "images": rng.random((2, 1, 28, 28))}
        meta = {
            "subject": synthetic.SUBJECT,
            "explainer": name,
            "check": "cascading",
            "seed": 0,
            "signed": True,
        }
        images = [synthetic.image_name(number) for number in range(2)]
        key = synthetic.key_of(name, "cascading", 0, synthetic.SUITE)
        store.write_picture(key, arrays, {**meta, "images": images, "layers": list(synthetic.LAYERS)})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "a"
    store = synthetic.build(path, images=6, seeds=4)
    add_pictures(store, ["sensitive", "guided"])
    return reports.write_report(path)


@pytest.fixture(scope="module")
def page(written):
    return Page(written[0].read_text())


def test_all_files_are_written_and_the_page_is_first(written):
    folder = written[0].parent
    assert folder.name == "report" and all(path.stat().st_size > 0 for path in written)
    names = {str(path.relative_to(folder)) for path in written}
    assert written[0].name == "index.html"
    assert {"verdicts.md", "verdicts.csv", "similarity.csv", "thesis.csv", "health.csv"} <= names
    pngs = {name for name in names if name.startswith("figures/")}
    assert len(pngs) == 1 + 2 + 4 + 1 and all(name.endswith(".png") for name in pngs)
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == names


def test_tables_on_the_disk_are_the_tables_of_python(written):
    run = written[0].parent.parent
    stored = pd.read_csv(written[0].parent / "verdicts.csv", keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(stored, reports.verdicts(reports.load(run)))


def test_the_page_needs_no_network(page):
    outside = [link for link in page.links if not link.startswith(("data:image/", "#"))]
    assert outside == [] and "link" not in page.tags and "iframe" not in page.tags
    assert page.tags.count("script") == 1 and page.events == []


def test_the_page_tells_everything(page):
    for word in (
        *synthetic.EXPECTED,
        *set(synthetic.EXPECTED.values()),
        "recommended",
        "ab" * 32,
        "recalibrate",
        "c0ffee",
        "no rule for <b>aten::cumsum</b>",
        "This run is not complete.",
        "fails what stays at 1",
        "structural similarity, Gaussian window",
        "1 passes, 1 fails, 1 is inconclusive and 1 is undefined.",
        "no values of failing because every attempt failed",
        "Beside them stand 4 reference explainers",
    ):
        assert word in page.words, word


def test_names_of_users_cannot_run_or_break_anything(tmp_path):
    store = synthetic.build(tmp_path / "run", ("sensitive", EVIL), images=3, seeds=3)
    store.write_failure(
        synthetic.key_of("other"),
        {"type": EVIL, "message": EVIL, "traceback": EVIL, "explainer": EVIL, "check": EVIL},
    )
    store.write_provenance("worker-1", {EVIL: {EVIL: [EVIL, {EVIL: EVIL}]}})
    add_pictures(store, [EVIL])
    written = reports.write_report(store.path, tmp_path / "out")
    page = Page(written[0].read_text())
    assert page.tags.count("script") == 1 and page.events == [] and "x" not in page.links
    assert EVIL in page.words
    assert "<script>" not in (tmp_path / "out" / "verdicts.md").read_text()
    assert all(path.is_relative_to(tmp_path / "out") for path in written)


def test_names_that_look_like_paths_stay_inside(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "SUBJECT", "../../../models/net.py:make")
    store = synthetic.build(tmp_path / "run", ("sensitive",), images=2, seeds=2)
    written = reports.write_report(store.path, tmp_path / "out")
    assert {path.parent for path in written} == {tmp_path / "out", tmp_path / "out" / "figures"}
    assert len(set(written)) == len(written)


def test_a_run_without_records_has_a_page(tmp_path):
    store = reports.Store.create(tmp_path / "run", {"images": 1}, {"name": "p", "hash": "h"}, {}, {})
    written = reports.write_report(store.path)
    assert "holds no values of a randomisation check yet" in written[0].read_text()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match="not a run folder"):
        reports.write_report(tmp_path)
    (tmp_path / "file").write_text("x")
    synthetic.build(tmp_path / "run", ("sensitive",), images=2, seeds=2)
    with pytest.raises(RunFolderError, match="is a file and not a folder"):
        reports.write_report(tmp_path / "run", tmp_path / "file" / "out")


def test_the_report_can_be_written_again(written):
    again = reports.write_report(written[0].parent.parent)
    assert again == written
    assert not list(written[0].parent.rglob("*.tmp"))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("size", ["1280,900", "390,900"])
def test_a_browser_shows_the_page_and_its_script_runs(written, tmp_path, size):
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={size}", "--dump-dom", f"file://{written[0]}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert len(re.findall("<th data-key[^>]*><button>", done.stdout)) == 6 + 6
    assert "Refused to" not in done.stderr and "SyntaxError" not in done.stderr
    assert Path(written[0]).read_text().count("<tr") == done.stdout.count("<tr")
