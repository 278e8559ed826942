"""The small network of the contrastive papers, two convolutions with pooling and fully connected layers.

Source: Feghahati et al. 2020, section 3.4 and appendix ("two sets of Conv/MaxPool/ReLU layers following by two fully
connected layers", 5x5 kernels, 10 and 20 channels, 50 hidden units, images of 64x64, MNIST). For Fashion-MNIST at 32x32
it has 16 and 32 channels, 120 hidden units and, as in Utkin et al. 2021, a layer of 20 units before the classes.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


class LeNet(nn.Sequential):
    """Layers conv1, conv2, fc1, fc2, fc3; (N, 1, 32, 32) normalised images -> (N, 10) logits.

    Example:
        >>> import torch
        >>> net = LeNet().eval()
        >>> net(torch.zeros(2, 1, 32, 32)).shape, net.features(torch.zeros(2, 1, 32, 32)).shape
        (torch.Size([2, 10]), torch.Size([2, 20]))
    """

    def __init__(self) -> None:
        super().__init__(OrderedDict[str, nn.Module](
            conv1=nn.Conv2d(1, 16, 5, padding=2), pool1=nn.MaxPool2d(2), relu1=nn.ReLU(),
            conv2=nn.Conv2d(16, 32, 5, padding=2), pool2=nn.MaxPool2d(2), relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            fc1=nn.Linear(32 * 64, 120), relu3=nn.ReLU(), drop=nn.Dropout(0.3),
            fc2=nn.Linear(120, 20), relu4=nn.ReLU(),
            fc3=nn.Linear(20, 10),
        ))  # fmt: skip

    def features(self, images: Tensor) -> Tensor:
        """The 20 values before the last ReLU, (N, 20), of normalised images."""
        x = images
        for name, layer in self.named_children():
            x = layer(x)
            if name == "fc2":
                break
        return x


class Siamese(nn.Module):
    """LeNet's layers up to 20 values, without classes: (N, 1, 32, 32) normalised images -> (N, 20).

    Source: Utkin et al. 2021, section V; Bromley et al. 1993.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = LeNet()
        del self.trunk.relu4, self.trunk.fc3

    def forward(self, images: Tensor) -> Tensor:
        """Embedding (N, 20) of normalised images (N, 1, 32, 32)."""
        return self.trunk.features(images)

    def features(self, images: Tensor) -> Tensor:
        """The embedding itself."""
        return self.forward(images)
