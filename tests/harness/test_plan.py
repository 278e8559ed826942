import json
import time
from dataclasses import replace

import pytest

from bench import plan, suites
from bench.checks import CHECKS as DECLARED
from bench.facts import check_facts
from bench.plan import Shard, blocks, build, join
from bench.protocols import get
from bench.traits import ExplainerFacts, SubjectFacts
from models.naming import UsageError

CHECKS = {name: check_facts(DECLARED[name], get("recommended")) for name in suites.get("randomization").checks}
DRAWS = {"once": 1, "ceiling": 2, "floor": 5}
EXPLAINERS = [
    ExplainerFacts(name, {"name": name}, 1, {"cost": cost}) for name, cost in (("cheap", 1.0), ("dear", 50.0))
]


def subject(images: int, weights: str = "w") -> SubjectFacts:
    ids = tuple(f"set/{index}" for index in range(images))
    digests = {f"{start}:{stop}": f"d{start}-{stop}" for count in (images, 16, 32) for start, stop in blocks(count)}
    return SubjectFacts(
        "m", None, "m", {"name": "m", "weights": weights}, tuple(range(images)), ids, digests, ("fc", "conv")
    )


def made(images: int = 16, seeds: int = 2, weights: str = "w", base: int = 0, chosen=EXPLAINERS) -> plan.Plan:
    suite = suites.get("randomization")
    return build(
        {suite: suites.Size(images, seeds)}, [subject(images, weights)], {suite.name: chosen}, CHECKS,
        draws=DRAWS, base=base, dtype="float32",
    )  # fmt: skip


def test_blocks_have_a_fixed_size():
    assert blocks(16) == [(0, 16)]
    assert blocks(33) == [(0, 16), (16, 32), (32, 33)]
    assert blocks(1) == [(0, 1)]


def test_the_grid_is_complete():
    grid = made(images=20, seeds=3)
    # Two checks x 2 explainers x 2 blocks x 3 seeds, calibration 2 + 5 per explainer and block, 2 x 3 about the model.
    assert len(grid.tasks) == 24 + 28 + 6
    assert len(set(grid.keys)) == len(grid.tasks)


def test_rows_are_counted_per_cell():
    rows = {(t.cell.check, len(t.cell.images)): t.cell.rows for t in made(images=20).tasks}
    assert rows[("cascading", 16)] == 3 * (16 * 6 + 1) and rows[("independent", 4)] == 3 * (4 * 6 + 1)
    assert rows[("floor", 16)] == 16 * 6 and rows[("health-cascading", 16)] == 3 * 4


def test_a_larger_run_holds_the_cells_of_a_smaller_one():
    assert set(made(16, 2).keys) < set(made(32, 2).keys)
    assert set(made(16, 2).keys) < set(made(16, 3).keys)
    assert set(made(16, chosen=EXPLAINERS[:1]).keys) < set(made(16).keys)


def test_a_check_runs_where_its_evidence_is_and_a_suite_on_its_models():
    suite = replace(suites.get("randomization"), checks=("cascading", "ceiling"))
    planted = replace(subject(16), text="planted", name="planted", identity={"name": "planted"}, truth="cue")
    facts = {
        "cascading": replace(CHECKS["cascading"], truth=("cue",)),
        "ceiling": replace(CHECKS["ceiling"], block=4, draws="once"),
    }

    def grid(models):
        return build(
            {suite: suites.Size(16, 3)}, [replace(subject(16), digests=four), replace(planted, digests=four)],
            {suite.name: EXPLAINERS}, facts, draws=DRAWS, base=0, dtype="float32", models=models,
        )  # fmt: skip

    four = {f"{start}:{stop}": f"d{start}-{stop}" for size in (4, 16) for start, stop in blocks(16, size)}
    found = {(task.cell.check, task.cell.subject) for task in grid(None).tasks}
    assert found == {("cascading", "planted"), ("ceiling", "planted"), ("ceiling", "m")}
    assert len([task for task in grid(None).tasks if task.cell.subject == "m"]) == 4 * len(EXPLAINERS)
    assert {task.cell.subject for task in grid({suite.name: ("m",)}).tasks} == {"m"}
    only = replace(suite, checks=("cascading",))
    with pytest.raises(UsageError, match="no check for these models and images"):
        build(
            {only: suites.Size(16, 3)},
            [subject(16)],
            {only.name: EXPLAINERS},
            facts,
            draws=DRAWS,
            base=0,
            dtype="float32",
        )


def test_missing_is_the_plan_without_what_is_done():
    grid = made()
    done = set(grid.keys[:5])
    assert {task.cell.key for task in grid.missing(done)} == set(grid.keys[5:])
    assert grid.missing(set(grid.keys)) == []


def test_a_shard_holds_all_explainers_of_a_block_and_a_seed():
    grid = made(images=32, seeds=2)
    shards = grid.shards(grid.tasks)
    assert sorted(cell["key"] for shard in shards for cell in shard.cells) == sorted(grid.keys)
    for shard in shards:
        assert len({cell["seed"] for cell in shard.cells}) == 1
        assert {tuple(cell["images"]) for cell in shard.cells} == {
            shard.cells[0]["images"] and tuple(shard.cells[0]["images"])
        }
        assert {"cheap", "dear"} <= {cell["explainer"] for cell in shard.cells}
    walks = [shard for shard in shards if shard.family == "randomization"]
    assert len(walks) == 4 and len(shards) == 4 + 2 * 5


def test_large_shards_of_few_are_halved_and_the_halves_stay_the_same_while_cells_get_done():
    four = [ExplainerFacts(name, {"name": name}, 1, {"cost": plan.SHORT / 100}) for name in "abcd"]
    grid = made(images=16, seeds=2, chosen=four)
    walks = _walks(grid)
    held = {frozenset(cell["explainer"] for cell in shard.cells) - {plan.MODEL} for shard in walks}
    assert len(walks) == 4 and held == {frozenset("ab"), frozenset("cd")}
    assert sorted(cell["key"] for shard in grid.shards(grid.tasks) for cell in shard.cells) == sorted(grid.keys)
    # What is already done changes nothing about who belongs together.
    done = {task.cell.key for task in grid.tasks if task.cell.explainer == "a"}
    left = [shard for shard in grid.shards(grid.missing(done)) if shard.family == "randomization"]
    held = {frozenset(cell["explainer"] for cell in shard.cells) - {plan.MODEL} for shard in left}
    assert held == {frozenset("b"), frozenset("cd")}


def test_short_shards_stay_whole_for_their_models_are_built_once():
    four = [ExplainerFacts(name, {"name": name}, 1, {"cost": 1.0}) for name in "abcd"]
    grid = made(images=16, seeds=2, chosen=four)
    assert len(_walks(grid)) == 2 and all(shard.cost < plan.SHORT for shard in _walks(grid))


def test_many_shards_stay_whole_and_so_does_one_that_is_mostly_one_explainer():
    assert all({"cheap", "dear"} <= {cell["explainer"] for cell in s.cells} for s in _walks(made(images=64, seeds=8)))
    most = [ExplainerFacts(name, {"name": name}, 1, {"cost": cost}) for name, cost in (("a", 1.0), ("b", 99.0))]
    assert len(_walks(made(images=16, seeds=1, chosen=most))) == 1


def test_long_shards_are_halved_in_large_plans_too():
    dear = [ExplainerFacts(name, {"name": name}, 1, {"cost": plan.LONG / 100}) for name in "abcd"]
    walks = _walks(made(images=64, seeds=8, chosen=dear))
    assert all(shard.cost > plan.LONG for shard in walks)
    held = {frozenset(cell["explainer"] for cell in shard.cells) - {plan.MODEL} for shard in walks}
    assert len(walks) == 2 * 4 * 8 and held == {frozenset("ab"), frozenset("cd")}


def _walks(grid):
    return [shard for shard in grid.shards(grid.tasks) if shard.family == "randomization"]


def test_long_shards_come_first():
    costs = [shard.cost for shard in made(images=20).shards(made(images=20).tasks)]
    assert costs == sorted(costs, reverse=True) and costs[0] > costs[-1]


def test_shards_do_not_depend_on_the_order_of_the_tasks():
    grid = made(images=32)
    assert [s.id for s in grid.shards(grid.tasks)] == [s.id for s in grid.shards(reversed(grid.tasks))]


def test_a_shard_survives_the_way_to_another_process():
    shard = made().shards(made().tasks)[0]
    assert Shard.from_json(shard.to_json()) == shard
    assert json.loads(shard.to_json())["model"] == "m"


def test_a_shard_falls_into_pieces_of_one_explainer():
    shard = made().shards(made().tasks)[0]
    pieces = list(shard.by_explainer())
    assert [{c["explainer"] for c in piece.cells} for piece in pieces] == [{"cheap"}, {"dear"}, {plan.MODEL}]
    assert sum(len(piece.cells) for piece in pieces) == len(shard.cells)


def test_parts_cover_the_plan_once():
    grid = made(images=32, seeds=4)
    parts = [grid.part(index, 3) for index in range(3)]
    assert sorted(key for part in parts for key in part.keys) == sorted(grid.keys)
    assert all(part.tasks for part in parts)
    groups = [{task.group for task in part.tasks} for part in parts]
    assert not groups[0] & groups[1] and not groups[1] & groups[2]


@pytest.mark.parametrize("wider", [made(32, 2), made(16, 3), made(16, 2)])
def test_a_folder_may_be_widened(wider):
    old = made(16, 2).entries()
    assert {cell["key"] for cell in join(old, wider.entries(), "x")} == {cell["key"] for cell in old} | set(wider.keys)


def test_joining_keeps_the_cells_of_other_explainers():
    first, second = made(chosen=EXPLAINERS[:1]).entries(), made(chosen=EXPLAINERS[1:]).entries()
    joined = join(first, second, "x")
    assert {cell["explainer"] for cell in joined} == {"cheap", "dear", plan.MODEL}
    assert len({cell["key"] for cell in joined}) == len(joined)


@pytest.mark.parametrize("other", [made(weights="others"), made(base=1), made(20)])
def test_a_folder_of_another_configuration_is_refused(other):
    old = made(32).entries() if len(other.subjects[0].ids) == 20 else made().entries()
    with pytest.raises(UsageError, match="another configuration"):
        join(old, other.entries(), "runs/a")


def test_a_cell_that_two_suites_share_is_planned_once():
    suite = suites.get("randomization")
    both = {suite: suites.Size(16, 2), replace(suite, name="other"): suites.Size(16, 2)}
    grid = build(
        both, [subject(16)], {"randomization": EXPLAINERS, "other": EXPLAINERS}, CHECKS,
        draws=DRAWS, base=0, dtype="float32",
    )  # fmt: skip
    assert grid.keys == made(16, 2).keys


@pytest.mark.parametrize("count", [2, 5, 8])
def test_parts_are_the_same_on_every_machine_and_of_similar_size(count):
    grid = made(64, 20)
    sizes = [len(grid.part(index, count).tasks) for index in range(count)]
    assert sum(sizes) == len(grid.tasks) and max(sizes) < 3 * min(sizes)
    again = replace(grid, tasks=tuple(reversed(grid.tasks)))
    assert sorted(grid.part(0, count).keys) == sorted(again.part(0, count).keys)


def test_forty_thousand_cells_are_planned_quickly_and_share_what_they_can():
    names = [ExplainerFacts(f"e{number}", {"name": f"e{number}"}, 1, {"cost": 1.0}) for number in range(50)]
    begun = time.process_time()
    grid = made(64, 60, chosen=names)
    cut = grid.shards(grid.tasks)
    assert len(grid.tasks) > 24_000 and len(set(grid.keys)) == len(grid.tasks)
    assert sum(len(shard.cells) for shard in cut) == len(grid.tasks)
    assert len({id(task.cell.images) for task in grid.tasks}) < 200
    entries = grid.entries()
    assert len({id(entry["images"]) for entry in entries}) <= 8
    join(entries, entries, "a")
    assert time.process_time() - begun < 15
