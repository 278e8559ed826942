"""What a plan knows of subjects, explainers and checks, without holding any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .cell import canonical
from .checks.base import BLOCK

WORDS = "words"
"""In place of a kind of ground truth: the subject reads sentences, which only checks of these families compare."""
FOR_WORDS = ("randomization", "calibration")


@dataclass(frozen=True)
class SubjectFacts:
    """What the plan knows about a subject without holding it.

    Attributes:
        text: what was given to `--model`.
        data: what was given to `--data`, or None.
        name: display name.
        identity: JSON-able identity with its digests.
        indices: the chosen images, as many as the largest suite needs; every count is a prefix of a larger one.
        ids: their stable ids.
        digests: per block size in use, content digest of each block: {"start:stop": sha256}.
        stages: names of the stages, output layer first.
        pixels: pixels of an image, height times width.
        truth: kind of ground truth that the images carry, empty for none; `words` for sentences.
    """

    text: str
    data: str | None
    name: str
    identity: dict[str, Any]
    indices: tuple[int, ...]
    ids: tuple[str, ...]
    digests: dict[str, str]
    stages: tuple[str, ...]
    pixels: int = 0
    truth: str = ""


@dataclass(frozen=True)
class ExplainerFacts:
    """What the plan knows about an explainer.

    Attributes:
        name: what records call it.
        spec: resolved specification, for keys.
        version: of its card.
        info: its declarations.
        text: what it is loaded by where that is not the name, as with files in folders.
    """

    name: str
    spec: dict[str, Any]
    version: int
    info: dict[str, Any]
    text: str = ""

    @property
    def identity(self) -> str:
        """Canonical JSON for the cell's identity."""
        return canonical({"spec": self.spec, "version": self.version})

    @property
    def cost(self) -> float:
        """Forward-backward passes per image."""
        return float(self.info.get("cost", 1.0))


@dataclass(frozen=True)
class CheckFacts:
    """What a check's result depends on, how many rows it gives at each stage, where it runs.

    The attributes from `per_image` on are those of `bench.checks.CheckInfo`.
    """

    parameters: dict[str, Any]
    protocol: dict[str, str]
    version: int
    per_image: int
    per_stage: int
    per_search: int = 0
    family: str = "randomization"
    staged: bool = True
    draws: str = "seeds"
    block: int = BLOCK
    about_model: bool = False
    truth: tuple[str, ...] = ()
    fitted: bool = False
    searching: bool = False

    def applies(self, subject: SubjectFacts) -> bool:
        """Whether the check can be made on the images of a subject."""
        if subject.truth == WORDS:
            return self.family in FOR_WORDS
        return not self.truth or subject.truth in self.truth

    @property
    def identity(self) -> str:
        """Canonical JSON for the cell's identity."""
        return canonical({"parameters": self.parameters, "protocol": self.protocol, "version": self.version})
