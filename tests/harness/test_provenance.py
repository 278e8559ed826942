import json
import subprocess

from bench import provenance


def git(folder, *words):
    """Run git in a folder, as somebody."""
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True, capture_output=True
    )


def test_commit_and_dirty_flag_of_a_repository(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "first")
    clean = provenance.git_state(tmp_path)
    assert clean is not None and len(clean["commit"]) == 40 and clean["dirty"] is False
    (tmp_path / "a").write_text("2")
    assert provenance.git_state(tmp_path) == {"commit": clean["commit"], "dirty": True}


def test_outside_of_a_repository_there_is_no_commit(tmp_path):
    assert provenance.git_state(tmp_path) is None


def test_equal_surroundings_share_one_record():
    options = {"device": "cpu", "precision": "float32", "subjects": {"m": {"weights": "w"}}, "plugins": []}
    (first, record), (second, _) = provenance.collect(**options), provenance.collect(**options)
    assert first == second and len(first) == 16
    assert json.loads(json.dumps(record)) == record
    assert record["packages"]["pandas"] and record["hardware"]["cores"] >= 1
    assert provenance.collect(**{**options, "precision": "float64"})[0] != first


def test_the_library_that_multiplies_matrices():
    assert provenance._blas("Build settings: AVX2, BLAS_INFO=mkl, CUDA_VERSION=0") == "mkl"
    assert provenance._blas("nothing of the kind") is None


def test_a_worker_asks_for_the_commit_once(monkeypatch):
    asked = []
    monkeypatch.setattr(provenance, "git_state", lambda folder: asked.append(folder))
    provenance._source.cache_clear()
    for _ in range(3):
        provenance.collect(device="cpu", precision="float32", subjects={}, plugins=[])
    provenance._source.cache_clear()
    assert len(asked) == 1


def test_threads_are_those_that_torch_uses(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    _, record = provenance.collect(device="cpu", precision="float32", subjects={}, plugins=[])
    assert record["numerics"]["threads"] == 3
