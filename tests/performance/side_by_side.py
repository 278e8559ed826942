"""Time per explained stage of this package against Quantus' MPRT, side by side in one process.

Run by hand: `pip install quantus==0.6.0`, then `python tests/performance/side_by_side.py [--threads 2] [--images 16]`.
Same network, images, two threads, float32, SSIM of two-dimensional maps. Quantus counts batch norms as stages of their own,
so its time is divided by its number of stages. Pairs are measured in turn; the median of the ratios is printed. Each side
has the memory allocator that its users have: ours keeps freed memory (`bench.memory.reuse_freed`, as the command does),
Quantus' has the thresholds that glibc ends up with by itself. `--same-allocator` gives ours to both.
"""

from __future__ import annotations

import argparse
import ctypes
import time

import numpy as np
import quantus
import torch
from captum.attr import GuidedBackprop, InputXGradient, IntegratedGradients, LayerAttribution, LayerGradCam, Saliency
from skimage.metrics import structural_similarity

import explainers
import models
from bench import memory
from bench.checks.normalise import normalise
from bench.checks.ssim import Window, moments, ssims
from explainers.passes import shared_passes
from explainers.reuse import Reuse
from models.randomize import cascade

CASES = {
    "saliency + input-x-gradient": (["saliency", "input-x-gradient"], 3.0),
    "gradcam": (["gradcam"], 3.0),
    "guided-backprop": (["guided-backprop"], 1.5),
    "integrated-gradients": (["integrated-gradients"], 3.0),
}


def theirs(name):
    """The explanation function a user of Quantus would write with captum, maps (N, 1, H, W)."""

    def explain(model, inputs, targets, **_):
        model.eval()
        x = torch.as_tensor(np.asarray(inputs), dtype=torch.float32).requires_grad_()
        y = torch.as_tensor(np.asarray(targets))
        if name == "gradcam":
            last = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)][-1]
            cam = LayerGradCam(model, last).attribute(x, target=y)
            values = LayerAttribution.interpolate(cam, x.shape[2:], "bilinear").clamp(min=0)
        elif name == "integrated-gradients":
            values = IntegratedGradients(model).attribute(x, target=y, n_steps=50)
        else:
            kinds = {"saliency": Saliency, "input-x-gradient": InputXGradient, "guided-backprop": GuidedBackprop}
            values = kinds[name](model).attribute(x, target=y)
        return values.detach().numpy()

    return explain


def similarity(a, b, batched=True, **_):
    """SSIM of two-dimensional maps; Quantus' own call flattens them and then fails on a list."""
    side = int(a.shape[-1] ** 0.5)

    def inner(one, two):
        one, two = one.reshape(side, side), two.reshape(side, side)
        spread = max(one.max(), two.max()) - min(one.min(), two.min())
        return structural_similarity(one, two, data_range=float(spread) or 1.0)

    return np.array([inner(one, two) for one, two in zip(a, b, strict=True)])


def quantus_seconds(subject, images, targets, names):
    """Seconds per explained stage of Quantus' MPRT, all names one after the other."""
    import copy

    total = 0.0
    for name in names:
        net = copy.deepcopy(subject.module).eval()
        metric = quantus.MPRT(
            similarity_func=similarity, layer_order="top_down", seed=1, disable_warnings=True, display_progressbar=False,
            return_average_correlation=False, return_last_correlation=False,
        )  # fmt: skip
        x, y = images.numpy(), targets.numpy()
        start = time.perf_counter()
        scores = metric(
            model=net, x_batch=x, y_batch=y, a_batch=None, explain_func=theirs(name), batch_size=len(x), device="cpu"
        )
        total += (time.perf_counter() - start) / len(scores)
    return total


def our_seconds(subject, images, targets, names):
    """Seconds per explained stage of this package: models, explanations, SSIM; batch norms are reset, as Quantus does."""
    chosen = [explainers.get(name) for name in names]
    signed = [e.info.signed for e in chosen for _ in images]

    reuse = Reuse(images)

    def maps(model):
        with shared_passes(reuse):
            return torch.cat([e.explain(model, images, targets).map() for e in chosen])

    start = time.perf_counter()
    flags = torch.tensor(signed)
    trained = normalise(maps(subject.private_copy()), flags)
    known = moments(trained, (Window(),))
    count = 1
    for _, model in cascade(subject, base=0, seed=0, batchnorm="reset"):
        ssims(normalise(maps(model), flags), trained, (Window(),), known)
        count += 1
    return (time.perf_counter() - start) / count


def as_shipped(ours: bool) -> None:
    """Set the thresholds of glibc's allocator: those of the command `bench`, or the largest that it takes by itself."""
    if ours:
        assert memory.reuse_freed(), "another allocator, or MALLOC_... is set"
    else:
        libc = ctypes.CDLL(None)
        assert libc.mallopt(-3, 32 << 20) == libc.mallopt(-1, 64 << 20) == 1


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--same-allocator", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    subject = models.load("fmnist-vgg")
    images, _ = subject.sample(given.images, seed=0)
    targets = subject.predict(images)
    print(f"{given.images} images, {given.threads} threads, median of {given.rounds} pairs")
    for label, (names, wanted) in CASES.items():
        our_seconds(subject, images[:2], targets[:2], names)
        pairs = []
        for _ in range(given.rounds):
            as_shipped(ours=given.same_allocator)
            theirs_took = quantus_seconds(subject, images, targets, names)
            as_shipped(ours=True)
            pairs.append((theirs_took, our_seconds(subject, images, targets, names)))
        ratio = float(np.median([a / b for a, b in pairs]))
        per_stage = [1000 * float(np.median(column)) for column in zip(*pairs, strict=True)]
        print(f"{label}: {ratio:.2f}x (at least {wanted}x wanted), {per_stage[0]:.1f} ms against {per_stage[1]:.1f} ms")


if __name__ == "__main__":
    main()
