"""Inception's features, from its own network with weights that are drawn: nothing is fetched."""

import pytest
import torch
from torch import nn

from bench import features
from bench.checks.generative import distances, extractors, scores
from bench.checks.generative.declared import SET
from models.naming import UsageError


@pytest.fixture
def inception(monkeypatch, tmp_path):
    """Inception's network with weights that are drawn, on disk where the shipped ones would lie."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    kind = module.FeatureExtractorInceptionV3
    with monkeypatch.context() as patched, torch.random.fork_rng():
        torch.manual_seed(0)
        patched.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patched.setattr(kind, "load_state_dict", lambda *_: None)
        network = kind("inception", ["2048"])
        for each in network.modules():
            if isinstance(each, nn.Conv2d):
                nn.init.kaiming_normal_(each.weight)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    features.inception_file().parent.mkdir(parents=True)
    torch.save(network.state_dict(), features.inception_file())
    extractors.extractor.cache_clear()
    yield extractors.extractor("inception")
    extractors.extractor.cache_clear()


def test_inception_takes_gray_images_and_coloured_ones(inception):
    gray = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    found = inception.features(gray)
    assert found.shape == (3, 2048) and bool(torch.isfinite(found).all()) and float(found.std()) > 1e-3
    torch.testing.assert_close(inception.features(gray.expand(-1, 3, -1, -1)), found)
    red = torch.cat([gray[:1], torch.zeros(1, 2, 32, 32)], 1)
    coloured = inception.features(red)
    assert coloured.shape == (1, 2048) and not torch.allclose(coloured, found[:1], rtol=0.01)
    assert not torch.allclose(found[0], found[1], rtol=0.01)


def test_inception_gives_kernel_distances_alone(inception):
    x = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    values, reasons = scores.distribution(x[:2], x[:2], x, inception, None)
    assert values["feature-size"] == 2048 and "kid" in values and "fid" not in values
    assert reasons["fid"] == f"2 images of at least {distances.smallest_group(2048)}"
    assert f"{distances.smallest_group(2048):,}" in features.KERNEL_ONLY and f"{SET:,}" in features.KERNEL_ONLY
    assert features.remarks("inception") == [features.KERNEL_ONLY] and features.remarks("oracle") == []


def test_a_file_of_weights_that_would_run_code_is_never_unpickled(monkeypatch, tmp_path):
    pytest.importorskip("torch_fidelity")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    features.inception_file().parent.mkdir(parents=True)
    torch.save({"x": print}, features.inception_file())
    with pytest.raises(UsageError, match="no file of weights"):
        extractors._inception("cpu")
