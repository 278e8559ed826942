"""A small network with a body given as a function: every way of writing an operation that the engine covers."""

import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    """conv, a body given as a function, mean, linear."""

    def __init__(self, body, channels=8, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem, self.conv, self.one = (
                nn.Conv2d(3, 8, 3, padding=1),
                nn.Conv2d(8, 8, 3, padding=1),
                nn.Conv2d(8, 8, 1),
            )
            self.odd = nn.Conv2d(8, 8, (2, 4), padding="same")
            self.up, self.group = nn.ConvTranspose2d(8, 8, 3, 2, 1, 1), nn.Conv2d(8, 8, 3, 2, groups=4, dilation=2)
            self.groupup = nn.ConvTranspose2d(8, 8, 2, 2, groups=4)
            self.reflect = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
            self.norm, self.prenorm = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
            self.relu, self.drop, self.head = nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(channels, 5)
            for norm in (self.norm, self.prenorm):
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 1.5)
        self.body = body

    def forward(self, x):
        h = self.body(self, F.relu(self.stem(x)))
        return self.head(h.mean((2, 3)) if h.dim() == 4 else h)


def shuffle(x):
    n, c, h, w = x.shape
    return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def halves(net, h):
    a, b = h.chunk(2, dim=1)
    return torch.cat((a, F.relu(b)), 1)


def split(net, h):
    a, b, c = torch.split(h, [2, 2, 4], dim=1)
    return torch.cat([c, b, a], dim=1)


def in_place_add(net, h):
    out = net.conv(h)
    out += h
    return out.relu_()


def preactivation(net, h):
    out = net.conv(F.relu(net.prenorm(h)))
    return net.one(F.relu(net.norm(out + h))) + h


def two_consumers(net, h):
    z = net.conv(h)
    return F.relu(z) + net.one(z)


def gated(net, h):
    gate = torch.sigmoid(net.one(F.relu(net.one(F.adaptive_avg_pool2d(h, 1)))))
    return net.conv(h) * gate


def gated_in_place(net, h):
    gate = net.one(h.mean((2, 3), keepdim=True))
    h = net.conv(h)
    h *= F.hardsigmoid(gate, inplace=True).expand_as(h)
    return h


BODIES = {
    "relu module": lambda net, h: net.relu(net.conv(h)),
    "relu in place": lambda net, h: F.relu_(net.conv(h)),
    "relu method": lambda net, h: net.conv(h).relu_(),
    "clamp": lambda net, h: net.conv(h).clamp(min=0),
    "threshold": lambda net, h: F.threshold(net.conv(h), 0.0, 0.0),
    "mask": lambda net, h: (lambda z: z * (z > 0))(net.conv(h)),
    "re-used conv": lambda net, h: net.relu(net.conv(net.relu(net.conv(h)))),
    "folded norm": lambda net, h: net.relu(net.norm(net.conv(h))),
    "dropout": lambda net, h: F.dropout(net.drop(net.conv(h)), 0.5, net.training, True),
    "asymmetric same": lambda net, h: net.odd(h),
    "transposed": lambda net, h: net.up(h),
    "grouped transposed": lambda net, h: net.groupup(h),
    "grouped dilated strided": lambda net, h: net.group(h),
    "reflected": lambda net, h: net.reflect(h),
    "overlapping maximum": lambda net, h: F.max_pool2d(net.conv(h), 3, 2, 1),
    "relu into overlapping maximum": lambda net, h: F.max_pool2d(F.relu(net.conv(h)), 3, 2, 1),
    "padded on some sides": lambda net, h: net.conv(F.pad(h, (1, 0, 2, 1))),
    "average": lambda net, h: F.avg_pool2d(net.conv(h), 3, 2, 1, count_include_pad=False),
    "adaptive average": lambda net, h: F.adaptive_avg_pool2d(net.conv(h), (3, 2)),
    "adaptive maximum": lambda net, h: F.adaptive_max_pool2d(net.conv(h), 1).flatten(1),
    "mean method": lambda net, h: net.conv(h).mean([2, 3]),
    "mean over one axis": lambda net, h: net.conv(h).mean(3).mean(2),
    "sum": lambda net, h: net.conv(h).sum((2, 3)),
    "amax": lambda net, h: net.conv(h).amax((2, 3)),
    "stacked": lambda net, h: torch.stack([h, net.conv(h)]).mean(0),
    "nearest": lambda net, h: F.interpolate(net.conv(h), scale_factor=2),
    "bilinear": lambda net, h: F.interpolate(net.conv(h), size=13, mode="bilinear"),
    "shuffle": lambda net, h: shuffle(net.conv(h)),
    "pixel shuffle": lambda net, h: F.pixel_unshuffle(F.pixel_shuffle(net.conv(h), 2), 2),
    "halves": halves,
    "split": split,
    "in-place add": in_place_add,
    "difference": lambda net, h: net.conv(h) - net.one(h),
    "weighted add": lambda net, h: torch.add(net.conv(h), h, alpha=-0.5),
    "python sum": lambda net, h: sum([h, net.conv(h), net.one(h)]),
    "pre-activation": preactivation,
    "two consumers": two_consumers,
    "squeeze and excitation": gated,
    "gate in place": gated_in_place,
    "affine": lambda net, h: 2 - (3 * net.conv(h) - 1) / 4,
    "item assignment": lambda net, h: (lambda z: z.__setitem__((slice(None), 0), h[:, 1]) or z)(net.conv(h)),
    "matmul": lambda net, h: net.conv(h).mean((2, 3)) @ net.one.weight[:, :, 0, 0],
}
