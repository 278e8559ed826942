"""Searches in the randomisation suite: beginnings drawn again, random moves as floor, what came of the searches."""

from __future__ import annotations

import pytest
import torch

import explainers
from bench import protocols
from bench.checks import CHECKS
from bench.checks.block import Block
from bench.checks.calibration import run_block as calibrated
from bench.checks.randomization import run_block
from explainers import probes
from models.seeds import derive

NAME = "cdeepex[generator=tests/explainers/toy_generators.py:sampled_waves]"
INDICES = range(6)
PROTOCOL = protocols.get("recommended")


@pytest.fixture(scope="module")
def block():
    subject = probes.subject("chain")
    members = [explainers.get(NAME), explainers.get("saliency"), explainers.get("counterfactual-identity")]
    found = Block(subject, members, INDICES, PROTOCOL, 0, None)
    assert not found.errors, found.errors
    return found


def rows_of(family, checks, names=(NAME, "saliency"), seed=0):
    subject = probes.subject("chain")
    members = [explainers.get(name) for name in names]
    wanted = {(check, each.name) for check in checks for each in members}
    made = family(subject, members, INDICES, seed, protocol=PROTOCOL, wanted=wanted, base=3)
    found = {(each.check, each.explainer): each for each in made}
    assert not any(each.error for each in found.values()), [each.error for each in found.values()]
    return {key: each.rows for key, each in found.items()}


def test_a_move_of_equal_length_knows_nothing_of_the_network(block):
    name = explainers.get(NAME).name
    explainer, answer = block.by_name[name], block.trained[name].answer
    one, again, other = (explainer.unrelated(answer, block.images, seed).attribution for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    wanted = answer.attribution.flatten(1).norm(dim=1)
    torch.testing.assert_close(one.flatten(1).norm(dim=1), wanted, atol=1e-3, rtol=1e-2)
    # neither the other images of the batch nor the network have a say in it
    image = block.images[2:3]
    alone = explainer.unrelated(explainer.explain(block.subject, image), image, 1).attribution
    torch.testing.assert_close(alone[0], one[2], atol=1e-4, rtol=1e-3)
    found = torch.cosine_similarity(one.flatten(1), answer.attribution.flatten(1))
    assert float(found.abs().mean()) < 0.9


def test_another_beginning_keeps_the_classes_and_gives_nearly_the_same_map(block):
    name = explainers.get(NAME).name
    explainer, trained = block.by_name[name], block.trained[name].answer
    targets = block.request.targets
    one, same, other = (
        explainer.redrawn(draw).explain(block.subject, block.images, targets, seed=block.request.seed)
        for draw in (5, 5, 6)
    )
    assert torch.equal(one.attribution, same.attribution) and torch.equal(one.target, trained.target)
    assert not torch.equal(one.latents[0], trained.latents[0]) and not torch.equal(one.latents[0], other.latents[0])
    random = explainers.get(NAME.replace("cdeepex[", "cdeepex[probe=random,")).anchored(block.subject)
    before = random.explain(block.subject, block.images, targets, seed=4)
    assert torch.equal(random.redrawn(9).explain(block.subject, block.images, targets, seed=4).target, before.target)


def test_ceiling_and_floor_of_searches_and_of_all_others():
    found = rows_of(calibrated, ("ceiling", "floor"))
    name = explainers.get(NAME).name

    def values(check, who, measure="cosine"):
        return [row["value"] for row in found[check, who] if row["measure"] == measure and row["status"] == "ok"]

    assert values("ceiling", "saliency") == [1.0] * len(INDICES)
    assert values("ceiling", name) and all(value < 1 for value in values("ceiling", name))
    block = Block(probes.subject("chain"), [explainers.get(NAME)], INDICES, PROTOCOL, derive(3, "explain", 0), None)
    maps = block.by_name[name].unrelated(block.trained[name].answer, block.images, derive(3, "floor", 0)).map()
    wanted = torch.cosine_similarity(maps.flatten(1).double(), block.trained[name].maps.flatten(1).double())
    moved = [word != "trivial" for word in block.trained[name].outcome]
    assert values("floor", name) == pytest.approx(wanted[moved].tolist(), abs=1e-5)


def test_shares_of_feasible_and_trivial_searches_stand_beside_the_similarity():
    found = rows_of(run_block, ("cascading", "independent"))
    name = explainers.get(NAME).name
    stages = len(probes.subject("chain").stages) + 1
    for check in ("cascading", "independent"):
        rows = found[check, name]
        info = CHECKS[check]
        assert len(rows) == stages * (len(INDICES) * info.per_image + info.per_stage + info.per_search)
        assert len(found[check, "saliency"]) == stages * (len(INDICES) * info.per_image + info.per_stage)
        for measure in ("feasible-share", "trivial-share"):
            shares = {row["stage"]: row["value"] for row in rows if row["measure"] == measure}
            assert sorted(shares) == list(range(stages)) and all(0 <= share <= 1 for share in shares.values())
    assert not any(row["measure"] == "feasible-share" for row in found["cascading", "saliency"])


def test_empty_maps_of_searches_without_anything_to_do_are_flagged_and_not_scored(block):
    # the identity moves nothing on any network: all its searches are trivial, so nothing says that it is blind
    found = block.at(block.subject.private_copy(), ["counterfactual-identity", "saliency"], 1)
    flagged, plain = found["counterfactual-identity"], found["saliency"]
    for scores, wanted in ((flagged, {"degenerate-zero"}), (plain, {"ok"})):
        assert set(scores.similarities.statuses["cosine"][scores.rows]) == wanted
    assert flagged.outcome == ("trivial",) * len(INDICES) and plain.outcome is None
    # where only the random network's search is trivial, 0 would be a similarity of an empty map
    name = explainers.get(NAME).name
    scores = block.at(block.subject.private_copy(), [name], 1)[name]
    place = scores.rows.start
    before = scores.similarities.values["cosine"][place]
    scores.similarities.void(place, "degenerate-zero")
    assert (
        before == before and scores.similarities.values["cosine"][place] != scores.similarities.values["cosine"][place]
    )
    assert scores.similarities.statuses["ssim"][place] == "degenerate-zero"
