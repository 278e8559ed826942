"""The regression gate: clean where nothing changed, red where something was broken, silent about chance."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import synthetic
from typer.testing import CliRunner

import reports
from reports import compare_output, schema, stats
from reports.comparable import Obstacles, obstacles
from reports.compare import compare_values, compare_verdicts
from reports.files import RunFolderError
from reports.thresholds import Thresholds, read_thresholds

NAMES = ("edge-detector", "guided", "sensitive", "random-by-model")
MEASURES = {name: {"direction": "lower", "range": [-1, 1]} for name in synthetic.MEASURES}
EVIL = "<script>alert('x')</script>|\x0b&\"]]>"


def build(path, images=5, seeds=4, names=NAMES, planted=None, protocol=None, **info):
    """A run folder whose explainers behave as planted."""
    known = dict(synthetic.PLANTED)
    synthetic.PLANTED.update(planted or {})
    try:
        store = synthetic.build(path, names, images, seeds)
    finally:
        synthetic.PLANTED.clear()
        synthetic.PLANTED.update(known)
    if protocol:
        rewrite(path, "protocol.json", protocol)
    measures = {**store.measures, **MEASURES}
    rewrite(path, "measures.json", measures)
    if info:
        store.write_provenance("worker-9", info)
    return path


def rewrite(path, name, content):
    from reports import files

    known = files.read_json(path / name)
    files.write_json(path / name, {**known, **content})


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return build(tmp_path_factory.mktemp("runs") / "base")


def outcomes(found, **where):
    rows = found.rows
    for name, value in where.items():
        rows = rows[rows[name] == value]
    return set(rows["outcome"])


def test_a_run_compared_with_itself_is_the_same(base, tmp_path):
    found = reports.compare_runs(base, build(tmp_path / "again"))
    assert outcomes(found) == {"same"} and set(found.verdicts["outcome"]) == {"same"} and found.exit_code == 0
    # ssim and spearman of 4 explainers under 4 checks, four measures of two health checks
    assert len(found.rows) == 2 * 4 * 4 + 4 * 2
    assert found.notes == []
    assert "No regression" in compare_output.to_text(found)


def test_a_broken_explainer_is_a_regression(base, tmp_path):
    found = reports.compare_runs(base, build(tmp_path / "b", planted={"sensitive": (0.98, 0.01, 1.0, 0.05)}))
    assert found.exit_code == 1
    assert outcomes(found, explainer="sensitive", check="cascading", measure="ssim") == {"worse"}
    turned = found.verdicts[found.verdicts["outcome"] == "worse"]
    assert set(turned["explainer"]) == {"sensitive"} and set(turned["current"]) == {"FAIL"}
    assert outcomes(found, explainer="guided") == {"same"}
    other = reports.compare_runs(tmp_path / "b", base)
    assert other.exit_code == 0 and other.count("better") > 0 and other.count("worse") == 0


def test_a_changed_layer_is_found_where_it_is(base, tmp_path):
    """One layer of `independent` becomes invisible: similarity 1 at one stage and nowhere else."""
    path = build(tmp_path / "b")
    store = reports.Store.open(path)
    for seed in range(4):
        key = synthetic.key_of("sensitive", "independent", seed, synthetic.SUITE)
        rows = store.records([key])
        store.write_records(key, rows.assign(value=rows["value"].mask(rows["stage"] == 3, 0.999)))
    found = reports.compare_runs(base, path)
    row = found.rows[(found.rows["explainer"] == "sensitive") & (found.rows["check"] == "independent")].iloc[0]
    assert (row["outcome"], row["stage"], row["layer"]) == ("worse", 3, "fc1") and found.exit_code == 1
    assert "not reproducible" in row["reason"], "the cells have the same keys"


def test_a_shifted_threshold_turns_verdicts_and_is_a_regression(base, tmp_path):
    changed = {"hash": "cd" * 32, "parameters": {"init": "he", "batchnorm": "recalibrate", "threshold": 0.9}}
    found = reports.compare_runs(base, build(tmp_path / "b", protocol=changed))
    assert outcomes(found) == {"not-comparable"} and "threshold unknown, now 0.9" in found.rows["reason"].iloc[0]
    turned = found.verdicts[found.verdicts["outcome"] == "worse"]
    assert set(turned["explainer"]) == {"sensitive"} and found.exit_code == 1


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("protocol.json", {"hash": "cd" * 32}),
        ("config.json", {"precision": "float64"}),
        ("explainers.json", {name: {"version": 2, "signed": True} for name in NAMES}),
        ("measures.json", {"ssim": {**MEASURES["ssim"], "versions": dict.fromkeys(synthetic.CHECKS, 2)}}),
    ],
)
def test_what_means_something_else_is_not_compared(tmp_path, kind, change):
    old, new = build(tmp_path / "a"), build(tmp_path / "b", planted={"guided": (0.3, 0.0, 1.0, 0.1)})
    if kind == "measures.json":
        rewrite(old, kind, {"ssim": {**MEASURES["ssim"], "versions": dict.fromkeys(synthetic.CHECKS, 1)}})
    if kind == "config.json":
        rewrite(old, kind, {"precision": "float32"})
    rewrite(new, kind, change)
    found = reports.compare_runs(old, new)
    rows = found.rows[found.rows["explainer"] == "guided"]
    assert set(rows["outcome"]) == {"not-comparable"} and found.exit_code == 4


def test_other_data_and_devices_are_not_compared_but_other_weights_are(tmp_path):
    def run(name, device="cpu", **subject):
        identity = {"name": "toy-vgg", "weights": "aa", "data": "fashion-mnist/test", **subject}
        return build(tmp_path / name, 4, 3, numerics={"device": device}, subjects={"toy-vgg": identity})

    base = run("a")
    assert reports.compare_runs(base, run("b", data="mnist")).exit_code == 4
    assert reports.compare_runs(base, run("c", device="cuda:1")).exit_code == 4
    found = reports.compare_runs(base, run("d", weights="bb"))
    assert found.exit_code == 0 and found.notes == ["toy-vgg: other weights than in the baseline"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"matmul": "high"}, "the precision of matrix products differs (highest, now high)"),
        ({"tf32": [True, False]}, "the use of TF32 differs (nowhere, now matrix products)"),
        ({"tf32": [False, True]}, "the use of TF32 differs (nowhere, now convolutions)"),
    ],
)
def test_shortened_products_are_other_numerics(tmp_path, change, reason):
    full = {"device": "cuda:0", "matmul": "highest", "tf32": [False, False]}
    base, same, other = (
        build(tmp_path / name, 4, 3, numerics={**full, **extra})
        for name, extra in (("a", {}), ("b", {"device": "cuda:1"}), ("c", change))
    )
    assert reports.compare_runs(base, same).exit_code == 0
    found = reports.compare_runs(base, other)
    assert found.exit_code == 4 and set(found.rows["reason"]) == {reason}


def test_failures_that_come_and_go(base, tmp_path):
    path = build(tmp_path / "b")
    store = reports.Store.open(path)
    for seed in range(4):
        key = synthetic.key_of("sensitive", "cascading", seed, synthetic.SUITE)
        (path / "records" / key[:2] / f"{key}.parquet").unlink()
        store.write_failure(key, {"type": "RuntimeError", "message": EVIL})
    found = reports.compare_runs(base, path)
    assert outcomes(found, explainer="sensitive", check="cascading") == {"newly-failing"}
    assert "RuntimeError" in found.rows["reason"].iloc[0] and found.exit_code == 1
    back = reports.compare_runs(path, base)
    assert outcomes(back, explainer="sensitive", check="cascading") == {"newly-fixed"} and back.exit_code == 0
    text, page, junit = compare_output.to_text(found), compare_output.to_page(found), compare_output.to_junit(found)
    assert "<script>alert" not in text and "<script>alert" not in page and page.count("<script>") == 1
    root = ElementTree.fromstring(junit.partition("\n")[2])
    failures = root.findall(".//failure")
    assert (
        len(failures) == sum(int(suite.get("failures")) for suite in root) == found.count("newly-failing", "worse") > 0
    )
    assert len(root.findall(".//testcase")) == len(found.rows) + len(found.verdicts)


def test_maps_that_become_constant_are_failing(base, tmp_path):
    path = build(tmp_path / "b")
    store = reports.Store.open(path)
    for seed in range(4):
        key = synthetic.key_of("guided", "cascading", seed, synthetic.SUITE)
        rows = store.records([key])
        rows["value"], rows["status"] = np.nan, "degenerate-constant"
        store.write_records(key, rows)
    found = reports.compare_runs(base, path)
    assert outcomes(found, explainer="guided", check="cascading") == {"newly-failing"} and found.exit_code == 1


def test_new_and_missing_explainers(base, tmp_path):
    fewer = build(tmp_path / "b", names=NAMES[:3])
    found = reports.compare_runs(base, fewer)
    assert outcomes(found, explainer="random-by-model") == {"missing"} and found.exit_code == 3
    found = reports.compare_runs(fewer, base)
    assert outcomes(found, explainer="random-by-model") == {"new"} and found.exit_code == 0


def test_nothing_in_common_is_not_comparable(tmp_path):
    found = reports.compare_runs(build(tmp_path / "a", names=("guided",)), build(tmp_path / "b", names=("sensitive",)))
    health = found.rows["explainer"] == "(model)"
    assert set(found.rows[~health]["outcome"]) == {"new", "missing"}
    empty = reports.Store.create(tmp_path / "c", {}, {"name": "recommended", "hash": "ab" * 32}, {}, {})
    assert reports.compare_runs(empty.path, tmp_path / "b").exit_code == 4


def test_an_unfinished_run_is_not_clean(base, tmp_path):
    path = build(tmp_path / "b")
    key = synthetic.key_of("guided", "floor", 4, synthetic.SUITE)
    (path / "records" / key[:2] / f"{key}.parquet").unlink()
    found = reports.compare_runs(base, path)
    assert found.incomplete == 1 and found.exit_code == 3
    assert "1 planned cells of the current run have no records" in compare_output.to_text(found)


def test_a_large_change_that_may_be_chance_is_shown_and_no_regression():
    rng = np.random.default_rng(0)
    old, new = (simulated(rng, images=3, seeds=2, noise=0.4) for _ in range(2))
    rows = compare_values(old, new, MEASURES, Thresholds(), Obstacles())
    assert set(rows["outcome"]) <= {"same", "changed"} and "changed" in set(rows["outcome"])
    assert "may be chance" in rows[rows["outcome"] == "changed"]["reason"].iloc[0]


def test_thresholds_are_read_and_the_last_rule_that_matches_holds(tmp_path):
    file = tmp_path / "t.toml"
    file.write_text('alpha = 0.01\nlost = 0.5\n[thresholds]\n"*" = 0.2\n"cascading/ssim" = 0.3\n"*/*/lrp-*" = 0.01\n')
    limits = read_thresholds(file)
    assert (limits.alpha, limits.lost) == (0.01, 0.5)
    found = [limits.smallest(*names, {}, 1.0) for names in (("floor", "ssim", "a"), ("cascading", "ssim", "a"),
                                                         ("cascading", "hog", "a"), ("cascading", "ssim", "lrp-x"))]  # fmt: skip
    assert found == [0.2, 0.3, 0.2, 0.01]
    assert Thresholds().smallest("c", "fid", "e", {"range": [0, None]}, 40.0) == pytest.approx(2.0)
    for text in ("alpha = 2", "beta = 1", "[thresholds]\nx = -1", "[thresholds]\n'a/b/c/d' = 1", "x = ["):
        file.write_text(text)
        with pytest.raises(RunFolderError, match="--thresholds"):
            read_thresholds(file)
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_thresholds(tmp_path / "absent.toml")


def test_a_threshold_above_the_change_silences_it(base, tmp_path):
    path = build(tmp_path / "b", planted={"guided": (0.85, 0.01, 1.0, 0.1)})
    assert reports.compare_runs(base, path).count("better") > 0
    assert reports.compare_runs(base, path, Thresholds(rules={"*": 0.3})).count("better") == 0


def test_the_command_writes_all_three_and_ends_with_the_gate(base, tmp_path):
    from bench.cli import app

    broken = build(tmp_path / "b", planted={"sensitive": (0.98, 0.01, 1.0, 0.05)})
    files = ["--junit", str(tmp_path / "out" / "c.xml"), "--html", str(tmp_path / "out" / "c.html")]
    done = CliRunner().invoke(app, ["compare", str(base), str(broken), *files])
    assert done.exit_code == 1 and "regressions" in done.stdout.splitlines()[0]
    assert ElementTree.parse(tmp_path / "out" / "c.xml").getroot().tag == "testsuites"
    assert "<h1>" in (tmp_path / "out" / "c.html").read_text()
    assert CliRunner().invoke(app, ["compare", str(base), str(base)]).exit_code == 0
    assert CliRunner().invoke(app, ["compare", str(tmp_path / "none"), str(base)]).exit_code == 4
    assert CliRunner().invoke(app, ["compare", str(base), str(tmp_path / "none")]).exit_code == 2


def simulated(rng, explainers=6, stages=4, images=16, seeds=5, noise=0.05, level=None):
    """Records of explainers whose true similarities are fixed, with image, seed and other effects drawn anew."""
    parts = []
    number = np.indices((images, seeds)).reshape(2, -1)
    by_image = np.random.default_rng(9).normal(0, 0.1, (explainers, images, 1))
    checks = [("cascading", stages), ("independent", stages), ("ceiling", 1), ("floor", 1)]
    for explainer in range(explainers):
        mean = {"ceiling": 1.0, "floor": 0.1}
        for check, count in checks:
            for stage in range(count):
                centre = mean.get(check, 0.3 + 0.1 * explainer if level is None else level)
                values = (
                    centre
                    + by_image[explainer]
                    + rng.normal(0, noise, (1, seeds))
                    + rng.normal(0, noise, (images, seeds))
                )
                if check == "ceiling":
                    values = np.ones((images, seeds))
                part = pd.DataFrame(
                    {"image": [f"i{n:03d}" for n in number[0]], "seed": number[1], "value": values.ravel()}
                )
                parts.append(
                    part.assign(
                        check=check, explainer=f"e{explainer}", stage=stage + 1, layer=f"l{stage}", cell="00" * 8
                    )
                )
    frame = pd.concat(parts, ignore_index=True).assign(
        suite="randomization", subject="m", target=1, measure="ssim", status="ok", seconds=0.0
    )
    return schema.check(frame[list(schema.COLUMNS)])


@pytest.mark.slow
def test_at_most_five_percent_of_pairs_of_equal_runs_alarm():
    rng = np.random.default_rng(11)
    alarms = {"tests": 0, "size": 0}
    none = Thresholds(rules={"*": 0.0})
    for _ in range(200):
        old, new = simulated(rng, explainers=4, stages=2), simulated(rng, explainers=4, stages=2)
        rows = compare_values(old, new, MEASURES, none, Obstacles())
        alarms["tests"] += rows["outcome"].isin(["worse", "newly-failing"]).any()
        alarms["size"] += (rows["difference"].abs() > 0.05).any()
    assert alarms["tests"] <= 10, "without any threshold, by the test alone"
    assert alarms["size"] > 20, "a gate without a test would cry wolf"


@pytest.mark.slow
def test_verdicts_do_not_turn_by_chance(monkeypatch):
    """D of 0.2 is the limit itself, the hardest case."""
    monkeypatch.setattr(stats.sensitivity, "__kwdefaults__", {**stats.sensitivity.__kwdefaults__, "resamples": 300})
    rng = np.random.default_rng(12)
    alarms = 0
    for _ in range(200):
        tables = [reports.verdicts(simulated(rng, 2, 2, level=0.82)) for _ in range(2)]
        alarms += (compare_verdicts(*tables, Obstacles())["outcome"] == "worse").any()
    assert alarms <= 10


def test_the_same_folder_has_no_obstacles(base):
    store = reports.Store.open(base)
    assert obstacles(store, store) == Obstacles()
