"""Replacements: what stands in place of a pixel, and noisy linear imputation against a dense solve."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bench.checks.perturbation import road
from bench.checks.perturbation.replacements import NAMES, mean_colour, replacement
from models.naming import UsageError

from .perturbed import COUNT, SIDE, made, small

ALL = torch.ones(COUNT, SIDE, SIDE, dtype=torch.bool)
ROWS = torch.arange(COUNT)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_in_the_mask_stays_and_images_are_left_alone(name: str) -> None:
    subject = small()
    images = subject.data.load(range(COUNT))
    before = images.clone()
    masks = torch.rand(COUNT, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) < 0.4
    chosen = made(name, subject)
    found = chosen.copies(ROWS, masks, 0)
    kept = ~masks[:, None].expand_as(images)
    assert torch.equal(found[kept], images[kept]) and not torch.equal(found, images)
    assert torch.equal(images, before) and found.dtype == images.dtype
    part = chosen.copies(torch.tensor([3, 1]), masks[[3, 1]], 0)
    assert torch.equal(part, found[[3, 1]])


@pytest.mark.parametrize("name", NAMES)
def test_differs_says_where_a_replacement_is_not_the_pixel(name: str) -> None:
    subject = small()
    subject.data.images[:, :, :3] = 0.0  # type: ignore[attr-defined]
    chosen = made(name, subject)
    if chosen.differs is not None:
        images = subject.data.load(range(COUNT))
        assert torch.equal(chosen.differs(0), (chosen.copies(ROWS, ALL, 0) != images).any(1))
    if name == "black":
        assert chosen.differs is not None and not chosen.differs(0)[:, :3].any()


def test_uniform_is_drawn_anew_for_every_pixel_channel_image_and_draw() -> None:
    subject = small(side=32)
    masks = torch.ones(COUNT, 32, 32, dtype=torch.bool)
    draws = [made("uniform", subject).copies(ROWS, masks, draw) for draw in range(5)]
    fields = torch.stack(draws)
    assert made("uniform", subject).draws == 5
    assert 0 <= fields.min() < 0.01 and 0.99 < fields.max() <= 1
    # One value per image, the same in all channels or between draws would leave one of these at 0.
    spread = fields.var(dim=(3, 4))
    assert ((spread - 1 / 12).abs() < 0.012).all()
    flat = fields.permute(0, 1, 2, 3, 4).reshape(5 * COUNT * 3, -1)
    others = torch.corrcoef(flat) - torch.eye(len(flat))
    assert others.abs().max() < 5 / 32
    neighbours = (fields[..., 1:] - 0.5) * (fields[..., :-1] - 0.5)
    assert neighbours.mean().abs() < 0.002


def test_uniform_lives_in_the_space_of_pixels_whatever_the_normalisation() -> None:
    subject = small()
    other = type(subject)(
        name="small", model=subject.model, data=subject.data, reference=subject.reference, mean=(0.5,), std=(0.1,)
    )
    assert torch.equal(made("uniform", subject).copies(ROWS, ALL, 0), made("uniform", other).copies(ROWS, ALL, 0))


@pytest.mark.parametrize("name", ["uniform", "road"])
def test_noise_depends_on_the_image_and_not_on_its_place(name: str) -> None:
    subject = small()
    images, keys = subject.data.load(range(COUNT)), list(subject.data.ids)
    whole = replacement(name, subject, images, keys, 3, 2).copies(ROWS, ALL, 0)
    one = replacement(name, subject, images[2:3], keys[2:3], 3, 2).copies(ROWS[:1], ALL[:1], 0)
    assert torch.equal(whole[2:3], one)
    assert not torch.equal(replacement(name, subject, images, keys, 4, 2).copies(ROWS, ALL, 0), whole)


def test_mean_is_the_mean_colour_of_the_reference_images() -> None:
    subject = small()
    expected = subject.reference.load(range(20)).numpy().mean((0, 2, 3))
    np.testing.assert_allclose(mean_colour(subject).numpy(), expected, atol=1e-6)
    found = made("mean", subject).copies(ROWS, ALL, 0)
    assert torch.equal(found, mean_colour(subject).view(1, 3, 1, 1).expand_as(found))


def test_an_unknown_replacement_is_refused_with_near_names() -> None:
    with pytest.raises(UsageError, match="'blurr'.*did you mean 'blur'"):
        made("blurr", small())


def dense(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """The same linear system written pixel by pixel and solved as a full matrix."""
    channels, height, width = image.shape
    matrix, right = np.zeros((height * width,) * 2), np.zeros((height * width, channels))
    for y in range(height):
        for x in range(width):
            own = y * width + x
            if not missing[y, x]:
                matrix[own, own], right[own] = 1, image[:, y, x]
                continue
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if (dy or dx) and 0 <= y + dy < height and 0 <= x + dx < width:
                        weight = 1 / 12 if dy and dx else 1 / 6
                        matrix[own, own] += weight
                        matrix[own, (y + dy) * width + x + dx] -= weight
    return np.linalg.solve(matrix, right).T.reshape(channels, height, width)


@pytest.mark.parametrize("narrow", [road._NARROW, -1])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_imputation_agrees_with_a_dense_solve(share: float, narrow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(road, "_NARROW", narrow)
    rng = np.random.default_rng(3)
    image = rng.random((3, 9, 12))
    missing = rng.random((9, 12)) < share
    missing.flat[rng.integers(0, missing.size)] = True
    np.testing.assert_allclose(road.imputed(image, missing, np.zeros(3)), dense(image, missing), atol=1e-10)


def test_imputation_of_an_image_linear_in_its_place_is_exact_inside() -> None:
    y, x = np.mgrid[:10, :10]
    image = (0.03 * y + 0.05 * x)[None]
    missing = np.zeros((10, 10), bool)
    missing[2:8, 3:7] = True
    np.testing.assert_allclose(road.imputed(np.where(missing, 7.0, image), missing, np.zeros(1)), image, atol=1e-12)


def test_imputation_with_nothing_known_or_nothing_missing() -> None:
    image = np.random.default_rng(0).random((2, 4, 4))
    none, every = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert np.array_equal(road.imputed(image, none, np.zeros(2)), image)
    found = road.imputed(image, every, np.array([0.25, 0.75]))
    assert (found[0] == 0.25).all() and (found[1] == 0.75).all()


def test_road_adds_a_little_noise_to_the_missing_pixels_only() -> None:
    subject = small(side=32)
    images = subject.data.load(range(COUNT))
    masks = torch.zeros(COUNT, 32, 32, dtype=torch.bool)
    masks[:, 4:28, 4:28] = True
    found = made("road", subject).copies(ROWS, masks, 0)
    plain = np.stack([road.imputed(image.double().numpy(), masks[0].numpy(), np.zeros(3)) for image in images])
    noise = (found.double().numpy() - plain)[:, :, 4:28, 4:28]
    assert abs(noise.std() - 0.01) < 0.001 and abs(noise.mean()) < 0.001
