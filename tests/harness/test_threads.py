"""Threads of one process that want different models and folders at once get what they asked for."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

import models
from bench import parcels, subjects
from reports.store import Store


class Forgetful(dict):
    """Remembers nothing, as if another thread put something else in its place at every moment."""

    def __setitem__(self, name, value):
        pass


@pytest.fixture
def loaded(monkeypatch):
    """The names of the models that were loaded, each of which takes a while."""
    names = []

    def load(name, data=None):
        names.append(name)
        time.sleep(0.05)
        return SimpleNamespace(name=name, device=SimpleNamespace(type="cpu"))

    monkeypatch.setattr(models, "load", load)
    return names


def model(name):
    return subjects.subject_of(name, None, "cpu", "float32").name


def test_a_model_that_another_thread_forgets_is_given_all_the_same(loaded, monkeypatch):
    monkeypatch.setattr(subjects, "_subjects", Forgetful())
    assert [model(name) for name in "abba"] == loaded == list("abba")


def test_threads_that_begin_at_the_same_moment_load_a_model_once(loaded, monkeypatch):
    monkeypatch.setattr(subjects, "_subjects", {})
    start = threading.Barrier(4)

    def ask(name):
        start.wait(60)
        return model(name)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, "aaaa")) == list("aaaa") and loaded == ["a"]


def test_a_folder_that_another_thread_forgets_is_given_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(parcels, "_known", Forgetful())
    folder = Store.create(tmp_path / "run", {}, {"name": "p", "hash": "h"}, {}, {}).path
    assert parcels._opened(str(folder)).path == folder
