"""What a suite is: which checks, which explainers on which models, how many images and seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from reports.papers import Paper

DEAR = 60.0
"""Forward-backward passes per image above which an explainer is dear."""


@dataclass(frozen=True)
class Size:
    """How large a run is.

    Attributes:
        images: number of images, >= 1.
        seeds: number of randomised models per stage, >= 1.
        dear: how large it is for dear explainers: their images are the first ones of the same selection, their models are
            those of the first seeds, so that they stay paired with the others. None: no different.
    """

    images: int
    seeds: int
    dear: Size | None = None

    def of(self, passes: float) -> Size:
        """The size for an explainer of so many passes per image.

        Example:
            >>> Size(16, 5, dear=Size(4, 2)).of(200)
            Size(images=4, seeds=2, dear=None)
        """
        return self.dear if self.dear is not None and passes > DEAR else self

    def given(self, images: int | None, seeds: int | None) -> Size:
        """The size with what a user gave, which holds for all explainers alike.

        Example:
            >>> Size(16, 5, dear=Size(4, 2)).given(None, 3)
            Size(images=16, seeds=3, dear=Size(images=4, seeds=3, dear=None))
        """
        dear = None if self.dear is None or (images and seeds) else self.dear.given(images, seeds)
        return Size(images or self.images, seeds or self.seeds, dear)

    def record(self) -> dict[str, Any]:
        """The size as it stands in the configuration of a run and in `bench list suites --json`.

        Example:
            >>> Size(16, 5).record()
            {'images': 16, 'seeds': 5}
        """
        plain: dict[str, Any] = {"images": self.images, "seeds": self.seeds}
        return plain if self.dear is None else plain | {"dear": {"above passes": DEAR, **self.dear.record()}}


@dataclass(frozen=True)
class Suite:
    """A named list of checks with default explainers and sizes.

    Attributes:
        name: what `--suite` takes.
        summary: one line for `bench list suites`.
        checks: names of the checks, in the order of the report.
        explainers: used when `--explainers` is not given.
        references: explainers with a known verdict, always run beside the others.
        sizes: one per profile.
        choices: what the suite changes in the protocol, for example fewer draws for the floor.
        models: used when `--model` is not given.
        label: the suite that its records are filed under, whose verdicts and figures they get; empty: its own name.
        parts: suites of other models and explainers that are run together, in place of checks of its own.
        under: checks that a profile adds.
        paper: what a paper claims about the records of all parts; None for a suite that tests no paper.
        protocol: used when `--protocol` is not given.
    """

    name: str
    summary: str
    checks: tuple[str, ...] = ()
    explainers: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    sizes: Mapping[str, Size] = field(default_factory=dict, hash=False)
    choices: Mapping[str, Any] = field(default_factory=dict, hash=False)
    models: tuple[str, ...] = ("fmnist-vgg",)
    label: str = ""
    parts: tuple[Suite, ...] = ()
    under: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    paper: Paper | None = None
    protocol: str = "recommended"

    @property
    def filed(self) -> str:
        """What the column `suite` of its records says."""
        return self.label or self.name

    def within(self, profile: str) -> Suite:
        """The suite with the checks that a profile adds.

        Example:
            >>> Suite("s", "", ("a",), under={"full": ("b",)}).within("full").checks
            ('a', 'b')
        """
        return replace(self, checks=(*self.checks, *self.under.get(profile, ())))

    def too_small(self, profile: str, size: Size) -> list[str]:
        """What to say before a run that is too small for intervals, which profiles never are.

        Example:
            >>> Suite("s", "", sizes={"quick": Size(16, 5)}).too_small("quick", Size(1, 5))
            ['s: --images 1 leaves nothing to compute intervals from, and without them hardly a verdict; give at least 2']
            >>> Suite("s", "", sizes={"quick": Size(16, 1)}).too_small("quick", Size(16, 1))
            []
        """
        few = [key for key in ("images", "seeds") if getattr(size, key) < 2 <= getattr(self.sizes[profile], key)]
        given = " and ".join(f"--{key} 1" for key in few)
        why = "leaves nothing to compute intervals from, and without them hardly a verdict; give at least 2"
        return [f"{self.name}: {given} {why}"] if few else []

    @property
    def runs(self) -> tuple[Suite, ...]:
        """The suites that are run: its parts, or itself."""
        return self.parts or (self,)
