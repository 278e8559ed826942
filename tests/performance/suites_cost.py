"""What the suites with ground truth cost, in processor time of one thread, and how much memory perturbation needs.

python tests/performance/suites_cost.py located            2,000 mosaics and 2,000 images with cues, scored for `gradient`
python tests/performance/suites_cost.py curves [IMAGES]    IMAGES (1,000) x 32 steps x 5 draws of noise, one explainer
python tests/performance/suites_cost.py quantus [IMAGES]   the same orders under black, beside Quantus' PixelFlipping
"""

from __future__ import annotations

import resource
import sys
import time

import torch

import explainers
import models
from bench import protocols
from bench.checks.discrimination import run_block
from bench.checks.perturbation.curves import Scene, clean, curve, ends
from bench.checks.perturbation.orders import permutations, ranks, turns
from bench.checks.perturbation.replacements import replacement
from explainers.passes import network

STEPS, DRAWS, BLOCK = 32, 5, 32


def located(count: int = 2_000) -> None:
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
            scored += sum(row["measure"] == "mass" for result in found for row in result.rows)
        print(f"{check}: {scored} images of two classes or more, {time.process_time() - started:.0f} s", flush=True)


def walked(subject: models.Subject, chosen: list[int], maps: torch.Tensor, name: str) -> tuple[float, int]:
    """Processor seconds of the MoRF curves of all images, and forward passes made."""
    net, passes = network(subject), 0

    def count(module: torch.nn.Module, inputs: object, out: torch.Tensor) -> None:
        nonlocal passes
        passes += len(out)

    handle = net.register_forward_hook(count)
    started = time.process_time()
    for start in range(0, len(chosen), BLOCK):
        images = subject.data.load(chosen[start : start + BLOCK])
        keys = [str(index) for index in chosen[start : start + BLOCK]]
        scene = Scene(net, images, subject.predict(images), STEPS, 64)
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
    """Seconds per point of a curve, ours and Quantus', one after the other, twice."""
    from quantus import PixelFlipping

    subject = models.load("fmnist-vgg")
    chosen = subject.select(count, 0)
    maps, images = relevance(chosen), subject.data.load(chosen)
    flip = PixelFlipping(
        features_in_step=1024 // STEPS, perturb_baseline="black", normalise=False, disable_warnings=True
    )
    for _ in range(2):
        for name in ("black", "uniform"):
            seconds, passes = walked(subject, chosen, maps, name)
            points = count * STEPS * (DRAWS if name == "uniform" else 1)
            print(f"{name}: {1e3 * seconds / points:.3f} ms per point, {1e3 * seconds / passes:.3f} ms per pass")
        started = time.process_time()
        flip(model=subject.module.eval(), x_batch=images.numpy().copy(), y_batch=subject.predict(images).numpy(),
             a_batch=maps[:, None].numpy(), device="cpu", softmax=True, channel_first=True, batch_size=64)  # fmt: skip
        print(
            f"Quantus: {1e3 * (time.process_time() - started) / (count * STEPS):.3f} ms per point and pass", flush=True
        )


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
