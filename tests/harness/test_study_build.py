"""Studies built from a run: from what it has kept, or explained anew."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import explainers
import models
from bench.cli import app
from bench.study import design, explained
from bench.study_tasks import design_tasks
from explainers.base import Partial
from explainers.trajectory import Trajectory
from models.naming import UsageError
from reports.store import Store

SUBJECT = "fmnist-tshirt-shirt"


@pytest.fixture
def run(tmp_path):
    """A run folder of one model, with the pictures of two images."""
    store = Store(tmp_path / "run")
    key = "ab" * 32
    cell = {"key": key, "suite": "randomization", "check": "cascading", "subject": SUBJECT, "explainer": "gradcam"}
    store.write_plan([{**cell, "seed": 0, "images": ["a", "b"], "rows": None}])
    meta = {"subject": SUBJECT, "explainer": "gradcam", "check": "cascading", "seed": 0, "signed": False}
    images = {"images": ["a", "b"], "layers": ["fc"], "classes": ["Shirt", "T-shirt/top"]}
    store.write_picture(key, {"maps": np.ones((2, 2, 8, 8)), "images": np.zeros((2, 1, 8, 8))}, {**meta, **images})
    return store.path


def test_what_a_run_has_kept_is_taken_and_where_it_is_too_little_more_is_explained(run):
    made = design(run, ["control", "gradcam"], trials=2)
    assert [(each.image, each.truth) for each in made.trials] == [("a", "Shirt"), ("b", "T-shirt/top")]
    assert made.classes == ("Shirt", "T-shirt/top") and made.origin["pictures"].startswith("kept by the run")
    for groups, why in ((["control", "gradcam"], "there are: 1 of Shirt, 1 of T-shirt/top"),
                        (["control", "saliency"], "no pictures of saliency")):  # fmt: skip
        more = design(run, groups, trials=4)
        assert len(more.trials) == 4 and {each.image for each in more.trials}.isdisjoint({"a", "b"})
        assert more.origin["pictures"].startswith("explained for the study: ") and why in more.origin["pictures"]
    asked = design(run, ["control", "gradcam"], trials=2, explain=True)
    assert asked.origin["pictures"] == "explained for the study" and asked.trials[0].image not in "ab"


@pytest.mark.slow
def test_the_groups_of_the_thesis_on_a_network_of_ten_classes(tmp_path):
    """A morph goes to the other class of the study, also where a third one is likelier."""
    store = Store(tmp_path / "run")
    cell = {"key": "ab" * 32, "suite": "s", "check": "c", "subject": "fmnist-lenet", "explainer": "gradcam"}
    store.write_plan([{**cell, "seed": 0, "images": ["a"], "rows": None}])
    words = [
        "study",
        "build",
        str(store.path),
        "--explainers",
        "control,gradcam,cdeepex",
        "--out",
        str(tmp_path / "kit"),
    ]
    few = CliRunner().invoke(app, words)
    assert few.exit_code == 2 and "--classes A,B" in few.output
    done = CliRunner().invoke(app, [*words, "--classes", "Shirt,T-shirt/top", "--trials", "4"])
    assert done.exit_code == 0 and "pictures: explained for the study: " in done.output, done.output
    told = json.loads((tmp_path / "kit/study.json").read_text())
    assert told["kinds"] == {"control": "verdict", "gradcam": "heat", "cdeepex": "morph"} and len(told["trials"]) == 4
    _, found = explained("fmnist-lenet", ["control", "cdeepex"], ["Shirt", "T-shirt/top"], 4, 0)
    assert {each.image for each in found} == {each["image"] for each in told["trials"]}
    subject = models.load("fmnist-lenet")
    for each in found:
        ends = torch.tensor(np.stack([each.morphs["cdeepex"][0], each.morphs["cdeepex"][-1]])).float()
        other = subject.class_names.index("T-shirt/top" if each.truth == "Shirt" else "Shirt")
        before, after = subject.predict_logits(ends).softmax(1)[:, other].tolist()
        assert after > before


def test_explained_anew_with_the_truth_of_the_network(run):
    made = design(run, ["control", "gradcam", "counterfactual-nearest"], trials=6, explain=True, seed=3)
    subject = models.load(SUBJECT)
    where = [list(subject.data.ids).index(each.image) for each in made.trials]
    assert len(set(where)) == 6
    said = [subject.class_names[c] for c in subject.predict(subject.data.load(where)).tolist()]
    assert [each.truth for each in made.trials] == said and sorted(said) == ["Shirt"] * 3 + ["T-shirt/top"] * 3
    for each, index in zip(made.trials, where, strict=True):
        assert np.allclose(each.pixels, subject.data.load([index])[0].numpy())
        assert each.heat["gradcam"].shape == (32, 32) and each.heat["gradcam"].min() >= 0
        frames = each.morphs["counterfactual-nearest"]
        assert np.allclose(frames[0], each.pixels, atol=1e-6) and not np.allclose(frames[-1], each.pixels)
    again = design(run, ["control", "gradcam"], trials=6, explain=True, seed=3)
    assert [each.image for each in again.trials] == [each.image for each in made.trials]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"trials": 7}, "even number"),
        ({"groups": ["control"]}, "at least two groups"),
        ({"groups": ["gradcam", "gradcam"]}, "at least two groups"),
        ({"names": ["one"]}, "two names"),
        ({"classes": ["Shirt", "Shirt"]}, "two names"),
        ({"classes": ["Shirt", "Tshirt/top"]}, "no class 'Tshirt/top'.*T-shirt/top"),
        ({"subject": "fmnist-vgg"}, "one of the models of the run: fmnist-tshirt-shirt"),
    ],
)
def test_what_cannot_be_a_study_is_refused(run, more, said):
    with pytest.raises(UsageError, match=said):
        design(run, **{"groups": ["control", "gradcam"], "trials": 2, **more})


def test_the_command(run, tmp_path):
    words = ["study", "build", str(run), "--explainers", "control,gradcam", "--out", str(tmp_path / "kit")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "pictures: explained for the study: a study of 20 trials needs" in done.output
    told = json.loads((tmp_path / "kit/study.json").read_text())
    # Half of Grad-CAM's maps on this network of two classes have no positive evidence.
    assert 0 < told["empty"]["gradcam"] < 20
    assert f"gradcam: nothing to see in {told['empty']['gradcam']} of 20 pictures" in done.output
    assert len(told["trials"]) == 20 and told["origin"]["pictures"].startswith("explained for the study: ")
    done = CliRunner().invoke(app, [*words, "--trials", "2", "--names", "Ka,Lo"])
    assert done.exit_code == 0 and "pictures: kept by the run" in done.output and (tmp_path / "kit/index.html").exists()
    told = json.loads((tmp_path / "kit/study.json").read_text())
    assert told["names"] == {"Shirt": "Ka", "T-shirt/top": "Lo"} and told["groups"] == ["control", "gradcam"]


def test_tasks_of_a_model_are_asked_and_what_will_not_do_is_said(tmp_path):
    """Series of pictures that get darker; amounts are what the toy says that it asked for."""

    @explainers.register("toy-series", signed=True)
    def darker(subject, images, targets, *, seed):
        shares = torch.linspace(0.1, 0.9, 4)
        frames = images[:, None] * (1 - shares)[None, :, None, None, None]
        trajectory = Trajectory(frames, torch.full((len(images), 4, 2), 0.5), shares.expand(len(images), -1))
        ends = {"source": targets, "target": 1 - targets, "outcome": ("converged",) * len(images)}
        return Partial(images, counterfactual=frames[:, -1], trajectory=trajectory, **ends)

    made = design_tasks(["order"], [f"shirt={SUBJECT}"], explainer="toy-series", images=6)
    subject = models.load(SUBJECT)
    said = dict(
        zip(subject.data.ids, subject.predict(subject.data.load(range(len(subject.data)))).tolist(), strict=True)
    )
    for each in made.questions:
        # Darker is further on the way to the other class; the question is always about the second class.
        left, right = (frame.mean() for frame in each.frames)
        darker_is_more = said[each.image.split()[1]] == 0
        assert each.truth == ("left" if (left < right) == darker_is_more else "right")
    words = ["study", "build", "--tasks", "order,bias", "--explainers", "toy-series", "--trials", "3"]
    series = ["--series", f"shirt={SUBJECT}", "--series", f"shirt+dark={SUBJECT}", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, [*words, *series])
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "study.json").read_text())
    found = {(each["task"], each["category"], each["truth"]) for each in told["trials"] if each["task"] == "bias"}
    assert found == {("bias", "biased", "shirt and dark"), ("bias", "unbiased", "shirt")}
    assert sum(each["task"] == "order" for each in told["trials"]) == 12
    assert told["chance"] == len(told["trials"]) / 2
    for more, said in (
        (words, "NAME=MODEL"), ([*words, "--series", "fmnist-vgg"], "give NAME=MODEL"),
        ([*words, "--series", "bag=fmnist-lenet"], "has 10 classes; two are needed"),
        (["study", "build", "--tasks", "colour", *series], "order, change, bias"),
        (["study", "build", "--tasks", "order", "--explainers", "saliency", *series], "makes no series of pictures"),
        (["study", "build"], "give a run folder, or --tasks"),
    ):  # fmt: skip
        refused = CliRunner().invoke(app, more)
        assert refused.exit_code == 2 and said in refused.output, (more, refused.output)
