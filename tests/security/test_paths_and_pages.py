"""Names that users choose: they never lead a file out of the run or report folder, and never become part of a page."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import bench
import reports
from reports import compare_output, leaderboard_output, schema
from reports.store import Store
from tests.harness.support import MODEL, TOY

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PWN = "document.documentElement.dataset.pwned=1"
NAMES = [
    "../../../../tmp/escaped",
    "/etc/escaped",
    "..",
    ".",
    "a/../../b",
    "..\\..\\b",
    "C:\\escaped",
    "~/escaped",
    "$(touch escaped)",
    "`touch escaped`",
    "; touch escaped",
    "x" * 500,
    "%2e%2e%2fescaped",
    "con",
    "new\nline",
    "-rf",
    "{{ 7*7 }}",
    "{% raw %}",
    "$\\frac{",
    f"<script>{PWN}</script>",
    f'"><img src=x onerror={PWN}>',
    f"</style><script>{PWN}</script>",
    f"javascript:{PWN}",
    f"</script><script>{PWN}</script>",
    f"'-{PWN}-'",
    f"<svg onload={PWN}>",
    "<!--",
    "&lt;b&gt;",
    "|a|b|",
]


class Page(HTMLParser):
    """Collects what could run or load something, and the words."""

    def __init__(self, html):
        super().__init__()
        self.scripts, self.events, self.links, self.words = 0, [], [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        for name, value in attrs:
            if name.startswith("on"):
                self.events.append(name)
            if name in ("src", "href", "srcset", "action", "formaction"):
                self.links.append(value or "")

    def handle_data(self, data):
        self.words += data


def tree(folder):
    """Every file below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def hostile_run(path, name):
    """A run in which one name stands everywhere where a user has a say."""
    store = Store.create(
        path, {"data": name}, {"name": name, "hash": "0", "parameters": {name: name}}, {}, {name: {"group": name}}
    )
    cells = []
    for number, check in enumerate(("cascading", "ceiling", "floor")):
        key = f"{number:064x}"
        common = {"suite": "randomization", "check": check, "subject": name, "explainer": name, "seed": 0}
        cells.append({"key": key, **common, "images": [name], "rows": None})
        stages = (0, 1) if check == "cascading" else (0,) if check == "ceiling" else (1,)
        rows = [
            {
                **{**dict.fromkeys(schema.COLUMNS), **common, "stage": stage, "layer": name if stage else None},
                **{
                    "image": name,
                    "target": 0,
                    "measure": "ssim",
                    "value": 0.5,
                    "status": "ok",
                    "seconds": 0.1,
                    "cell": key,
                },
            }
            for stage in stages
        ]
        store.write_records(key, rows)
    failed = {"key": "f" * 64, **common, "explainer": name + "!", "images": [name], "rows": None}
    store.write_plan([*cells, failed])
    store.write_failure("f" * 64, {"type": name, "message": name, "traceback": name})
    arrays = {"maps": np.ones((1, 2, 8, 8)), "images": np.ones((1, 1, 8, 8))}
    meta = {
        "subject": name,
        "explainer": name,
        "check": "cascading",
        "seed": 0,
        "signed": True,
        "images": [name],
        "layers": [name],
    }
    store.write_picture("0" * 64, arrays, {**meta, "classes": [name], "targets": [0]})
    store.write_provenance("here", {name: name})
    return path


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """The page of a run with harmless names."""
    return Page(reports.write_report(hostile_run(tmp_path_factory.mktemp("clean") / "run", "name"))[0].read_text())


def some(names):
    """A few of the names for every day, all of them for the long test."""
    quick = names[::6]
    return [
        pytest.param(name, marks=() if name in quick else pytest.mark.slow, id=str(place))
        for place, name in enumerate(names)
    ]


@pytest.mark.parametrize("name", some(NAMES))
def test_a_hostile_name_stays_a_word_on_the_page_and_no_file_leaves_the_folder(name, clean, tmp_path, monkeypatch):
    place = tmp_path / "a" / "b" / "c"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    hostile_run(place / "run", name)
    before = tree(tmp_path)
    written = reports.write_report(place / "run", place / "out")
    new = tree(tmp_path) - before
    assert all(path == "a/b/c/out" or path.startswith("a/b/c/out/") for path in new), new
    assert all(path.resolve().is_relative_to((place / "out").resolve()) for path in written)
    page = Page(written[0].read_text())
    assert page.scripts == clean.scripts and page.events == clean.events
    assert all(re.match(r"#|data:image/", link) for link in page.links), page.links
    assert " ".join(name.split())[:60] in " ".join(page.words.split())
    # A table in Markdown keeps its columns.
    lines = (place / "out" / "verdicts.md").read_text().splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.strip()}) == 1


def dumped(page, profile):
    """A page after a browser has run it, as HTML."""
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
        "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=1500",
        f"--user-data-dir={profile}", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every page that comes from records, made of two runs in which hostile names stand wherever a user has a say."""
    name = "".join(NAMES[-10:])
    place = tmp_path_factory.mktemp("pages") / NAMES[-4]
    one, other = hostile_run(place / "one", name), hostile_run(place / f"other {NAMES[-4]}", name)
    changed = Store.open(other)
    # In the second run the cascade failed, for a hostile reason.
    key = next(cell["key"] for cell in changed.plan() if cell["check"] == "cascading")
    changed.write_failure(key, {"type": name, "message": name, "traceback": name})
    (other / "records" / key[:2] / f"{key}.parquet").unlink()
    made = {
        "report": reports.write_report(one)[0].read_text(),
        "compare": compare_output.to_page(reports.compare_runs(one, other)),
        "leaderboard": leaderboard_output.to_page(reports.rank_explainers([one], resamples=20)),
    }
    for kind, text in made.items():
        (place / f"{kind}.html").write_text(text)
    return place


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("kind", ["report", "compare", "leaderboard"])
def test_no_name_runs_in_a_browser(kind, pages, tmp_path):
    found = dumped(pages / f"{kind}.html", tmp_path / "profile")
    assert "data-pwned" not in found and "&lt;svg onload" in found


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_the_browser_does_notice_a_name_that_was_not_escaped(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(f"<html><body><script>{PWN}</script></body></html>")
    assert "data-pwned" in dumped(bad, tmp_path / "profile")


def test_classes_and_files_with_hostile_names_go_through_a_whole_run(tmp_path, monkeypatch):
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    folder = place / "pictures"
    for number, name in enumerate((f"<script>{PWN}<", "..x", "$(touch escaped)")):
        (folder / name).mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32), np.uint8)
        Image.fromarray(pixels).save(folder / name / f"{name[:9]}'\">;{number}.png")
    options = {
        "suite": "smoke",
        "model": MODEL,
        "plugin": TOY,
        "explainers": "toy-gradient",
        "seeds": 1,
        "jobs": 1,
        "quiet": True,
    }
    done = bench.run(**options, data=str(folder), images=3, out=place / "run")
    before = tree(tmp_path)
    page = Page(reports.write_report(done.path)[0].read_text())
    assert done.complete and page.events == []
    assert all(path.startswith("a/b/run/report") for path in tree(tmp_path) - before)
    assert f"<script>{PWN}<" in page.words


@pytest.mark.parametrize("name", some(NAMES))
def test_a_hostile_explainer_or_model_is_refused_or_stays_in_the_folder(name, tmp_path, monkeypatch):
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    from bench.config import Config
    from models.naming import UsageError

    folder = Config(("smoke",), model=(name,)).folder()
    assert (place / folder).resolve().parent == place / "runs" and len(folder.name) < 200
    with pytest.raises(UsageError):
        bench.run(suite="smoke", model=MODEL, plugin=TOY, explainers=name, images=1, seeds=1, jobs=1, out=place / "run")
    assert tree(tmp_path) <= {"a", "a/b"}


def test_plugins_are_listed_where_the_results_come_from(tmp_path):
    done = bench.run(
        suite="smoke", model=MODEL, plugin=TOY, explainers="toy-gradient", images=1, seeds=1, jobs=1, out=tmp_path / "a"
    )
    found = [record for name, record in Store.open(done.path).provenance().items() if not name.startswith("run-")]
    assert found and all([plugin["origin"] for plugin in record["plugins"]] == [TOY] for record in found)


def test_nothing_in_a_run_folder_is_a_pickle(tmp_path):
    done = bench.run(
        suite="smoke", model=MODEL, plugin=TOY, explainers="toy-gradient", images=1, seeds=1, jobs=1, out=tmp_path / "a"
    )
    Store.open(done.path).compact(least=1)
    for path in done.path.rglob("*"):
        if path.is_file():
            head = path.read_bytes()[:8]
            assert path.suffix in (".json", ".parquet", ".npz", ".html", ".md", ".csv", ".png") and head[:1] != b"\x80"
            if path.suffix == ".npz":
                with np.load(path, allow_pickle=False) as arrays:
                    assert all(arrays[name].dtype.kind in "biuf" for name in arrays.files)
    assert isinstance(pd.read_parquet(next(done.path.glob("packs/*"))), pd.DataFrame)
    assert json.loads((done.path / "plan.json").read_text())["schema"] == schema.SCHEMA_VERSION
