"""One explanation for a person who asked for it: whatever an explainer raises is one message that names it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from models.base import Subject
from models.naming import UsageError, said
from models.settings import settings_kept

from .base import Explainer, ExplainerError, Explanation
from .engine import UnsupportedOperation


def asked(
    explainer: Explainer, subject: Subject, images: Tensor, targets: Sequence[int] | None, seed: int
) -> Explanation:
    """What an explainer says of a few images.

    Args:
        images: (N, C, H, W) in [0, 1].
        targets: N classes; None takes the model's prediction.

    Raises:
        UsageError: it refuses, or breaks; the message says which one and why.

    Example:
        >>> import explainers, models
        >>> subject = models.load("fmnist-vgg")
        >>> asked(explainers.get("saliency"), subject, subject.sample(1)[0], [0], seed=0).status
        ('ok',)
    """
    try:
        with settings_kept():
            return explainer.explain(subject, images, targets, seed)
    except UsageError:
        raise
    except (ExplainerError, UnsupportedOperation) as error:
        raise UsageError(
            f"{explainer.name}: {error}; bench inspect --model shows which explainers are valid"
        ) from error
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{explainer.name} failed on {subject.name}: {said(error)}; --verbose shows where, and bench inspect --model which "
            "explainers are valid"
        ) from error
