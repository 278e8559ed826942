from dataclasses import replace

import pytest

from bench.cell import IDENTITY_VERSION, Cell, canonical, digest

CELL = Cell(
    suite="randomization",
    check="cascading",
    check_identity='{"parameters":{},"protocol":{"hash":"00","name":"recommended"},"version":1}',
    subject="fmnist-vgg",
    subject_identity='{"name":"fmnist-vgg","weights":"aa"}',
    explainer="saliency",
    explainer_identity='{"spec":{"name":"saliency"},"version":1}',
    images=("fashion-mnist/test/00001", "fashion-mnist/test/00002"),
    images_digest="bb",
    seed=3,
    base=0,
    dtype="float32",
    rows=5,
)


def test_keys_are_frozen():
    # These keys name files on users' disks. They must not be changed; raise IDENTITY_VERSION instead.
    assert IDENTITY_VERSION == 1
    assert CELL.key == "bf884516e39db991b03f02a5e56b72cbe4ef4dd5a3b52dad5c1c91a6356c4e16"
    model = replace(CELL, explainer="(model)", explainer_identity="null", check="health-cascading")
    assert model.key == "f4a74a5a19783c3fb3765f0a30dd77b947d8185f880a60dd29817e1e6c17acd6"


@pytest.mark.parametrize(
    "change",
    [
        {"check": "independent"},
        {"check_identity": '{"parameters":{},"protocol":{"hash":"01","name":"recommended"},"version":1}'},
        {"subject_identity": '{"name":"fmnist-vgg","weights":"ab"}'},
        {"explainer_identity": '{"spec":{"name":"saliency"},"version":2}'},
        {"images_digest": "bc"},
        {"seed": 4},
        {"base": 1},
        {"dtype": "float64"},
    ],
)
def test_what_changes_a_result_changes_the_key(change):
    assert replace(CELL, **change).key != CELL.key


@pytest.mark.parametrize(
    "change", [{"suite": "smoke"}, {"rows": None}, {"subject": "a label"}, {"explainer": "a label"}]
)
def test_labels_do_not_change_the_key(change):
    assert replace(CELL, **change).key == CELL.key


def test_order_of_writing_does_not_change_the_key():
    assert replace(CELL, subject_identity='{"weights":"aa","name":"fmnist-vgg"}').key == CELL.key


def test_canonical_json_is_one_text_per_value():
    assert canonical({"b": [1, 2.5], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5]}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_without_json_are_refused(value):
    with pytest.raises(ValueError):
        canonical({"a": value})
