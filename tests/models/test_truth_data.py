"""Images with known evidence: what the masks say is what the pixels show, and every image can be made alone."""

from collections import Counter

import numpy as np
import pytest
import torch

import explainers
from models.adapters import from_tensor
from models.base import Subject
from models.data import ImageSet, datasets, fashion_mnist, load_data
from models.naming import UsageError
from models.truth import Box, Cell, Scene, mosaics_of
from models.truth.cue import APART, SIDE, Cues
from models.truth.draws import Draws
from models.truth.sets import NAMES, made_set, mosaics

MADE = ("fmnist-mosaic", "fmnist-cue", "fmnist-difull")


def items_of(data: ImageSet, count: int) -> set[int]:
    scenes = [data.truth.scene(index) for index in range(count)]
    return {cell.item for scene in scenes for cell in scene.cells if cell.item is not None}


@pytest.mark.parametrize("name", NAMES)
def test_the_sets_are_known_and_well_formed(name):
    data = load_data(name)
    images = data.load([0, len(data) - 1])
    assert name in [card.name for card in datasets()]
    assert len(data) == len(data.ids) == len(set(data.ids)) == data.truth.count == 5_000
    assert images.shape == (2, *data.shape) == (2, *data.truth.shape) and images.dtype == torch.float32
    assert float(images.min()) >= 0 and float(images.max()) <= 1
    assert data.truth.num_classes == len(data.class_names) and int(data.labels.max()) < len(data.class_names)
    assert all(data.labels[index] in data.truth.present(index) for index in range(200))


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_the_order_of_access(name):
    data = load_data(name)
    again = made_set.__wrapped__(name, 0, 12)
    together = data.load([7, 3, 11])
    alone = torch.cat([again.load([index]) for index in (7, 3, 11)])
    assert again is not data and torch.equal(together, alone)
    assert data.truth.scene(3) == again.truth.scene(3) and (data.labels[:12] == again.labels).all()


@pytest.mark.parametrize("name", MADE)
def test_replacements_depend_on_the_draw_alone(name):
    truth = load_data(name).truth
    label = truth.present(4)[0]
    assert torch.equal(truth.replace(4, label, 1), truth.replace(4, label, 1))
    assert name == "fmnist-cue" or not torch.equal(truth.replace(4, label, 1), truth.replace(4, label, 2))


@pytest.mark.parametrize("name", MADE)
def test_labels_are_spread_over_the_classes(name):
    data = load_data(name)
    counts = np.bincount(data.labels, minlength=data.truth.num_classes)
    assert counts.min() > 0.75 * counts.mean() and counts.max() < 1.25 * counts.mean()


def test_another_seed_gives_other_images():
    assert not torch.equal(made_set("fmnist-mosaic", 1, 8).load([0]), made_set("fmnist-mosaic", 0, 8).load([0]))


@pytest.mark.parametrize("name", ["fmnist-mosaic", "fmnist-difull"])
def test_every_cell_holds_the_item_of_its_class_and_gaps_are_black(name):
    data, items = load_data(name), fashion_mnist("test")
    for index in range(40):
        scene, image = data.truth.scene(index), data.load([index])[0, 0]
        inside = torch.zeros(64, 64, dtype=torch.bool)
        for place, cell in enumerate(scene.cells):
            rows, columns = cell.box.place()
            inside[cell.box.place(2)] = True
            if cell.label is None:
                assert float(image[rows, columns].abs().sum()) == 0
            else:
                assert torch.equal(image[rows, columns], items.load([cell.item])[0, 0])
                offset = 10 * place if name == "fmnist-difull" else 0
                assert items.labels[cell.item] == cell.label - offset
        assert float(image[~inside].abs().sum()) == 0  # two black pixels at each side of a cell: four between items


def test_masks_are_the_boxes_of_the_class_and_of_no_other():
    truth = load_data("fmnist-mosaic").truth
    for index in range(40):
        masks = truth.masks(index)
        assert tuple(masks) == truth.present(index)
        assert np.stack(list(masks.values())).sum(0).max() == 1  # no pixel is evidence of two classes
        for label, mask in masks.items():
            assert mask.sum() == 1024 * len(truth.scene(index).holding(label))
            assert truth.mask(index, label, margin=2).sum() == 784 * len(truth.scene(index).holding(label))
    absent = next(label for label in range(10) if label not in truth.present(0))
    assert not truth.mask(0, absent).any()


def test_explained_mosaics_show_two_or_four_classes_with_empty_and_double_cells():
    truth = load_data("fmnist-mosaic").truth
    scenes = [truth.scene(index) for index in range(400)]
    counts = Counter((scene.layout, len(scene.present)) for scene in scenes)
    assert counts == {("2x2", 4): 250, ("1x2", 2): 100, ("2x2", 2): 50}
    of_two = [scene for scene in scenes if scene.layout == "2x2" and len(scene.present) == 2]
    assert any(cell.label is None for scene in of_two for cell in scene.cells)
    assert any(len(scene.holding(scene.present[0])) > 1 for scene in of_two)


def test_training_mosaics_have_no_to_four_items_in_all_places():
    made = mosaics("fmnist-mosaic", "train10k")
    scenes = [made.trained(index) for index in range(600)]
    filled = [sum(cell.label is not None for cell in scene.cells) for scene in scenes]
    assert set(filled) == {0, 1, 2, 3, 4} and {scene.layout for scene in scenes} == {"2x2", "1x2"}
    places = Counter(place for scene in scenes for place, cell in enumerate(scene.cells) if cell.label is not None)
    assert set(places) == {0, 1, 2, 3}
    assert any(len(scene.present) < sum(cell.label is not None for cell in scene.cells) for scene in scenes)
    classes = Counter(cell.label for scene in scenes for cell in scene.cells if cell.label is not None)
    assert set(classes) == set(range(10)) and max(classes.values()) < 2 * min(classes.values())


def test_places_of_the_classes_are_balanced():
    truth = load_data("fmnist-mosaic").truth
    seen = np.zeros((10, 4))
    for index in range(2_000):
        scene = truth.scene(index)
        for place, cell in enumerate(scene.cells):
            if scene.layout == "2x2" and cell.label is not None:
                seen[cell.label, place] += 1
    assert seen.min() > 0.75 * seen.mean() and seen.max() < 1.25 * seen.mean()


@pytest.mark.parametrize("name", MADE)
def test_explained_and_training_images_share_no_item(name):
    test, train = fashion_mnist("test"), fashion_mnist("train10k")
    pixels = {image.tobytes() for image in train.read(range(len(train)))}
    explained = load_data(name)
    used = items_of(explained, 300) or {explained.truth.scene(index).carrier for index in range(300)}
    assert len(used) > 200 and not any(test.read([item])[0].tobytes() in pixels for item in used)
    assert set(explained.ids).isdisjoint(load_data(f"{name}-train").ids)


@pytest.mark.parametrize("name", ["fmnist-mosaic", "fmnist-difull"])
def test_replaced_cells_show_absent_classes_and_all_else_stays(name):
    data, items = load_data(name), fashion_mnist("test")
    for index in range(16):
        scene = data.truth.scene(index)
        shown = {int(items.labels[cell.item]) for cell in scene.cells if cell.item is not None}
        for label in scene.present:
            changed = data.truth.refill(scene, scene.holding(label), 5)
            image = data.truth.replace(index, label, 5)
            mask = torch.from_numpy(data.truth.mask(index, label))
            assert label not in changed.present
            assert all(int(items.labels[changed.cells[n].item]) not in shown for n in scene.holding(label))
            assert torch.equal(image[0][~mask], data.load([index])[0, 0][~mask])
            assert not torch.equal(image[0][mask], data.load([index])[0, 0][mask])


def test_a_cell_is_refilled_alike_alone_and_together():
    truth = load_data("fmnist-mosaic").truth
    scene = truth.scene(0)
    together = truth.refill(scene, [0, 2], 1)
    assert truth.refill(scene, [0], 1).cells[0] == together.cells[0]
    assert truth.refill(scene, [2], 1).cells[2] == together.cells[2]
    assert torch.equal(truth.replace_cells(0, [0, 2], 1), truth.images([together])[0])


def test_cue_patterns_differ_also_when_mirrored_or_turned():
    patterns = Cues(fashion_mnist("test"), "any").patterns > 0
    assert patterns.shape == (10, SIDE, SIDE) and set(patterns.sum((1, 2))) <= {12, 13}
    for a in range(10):
        for b in range(a):
            for turned in (patterns[b], patterns[b].T):
                assert all((np.rot90(turned, times) != patterns[a]).sum() >= APART for times in range(4))


def test_cues_replace_pixels_of_a_carrier_and_nothing_else():
    data, items = load_data("fmnist-cue"), fashion_mnist("test")
    patterns = torch.from_numpy(Cues(items, "any").patterns.astype(np.float32) / 255)
    for index in range(40):
        scene, image = data.truth.scene(index), data.load([index])[0, 0].clone()
        assert len(scene.present) == len(scene.cells) == (1 if index % 4 == 3 else 2)
        for cell in scene.cells:
            assert torch.equal(image[cell.box.place()], patterns[cell.label])
            assert data.truth.mask(index, cell.label).sum() == 25
            assert data.truth.mask(index, cell.label, margin=-2).sum() <= 81
        carrier = items.load([scene.carrier])[0, 0]
        covered = torch.from_numpy(np.any(list(data.truth.masks(index).values()), axis=0))
        assert torch.equal(image[~covered], carrier[~covered])
        assert torch.equal(data.truth.images([data.truth.refill(scene, [0, 1], 0)])[0, 0], carrier)


def test_two_cues_stand_apart_and_everywhere():
    truth = load_data("fmnist-cue").truth
    boxes = [[cell.box for cell in truth.scene(index).cells] for index in range(1_000)]
    for a, b in (pair for pair in boxes if len(pair) == 2):
        assert max(abs(a.top - b.top), abs(a.left - b.left)) >= SIDE + 2
    tops, lefts = np.array([(box.top, box.left) for pair in boxes for box in pair]).T
    assert {int(tops.min()), int(lefts.min())} == {0} and {int(tops.max()), int(lefts.max())} == {27}
    assert max(np.bincount(tops // 7)[:4]) < 1.2 * min(np.bincount(tops // 7)[:4])


def test_carriers_are_independent_of_the_cue():
    data, items = load_data("fmnist-cue"), fashion_mnist("test")
    table = np.zeros((10, 10))
    for index in range(5_000):
        table[data.labels[index], items.labels[data.truth.scene(index).carrier]] += 1
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    assert ((table - expected) ** 2 / expected).sum() < 126  # 81 degrees of freedom: the 99.9% point is 126


def test_edits_of_cues():
    truth = load_data("fmnist-cue").truth
    scene = truth.scene(0)
    other = truth.edits["carrier"](scene, 0)
    assert other.cells == scene.cells and other.carrier != scene.carrier
    moved = truth.edits["elsewhere"](scene, 0)
    assert moved.present == scene.present and moved.carrier == scene.carrier and moved.cells != scene.cells
    swapped = truth.edits["counterfactual"](scene, 0)
    assert [c.box for c in swapped.cells] == [c.box for c in scene.cells]
    assert set(swapped.present).isdisjoint(scene.present)


def test_training_cues_are_none_one_or_two():
    made = Cues(fashion_mnist("train10k"), "any")
    counts = Counter(len(made.trained(index).cells) for index in range(300))
    assert set(counts) == {0, 1, 2} and min(counts.values()) > 60


@pytest.mark.parametrize("name", MADE)
def test_evidence_is_found_from_the_pixels(name):
    data = load_data(name)
    indices = [17, 3, 250]
    targets = torch.tensor([data.truth.present(index)[-1] for index in indices])
    masks = data.truth.evidence(data.load(indices), targets)
    assert masks.shape == (3, 1, *data.shape[1:])
    for row, index in enumerate(indices):
        assert (masks[row, 0].numpy() == data.truth.mask(index, int(targets[row]))).all()


def test_an_unknown_image_has_no_evidence():
    data = load_data("fmnist-cue")
    with pytest.raises(UsageError, match="none of the 5,000 images"):
        data.truth.evidence(data.load([0]) * 0.5, torch.tensor([0]))


@pytest.mark.parametrize("name", MADE)
def test_the_oracle_explainer_is_the_evidence(name):
    data = load_data(name)
    subject = Subject("any", torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(40)), data, data)
    subject.model(data.load([0]))
    targets = torch.from_numpy(data.labels[[0, 1]])
    found = explainers.get("oracle").explain(subject, data.load([0, 1]), targets)
    assert torch.equal(found.attribution, data.truth.evidence(data.load([0, 1]), targets))
    assert list(found.status) == ["ok", "ok"]


def test_targets_are_the_classes_shown():
    truth = load_data("fmnist-mosaic").truth
    wanted = truth.targets([0, 5])
    assert wanted.shape == (2, 10) and wanted.sum(1).tolist() == [4, 2]
    assert tuple(np.flatnonzero(wanted[0])) == truth.present(0)


def own_images(classes: int, side: int = 20, channels: int = 3) -> ImageSet:
    pixels = np.random.default_rng(0).random((40, channels, side, side)).astype(np.float32)
    labels = np.arange(40) % classes
    names = tuple(str(label) for label in range(classes))
    return ImageSet("own", labels, [f"own/{i}" for i in range(40)], names, pixels.shape[1:], lambda i: pixels[list(i)])


@pytest.mark.parametrize(("classes", "most"), [(2, 2), (3, 2), (5, 4), (10, 4)])
def test_mosaics_of_own_images(classes, most):
    data = own_images(classes)
    made = mosaics_of(data, count=24)
    assert made.shape == data.shape and made.class_names == data.class_names and made.truth.kind == "mosaic"
    counts = {len(made.truth.present(index)) for index in range(24)}
    assert max(counts) == most and min(counts) == 2
    for index in range(24):
        scene, image = made.truth.scene(index), made.load([index])[0]
        for cell in scene.cells:
            if cell.label is not None:
                assert data.labels[cell.item] == cell.label
                assert image[:, *cell.box.place()].shape == (3, 10, 10)
                # Scaling down by two with antialiasing keeps the mean of the inner pixels.
                whole = data.load([cell.item])[0]
                assert abs(float(image[:, *cell.box.place()].mean() - whole.mean())) < 0.05


def test_cells_that_cannot_show_another_class_are_emptied():
    truth = mosaics_of(own_images(2), count=8).truth
    assert float(truth.replace(0, truth.present(0)[0])[:, truth.mask(0, truth.present(0)[0])].abs().sum()) == 0


def test_own_mosaics_do_not_depend_on_the_order_and_keep_odd_sizes():
    data = own_images(10, side=21)
    a, b = mosaics_of(data, count=8), mosaics_of(data, count=8)
    assert a.shape == (3, 21, 21) and torch.equal(a.load([5, 1])[1], b.load([1])[0])
    assert not torch.equal(a.load([0]), mosaics_of(data, count=8, seed=1).load([0]))


def test_own_images_that_cannot_be_tiled_are_refused():
    with pytest.raises(UsageError, match="at least two classes"):
        mosaics_of(own_images(1))
    with pytest.raises(UsageError, match="8x8"):
        mosaics_of(own_images(4, side=6))


def test_boxes_and_scenes():
    box = Box(2, 3, 4, 5)
    assert box.place() == (slice(2, 6), slice(3, 8)) and box.place(1) == (slice(3, 5), slice(4, 7))
    assert Box(0, 0, 4, 4).place(-2) == (slice(0, 6), slice(0, 6))
    scene = Scene("2x2", (Cell(box, 4, 1), Cell(box, None), Cell(box, 2, 0), Cell(box, 4, 9)))
    assert scene.present == (2, 4) and scene.holding(4) == (0, 3) and scene.holding(7) == ()
    assert scene.with_cells({0: Cell(box, 7, 1)}).present == (2, 4, 7)


def test_draws_are_those_of_a_known_generator():
    draws = Draws(0, "a", 1)
    words = np.random.PCG64(__import__("models").derive(0, "a", 1)).random_raw(6)
    assert draws.below(10) == int(words[0]) % 10 and draws.order(5) == np.argsort(words[1:]).tolist()


def test_data_without_known_evidence_say_so():
    subject = from_tensor(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), torch.rand(4, 1, 8, 8))
    assert subject.data.truth is None and load_data("fashion-mnist").truth is None
