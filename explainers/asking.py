"""One explanation for a person who asked for it, or none: what an explainer says against it is one message that names it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from models.base import Subject
from models.naming import UsageError, said
from models.settings import settings_kept

from .base import Explainer, ExplainerError, Explanation
from .engine import UnsupportedOperation
from .reuse import WEIGHED


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


PASSES = 2
"""Forward passes that an explainer may make before its parameters count as accepted: some ask the network about them."""


class _Enough(BaseException):
    """Not an `Exception`, so that explainers do not catch it."""


class _ForAWhile(TorchFunctionMode):
    """Ends what runs within after a number of convolutions and linear layers."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in WEIGHED:
            self._left -= 1
            if self._left < 0:
                raise _Enough
        return func(*args, **(kwargs or {}))


def objection(explainer: Explainer, subject: Subject) -> str:
    """What an explainer has against its parameters, or against them on this network; empty for nothing.

    It is called with one image and stopped after a few passes, before which parameters are checked; other errors than about
    parameters are left for when it runs.

    Example:
        >>> import explainers, models
        >>> subject = models.load("fmnist-vgg")
        >>> objection(explainers.get("integrated-gradients[steps=0]"), subject)
        'integrated-gradients: steps is 0; at least 2 are needed'
        >>> objection(explainers.get("integrated-gradients[steps=9]"), subject)
        ''
    """
    try:
        image = subject.data.load(subject.select(1)).to(subject.device)
        target = subject.num_classes - 1
        layers = sum(hasattr(module, "weight") for module in subject.model.modules())
        with settings_kept(), _ForAWhile(PASSES * max(1, layers)):
            explainer.explain(subject.private_copy(), image, [target])
    except UsageError as error:
        return str(error)
    except (Exception, SystemExit, _Enough):
        return ""
    return ""
