"""CDeepEx: the nearest latent point at which the explained and the probe class are equally likely and no other is likelier."""

from __future__ import annotations

from torch import Tensor

from models.base import Subject
from models.generators import Generator
from models.naming import UsageError, near

from ..base import Partial
from ..passes import fingerprint, remembered
from .answer import Reading, answered, in_parts
from .lagrangian import FAST, PAPER, THOROUGH, Schedule, Tolerance, search
from .morph import CONSTRAINTS, MARGIN, Morph
from .start import Anchor, Question, Start, scaled_logits, started

PROFILES = {"fast": FAST, "thorough": THOROUGH, "paper": PAPER}
GOAL = Tolerance(equality=0.1, inequality=0.0)
"""|h| <= 0.1 is |p - p'| <= 0.05 where the two classes hold all the probability."""
SOUGHT = Tolerance(equality=0.098, inequality=0.8 * MARGIN)
"""A little less, so that rounding does not turn what was reached into what was not."""


def cdeepex(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    generator: str = "vae",
    probe: str = "second",
    begin: str = "mean",
    profile: str = "fast",
    signs: str = "corrected",
    residual: bool = True,
    anchor: Anchor | None = None,
) -> Partial:
    """What to add and to take away for the image to stand between the explained and the probe class, (N, C, H, W).

    Args:
        generator: `vae`, `ae`, `gan`, `wgan`, a member of the zoo or `file.py:function`.
        probe: `second`, `random`, a class's number or name.
        begin: `mean` or `sample` of the encoder's distribution.
        profile: `fast`; `thorough`, three times the time for more searches that meet their goal; or `paper` for the
            published growth of the penalty.
        signs: `corrected`, or `printed` for the third-class constraints as they are printed.
        residual: whether what the generator cannot draw of the image is added to everything it draws.
        anchor: the trained network whose starting points, classes and spread of logits are used.

    Returns:
        Counterfactual less image, > 0 where something is added; with counterfactual, morph, outcome. `extra` has per image
        `h` (log odds), `third` (largest log odds of a third class), `pair` (probability of the two classes together),
        `steps`, `residual-share` and `latent-move`.

    Source: Feghahati 2020, section 3.3 (preprint: CDeepEx 2019, eq. 2). The residual is I - G(z0), where I + 2 (G(z0) - I)
    is printed; the third-class constraints have the signs of the text, not of the equations.
    """
    question = Question(generator, probe, begin, seed)
    third = _allowed("signs", signs, CONSTRAINTS[:2])
    return constrained(subject, images, targets, question, third, profile, residual, anchor)


def xgem_eq(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    *,
    seed: int,
    generator: str = "vae",
    probe: str = "second",
    begin: str = "mean",
    profile: str = "fast",
    residual: bool = True,
    anchor: Anchor | None = None,
) -> Partial:
    """The same without a word on third classes: the baseline that CDeepEx is compared with in its own figures.

    Args:
        generator, probe, begin, profile, residual, anchor: see `cdeepex`.

    Source: Feghahati 2020, figure 3.5, where it is called xGEMs.
    """
    question = Question(generator, probe, begin, seed)
    return constrained(subject, images, targets, question, "none", profile, residual, anchor)


def constrained(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    question: Question,
    third: str,
    profile: str,
    residual: bool,
    anchor: Anchor | None,
) -> Partial:
    """The constrained search of both, see `cdeepex`.

    Args:
        third: one of morph.CONSTRAINTS.
    """
    schedule = PROFILES[_allowed("profile", profile, tuple(PROFILES))]

    def compute() -> Partial:
        return _constrained(subject, images, targets, question, third, schedule, residual, anchor)

    key = ("constrained", id(subject), fingerprint(images), fingerprint(targets), question, third, profile, residual)
    asked = None if anchor is None else (id(anchor.trained), anchor.draw)
    return remembered((*key, asked), (subject, images, targets, anchor), compute)


def _constrained(
    subject: Subject,
    images: Tensor,
    targets: Tensor,
    question: Question,
    third: str,
    schedule: Schedule,
    residual: bool,
    anchor: Anchor | None,
) -> Partial:
    made, start, scale = started(subject, question, images, targets, anchor)
    logits = scaled_logits(subject, scale)

    def make(part: slice) -> Partial:
        begun = Start(start.probe[part], start.z[part], start.reconstruction[part])
        morph = morph_of(made, logits, images[part], targets[part], begun, third=third, residual=residual)
        found = search(morph.constraints, begun.z, schedule, SOUGHT)
        return answered(images[part], begun, morph, found, lambda reading: reached(reading, third), residual)

    return in_parts(images, make)


def morph_of(
    made: Generator, logits: object, images: Tensor, targets: Tensor, begun: Start, *, third: str, residual: bool
) -> Morph:
    """The morph of one batch."""
    left = images - begun.reconstruction if residual else images.new_zeros(()).expand_as(images)
    return Morph(made.decode, logits, left, targets, begun.probe, third)  # type: ignore[arg-type]


def reached(reading: Reading, third: str) -> Tensor:
    """Whether the two classes are equally likely and, where that is asked for, no third class is likelier, (N,) bool."""
    equal = reading.h.abs() <= GOAL.equality
    return equal & (reading.third <= GOAL.inequality) if third == "corrected" else equal


def _allowed(key: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise UsageError(f"{key} is {value!r}; allowed are {', '.join(allowed)}{near(value, allowed)}")
    return value
