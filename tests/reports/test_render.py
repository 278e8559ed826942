"""The report: complete, self-contained, safe against what users write, and readable in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import synthetic

import reports
from reports import answers, files
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
        self.ids: set[str] = set()
        self.words = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data"):
                self.links.append(value or "")
            if name == "id":
                self.ids.add(value)
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
    costs = {"sensitive": 1.0, "guided": 3.0, "borderline": 25.0, "failing": 3.0}
    cards = {name: {**card, "cost": costs.get(name, 0.0)} for name, card in store.explainers.items()}
    files.write_json(path / "explainers.json", cards)
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
    pd.testing.assert_frame_equal(reports.verdicts(reports.load(run)), stored)


def test_the_page_needs_no_network(page):
    outside = [link for link in page.links if not link.startswith(("data:image/", "#"))]
    assert outside == [] and "link" not in page.tags and "iframe" not in page.tags
    assert page.tags.count("script") == 1 and page.events == []
    addresses = [link[1:] for link in page.links if link.startswith("#")]
    assert addresses and set(addresses) <= page.ids, "every link leads somewhere"


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
    assert "holds no values of a check yet" in written[0].read_text()


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


def test_the_page_answers_what_people_ask(page):
    """Which explainers may I use, how sure is that, what did it cost, what failed: from the text alone."""
    said = " ".join(page.words.split())
    for question, answer in {
        "Which explainers may I use on toy-vgg?": "sensitive passes every gate that was run (randomisation). "
        "Do not use guided: it fails a gate. Not decided: borderline (INCONCLUSIVE) and failing (UNDEFINED).",
        "How sure is that on toy-vgg?": "rests on 0 to 24 values. Of those that pass, sensitive is the closest to its limit",
        # Cells of 0.01 s: half of them with 36 explanations (6 images at 6 stages), half of them with 6.
        "What did it cost?": "One explanation takes from 1 (sensitive) to 25 (borderline) forward and backward passes of the "
        "model. In this run one explanation took 1.0 ms with the slowest explainer (borderline) and 1.0 ms with the median "
        "one; passes that several explainers share are counted for the one that came first.",
        "What failed?": "failing: 16 cells (cascading, ceiling, floor, independent): UnsupportedOperation",
    }.items():
        assert question in said and answer in said, question
    assert said.index("Which explainers") < said.index("Verdicts at a glance") < said.rindex("Provenance")


def test_what_it_cost_is_answered_for_explainers_of_ones_own():
    cards = {"slow": {"cost": 50.0}, "quick": {"cost": 1.0}, "plain": {"cost": 2.0}, "noise": {"group": "reference"}}
    seconds = {"slow": [3.0, 90.0, 4.5], "quick": [0.002], "plain": [0.25, 0.35], "noise": [700.0], "(model)": [9.0]}
    alone = {"only": {"cost": 20.0}, "other": {"cost": 20.0}}
    empty = pd.DataFrame({name: [] for name in ("subject", "explainer", "suite", "check", "verdict")})
    told = dict(answers.answers(empty, cards, seconds, [], {"missing": 0, "damaged": []}))
    passes, times = told["What did it cost?"]
    assert passes == "One explanation takes from 1 (quick) to 50 (slow) forward and backward passes of the model."
    same = dict(answers.answers(empty, alone, {name: [1.0] for name in alone}, [], {"missing": 0, "damaged": []}))
    assert same["What did it cost?"][0] == "One explanation takes 20 (only) forward and backward passes of the model."
    assert times.startswith(
        "In this run one explanation took 4.5 s with the slowest explainer (slow) and 300 ms with the"
    )
    assert dict(answers.answers(empty, {}, {}, [], {"missing": 0, "damaged": []}))["What did it cost?"] == [
        "No times were recorded."
    ]


def test_every_verdict_leads_to_its_evidence(written, page):
    rows = pd.read_csv(written[0].parent / "verdicts.csv")
    assert {f"e{number}" for number in range(1, len(rows) + 1)} <= page.ids
    html = written[0].read_text()
    for number, row in enumerate(rows.to_dict("records"), 1):
        cell = re.search(f'<a class="cell" href="#e{number}" data-said="([^"]*)"', html)
        assert cell and f"{row['explainer']}, {row['check']}: {row['verdict']}" in cell[1]
        assert f'<tr id="e{number}"><td>{row["subject"]}</td><td><a href="#s1">' in html


def test_other_suites_have_a_section_with_their_figures(tmp_path, monkeypatch):
    """A suite brings its verdicts and its figures along; the page knows nothing else about it."""
    import sys
    import types

    from reports import sections, verdict

    table = pd.DataFrame(
        [(synthetic.SUBJECT, "sensitive", "toy-suite", "toy-check", 3, 4, 0.5, 0.4, 0.6, "PASS", "toy reason")],
        columns=list(verdict.COLUMNS),
    )

    def draw(frame, store, gallery):
        from matplotlib.figure import Figure

        assert set(frame["suite"]) == {"toy-suite"}
        return [gallery.add("toy", "A toy figure", "how to read it", Figure())]

    fake = types.SimpleNamespace(judge=lambda frame: table, sections=draw, __spec__=object())
    monkeypatch.setitem(sys.modules, "toy_module", fake)
    monkeypatch.setitem(verdict.JUDGES, "toy-suite", "toy_module")
    monkeypatch.setitem(sections.FIGURES, "toy-suite", "toy_module")
    store = synthetic.build(tmp_path / "run", ("sensitive",), images=3, seeds=3)
    row = {**synthetic.base_row("sensitive", "toy-check", 0, "toy-suite"), "measure": "toy", "value": 0.5, "image": "i"}
    store.write_records(synthetic.key_of("toy"), [{**row, "cell": synthetic.key_of("toy")}])
    page = Page(reports.write_report(store.path)[0].read_text())
    for word in ("toy-suite", "toy-check: 1 passes.", "A toy figure", "how to read it", "toy reason"):
        assert word in page.words, word


@pytest.mark.slow
def test_perturbation_has_ranks_and_costs(tmp_path):
    """Cost against faithfulness, and which explainers can be told apart."""
    import test_leaderboard

    names = test_leaderboard.NAMES
    path = test_leaderboard.scored(tmp_path / "run", "perturbation-mean", "abpc").path
    store = reports.Store.open(path)
    for name in names:
        key = synthetic.key_of(name, "perturbation-mean", "pixel-perturbation")
        rows = store.records([key])
        store.write_records(key, pd.concat([rows, rows.assign(measure="abpc-random", value=0.0)], ignore_index=True))
    written = reports.write_report(path)
    page = Page(written[0].read_text())
    assert "Cost against faithfulness on toy-vgg" in page.words and "Which explainers can be told apart" in page.words


@pytest.mark.slow
def test_a_multiverse_is_shown_where_maps_were_kept(tmp_path):
    import test_multiverse

    store = test_multiverse.planted(tmp_path / "run")
    written = reports.write_report(store.path)
    page = Page(written[0].read_text())
    assert "Multiverse" in page.words and "of 105" in page.words
    assert {"multiverse.csv", "universes.csv"} <= {path.name for path in written}


DRIVER = r"""<script>
const lines = [], say = (name, value) => lines.push(name + "=" + value);
addEventListener("error", (event) => say("error", event.message));
const rows = () => [...document.querySelectorAll("#matrix tbody tr")].filter((row) => !row.hidden).map((row) => row.dataset.name);
const put = (id, value) => { const at = document.getElementById(id); at.value = value; at.dispatchEvent(new Event("input")); };
const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
say("all", rows().length);
const head = document.querySelector("#matrix-1 thead tr:last-child th:nth-child(2) button");
head.click(); say("up", rows()[0]); head.click(); say("down", rows()[rows().length - 1]);
put("filter-name", "SENS"); say("named", rows().join()); put("filter-name", "");
put("filter-verdict", "FAIL"); say("failing", rows().sort().join()); put("filter-verdict", "");
const box = document.getElementById("filter-reference"); box.click(); say("own", rows().length); box.click();
document.querySelector('tr[data-name=guided] a.cell').focus();
say("told", document.getElementById("detail").textContent.slice(0, 23));
press("ArrowRight"); say("right", document.activeElement.dataset.said.split(":")[0]);
location.hash = document.activeElement.getAttribute("href");
setTimeout(() => {
  say("open", document.querySelector(location.hash).closest("details").open);
  say("requests", performance.getEntriesByType("resource").filter((entry) => !entry.name.startsWith("data:")).length);
  const out = document.createElement("pre"); out.id = "driven"; out.textContent = lines.join("\n"); document.body.append(out);
}, 50);
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("size", ["1280,900", "390,900"])
def test_a_browser_sorts_filters_and_asks_nobody(written, tmp_path, size):
    driven = tmp_path / "driven.html"
    driven.write_text(written[0].read_text().replace("</body>", DRIVER + "</body>"))
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        "--virtual-time-budget=2000", f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={size}", "--dump-dom",
        f"file://{driven}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    assert "CONSOLE" not in done.stderr and "Refused to" not in done.stderr and "SyntaxError" not in done.stderr
    told = dict(
        line.split("=", 1) for line in done.stdout.partition('<pre id="driven">')[2].partition("<")[0].splitlines()
    )
    # Sorted by the verdict of the output layer: a pass stands first going up, an undefined one last.
    assert (
        told["all"] == "8"
        and told["up"] in ("sensitive", "random-by-model")
        and told["down"] in told["up"] + "sensitive"
    )
    assert told["named"] == "sensitive" and told["failing"] == "edge-detector,guided" and told["own"] == "4"
    assert told["told"] == "guided, cascading: FAIL" and told["right"] == "guided, cascading-all"
    assert told["open"] == "true" and told["requests"] == "0" and "error" not in told
    shown = len(re.findall("<th data-key[^>]*><button>", done.stdout))
    assert shown == written[0].read_text().count("<th data-key"), "every sortable column has its button"
