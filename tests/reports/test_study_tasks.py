"""Studies of tasks: the questions, the page played by keyboard, and what the votes say."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import keyboard
import numpy as np
import pytest

from reports.files import RunFolderError
from reports.study.results import Answer, Result, read_results
from reports.study.rules import Rules, read_declaration
from reports.study.task_analysis import analyse_tasks, draw_tasks, has_tasks, to_text, write
from reports.study.tasks import Series, TaskDesign, questions_of, write_tasks


def series(place, name="square", also="", frames=5):
    """Pictures that get brighter with the amount; the order of the frames is not that of the amounts."""
    amounts = np.random.default_rng(place).permutation(frames) / frames
    return Series(f"set/{place}", name, also, np.ones((frames, 1, 8, 8)) * amounts[:, None, None, None], amounts)


ALL = [series(0), series(1), series(2, "stripe"), series(3, "square", "brightness")]


def test_the_right_side_is_the_one_with_more():
    for seed in range(3):
        found = questions_of(["order"], ALL, seed)
        assert len(found) == 8 and {each.category for each in found} == {"easy", "hard"}
        for each in found:
            left, right = (frame.mean() for frame in each.frames)
            assert each.truth == ("left" if left > right else "right")
            assert each.category == "hard" or abs(left - right) == pytest.approx(0.8)
    sides = [each.truth for seed in range(20) for each in questions_of(["order"], ALL, seed)]
    assert 0.35 < sides.count("left") / len(sides) < 0.65


def test_frames_of_equal_amount_are_not_asked_about():
    flat = replace(series(0), amounts=np.zeros(5))
    assert questions_of(["order"], [flat]) == []


def test_what_changes_and_whether_more_does():
    change = questions_of(["change"], ALL)
    assert [each.truth for each in change] == ["square", "square", "stripe"]
    assert all(each.options == ("square", "stripe") for each in change)
    bias = questions_of(["bias"], ALL)
    assert [each.truth for each in bias] == ["square", "square", "square and brightness"]
    assert [each.category for each in bias] == ["unbiased", "unbiased", "biased"]
    means = [frame.mean() for frame in change[0].frames]
    assert means == sorted(means)


@pytest.mark.parametrize(
    ("tasks", "given", "said"),
    [
        (["colour"], ALL, "tasks are order, change, bias; given is colour"),
        (["change"], ALL[:2], "two or more names; there is square"),
        (["bias"], ALL[:3], r"NAME\+OTHER=MODEL"),
        (["order"], [], "none given"),
    ],
)
def test_what_cannot_be_asked_is_refused(tasks, given, said):
    with pytest.raises(RunFolderError, match=said):
        questions_of(tasks, given)


def made(folder):
    design = TaskDesign(tuple(questions_of(["order", "change", "bias"], ALL)), {}, Rules(seconds=0.0))
    return design, *write_tasks(design, folder)


@pytest.mark.skipif(keyboard.CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("width", [1000, 360])
def test_played_through_by_keyboard(tmp_path, width):
    design, page, declaration = made(tmp_path)
    truths = {each.image: each for each in design.questions}
    with keyboard.Browser(tmp_path, width, 740) as browser:
        browser.open(f"file://{page}")
        heading = "document.querySelector('h1').textContent"
        browser.press("Tab", "Space", "Tab", "Enter")
        assert browser.value(heading) == "How it works"
        browser.press("Tab", "Enter")
        for number in range(len(truths)):
            assert browser.value(heading) == f"Question {number + 1} of {len(truths)}"
            one = truths[browser.value("data.trials[state.order[state.trials.length]].image")]
            assert browser.value("document.getElementById('question').textContent") == one.text
            buttons = browser.value("[...document.getElementById('choices').children].map((e) => e.textContent)")
            assert buttons == [f"{place + 1}. {option}" for place, option in enumerate(one.options)]
            shown = browser.value("[...document.querySelectorAll('figure img')].filter((e) => e.offsetParent).length")
            assert shown == (2 if one.task == "order" else 1)
            assert browser.value("document.documentElement.scrollWidth") <= width
            assert browser.value("document.getElementById('go').offsetParent") is None
            if number == 3:
                browser.reload()
                assert browser.value(heading) == f"Question {number + 1} of {len(truths)}"
            if number in (3, 5):
                browser.picture(tmp_path / f"{one.task}-{width}.png")
            browser.press(str(one.options.index(one.truth) + 1))
        assert browser.value(heading) == "Thank you"
        assert browser.value("document.getElementById('score').textContent") == ""
        browser.press("Tab", "Enter")
        end = time.monotonic() + 120
        while not (found := list(tmp_path.glob("study-*.json"))) and time.monotonic() < end:
            time.sleep(0.05)
        assert browser.errors() == ([], [])
    results, refused = read_results(found, read_declaration(declaration)[0])
    assert not refused and results[0].correct == len(truths) == 14 and has_tasks(results)
    assert {(a.image, a.task, a.category, a.options) for a in results[0].trials} == {
        (each.image, each.task, each.category, len(each.options)) for each in design.questions
    }


@pytest.mark.skipif(keyboard.CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize("broken", ["() => null", "() => { throw new Error('refused'); }"])
def test_answers_outlive_a_reload_where_the_browser_keeps_nothing(tmp_path, broken):
    """Chromium that has only just started gives an empty storage now and then; a private window refuses it."""
    _, page, _ = made(tmp_path)
    with keyboard.Browser(tmp_path) as browser:
        browser.ask("Page.addScriptToEvaluateOnNewDocument", source=f"Storage.prototype.getItem = {broken};")
        browser.open(f"file://{page}")
        browser.press("Tab", "Space", "Tab", "Enter")
        browser.press("Tab", "Enter")
        browser.press("1")
        assert browser.value("state.trials.length") == 1
        person = browser.value("state.participant")
        browser.reload()
        assert browser.value("document.querySelector('h1').textContent") == "Question 2 of 14"
        assert browser.value("state.participant") == person
        browser.value("forget()")
        browser.reload()
        assert browser.value("state.phase") == "consent" and browser.value("state.participant") != person


def people(count, skill, questions, seed=0):
    """Participants who know the answer with some probability and else guess."""
    draw = np.random.default_rng(seed)
    found = []
    for person in range(count):
        answers = []
        for each in questions:
            guess = each.options[draw.integers(len(each.options))]
            said = each.truth if draw.random() < skill(each) else guess
            answers.append(Answer(each.image, each.truth, said, 2.0, each.task, each.category, len(each.options)))
        names = ("everyone",)
        found.append(Result(str(person), "s", names, "everyone", len(answers), tuple(answers), None, Path("x")))
    return found


def many():
    given = [
        series(place, ("square", "stripe", "border")[place % 3], "light" * (place % 6 == 0)) for place in range(120)
    ]
    return questions_of(["order", "change", "bias"], given)


def test_known_skill_is_recovered():
    questions = many()
    found = analyse_tasks(people(8, lambda each: {"easy": 0.8, "hard": 0.2}.get(each.category, 0.5), questions))
    rows = found.table.set_index(["task", "category"])
    assert rows.loc[("order", "easy"), "single"] == pytest.approx(0.9, abs=0.04)
    assert rows.loc[("order", "hard"), "single"] == pytest.approx(0.6, abs=0.05)
    assert rows.loc[("change", "all"), "single"] == pytest.approx(0.5 + 0.5 / 3, abs=0.05)
    assert rows.loc[("change", "all"), "chance"] == pytest.approx(1 / 3)
    # Knowing with probability s and guessing evenly otherwise, two people agree beyond chance with probability s^2.
    assert rows.loc[("order", "easy"), "kappa"] == pytest.approx(0.64, abs=0.08)
    assert rows.loc[("order", "easy"), "accuracy"] > rows.loc[("order", "hard"), "accuracy"]


def test_guessing_is_called_guessing_and_who_is_left_out_is_said(tmp_path):
    questions = many()
    guessing = analyse_tasks(people(8, lambda each: 0.0, questions, 1))
    assert any("not shown to be better than guessing in" in note and "bias (biased)" in note for note in guessing.notes)
    hasty = people(2, lambda each: 1.0, questions)
    hasty = [replace(each, trials=tuple(replace(a, seconds=0.1) for a in each.trials)) for each in hasty]
    with pytest.raises(RunFolderError, match="no participant is left of 2: median time"):
        analyse_tasks(hasty)
    page = write(guessing, tmp_path)
    assert "Fleiss kappa" in page.read_text() and "| order" in to_text(guessing)
    assert page.read_text().count("<figure") == 1 and (tmp_path / "figures" / "tasks.png").exists()
    axis = draw_tasks(guessing).axes[0]
    dots = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o"]
    assert dots == guessing.table["accuracy"].to_list()[::-1]
    assert axis.get_yticklabels()[-1].get_text() == "bias: all"
    assert (tmp_path / "tables" / "tasks.csv").read_text().startswith("task,category,votes")


def test_answers_with_half_of_a_task_are_refused(tmp_path):
    base = {
        "schema": "sanity-bench/study-result", "version": 1, "study": "s", "participant": "p", "groups": ["everyone"],
        "group": "everyone", "classes": ["left", "right"], "planned": 1, "rating": None,
    }  # fmt: skip
    answer = {"image": "a", "truth": "left", "answer": "left", "seconds": 1.0, "task": "order", "category": "easy"}
    for place, options in enumerate((2, None, 1, "2", True)):
        file = tmp_path / f"{place}.json"
        file.write_text(json.dumps({**base, "participant": f"p{place}", "trials": [{**answer, "options": options}]}))
    results, refused = read_results([tmp_path])
    assert [each.participant for each in results] == ["p0"] and len(refused) == 4
    assert all("a number from 2 to" in each.reason for each in refused)
