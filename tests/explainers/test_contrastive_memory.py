"""The memory of searches does not grow with the number of images: however many there are, few go through a network at once."""

import pytest
import torch
from torch import nn

import explainers
from explainers.passes import rows_for
from models.adapters import from_tensor

SEEN = []
PLACE = "tests/explainers/toy_generators.py"


class Counting(nn.Module):
    """A linear classifier that notes how many images it sees at once."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(16, 3)
        with torch.no_grad():
            self.last.weight.copy_(torch.linspace(-2, 2, 48).view(3, 16).roll(1, 0))
            self.last.bias.zero_()

    def forward(self, x):
        SEEN.append(len(x))
        return self.last(x.flatten(1))


@pytest.mark.parametrize(
    "name",
    [
        f"cdeepex[generator={PLACE}:pixels]", f"xgem[generator={PLACE}:pixels]", f"cdeepex[generator={PLACE}:blind]",
    ],
)  # fmt: skip
def test_no_pass_is_larger_than_what_fits(name):
    images = torch.rand(140, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    subject = from_tensor(Counting().eval(), images)
    targets = subject.predict(images)
    largest = []
    for count in (70, 140):
        SEEN.clear()
        found = explainers.get(name).explain(subject, images[:count], targets[:count])
        assert len(found.outcome) == count
        largest.append(max(SEEN))
    assert largest[0] == largest[1] <= rows_for(images) < 70
