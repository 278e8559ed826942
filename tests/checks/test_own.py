"""Checks from outside: registered, listed, run, judged; the page of the documentation is what runs here."""

import json
import re
from importlib import metadata
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import bench
import reports
from bench import plugins, suites
from bench.checks import CHECKS, own
from bench.checks.own_run import run_block
from bench.cli import app
from bench.protocols import get
from models.adapters import from_tensor
from models.naming import UsageError

PAGE = Path(__file__).parents[2] / "docs/howto/check.md"


@pytest.fixture(autouse=True)
def as_before():
    """What a test registers is gone after it."""
    kept = dict(CHECKS), dict(own._OWN), set(plugins._registered)
    yield
    for now, before in zip((CHECKS, own._OWN), kept, strict=False):
        now.clear()
        now.update(before)
    plugins._registered.clear()
    plugins._registered.update(kept[2])


@pytest.fixture
def mirror(tmp_path):
    file = tmp_path / "my_check.py"
    file.write_text(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    return str(file)


def verdicts(run):
    return run.verdicts().set_index("explainer")


def test_the_check_of_the_page_runs_and_judges(mirror, tmp_path):
    """An edge filter follows the mirror exactly, noise not at all, and a constant map has no correlation."""
    done = bench.run(
        suite="mirror", plugin=mirror, explainers="edge-detector", images=3, seeds=1, jobs=1, out=tmp_path / "r"
    )
    assert done.complete and not done.failed
    table = verdicts(done)
    assert table.verdict["edge-detector"] == "PASS" and table.estimate["edge-detector"] == pytest.approx(1, abs=1e-4)
    assert table.verdict["random"] == "FAIL" and abs(table.estimate["random"]) < 0.2
    assert table.verdict["constant"] == "UNDEFINED"
    assert set(table.expected) == {3} and table.n["random"] == 3
    frame = reports.load(done.path)
    assert set(frame.status[frame.explainer == "constant"]) == {"degenerate-constant"}
    declared = json.loads((done.path / "measures.json").read_text())["mirror"]
    assert declared["limit"] == 0.9 and declared["origin"] == "my_check.py:mirror" and declared["unit"] == "correlation"
    assert reports.write_report(done.path)[0].exists()
    again = bench.run(
        suite="mirror", plugin=mirror, explainers="edge-detector", images=3, seeds=1, jobs=1, out=tmp_path / "r"
    )
    assert again.computed == 0


def test_it_is_listed_with_where_it_came_from(mirror):
    shown = CliRunner().invoke(app, ["list", "checks", "--plugin", mirror, "--json"])
    card = next(card for card in json.loads(shown.output) if card["name"] == "mirror")
    assert card["origin"] == "my_check.py:mirror" and card["status"] == "available" and card["suite"] == "mirror"
    assert all(
        card["origin"] == "built-in" for card in json.loads(shown.output) if card["name"] in ("cascading", "floor")
    )


def subject():
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return from_tensor(model, images)


def answers(function, explainer="edge-detector", **options):
    """Rows or error of one block of four images."""
    import explainers

    bench.register_check("asked", **options)(function)
    (found,) = run_block(
        subject(),
        [explainers.get(explainer)],
        range(4),
        0,
        protocol=get("recommended"),
        wanted={("asked", explainer)},
        base=0,
    )
    return found


def test_values_statuses_and_targets_come_out_as_given():
    found = answers(lambda subject, explain, images, targets, *, seed: [0.5, float("nan"), 2, -1])
    assert [(row["value"], row["status"]) for row in found.rows] == [
        (0.5, "ok"), (None, "non-finite"), (2.0, "ok"), (-1.0, "ok"),
    ]  # fmt: skip
    assert [row["target"] for row in found.rows] == subject().predict(subject().data.load(range(4))).tolist()
    assert {row["suite"] for row in found.rows} == {"asked"} and not found.error


def test_maps_are_those_of_the_explainer():
    import explainers

    found = answers(lambda s, explain, images, targets, *, seed: explain(images, targets).sum((1, 2)), "gradient")
    made = explainers.get("gradient").explain(subject(), subject().data.load(range(4))).map("signed").sum((1, 2))
    torch.testing.assert_close(torch.tensor([row["value"] for row in found.rows]), made, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda s, explain, images, targets, *, seed: images, "one number per image is expected"),
        (lambda s, explain, images, targets, *, seed: images.sum((1, 2, 3)) * 0 + 7, "outside of its declared range"),
        (lambda s, explain, images, targets, *, seed: 1 / 0, "division by zero"),
        (lambda s, explain, images, targets, *, seed: images.zero_().sum((1, 2, 3)), "the images"),
        (lambda s, explain, images, targets, *, seed: s.model[1].weight.data.zero_()[0, 0].expand(4), "the model"),
    ],
)
def test_what_goes_wrong_in_a_check_is_a_recorded_failure(function, words):
    found = answers(function, low=-1, high=1)
    assert not found.rows and words in found.error["message"]


def test_without_a_limit_there_is_no_verdict_and_the_mean_is_shown(tmp_path):
    @bench.register_check("brightness")
    def brightness(subject, explain, images, targets, *, seed):
        return images.mean((1, 2, 3))

    done = bench.run(suite="brightness", explainers="input", images=3, seeds=1, out=tmp_path / "r")
    row = verdicts(done).loc["input"]
    assert row.verdict == "N/A" and "no limit" in row.reason and 0 < row.ci_low <= row.estimate <= row.ci_high < 1


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("cascading", {}, "is taken"),
        ("ssim", {}, "is taken"),
        ("smoke", {}, "is taken"),
        ("all", {}, "is taken"),
        ("a b", {}, "letters, digits"),
        ("good", {"direction": "up"}, "higher, lower"),
        ("good", {"limit": 1.0}, "needs a direction"),
    ],
)
def test_declarations_that_cannot_be_are_refused(name, options, words):
    with pytest.raises(UsageError, match=words):
        bench.register_check(name, **options)(lambda *given, seed: None)
    assert "good" not in suites.names()


def test_versions_are_different_cells(tmp_path):
    from bench.config import resolve
    from bench.runner import prepare

    keys = []
    for version in (1, 2):
        bench.register_check("versioned", version=version)(as_asked)
        made = prepare(resolve({"suite": "versioned", "explainers": "input", "images": 2, "out": str(tmp_path / "r")}))
        keys.append(set(made.plan.keys))
        assert made.jobs == 1  # other processes do not know it
    assert not keys[0] & keys[1]


def as_asked(subject, explain, images, targets, *, seed):
    return explain(images, targets).mean((1, 2))


def test_an_installed_check_is_shown_without_running_it_and_loaded_when_named(tmp_path, monkeypatch, mirror):
    module = tmp_path / "package_with_a_check.py"
    module.write_text(Path(mirror).read_text().replace('"mirror"', '"installed-mirror"'))
    monkeypatch.syspath_prepend(tmp_path)
    point = metadata.EntryPoint("installed-mirror", "package_with_a_check", "sanity_bench.checks")
    found = metadata.entry_points
    monkeypatch.setattr(
        plugins.metadata, "entry_points",
        lambda *, group: [point] if group == "sanity_bench.checks" else found(group=group),
    )  # fmt: skip
    shown = CliRunner().invoke(app, ["list", "checks", "--json"])
    card = next(card for card in json.loads(shown.output) if card["name"] == "installed-mirror")
    assert card["status"] == "installed" and "installed-mirror" not in own.names()
    with pytest.raises(UsageError, match="unknown suite 'no-such-suite'"):
        bench.run(suite="no-such-suite")
    assert "installed-mirror" not in own.names()
    done = bench.run(suite="installed-mirror", explainers="input", images=2, seeds=1, jobs=1, out=tmp_path / "r")
    assert done.complete and verdicts(done).verdict["input"] == "PASS"


def test_a_broken_file_is_named_where_its_suite_is_wanted(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(UsageError, match="do not import: .*broken.py .*ZeroDivisionError"):
        bench.run(suite="mine", plugin=str(tmp_path / "broken.py"))
