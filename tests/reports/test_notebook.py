"""The example notebook runs, without torch, and shows what it says."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import test_without_torch

nbclient = pytest.importorskip("nbclient")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytestmark = pytest.mark.slow

PATH = Path(__file__).parents[2] / "examples" / "reading_a_run.ipynb"


@pytest.fixture(scope="module")
def executed():
    book = nbformat.read(PATH, as_version=4)
    nbformat.validate(book)
    assert all(not cell.outputs for cell in book.cells if cell.cell_type == "code"), "kept without outputs"
    hide = nbformat.v4.new_code_cell(
        f"import sys; sys.path.insert(0, {str(PATH.parents[1])!r})\n{test_without_torch.HIDE}"
    )
    book.cells.insert(0, hide)
    nbclient.NotebookClient(
        book, timeout=300, startup_timeout=300, resources={"metadata": {"path": str(PATH.parent)}}
    ).execute()
    return book.cells[1:]


def outputs(cells, word):
    """What the code cell that holds a word shows, by type."""
    (cell,) = [cell for cell in cells if cell.cell_type == "code" and word in cell.source]
    found = {}
    for output in cell.outputs:
        assert output.output_type == "execute_result", (word, output)
        found.update(output.data)
    return found


def test_verdicts_show_well(executed):
    html = outputs(executed, ".style")["text/html"]
    for word in ("guided-backprop", "FAIL", "PASS", "background-color", "the maps stay"):
        assert word in html, word
    assert "nan" not in html


@pytest.mark.parametrize(
    "name",
    ["sensitivity_intervals", "similarity_curves", "model_health", "perturbation_differences", "critical_difference"],
)
def test_figures_are_pictures(executed, name):
    png = base64.b64decode(outputs(executed, f"figures.{name}")["image/png"])
    assert png.startswith(b"\x89PNG") and len(png) > 10_000


def test_numbers_are_there(executed):
    assert "'randomization'" in outputs(executed, "list(RUNS)")["text/plain"]
    assert "ranked" in outputs(executed, "rank_explainers")["text/html"]
    said = outputs(executed, "compare_runs")["text/plain"]
    assert "'same'" in said and "worse" not in said and said.endswith(", 0)")
