"""Random weights are asked the question that the trained network was asked."""

import torch

import explainers
from bench import protocols
from bench.checks.block import Block
from explainers import probes
from models.randomize import randomized


def test_a_walk_keeps_classes_and_starting_points_of_the_trained_network():
    subject = probes.subject("chain")
    images = subject.data.load(range(6))
    explainer = explainers.get("cdeepex[generator=tests/explainers/toy_generators.py:probe_waves]")
    block = Block(subject, [explainer, explainers.get("saliency")], range(6), protocols.get("recommended"), 0, None)
    assert not block.errors
    other = randomized(subject, list(subject.stages), base=0, seed=0)
    kept = block.by_name[explainer.name].explain(other, images, subject.predict(images))
    plain = explainer.explain(subject, images)
    assert torch.equal(kept.target, plain.target) and torch.equal(kept.latents[0], plain.latents[0])
    assert kept.outcome.count("trivial") <= explainer.explain(other, images, subject.predict(images)).outcome.count(
        "trivial"
    )
    scores = block.at(other, [explainer.name], 2)[explainer.name]
    assert scores.targets == subject.predict(images).tolist() and scores.similarities is not None
    assert type(block.by_name["saliency"]) is explainers.Explainer
