"""Class discrimination: does a map answer for the class that was asked about, and does it point at that class's evidence?

One block of images is asked about several classes; every (image, class) is explained once per explainer, whatever number
of checks reads the map. Images that the model gets wrong are left out of what they cannot answer, as `not-applicable`
rows, so that they are counted.

Source: Nuzzo 2020, section 7.3; Boehle et al. 2021 (grid pointing game); Rao et al. 2022 (DiFull).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bench.protocols import Protocol
from models.base import Subject
from models.naming import UsageError
from models.snapshot import Snapshot

from .asked import FIRST, LEAST, OTHER, SECOND, SHOWN, Asked, ask
from .base import CellResult
from .class_answers import Answers
from .class_rows import Sheet, picture
from .class_searches import PROBES, other_probes
from .class_similarity import alike, picked
from .localisation import LEAKS, Localised, contrast, leaks, localise, nothing
from .localisation import MEASURES as LOCALISED
from .passes import Maps, Violation, described, is_signed
from .scenes import Scenes, composed, own
from .similarity import MEASURES

if TYPE_CHECKING:
    from explainers import Explainer

PAIRS = {
    "class-similarity": (SHOWN, OTHER),
    "class-similarity-top2": (FIRST, SECOND),
    "class-similarity-least": (FIRST, LEAST),
}
"""Check -> the two classes whose maps are compared."""

LOCATED = ("grid-localisation", "planted-cue")
EXACT = "exact-zero"
CEILING, FLOOR = "class-ceiling", "class-floor"
PICTURES = 4


def run_block(
    subject: Subject,
    explainers: Sequence[Explainer],
    indices: Sequence[int],
    seed: int,
    *,
    protocol: Protocol,
    wanted: Collection[tuple[str, str]],
    base: int,
    batch_size: int | None = None,
    pictures: int = 0,
) -> Iterator[CellResult]:
    """The checks of class discrimination on one block of images, for all explainers at once.

    Args:
        subject: the trained model; it is not changed.
        explainers: with the names in `wanted`.
        indices: of the block's images in `subject.data`.
        seed: index of the repeat for `class-ceiling` and of the draw for `class-floor`, 0 for all else.
        protocol: all choices that change a number.
        wanted: pairs (check, explainer).
        base: base seed of the run.
        batch_size: explanations per pass, None for everything at once.
        pictures: of how many images (at most 4) maps for two classes are brought along.

    Yields:
        One result per wanted pair. `grid-localisation` on images of which nothing is known is asked on mosaics that are made
        of them, as many as there are images. What cannot be asked at all (images of one class, a model with one class)
        gives results with an error that says why.
    """
    own_images = {pair for pair in wanted if subject.data.truth is not None or pair[0] not in LOCATED}
    parts: list[tuple[Callable[[Subject, Sequence[int]], Scenes], set[tuple[str, str]]]] = [
        (own, own_images),
        (composed, set(wanted) - own_images),
    ]
    for make, part in parts:
        if not part:
            continue
        try:
            scenes = make(subject, indices)
            if scenes.subject.num_classes < 2:
                raise ValueError(f"{subject.name} has one class; telling classes apart needs a model with two or more")
        except Exception as error:
            for check, name in sorted(part):
                yield CellResult(name, check, error=described(error), seed=seed)
            continue
        members = [explainer for explainer in explainers if any(name == explainer.name for _, name in part)]
        questions = _Questions(scenes, members, part, seed, protocol, base, batch_size, min(pictures, PICTURES))
        yield from questions.run()


class _Questions:
    """All that is asked about one block of images; see `run_block`."""

    def __init__(
        self,
        scenes: Scenes,
        explainers: Sequence[Explainer],
        wanted: set[tuple[str, str]],
        seed: int,
        protocol: Protocol,
        base: int,
        batch_size: int | None,
        pictures: int,
    ) -> None:
        self.scenes, self.subject, self.wanted, self.seed = scenes, scenes.subject, wanted, seed
        self.protocol, self.base, self.batch_size, self.pictures = protocol, base, batch_size, pictures
        self.signed = {explainer.name: is_signed(explainer, protocol) for explainer in explainers}
        self.before = Snapshot(self.subject.model)
        self.images = scenes.images()
        self.anchor = FIRST if scenes.truth is None else SHOWN
        self.asked = self._ask()
        self.answers = Answers(scenes, explainers, self.asked, protocol, base, batch_size)
        self.errors, self.seconds = self.answers.errors, self.answers.seconds
        self._certified: dict[str, list[bool | None]] = {}

    def _ask(self) -> Asked:
        checks = {check for check, _ in self.wanted}
        roles = [role for check, pair in PAIRS.items() if check in checks for role in pair]
        roles += [role for check in LOCATED if check in checks for role in (SHOWN, OTHER)]
        roles += [SHOWN] if EXACT in checks else []
        roles += [self.anchor] if checks & {CEILING, FLOOR, PROBES} else []
        logits = self.subject.predict_logits(self.images, self.batch_size or 256).double().cpu()
        scenes = self.scenes
        return ask(logits, scenes.labels, scenes.ids, scenes.shown, list(dict.fromkeys(roles)))

    def run(self) -> Iterator[CellResult]:
        """All wanted results, check by check."""
        for check in sorted({check for check, _ in self.wanted}):
            names = sorted(name for kind, name in self.wanted if kind == check)
            sheets, refused = self._measured(check, names)
            changed = None if self.before.holds(self.subject.model) else self._changed()
            for name in names:
                error = self.errors.get(name) or refused or changed
                result = CellResult(name, check, error=error, seconds=self.seconds.get(name, 0.0), seed=self.seed)
                if not error:
                    result.rows = sheets[name].rows(self.subject.name, name, self.seed, self.scenes.ids)
                    result.pictures = self._picture(check, name)
                yield result

    def _changed(self) -> dict[str, Any]:
        return described(
            Violation(f"the model {self.subject.name!r} is not as it was before the block; an explainer changed it")
        )

    def _measured(self, check: str, names: list[str]) -> tuple[dict[str, Sheet], dict[str, Any] | None]:
        """What a check measured, per explainer, or why the images cannot be scored; failing explainers go to `errors`."""
        special = {CEILING: self._repeated, FLOOR: self._redrawn, PROBES: self._probed, EXACT: self._leaks}
        measure = special.get(check)
        if measure is None:
            measure = self._pair if check in PAIRS else self._located
        try:
            return measure(check, [name for name in names if name not in self.errors]), None
        except UsageError as error:
            return {}, described(error)

    def _sheet(self, check: str, role: str, name: str) -> Sheet:
        return Sheet(check, self.asked.of(role), seconds=self.seconds.get(name, 0.0) / max(1, len(self.asked.places)))

    def _numbers(self, role: str) -> list[int]:
        return [number for number in self.asked.roles[role] if number is not None]

    def _places(self, rows: Sequence[int]) -> list[int]:
        return [self.asked.places[row] for row in rows]

    def _both(self, first: str, second: str) -> tuple[list[int], list[int]]:
        """Numbers of the explanations of both classes, for the images that have both."""
        pairs = zip(self.asked.roles[first], self.asked.roles[second], strict=True)
        found = [(one, two) for one, two in pairs if one is not None and two is not None]
        return [one for one, _ in found], [two for _, two in found]

    def _pair(self, check: str, names: list[str]) -> dict[str, Sheet]:
        first, second = PAIRS[check]
        one, two = self._both(first, second)
        other = {name: picked(maps, two) for name, maps in self.answers.maps.items()}
        sheets = self._compared(check, first, names, one, other)
        if check == "class-similarity":
            pairs = list(zip(self._certificates(SHOWN), self._certificates(OTHER), strict=True))
            both = [None if one is None or two is None else one and two for one, two in pairs]
            for sheet in sheets.values():
                sheet.flag("certified", both)
        return sheets

    def _compared(
        self, check: str, role: str, names: Sequence[str], rows: list[int], other: dict[str, Maps]
    ) -> dict[str, Sheet]:
        """Similarity of the trained model's maps in a role with other maps; what cannot be compared is not applicable."""
        first = {
            name: picked(self.answers.maps[name], rows) for name in names if name in self.answers.maps and name in other
        }
        found = alike(first, other, self.signed, self.protocol) if rows else {}
        sheets = {}
        for name in names:
            sheet = sheets[name] = self._sheet(check, role, name)
            for measure in MEASURES:
                if name in found:
                    part = found[name]
                    sheet.put(measure, self._places(rows), part.values[measure].tolist(), part.statuses[measure])
                else:
                    sheet.put(measure, [], [], [])
        return sheets

    def _repeated(self, check: str, names: list[str]) -> dict[str, Sheet]:
        rows = self._numbers(self.anchor)
        again = self.answers.again(names, rows, self.seed)
        return self._compared(check, self.anchor, [name for name in names if name not in self.errors], rows, again)

    def _probed(self, check: str, names: list[str]) -> dict[str, Sheet]:
        """The explained class against two probe classes, one after the other, for explainers that search between two."""
        rows = self._numbers(self.anchor)
        found = self.answers.towards_another(names, rows) if self.subject.num_classes > 2 else {}
        sheets = self._compared(check, self.anchor, [name for name in names if name not in self.errors], rows, {})
        for name, other in found.items():
            places = other_probes(picked(self.answers.maps[name], rows), other)
            kept = [rows[place] for place in places]
            sheets.update(self._compared(check, self.anchor, [name], kept, {name: picked(other, places)}))
        return sheets

    def _redrawn(self, check: str, names: list[str]) -> dict[str, Sheet]:
        rows = self._numbers(self.anchor)
        drawn = self.answers.without_the_model(names, rows, self.seed) if rows else {}
        return self._compared(check, self.anchor, [name for name in names if name not in self.errors], rows, drawn)

    def _certificates(self, role: str) -> list[bool | None]:
        if role not in self._certified:
            rows = self._numbers(role)
            flags = iter(self.scenes.certified(self._places(rows), [self.asked.classes[row] for row in rows]))
            self._certified[role] = [None if number is None else next(flags) for number in self.asked.roles[role]]
        return self._certified[role]

    def _masks(self, rows: Sequence[int]) -> Tensor:
        masks = self.scenes.masks(self._places(rows), [self.asked.classes[row] for row in rows])
        return masks.to(self.images.device)

    def _located(self, check: str, names: list[str]) -> dict[str, Sheet]:
        rows = self._numbers(SHOWN)
        one, two = self._both(SHOWN, OTHER)
        certified = self._certificates(SHOWN)
        sheets = {}
        for name in names:
            sheet = sheets[name] = self._sheet(check, SHOWN, name)
            found = self._localised(name, rows, rows)
            for measure in LOCALISED:
                sheet.put(measure, self._places(rows), found.values[measure].tolist(), found.statuses[measure])
            values, statuses = contrast(self._localised(name, one, one), self._localised(name, two, one))
            sheet.put("contrast", self._places(one), values.tolist(), statuses)
            sheet.flag("certified", certified)
        return sheets

    def _localised(self, name: str, rows: Sequence[int], evidence: Sequence[int]) -> Localised:
        """Maps of some explanations against the evidence of the classes of these or of others."""
        masks = self._masks(evidence)
        if name not in self.answers.maps:
            return nothing(len(rows))
        here = picked(self.answers.maps[name], rows)
        return localise(here.maps, masks, here.failed)

    def _leaks(self, check: str, names: list[str]) -> dict[str, Sheet]:
        rows = self._numbers(SHOWN)
        sheets = {}
        self._certificates(SHOWN)
        for name in names:
            sheet = sheets[name] = self._sheet(check, SHOWN, name)
            here = picked(self.answers.maps[name], rows) if name in self.answers.maps else None
            found = None if here is None else leaks(here.maps, self._masks(rows), here.failed)
            for measure in LEAKS:
                if found is None:
                    sheet.put(measure, [], [], [])
                else:
                    sheet.put(measure, self._places(rows), found.values[measure].tolist(), found.statuses[measure])
        return sheets

    def _picture(self, check: str, name: str) -> dict[str, Any] | None:
        """The maps of the first images for two classes, with the checks whose pictures are drawn."""
        known = self.scenes.truth is not None
        pictured = ("class-similarity" if known else "class-similarity-top2", *(LOCATED if self.scenes.made else ()))
        if not self.pictures or check not in pictured or name not in self.answers.maps:
            return None
        one, two = self._both(*PAIRS.get(check, (SHOWN, OTHER)))
        one, two = one[: self.pictures], two[: self.pictures]
        if not one:
            return None
        places, names = self._places(one), self.subject.class_names
        classes = [
            [self.asked.classes[first], self.asked.classes[second]] for first, second in zip(one, two, strict=True)
        ]
        meta = {
            "subject": self.subject.name, "explainer": name, "check": check, "seed": self.seed,
            "signed": self.signed[name], "images": [self.scenes.ids[place] for place in places], "layers": [],
            "targets": classes, "classes": [[names[label] for label in pair] for pair in classes],
        }  # fmt: skip
        maps = self.answers.maps[name].maps
        masks = (self._masks(one), self._masks(two)) if known else None
        return picture(meta, self.images[places], maps[one], maps[two], masks, self.scenes.boxes(places))
