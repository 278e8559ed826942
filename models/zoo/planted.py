"""Recipes of the classifiers of planted attributes: sigmoid outputs whose probability is the strength of the attribute.

The strength itself is the wanted probability, so that every tenth of the probability has images; a classifier of presence
alone would leave the middle of its range empty, and a series over requested probabilities nothing to learn from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import ImageSet
from ..networks.pair import Planted
from ..planted import ATTRIBUTES, CONFOUNDED, GARMENTS, drawn, halved, plant, planted, strengths
from ..seeds import derive, generator, seeded
from ..variants import only
from .catalogue import Member
from .classifiers import normaliser
from .multilabel import EPOCH, Steps
from .recipes import Trained

EPOCHS = 10
TESTED = 2_000


def independent(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Train one network with an output per attribute; a version for one attribute is that output of the same network.

    Figures, on 2,000 test images with independent attributes: accuracy (the class is whether the image has the attribute;
    for `all`, which one is the strongest), and `error`, the mean |probability - strength|.
    """
    return _trained(found, params, data, False, Steps(epochs or EPOCHS), log)


def confounded(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """Train on images whose square is as strong as the garment is bright; figures as for `independent`."""
    return _trained(found, params, data, True, Steps(epochs or EPOCHS), log)


def _trained(
    found: Member,
    params: Mapping[str, str],
    data: ImageSet,
    biased: bool,
    steps: Steps,
    log: Callable[[str], None],
) -> Trained:
    with seeded(derive(steps.seed, "initial", found.name)):
        network = Planted()
    beneath = halved(only(data, GARMENTS, "garments"))
    normalise = normaliser(found)
    _fit(network, beneath, biased, steps, normalise, log)
    made = only_output(network, params["attribute"])
    accuracy, error = _reached(made, params["attribute"], normalise)
    words = "garments among the 60,000 training images, attributes drawn anew in every step"
    return Trained(made, {"accuracy": accuracy, "error": error}, asdict(steps), words)


def only_output(network: Planted, attribute: str) -> Planted:
    """The network as it is for `all`, else with two logits: 0, and its output for one attribute."""
    if attribute == "all":
        return network
    state = dict(network.state_dict())
    place = ATTRIBUTES.index(attribute)
    for key in ("fc2.weight", "fc2.bias"):
        row = state[key][place]
        state[key] = torch.stack([torch.zeros_like(row), row])
    with seeded(0):  # what is drawn here is replaced
        made = Planted(attribute)
    made.load_state_dict(state)
    return made.eval()


def _fit(
    network: nn.Module,
    beneath: ImageSet,
    biased: bool,
    steps: Steps,
    normalise: Callable[[Tensor], Tensor],
    log: Callable[[str], None],
) -> None:
    """Binary cross-entropy to the strengths, on fresh images in every step."""
    network.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=steps.rate, weight_decay=steps.decay)
    total = steps.epochs * EPOCH
    pace = torch.optim.lr_scheduler.OneCycleLR(optimiser, steps.rate, total_steps=total, pct_start=0.2)
    draw = generator(steps.seed, "garments")
    wanted = drawn(total * steps.batch, "training", confounded=biased, seed=steps.seed)
    asked = [ATTRIBUTES.index(CONFOUNDED)] if biased else list(range(len(ATTRIBUTES)))
    running = 0.0
    with seeded(derive(steps.seed, "dropout")):
        for step in range(total):
            chosen = torch.randint(len(beneath), (steps.batch,), generator=draw).tolist()
            pixels = plant(np.asarray(beneath.read(chosen)), wanted[step * steps.batch : (step + 1) * steps.batch])
            truth = torch.from_numpy(strengths(pixels)).float()
            x = normalise(torch.from_numpy(pixels).float() / 255).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(x)
            loss = F.binary_cross_entropy_with_logits(logits.float()[:, asked], truth[:, asked])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            pace.step()
            running += float(loss.detach())
            if (step + 1) % EPOCH == 0:
                log(f"epoch {(step + 1) // EPOCH} of {steps.epochs}: loss {running / EPOCH:.4f}")
                running = 0.0
    network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]


def _reached(network: nn.Module, attribute: str, normalise: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """Share of images whose class is found and mean |probability - strength|, on test images.

    The class is whether the image has the attribute; for `all`, which attribute is the strongest.
    """
    data = planted("fmnist-planted-all")
    pixels = data.read(range(TESTED))
    truth = torch.from_numpy(strengths(pixels)).float()
    with torch.no_grad():
        parts = [network(normalise(part.float() / 255)) for part in torch.from_numpy(pixels).split(500)]
    logits = torch.cat(parts)
    if attribute == "all":
        right = logits.argmax(1) == truth.argmax(1)
    else:
        place = ATTRIBUTES.index(attribute)
        logits, truth = logits[:, 1:] - logits[:, :1], truth[:, place : place + 1]
        right = (logits > 0) == (truth > 0.5)
    return float(right.float().mean()), float((logits.sigmoid() - truth).abs().mean())
