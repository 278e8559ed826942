"""Figures about ranks say what their tables say."""

from __future__ import annotations

import numpy as np
import pytest

from reports import plots, plots_ranks, ranks
from reports.stats import Interval


def words(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_the_critical_difference_diagram_joins_what_cannot_be_told_apart():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (4, 40)) + np.array([[3.0], [0.0], [0.0], [-3.0]])
    found = ranks.friedman(values)
    names = ["best", "one", "two", "worst"]
    figure = plots_ranks.critical_difference(names, found)
    said = [text.split()[0] for text in words(figure)]
    assert (said[0], said[-1]) == ("best", "worst")
    assert f"critical difference {found.critical_difference:.2f}" in figure.axes[0].get_xlabel()
    bars = plots_ranks.cliques(np.sort(found.mean_ranks), found.critical_difference)
    assert bars == [(1, 2)]
    assert plots.to_bytes(figure, "svg").startswith(b"<?xml")


@pytest.mark.parametrize(("reach", "wanted"), [(0.0, []), (10.0, [(0, 3)]), (1.0, [(0, 1), (2, 3)])])
def test_groups_are_the_longest_ones(reach, wanted):
    assert plots_ranks.cliques([1.0, 2.0, 3.5, 4.0], reach) == wanted


def test_cost_and_faithfulness_names_every_point_once_and_labels_lie_apart():
    values = {f"explainer-{n}": Interval(0.1 * n, 0.1 * n - 0.05, 0.1 * n + 0.05) for n in range(8)}
    values["untimed"] = Interval(0.5, 0.4, 0.6)
    seconds = {name: 0.01 for name in values if name != "untimed"}
    figure = plots_ranks.cost_and_faithfulness(values, seconds, {"explainer-3": "FAIL", "explainer-4": "PASS"})
    assert sorted(words(figure)) == sorted(seconds)
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert set(legend) == {"FAIL", "PASS", "randomisation not run"}
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    overlaps = sum(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[:n])
    assert overlaps == 0
    assert not words(plots_ranks.cost_and_faithfulness({}, {}, {}))
