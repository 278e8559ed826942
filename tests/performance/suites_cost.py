"""What the suites with ground truth cost, in processor time of one thread, and how much memory perturbation needs.

python tests/performance/suites_cost.py located            2,400 mosaics and 2,400 images with cues, explained and scored
python tests/performance/suites_cost.py curves [IMAGES]    IMAGES (1,000) x 32 steps x 5 draws of noise, one explainer
python tests/performance/suites_cost.py quantus [IMAGES]   one order, per pass, beside Quantus' PixelFlipping (black)
"""

from __future__ import annotations

import resource
import sys
import time
from statistics import median

import torch

import explainers
import models
from bench import protocols
from bench.checks.discrimination import run_block
from bench.checks.perturbation.curves import Scene, clean, curve, ends
from bench.checks.perturbation.orders import permutations, ranks, turns
from bench.checks.perturbation.replacements import replacement
from explainers.passes import network

STEPS, DRAWS, BLOCK, ROWS, REPEATS = 32, 5, 32, 64, 9


def located(count: int = 2_400) -> None:
    """Explain and score images with known evidence for one class each, block by block as a run does."""
    for name, check in (("fmnist-mosaic", "grid-localisation"), ("fmnist-cue", "planted-cue")):
        subject = models.load(name)
        several = [index for index in range(len(subject.data)) if len(subject.data.truth.present(index)) > 1][:count]
        started, scored = time.process_time(), 0
        for start in range(0, len(several), BLOCK):
            block = several[start : start + BLOCK]
            found = run_block(
                subject, [explainers.get("gradient")], block, 0, protocol=protocols.get("recommended"),
                wanted={(check, "gradient")}, base=0,
            )  # fmt: skip
            scored += sum(row["measure"] == "mass" and row["status"] == "ok" for result in found for row in result.rows)
        seconds = time.process_time() - started
        print(f"{check}: {scored} of {len(several)} images of two classes or more scored, {seconds:.0f} s", flush=True)


def walked(subject: models.Subject, chosen: list[int], maps: torch.Tensor, name: str) -> tuple[float, int]:
    """Processor seconds of the MoRF curves of all images, and forward passes made."""
    net, passes = network(subject), 0

    def count(module: torch.nn.Module, inputs: object, out: torch.Tensor) -> None:
        nonlocal passes
        passes += len(out)

    handle = net.register_forward_hook(count)
    whole = subject.data.load(chosen)
    targets = subject.predict(whole)
    started = time.process_time()
    for start in range(0, len(chosen), BLOCK):
        images = whole[start : start + BLOCK]
        keys = [str(index) for index in chosen[start : start + BLOCK]]
        scene = Scene(net, images, targets[start : start + BLOCK], STEPS, ROWS)
        made = replacement(name, subject, images, keys, 0, DRAWS)
        pixels = images[0, 0].numel()
        order = ranks(maps[start : start + BLOCK], permutations(keys, pixels, 0, "ties"))
        limits = ends(scene, made, clean(scene))
        curve(scene, made, turns(order, STEPS, 1, (images.shape[2], images.shape[3])), limits)
    handle.remove()
    return time.process_time() - started, passes


def relevance(chosen: list[int], side: int = 32) -> torch.Tensor:
    """A random map per image: the cost of curves does not depend on what ordered the pixels."""
    return torch.randn(len(chosen), side, side, generator=torch.Generator().manual_seed(0))


def curves(count: int) -> None:
    """Noise in place of pixels, one explainer's MoRF curves."""
    subject = models.load("fmnist-vgg")
    chosen = subject.select(count, 0)
    seconds, passes = walked(subject, chosen, relevance(chosen), "uniform")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} images x {STEPS} steps x {DRAWS} draws: {seconds:.0f} s, {passes} passes, "
          f"{1e3 * seconds / passes:.2f} ms per pass, peak {peak:.0f} MB")  # fmt: skip


def quantus(count: int) -> None:
    """Processor time of a forward pass, ours and Quantus', on the same images, orders and batch size, in turns."""
    from quantus import PixelFlipping

    subject = models.load("fmnist-vgg")
    chosen = subject.select(count, 0)
    maps, images = relevance(chosen), subject.data.load(chosen)
    pixels, targets = images.numpy(), subject.predict(images).numpy()
    flip = PixelFlipping(
        features_in_step=1024 // STEPS, perturb_baseline="black", normalise=False, disable_warnings=True
    )
    times: dict[str, list[float]] = {"black": [], "uniform": [], "Quantus": []}
    for _ in range(REPEATS + 1):
        for name in ("black", "uniform"):
            seconds, passes = walked(subject, chosen, maps, name)
            times[name].append(1e3 * seconds / passes)
        started = time.process_time()
        flip(model=subject.module.eval(), x_batch=pixels.copy(), y_batch=targets, a_batch=maps[:, None].numpy(),
             device="cpu", softmax=True, channel_first=True, batch_size=ROWS)  # fmt: skip
        times["Quantus"].append(1e3 * (time.process_time() - started) / (count * STEPS))
    # The first round warms up.
    kept = {name: values[1:] for name, values in times.items()}
    for name, values in kept.items():
        print(f"{name}: {median(values):.3f} ms per pass, median of {REPEATS} ({min(values):.3f} to {max(values):.3f})")
    for name in ("black", "uniform"):
        ratios = [theirs / ours for ours, theirs in zip(kept[name], kept["Quantus"], strict=True)]
        print(f"Quantus / {name}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    what = sys.argv[1] if len(sys.argv) > 1 else "located"
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    if what == "located":
        located()
    elif what == "curves":
        curves(number)
    else:
        quantus(number)
