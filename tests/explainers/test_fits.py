import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import explainers
from bench import fitting
from explainers.conformance import check
from explainers.contrastive import fits
from explainers.contrastive.embedding import explain
from models.naming import UsageError

from . import toy_fits

ROOT = Path(__file__).parents[2]
SMALL = "ae-vae[steps=8,vae_steps=8]"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(fits.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_where_fits_are_kept(cache, monkeypatch, tmp_path):
    assert fits.cache_folder() == cache and fits.cache_folder(tmp_path) == tmp_path
    monkeypatch.delenv(fits.CACHE)
    assert fits.cache_folder() == Path.home() / ".cache" / "sanity-bench"


def test_nothing_is_fitted_while_explaining(cache, monkeypatch):
    monkeypatch.setattr(explain, "fit", None)
    subject = toy_fits.subject()
    with pytest.raises(UsageError) as caught:
        explainers.get(SMALL).explain(subject, subject.data.load([0]))
    said = str(caught.value)
    assert (
        "bench train 'ae-vae[steps=8,vae_steps=8]' --model brightness" in said
        and ".fit(subject)" in said
        and str(cache) in said
    )
    assert not cache.exists()


def test_a_fit_is_found_again_and_only_for_what_it_was_fitted_to(cache, monkeypatch):
    subject, explainer = toy_fits.subject(), explainers.get(SMALL)
    assert explainer.fit(subject).name == SMALL
    first = explainer.explain(subject, subject.data.load([0])).attribution
    monkeypatch.setattr(explain, "fit", None)
    assert explainer.fit(toy_fits.subject()).name == SMALL
    assert torch.equal(explainer.explain(toy_fits.subject(), subject.data.load([0])).attribution, first)
    changed = toy_fits.subject()
    with torch.no_grad():
        changed.model.last.bias.add_(0.1)
    options = ("steps=9,vae_steps=8", "fit_seed=1,steps=8,vae_steps=8", "layer=output,steps=8,vae_steps=8")
    for other, name in ((changed, SMALL), *((subject, f"ae-vae[{each}]") for each in options)):
        with pytest.raises(UsageError, match="has not been fitted"):
            explainers.get(name).explain(other, subject.data.load([0]))
    assert len(list(cache.iterdir())) == 1


def test_a_fit_to_other_images_or_in_another_folder_has_a_name_of_its_own(tmp_path):
    subject, explainer = toy_fits.subject(), explainers.get(SMALL)
    other = explainer.fit(subject, torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert "data=sha-" in other.name and explainers.get(other.name).spec == other.spec
    here = explainer.fit(subject, folder=str(tmp_path / "here"))
    assert f"cache={tmp_path / 'here'}" in here.name and len(list((tmp_path / "here").iterdir())) == 1
    x = subject.data.load([0])
    assert not torch.equal(other.explain(subject, x).attribution, here.explain(subject, x).attribution)
    # two explainers that read the same networks share one fit
    pair = explainers.get("siamese-ae-vae[layer=features,steps=8,vae_steps=8]").fit(
        subject, folder=str(tmp_path / "here")
    )
    assert len(list((tmp_path / "here").iterdir())) == 1 and pair.explain(subject, x).status == ("ok",)


def test_an_interrupted_or_damaged_file(cache):
    subject, explainer = toy_fits.subject(), explainers.get(SMALL)
    explainer.fit(subject)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UsageError, match="damaged.*fit again"):
        explainer.explain(toy_fits.subject(), subject.data.load([0]))
    file.unlink()
    file.with_suffix(".1.part").write_bytes(b"half")
    with pytest.raises(UsageError, match="has not been fitted"):
        explainer.explain(toy_fits.subject(), subject.data.load([0]))


def test_half_precision_is_what_is_used_from_the_start(cache):
    subject = toy_fits.subject()
    explainers.get(SMALL).fit(subject)
    (file,) = cache.iterdir()
    state, report = fits.read(file)
    assert all(torch.equal(value, value.half().float()) for value in state.values()) and report["images"] == 200
    assert file.stat().st_size < 2.2 * sum(value.numel() for value in state.values()) + 20_000


def test_explainers_that_are_not_fitted_say_so():
    with pytest.raises(UsageError, match=r"not fitted beforehand; those that are: progressive-exaggeration, ae-vae"):
        explainers.get("saliency").fit(toy_fits.subject())


def test_amortised_explainers_stay_out_of_all_and_declare_themselves():
    amortised = {info.name for info in explainers.cards() if info.amortised}
    assert amortised == set(fits.RECIPES) and not amortised & set(explainers.expand("all"))
    assert explainers.expand("*-vae") == ["ae-vae", "siamese-ae-vae"]


def test_the_command(tmp_path):
    assert fitting.amortised("ae-vae[samples=3]") and not fitting.amortised("fmnist-vgg[norm=none]")
    with pytest.raises(UsageError, match="--model M"):
        fitting.fit("ae-vae", "", None)
    model = tmp_path / "mine.py"
    here = str(Path(__file__).parent)
    model.write_text(f"import sys\n\nsys.path.append({here!r})\nfrom toy_fits import subject\n")
    command = [
        sys.executable,
        "-m",
        "bench",
        "train",
        SMALL,
        "--model",
        f"{model}:subject",
        "--out",
        str(tmp_path / "w"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    assert f"cache={tmp_path / 'w'}" in done.stdout and len(list((tmp_path / "w").iterdir())) == 1


def test_shipped_files_are_small_and_their_digests_hold():
    manifest = json.loads((fits.SHIPPED / "manifest.json").read_text())
    files = [path for path in fits.SHIPPED.iterdir() if path.suffix == ".safetensors"]
    assert {path.name for path in files} == set(manifest) and sum(path.stat().st_size for path in files) <= 8_000_000
    for entry in manifest.values():
        assert fits._shipped({**entry["identity"], "data": "any"}) is not None


def test_a_changed_shipped_file_is_refused(tmp_path, monkeypatch):
    entry = {"identity": {"recipe": "x"}, "sha256": "0" * 64, "report": {}}
    (tmp_path / "manifest.json").write_text(json.dumps({"x.safetensors": entry}))
    (tmp_path / "x.safetensors").write_bytes(b"other")
    monkeypatch.setattr(fits, "SHIPPED", tmp_path)
    with pytest.raises(UsageError, match="missing or were changed"):
        fits._shipped({"recipe": "x", "data": ""})


@pytest.mark.parametrize(
    "name", [SMALL, "siamese-ae-vae[steps=8,vae_steps=8]", "progressive-exaggeration[bins=5,steps=4,width=8]"]
)
def test_fitted_explainers_keep_the_rules_of_all_explainers(name):
    subject = toy_fits.subject()
    fitted = explainers.get(name).fit(subject)
    broken = {finding.rule: finding.detail for finding in check(fitted, subject) if not finding.passed}
    # these two rules ask for maps of other networks, which nothing was fitted to
    assert set(broken) <= {"no-repair", "refusal"} and all(
        "raised UsageError" in detail for detail in broken.values()
    ), broken


def test_other_floating_types_find_the_same_fit():
    subject, explainer = toy_fits.subject(), explainers.get(SMALL)
    explainer.fit(subject)
    x = subject.data.load([0, 1])
    double = replace(subject, model=toy_fits.subject().model.double(), dtype=torch.float64)
    found, wanted = explainer.explain(double, x.double()), explainer.explain(subject, x)
    assert torch.allclose(found.attribution, wanted.attribution, atol=1e-4)
