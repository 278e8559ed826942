"""The explanations of one block of images that class discrimination compares: of the trained model, and what they are held to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from bench.protocols import Protocol
from models.base import Subject
from models.randomize import randomized
from models.seeds import derive

from .asked import Asked
from .class_searches import searching, towards_another, unrelated
from .class_similarity import picked
from .health import examine
from .passes import Guard, Maps, Request, described, explain
from .scenes import Scenes

if TYPE_CHECKING:
    from explainers import Explainer


class Answers:
    """What the explainers say of one block of images.

    Args:
        scenes: the block.
        explainers: all that have work in it.
        asked: which image is explained for which class.
        protocol: all choices that change a number.
        base: base seed of the run.
        batch_size: explanations per pass, None for everything at once.

    Attributes:
        maps: of the trained model, per explainer in the order of `asked`; without explainers that cannot be asked.
        errors: explainers that failed, with the error.
        seconds: time per explainer.
    """

    def __init__(
        self,
        scenes: Scenes,
        explainers: Sequence[Explainer],
        asked: Asked,
        protocol: Protocol,
        base: int,
        batch_size: int | None,
    ) -> None:
        self.scenes, self.subject, self.asked = scenes, scenes.subject, asked
        self.protocol, self.base, self.batch_size = protocol, base, batch_size
        self.images = scenes.images()
        self.by_name = {explainer.name: explainer for explainer in explainers}
        self.errors: dict[str, dict[str, Any]] = {}
        self.seconds: dict[str, float] = {}
        self.same = derive(base, "explain", 0)
        self.maps = self._explained([name for name in self.by_name if self._able(name)], self.same)

    def _able(self, name: str) -> bool:
        """Whether an explainer has an answer at all; where it has none, that is no failure.

        The oracle has none about images of which nothing is known, and what was fitted to images none about mosaics of them.
        """
        if self.by_name[name].info.requires == "evidence":
            return self.scenes.truth is not None
        return not (self._fitted(name) and self.scenes.made)

    def _fitted(self, name: str) -> bool:
        return bool(getattr(self.by_name[name].info, "amortised", False))

    def request(self, seed: int, rows: Sequence[int] | None = None) -> Request:
        """All that is asked, or some of it."""
        chosen = range(len(self.asked.places)) if rows is None else rows
        places = torch.tensor([self.asked.places[row] for row in chosen], dtype=torch.int64, device=self.images.device)
        classes = torch.tensor([self.asked.classes[row] for row in chosen], dtype=torch.int64)
        return Request(self.images[places], classes.to(self.images.device), seed, self.protocol, self.batch_size)

    def _explained(
        self, names: Sequence[str], seed: int, rows: Sequence[int] | None = None,
        instead: Mapping[str, Explainer] | None = None,
    ) -> dict[str, Maps]:  # fmt: skip
        """The trained model's maps of these explainers, or of those that stand in for them."""
        request = self.request(seed, rows)
        if not len(request.targets) or not names:
            return {}
        guard = Guard(self.subject, request)
        return self._each(names, lambda name: guard.explain((instead or self.by_name)[name]), 0)

    def _each(self, names: Sequence[str], make: Callable[[str], Maps], stage: int | None) -> dict[str, Maps]:
        """What is made for each explainer; failing ones go to `errors`, with the stage of the model."""
        from explainers.passes import shared_passes

        found: dict[str, Maps] = {}
        with shared_passes():
            for name in names:
                start = time.perf_counter()
                try:
                    found[name] = make(name)
                except Exception as error:
                    self.errors[name] = described(error, stage)
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
        return found

    def _searching(self, names: Sequence[str]) -> dict[str, Any]:
        return searching(self.by_name, [name for name in names if name in self.maps], self.subject)

    def again(self, names: Sequence[str], rows: list[int], draw: int) -> dict[str, Maps]:
        """The trained model explained once more: with other random numbers, and from another beginning where it searches.

        Args:
            names: explainers; of others and of deterministic ones the maps that are there.
            rows: numbers of the explanations in `asked`.
            draw: index of the repeat.
        """
        found = {name: picked(maps, rows) for name, maps in self.maps.items()}
        seed = derive(self.base, "class ceiling", draw)
        anew = {name: each.redrawn(seed) for name, each in self._searching(names).items()}
        drawn = [name for name in names if name in found and name not in anew and self.by_name[name].info.stochastic]
        found.update(self._explained(drawn, seed, rows))
        found.update(self._explained(list(anew), self.same, rows, anew))
        return found

    def towards_another(self, names: Sequence[str], rows: list[int]) -> dict[str, Maps]:
        """The explanations of the same classes towards another probe class, for explainers that search."""
        others = {name: towards_another(self.by_name[name]) for name in self._searching(names)}
        return self._explained(list(others), self.same, rows, others)

    def without_the_model(self, names: Sequence[str], rows: list[int], draw: int) -> dict[str, Maps]:
        """What is left of the maps without the trained model: of one with random weights throughout, or a random move.

        Searches are moved at random in the latent space, each as far in the image as it went; explainers that were fitted to
        the trained model have no fit to a random one, and a dead model is not explained: none of them is in the result.

        Args:
            names, rows: see `again`.
            draw: index of the draw.
        """
        searches = self._searching(names)
        seed = derive(self.base, "class floor", draw)
        images = self.request(seed, rows).images

        def move(name: str) -> Maps:
            return unrelated(searches[name], picked(self.maps[name], rows), images, self.protocol, seed)

        rest = [name for name in names if name in self.maps and name not in searches and not self._fitted(name)]
        return {**self._each(list(searches), move, None), **(self._at_random(rest, rows, draw) if rest else {})}

    def _at_random(self, names: Sequence[str], rows: list[int], draw: int) -> dict[str, Maps]:
        """Maps of a model with random weights, with the random numbers of the trained model's maps."""
        model: Subject = randomized(
            self.subject, self.subject.stages, base=derive(self.base, "floor"), seed=draw,
            init=self.protocol.init, batchnorm=self.protocol.batchnorm,
        )  # fmt: skip
        labels = torch.tensor(self.scenes.labels, device=self.images.device)
        if not examine(model, self.images, labels, self.batch_size).healthy:
            return {}
        request = self.request(self.same, rows)
        return self._each(
            names,
            lambda name: explain(self.by_name[name].anchored(self.subject), model, request),
            self.subject.stages[-1].index,
        )
