"""What is installed, and that importing it is cheap."""

import importlib.metadata
import subprocess
import sys

import pytest

PACKAGES = ("bench", "explainers", "models", "reports")


@pytest.mark.parametrize("name", PACKAGES)
def test_importing_a_package_does_not_load_torch(name):
    code = f"import sys, {name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_distribution_holds_data_weights_and_templates_and_no_tests():
    installed = [each for each in importlib.metadata.distributions(name="sanity-bench") if each.read_text("RECORD")]
    files = {str(path) for each in installed for path in each.files or []}
    if not any(path.startswith("bench/") for path in files):
        pytest.skip("the distribution is not installed, or as a link to the sources")
    for wanted in (
        "models/zoo/weights/fmnist-vgg-batch.safetensors",
        "models/zoo/weights/manifest.json",
        "models/zoo/weights/text.json",
        "models/zoo/weights/text-reviews-coder.safetensors",
        "models/zoo/data/movie-reviews/sentences.tsv.gz",
        "models/zoo/data/movie-reviews/LICENSE",
        "models/zoo/data/fashion-mnist/t10k-images-idx3-ubyte.gz",
        "models/zoo/data/fashion-mnist/LICENSE",
        "reports/templates/page.html",
    ):
        assert wanted in files
    assert not any(path.startswith("tests/") for path in files)
