import pytest

from bench import suites
from bench.config import KEYS, Config, resolve
from models.naming import UsageError


def test_defaults_come_from_the_profile():
    config = resolve({"suite": "randomization"})
    assert config.suite == ("randomization",) and config.models == ("fmnist-vgg",)
    assert config.size(suites.get("randomization")) == suites.Size(16, 5, dear=suites.Size(4, 2))


@pytest.mark.parametrize(("profile", "size"), [("quick", (16, 5)), ("standard", (32, 10)), ("full", (64, 20))])
def test_profiles(profile, size):
    found = resolve({"suite": "randomization", "profile": profile}).size(suites.get("randomization"))
    assert (found.images, found.seeds) == size


def test_command_line_wins_over_file_over_profile(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('suite = ["smoke"]\nimages = 8\nseeds = 7\nbatch-size = 4\nfail-fast = true\n')
    config = resolve({"images": 2, "seeds": None}, file)
    assert (config.images, config.seeds, config.batch_size, config.fail_fast) == (2, 7, 4, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["--suite", "randomization"]),
        ({"suite": "randomisation"}, ["randomisation", "did you mean 'randomization'"]),
        ({"suite": "smoke", "imgaes": 3}, ["imgaes", "did you mean 'images'"]),
        ({"suite": "smoke", "images": 0}, ["--images", "at least 1"]),
        ({"suite": "smoke", "images": "many"}, ["--images", "whole number"]),
        ({"suite": "smoke", "images": True}, ["--images"]),
        ({"suite": "smoke", "seeds": 0}, ["--seeds", "at least 1"]),
        ({"suite": "smoke", "jobs": 0}, ["--jobs", "at least 1"]),
        ({"suite": "smoke", "batch_size": 0}, ["--batch-size", "at least 1"]),
        ({"suite": "smoke", "memory": "2 apples"}, ["--memory", "500MB"]),
        ({"suite": "smoke", "seed": -1}, ["--seed", "at least 0"]),
        ({"suite": "smoke", "part": "3/2"}, ["--part", "I/N"]),
        ({"suite": "smoke", "part": "0/2"}, ["--part", "I/N"]),
        ({"suite": "smoke", "part": "a"}, ["--part", "I/N"]),
        ({"suite": "smoke", "profile": "qick"}, ["did you mean 'quick'"]),
        ({"suite": "smoke", "precision": "float"}, ["float32"]),
        ({"suite": "smoke", "backend": "slurm"}, ["slurm", "loky, threading, dask, ray"]),
        ({"suite": "smoke", "scheduler": "tcp://a:1"}, ["has no scheduler", "--backend dask or ray"]),
        ({"suite": "smoke", "timeout": 0}, ["--timeout", "above 0"]),
        ({"suite": "smoke", "timeout": 5, "backend": "threading"}, ["cannot be ended"]),
        ({"suite": "smoke", "slots": 0}, ["--slots", "at least 1"]),
        ({"suite": "smoke", "device": "gpu"}, ["--device", "cuda:0,cuda:1"]),
        ({"suite": "smoke", "protocol": "recomended"}, ["did you mean 'recommended'"]),
        ({"suite": "smoke", "out": " "}, ["--out"]),
        ({"suite": "smoke", "quiet": "yes"}, ["--quiet", "true or false"]),
        ({"suite": ["smoke", "randomization"]}, ["one at a time"]),
    ],
)
def test_what_cannot_be_used_is_refused_with_what_is_allowed(options, words):
    with pytest.raises(UsageError) as caught:
        resolve(options)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("text", ["suite = [", "\x00"])
def test_a_file_that_is_not_toml_is_refused(tmp_path, text):
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match="is not TOML"):
        resolve({}, file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        resolve({}, tmp_path / "no.toml")


def test_an_unknown_key_of_a_file_is_refused(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('suite = "smoke"\nexplainer = "saliency"\n')
    with pytest.raises(UsageError, match="did you mean 'explainers'"):
        resolve({}, file)


def test_the_default_folder_names_what_shapes_the_results():
    plain = Config(("smoke",)).folder()
    assert plain == Config(("smoke",), jobs=7, device="cpu", batch_size=3, memory="2GB", quiet=True).folder()
    assert (
        len({Config(("smoke",), **change).folder() for change in ({}, {"images": 3}, {"seed": 1}, {"model": ("a",)})})
        == 4
    )
    assert Config(("smoke",), model=("../dir/my net.py:f[x]",)).folder().parts[0] == "runs"
    assert len(Config(("smoke",), model=("../dir/my net.py:f[x]",)).folder().parts) == 2


def test_every_option_of_the_command_line_is_a_key():
    from bench.cli.options import OPTIONS

    assert {option.key for option in OPTIONS} == set(KEYS)


def test_all_stands_for_every_suite_but_smoke_and_those_of_papers():
    chosen = resolve({"suite": "all"}).suite
    papers = {suite.name for suite in suites.suites() if suite.paper is not None}
    assert set(chosen) == set(suites.names()) - {"smoke"} - papers
    assert resolve({"suite": ["randomization", "all"]}).suite == chosen


def test_a_model_that_is_no_name_is_told_how_to_name_it():
    with pytest.raises(UsageError, match=r"--model object: .*file\.py:function"):
        resolve({"suite": "smoke", "model": object()})
    with pytest.raises(UsageError, match="--plugin 3: give a text or a list of texts"):
        resolve({"suite": "smoke", "plugin": 3})
