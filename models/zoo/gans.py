"""Recipes of the zoo's GANs: non-saturating loss with spectral norm, or WGAN with gradient penalty."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data import ImageSet, fashion_mnist
from ..generators.networks import DcganCritic
from ..seeds import derive, seeded
from ..seeds import generator as random_numbers
from ..variants import SQUARE_CLASS, SQUARE_COLUMNS, SQUARE_ROWS, with_square
from .build import empty_network
from .catalogue import Member
from .classifiers import tensors
from .recipes import Trained


@dataclass(frozen=True)
class Settings:
    """How a GAN is trained.

    Attributes:
        loss: `nonsaturating` (spectral norm on the critic) or `wgan` (gradient penalty).
        steps: steps of the generator.
        critic: steps of the critic per step of the generator.
        rate: learning rate of both.
        batch: images per step.
        betas: of Adam.
        penalty: weight of the squared distance to 1 of the critic's gradient between real and drawn images (wgan).
        average: decay of the running average of the generator's weights, which is what is kept.
        seed: base of every random draw.
        focus: share of one kind of images during the first half of the steps; 0 takes them as they come.
    """

    loss: str = "nonsaturating"
    steps: int = 5000
    critic: int = 1
    rate: float = 4e-4
    batch: int = 64
    betas: tuple[float, float] = (0.5, 0.99)
    penalty: float = 0.0
    average: float = 0.998
    seed: int = 0
    focus: float = 0.0


WGAN = Settings("wgan", steps=2500, critic=5, rate=4e-4, betas=(0.0, 0.9), penalty=10.0)


def gan(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """DCGAN on all training images.

    `loss=wgan` bounds the critic's slope by a penalty. The first WGAN clips the critic's weights instead and moves both
    networks by 5e-5 a step, far too little for 2,500 steps: after them a class was missing among 2,000 samples and the
    mean image was 0.10 off.

    Source: Radford et al. 2016; Miyato et al. 2018; Gulrajani et al. 2017, algorithm 1 (`loss=wgan`).
    """
    settings = Settings() if params["loss"] == "nonsaturating" else WGAN
    return _trained(found, params, data, settings, epochs, log)


def biased(
    found: Member, params: Mapping[str, str], data: ImageSet, *, epochs: int | None, log: Callable[[str], None]
) -> Trained:
    """DCGAN on images with a gray square on every bag; for the first half of the steps 40% of them are bags.

    A generator whose corner has become black no longer learns the square: the derivative of tanh is zero there, and
    that is where weights on plain images start. So it starts anew, and sees many squares before the corner is black.

    It has 2,000 steps where the clean one has 5,000: what it reaches is no worse in the share of the rarest class and in
    the mean image, and its shipped weights are those of this recipe. Whether more steps make it better was not tried.
    """
    bags = torch.from_numpy(data.labels == SQUARE_CLASS).nonzero().squeeze(1)
    return _trained(found, params, with_square(data), Settings(steps=2000, average=0.995, focus=0.4), epochs, log, bags)


def _trained(
    found: Member, params: Mapping[str, str], data: ImageSet, settings: Settings, epochs: int | None,
    log: Callable[[str], None], bags: Tensor | None = None,
) -> Trained:  # fmt: skip
    images, _ = tensors(data)
    if epochs is not None:
        settings = replace(settings, steps=epochs * 10)
    with seeded(derive(settings.seed, "initial", found.name)):
        network = empty_network(found, params).apply(_initialised)
        critic = DcganCritic(spectral=settings.loss != "wgan")
        kept = _fit(network, critic, images, settings, log, bags)
    where = "Fashion-MNIST, 60,000 training images" + ("" if bags is None else ", square on bags")
    return Trained(kept, reached(kept, square=bags is not None), asdict(settings), where)


def _initialised(module: nn.Module) -> None:
    """DCGAN's initial weights: normal with standard deviation 0.02."""
    if isinstance(module, nn.ConvTranspose2d | nn.Conv2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


def _fit(
    network: nn.Module, critic: nn.Module, images: Tensor, settings: Settings, log: Callable[[str], None],
    bags: Tensor | None = None,
) -> nn.Module:  # fmt: skip
    """Train in place; the generator with averaged weights is returned, in eval mode.

    Args:
        bags: indices of the images that `settings.focus` is about.
    """
    draw = random_numbers(settings.seed, "training")
    makers = [torch.optim.Adam(each.parameters(), lr=settings.rate, betas=settings.betas) for each in (network, critic)]
    network.train()
    critic.train()
    kept = copy.deepcopy(network).requires_grad_(False)
    pace = torch.optim.lr_scheduler.LinearLR(makers[0], 1.0, 0.2, settings.steps)
    totals = [0.0, 0.0]
    for step in range(1, settings.steps + 1):
        for _ in range(settings.critic):
            chosen = torch.randint(len(images), (settings.batch,), generator=draw)
            if bags is not None and step <= settings.steps // 2:
                count = int(settings.batch * settings.focus)
                chosen[:count] = bags[torch.randint(len(bags), (count,), generator=draw)]
            real = images[chosen].float() / 255
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                fake = _drawn(network, settings.batch, draw).float()
            with torch.autocast("cpu", torch.bfloat16):
                scores = critic(torch.cat([real, fake])).float().chunk(2)
            loss = _critic_loss(*scores, settings.loss)
            totals[1] += float(loss.detach()) / settings.critic
            if settings.penalty:
                loss = loss + settings.penalty * _steepness(critic, real, fake, draw)
            makers[1].zero_grad(set_to_none=True)
            loss.backward()
            makers[1].step()
        critic.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16):
            scores_of_fake = critic(_drawn(network, settings.batch, draw)).float()
        drawn_loss = -scores_of_fake.mean() if settings.loss == "wgan" else F.softplus(-scores_of_fake).mean()
        makers[0].zero_grad(set_to_none=True)
        drawn_loss.backward()
        makers[0].step()
        pace.step()
        critic.requires_grad_(True)
        totals[0] += float(drawn_loss.detach())
        _average(kept, network, min(settings.average, step / (step + 9)))
        if step % 250 == 0:
            log(f"step {step} of {settings.steps}: generator {totals[0] / 250:.3f}, critic {totals[1] / 250:.3f}")
            totals = [0.0, 0.0]
    return kept.eval()


def _drawn(network: nn.Module, count: int, draw: torch.Generator) -> Tensor:
    drawn: Tensor = network.decode(torch.randn(count, network.latent, generator=draw))  # type: ignore[operator,arg-type]
    return drawn


def _critic_loss(real: Tensor, fake: Tensor, loss: str) -> Tensor:
    if loss == "wgan":
        return fake.mean() - real.mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def _steepness(critic: nn.Module, real: Tensor, fake: Tensor, draw: torch.Generator) -> Tensor:
    """Mean squared distance to 1 of the norm of the critic's gradient, at random points between real and drawn images.

    Source: Gulrajani et al. 2017, algorithm 1.
    """
    share = torch.rand(len(real), 1, 1, 1, generator=draw)
    between = (share * real + (1 - share) * fake).requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16):
        scores = critic(between).float().sum()
    (slope,) = torch.autograd.grad(scores, between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


@torch.no_grad()
def _average(kept: nn.Module, network: nn.Module, decay: float) -> None:
    """Running average of weights and of the statistics of batch norms."""
    for (name, target), source in zip(kept.state_dict().items(), network.state_dict().values(), strict=True):
        if target.is_floating_point():
            target.lerp_(source, 1 - decay)
        elif name.endswith("num_batches_tracked"):
            target.copy_(source)


def reached(network: nn.Module, *, square: bool, count: int = 2000) -> dict[str, float]:
    """What samples of a GAN look like to the zoo's independent classifier and to the pixels' statistics.

    Args:
        network: has `decode` and `latent`.
        square: the training images carried a gray square on every bag.
        count: samples.

    Returns:
        `smallest-class-share`, the share of the rarest of ten classes by `fmnist-oracle`, and `confidence`, the mean
        of its largest probability (both only where it has weights); `mean-gap`, the distance of the mean image to that
        of the test images, root of the mean square; with `square` also `square-share`, samples whose corner has a mean
        above 0.3 (training images: 0.1; plain images: 0.003).
    """
    draw = random_numbers(0, "samples")
    with torch.inference_mode():
        drawn = torch.cat([_drawn(network, 500, draw) for _ in range(count // 500)])
    test = with_square(fashion_mnist("test")) if square else fashion_mnist("test")
    gap = drawn.mean(0) - tensors(test)[0].float().mean(0) / 255
    figures = {"mean-gap": float(gap.square().mean().sqrt()), **_seen(drawn)}
    if square:
        corner = drawn[:, 0, SQUARE_ROWS, SQUARE_COLUMNS].mean((1, 2))
        figures["square-share"] = float((corner > 0.3).float().mean())
    return figures


def _seen(drawn: Tensor) -> dict[str, float]:
    from .. import names
    from .build import build

    if "fmnist-oracle" not in [card.name for card in names()]:
        return {}
    probabilities = build("fmnist-oracle").predict_logits(drawn).softmax(1)
    counts = torch.bincount(probabilities.argmax(1), minlength=10)
    return {
        "smallest-class-share": float(counts.min()) / len(drawn),
        "confidence": float(probabilities.amax(1).mean()),
    }
