"""Where relevance lies on mosaics of four classes, and how alike the maps of two of their classes are (fmnist-mosaic).

    python tests/performance/four_classes.py [MOSAICS] [EXPLAINERS]

Prints a Markdown table: share of positive relevance in the cell of the class over certified pairs (chance .25) with its
95% interval, over all pairs, over certified pairs of mosaics in which the model finds all four classes, and the
similarity (SSIM) of the maps of two certified classes.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import torch

import explainers
import models
from bench import protocols
from bench.checks.discrimination import run_block
from models.truth import required
from reports import schema, stats
from reports.class_values import Values

NAMES = (
    "lrp-a1b0,lrp-a2b1,lrp-a3b2,lrp-a5b4,gradient,input-x-gradient,integrated-gradients,gradcam,guided-backprop,"
    "occlusion,input,random"
)
CHECKS = ("grid-localisation", "class-similarity")
BLOCK = 16


def records(subject: models.Subject, chosen: list[int], names: str) -> pd.DataFrame:
    """Rows of both checks, block by block."""
    members = explainers.select(names)
    wanted = {(check, each.name) for check in CHECKS for each in members}
    protocol, rows = protocols.get("recommended"), []
    for start in range(0, len(chosen), BLOCK):
        block = chosen[start : start + BLOCK]
        for result in run_block(subject, members, block, 0, protocol=protocol, wanted=wanted, base=0):
            if result.error:
                raise RuntimeError(f"{result.explainer}: {result.error['message']}")
            rows += result.rows
    return schema.check(pd.DataFrame(rows).assign(cell="x"))


def shown(values: list[float], interval: bool = False) -> str:
    """A mean, with its interval where asked for."""
    (found,) = stats.mean_over_images(np.array([values], dtype=np.float64).reshape(1, -1))
    return f"{found.estimate:.3f} ({found.low:.3f}, {found.high:.3f})" if interval else f"{found.estimate:.3f}"


def main(count: int, names: str) -> None:
    """Print the table and what the certificate keeps."""
    torch.set_num_threads(1)
    subject = models.load("fmnist-mosaic")
    truth = subject.data.truth
    assert truth is not None
    four = [index for index in subject.select(2 * count, 0) if len(truth.present(index)) == 4][:count]
    certificate = required(subject, four)
    pairs = [certificate.by_place[index, label] for index in four for label in truth.present(index)]
    found = [pair for pair in pairs if pair.found]
    print(f"{len(four)} mosaics of four classes: found {len(found) / len(pairs):.3f} of {len(pairs)} classes, certified "
          f"{np.mean([pair.kept for pair in found]):.3f} of those\n")  # fmt: skip
    whole = {
        subject.data.ids[index] for index in four
        if all(certificate.by_place[index, label].found for label in truth.present(index))
    }  # fmt: skip
    values = Values(records(subject, four, names))
    print("| explainer | certified | all | all four found | two classes |\n| --- | ---: | ---: | ---: | ---: |")
    for group in values.groups(CHECKS[:1]):
        mass, flags = values.masses(group), values.certified(group)
        kept = {image: value for image, value in mass.items() if flags.get(image) == 1}
        other = (*group[:3], CHECKS[1])
        same, both = values.of(other, "ssim"), values.certified(other)
        alike = [value for image, value in same.items() if both.get(image) == 1]
        print(f"| {group[1]} | {shown(list(kept.values()), True)} | {shown(list(mass.values()))} | "
              f"{shown([value for image, value in kept.items() if image in whole])} | {shown(alike)} |")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64, sys.argv[2] if len(sys.argv) > 2 else NAMES)
