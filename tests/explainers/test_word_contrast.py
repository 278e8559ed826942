"""Explainers of sentences: exact on the linear classifier, contrasts on the boundary, refusals, the command."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

import explainers
import models
from bench.cli import app
from explainers.base import ExplainerError
from explainers.contrastive.text import experiment
from explainers.contrastive.text.explain import coder_of
from explainers.contrastive.text.search import softmax_embedding
from explainers.contrastive.text.telling import tell
from explainers.passes import shared_passes
from explainers.preflight import inspect
from models.naming import UsageError
from models.randomize import randomized
from models.text.networks import WordBag, numbers_of

NAMES = ("word-gradient", "word-occlusion", "word-contrast")


@pytest.fixture(scope="module")
def subject():
    return models.load("text:reviews")


@pytest.fixture(scope="module")
def rows(subject):
    return subject.data.load(range(6))


@pytest.fixture(scope="module")
def both(subject, rows):
    """The map of what places give, and that of edits, of one search."""
    with shared_passes():
        return [explainers.get(name).explain(subject, rows) for name in ("word-contrast", "word-contrast[map=edits]")]


@pytest.fixture(scope="module")
def made(both):
    return both[0]


def test_softmax_embedding_keeps_places_and_is_the_embedding_where_it_is_sure():
    torch.manual_seed(0)
    table, words = torch.randn(7, 3), torch.tensor([[2, 5], [0, 6]])
    sure = 200.0 * torch.nn.functional.one_hot(words, 7).float()
    assert torch.allclose(softmax_embedding(sure, table), table[words], atol=1e-6)
    even = softmax_embedding(torch.zeros(1, 4, 7), table)
    assert even.shape == (1, 4, 3) and torch.allclose(even, table.mean(0).expand(1, 4, 3), atol=1e-6)


def test_what_words_give_is_the_weight_of_their_embedding(subject, rows):
    targets = subject.predict(rows)
    slope = explainers.get("word-gradient").explain(subject, rows, targets).attribution
    lost = explainers.get("word-occlusion").explain(subject, rows, targets).attribution
    weights = subject.model.embedding.weight.T @ subject.model.output.weight.T
    numbers = numbers_of(rows)
    by_hand = weights[numbers].gather(2, targets[:, None, None].expand(-1, numbers.shape[1], 1))[..., 0] * (numbers > 0)
    assert torch.allclose(slope[:, 0, 0], by_hand, atol=1e-5) and torch.allclose(lost, slope, atol=1e-5)
    logit = subject.logits(rows).gather(1, targets[:, None])[:, 0] - subject.model.output.bias[targets]
    assert torch.allclose(slope.sum((1, 2, 3)), logit, atol=1e-4)


def test_contrasts_reach_the_boundary_and_places_account_for_the_way(made):
    shares = torch.sigmoid(made.extra["h"])
    assert ((shares >= 0.45) & (shares <= 0.55)).double().mean() >= 0.8
    assert made.outcome.count("converged") >= 0.8 * len(made.outcome)
    way = made.extra["first"] - made.extra["h"]
    assert torch.allclose(made.attribution.sum((1, 2, 3)), way, atol=1e-3)


def test_what_is_told_of_words_is_true_of_the_words(subject, made):
    logits = subject.logits(made.counterfactual)
    source = made.source[:, None]
    odds = (logits.gather(1, source) - logits.gather(1, 1 - source))[:, 0]
    assert torch.allclose(odds, made.extra["decoded"], atol=1e-3)


def test_edits_are_the_places_whose_word_changes(rows, both):
    made, found = both
    changed = numbers_of(made.counterfactual) != numbers_of(made.reconstruction)
    assert torch.equal(found.attribution[:, 0, 0].bool(), changed) and changed.any()
    assert not changed[numbers_of(rows) == 0].any()


@pytest.mark.slow
def test_the_same_alone_and_in_a_batch(subject, rows, made):
    alone = explainers.get("word-contrast").explain(subject, rows[3:4])
    assert torch.allclose(alone.attribution, made.attribution[3:4], atol=1e-3)


@pytest.mark.slow
def test_a_random_classifier_is_asked_at_the_trained_spread(subject, rows):
    drawn = randomized(subject, subject.stages, base=0, seed=0)
    found = explainers.get("word-contrast").anchored(subject).explain(drawn, rows[:4], subject.predict(rows[:4]))
    assert found.outcome.count("trivial") <= 2
    trained = explainers.get("word-contrast").anchored(subject).explain(subject, rows[:4])
    assert not torch.allclose(found.attribution, trained.attribution, atol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_sentences_and_images_are_kept_apart(name, subject, rows):
    images = models.load("fmnist-lenet")
    with pytest.raises(ExplainerError, match=f"{name} explains sentences, and fmnist-lenet reads images"):
        explainers.get(name).explain(images, images.data.load([0]))
    with pytest.raises(ExplainerError, match="saliency explains pixels, and text:reviews reads sentences"):
        explainers.get("saliency").explain(subject, rows[:1])


def test_a_preflight_says_which_explain_what(subject):
    found = {each.explainer: each for each in inspect(subject).explainers}
    assert all(found[name].valid for name in NAMES) and found["random"].valid
    assert not found["gradcam"].valid and "explains pixels" in found["gradcam"].reason
    other = {each.explainer: each for each in inspect(models.load("fmnist-lenet")).explainers}
    assert not other["word-contrast"].valid and "explains sentences" in other["word-contrast"].reason


def test_they_are_asked_for_by_name_only():
    assert not set(NAMES) & set(explainers.names()) and not set(NAMES) & set(explainers.registry.expand("all"))
    assert set(NAMES) <= {info.name for info in explainers.cards()}


@pytest.mark.parametrize(
    ("text", "said"), [("", "has 0 words"), ("... !", "has 0 words"), ("word " * 17, "has 17 words; give 1 to 16")]
)
def test_texts_that_cannot_be_explained(subject, text, said):
    with pytest.raises(UsageError, match=said):
        tell(subject, text, [explainers.get("word-gradient")])


def test_two_classes_are_needed(subject, rows):
    from dataclasses import replace

    three = replace(subject, model=WordBag(subject.model.embedding.in_features, classes=3).eval(), wiring={})
    with pytest.raises(ExplainerError, match="needs two classes; text:reviews has 3"):
        explainers.get("word-contrast").explain(three, rows[:1], [0])


def bench(*words):
    return CliRunner().invoke(app, list(words))


def test_the_command_tells_sentence_contrast_probabilities_and_edits():
    text = "A gorgeous, zzyzx movie that is very entertaining"
    found = bench("explain", "--text", text)
    assert found.exit_code == 0
    for part in ("sentence: a gorgeous zzyzx", "positive, probability", "not in the dictionary: zzyzx", "contrast: ",
                 "before words were read", "removed: ", "added: ", "word-gradient for positive"):  # fmt: skip
        assert part in found.output
    line = dict(each.strip().split(": ", 1) for each in found.output.splitlines() if ": " in each)
    written = next(said for name, said in line.items() if name.startswith("as the autoencoder writes it")).split()
    pairs = [pair for pair in zip(written, line["contrast"].split(), strict=True) if pair[0] != pair[1]]
    assert pairs and line["removed"].split(", ") == [first for first, _ in pairs]
    assert line["added"].split(", ") == [second for _, second in pairs]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--text", "a film", "--out", "x.png"], "prints what it finds; give it without IMAGE"),
        (["--text", "a film", "--model", "fmnist-lenet"], "reads images; give a model of sentences"),
        (["--text", "a film", "--target", "2"], "classes are 0 to 1"),
        (["--text", "a film", "--explainer", "word-contrast[map=x]"], "allowed are given, edits"),
        ([], "give IMAGE with --explainer and --out"),
    ],
)
def test_usage_errors(words, said):
    found = bench("explain", *words)
    assert found.exit_code == 2 and said in found.output


def test_lists_show_them():
    texts = json.loads(bench("list", "texts", "--json").output)
    assert {each["name"] for each in texts} >= {"text:reviews", "text:reviews-coder"}
    assert "word-contrast" in bench("list", "explainers").output


def test_the_autoencoder_is_the_one_on_the_embeddings_of_the_classifier():
    assert [coder_of(models.load(name)) for name in ("text:reviews", "text:reviews-very")] == [
        "text:reviews-coder",
        "text:reviews-very-coder",
    ]
    stranger = replace(models.load("text:reviews"), spec={"kind": "file"})
    with pytest.raises(ExplainerError, match=r"name one: word-contrast\[coder=text:reviews-coder\]"):
        coder_of(stranger)


@pytest.mark.slow
def test_the_planted_word_is_edited_more_often_than_the_word_that_stands_there_without_it():
    found = experiment.biased(256)
    pairs = found["very less the word before"]
    assert pairs.low > 0 and pairs.n > 100


@pytest.mark.slow
def test_most_contrasts_are_undecided_before_words_are_read():
    found = experiment.plain(64)
    assert found["undecided (.45 to .55) before words are read"].mean >= 0.8
    assert found["undecided after"].n == 64
