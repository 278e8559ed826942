"""Dear explainers run on the first images and seeds of the same selection, unless the user says how many."""

import pytest

import explainers
from bench import suites
from bench.config import resolve
from bench.runner import prepare
from bench.sized import DEAR, Size

CHEAP, COSTLY = "integrated-gradients", "integrated-gradients[steps=100]"


def prepared(tmp_path, **options):
    return prepare(
        resolve({"suite": "randomization", "explainers": f"{CHEAP},{COSTLY}", "out": str(tmp_path / "run"), **options})
    )


def grid(made, explainer, check="cascading"):
    """Images and seed of every cell, in the order of the plan."""
    cells = [task.cell for task in made.plan.tasks]
    return [(cell.images, cell.seed) for cell in cells if (cell.explainer, cell.check) == (explainer, check)]


def test_the_limit_lies_between_the_explainers_of_the_thesis_and_those_far_above_them():
    named = ("gradient", "guided-backprop", "deconvnet", "lrp-a9b8", "integrated-gradients", "deepshap", "smoothgrad")
    assert all(explainers.cost_of(explainers.resolve(name)) <= DEAR for name in named)
    assert set(suites.get("randomization").explainers) <= {
        name for name in explainers.names() if explainers.cost_of(explainers.resolve(name)) <= DEAR
    }
    dear = {name for name in explainers.expand("all") if explainers.cost_of(explainers.resolve(name)) > DEAR}
    assert {"dasp", "rise", "occlusion", "contrast", "cdeepex", "xgem"} <= dear


def test_passes_follow_parameters_and_what_a_combinator_is_applied_to():
    def passes(text):
        return explainers.cost_of(explainers.resolve(text))

    assert passes(COSTLY) == 2 * passes(CHEAP) == 100
    assert passes("smoothgrad(deeplift)") == 25 * passes("deeplift")
    assert passes("vargrad[samples=5](lrp-a2b1)") == 5 * passes("lrp-a2b1")
    assert passes("contrast(deeplift)") == passes("contrast") + 2 * (passes("deeplift") - passes("gradcam"))


def test_a_dear_explainer_runs_on_a_prefix_of_what_the_others_run_on(tmp_path):
    made = prepared(tmp_path)
    usual, dear = grid(made, CHEAP), grid(made, COSTLY)
    assert [seed for _, seed in usual] == [0, 1, 2, 3, 4] and [seed for _, seed in dear] == [0, 1]
    assert {images for images, _ in dear} == {usual[0][0][:4]} and len(usual[0][0]) == 16
    assert {len(images) for images, _ in grid(made, COSTLY, "floor")} == {4}
    assert len(grid(made, COSTLY, "floor")) == len(grid(made, CHEAP, "floor"))
    assert {len(images) for images, _ in grid(made, "(model)", "health-cascading")} == {16}
    (note,) = [note for note in made.notices if "passes" in note]
    assert COSTLY in note and f"{CHEAP}," not in note and "first 4 images and 2 seeds" in note


def test_keys_do_not_depend_on_what_else_is_run(tmp_path):
    alone = prepared(tmp_path, explainers=COSTLY)
    both = prepared(tmp_path)
    own = {task.cell.key for task in alone.plan.tasks if task.cell.explainer == COSTLY}
    assert own == {task.cell.key for task in both.plan.tasks if task.cell.explainer == COSTLY}


@pytest.mark.parametrize(
    ("given", "images", "seeds"),
    [({"images": 6}, 6, 2), ({"seeds": 4}, 4, 4), ({"images": 2, "seeds": 1}, 2, 1), ({"profile": "standard"}, 32, 10)],
)
def test_what_the_user_gives_holds_for_all(tmp_path, given, images, seeds):
    cells = grid(prepared(tmp_path, **given), COSTLY)
    assert len({image for found, _ in cells for image in found}) == images
    assert {seed for _, seed in cells} == set(range(seeds))


def test_the_configuration_on_record_says_both_sizes():
    sizes = resolve({"suite": "randomization"}).record()["sizes"]["randomization"]
    assert sizes == {"images": 16, "seeds": 5, "dear": {"above passes": 60.0, "images": 4, "seeds": 2}}
    assert resolve({"suite": "randomization", "images": 8, "seeds": 2}).record()["sizes"]["randomization"] == {
        "images": 8, "seeds": 2,
    }  # fmt: skip


def test_a_size_with_nothing_dear_is_the_same_for_all():
    assert Size(4, 3).of(1e6) == Size(4, 3)
    assert Size(16, 5, Size(4, 3)).given(8, 2) == Size(8, 2)


@pytest.mark.parametrize(
    ("given", "said"), [({"images": 1}, "--images 1"), ({"images": 1, "seeds": 1}, "--images 1 and --seeds 1")]
)
def test_that_a_run_is_too_small_for_intervals_is_said_before_it(tmp_path, given, said):
    (note,) = [note for note in prepared(tmp_path, **given).notices if "intervals" in note]
    assert note.startswith(f"randomization: {said} leaves") and "at least 2" in note


@pytest.mark.parametrize("given", [{}, {"images": 2, "seeds": 2}])
def test_nothing_is_said_of_a_run_that_is_large_enough(tmp_path, given):
    assert not [note for note in prepared(tmp_path, **given).notices if "intervals" in note]
