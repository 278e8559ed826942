"""The study page: self-contained, and played through by keyboard in a browser for every group."""

from __future__ import annotations

import base64
import io
import json
import re
import time

import keyboard
import numpy as np
import pytest
from PIL import Image

from reports.files import RunFolderError
from reports.pictures import Picture
from reports.study.page import Design, empty, write_study
from reports.study.results import read_results
from reports.study.rules import Rules, read_declaration
from reports.study.trials import FRAMES, Trial, address, choose, overlaid, stored_trials

GROUPS = ("control", "gradcam", "cdeepex")
NAMES = ("Ternal", "Peat <b>")


def trial(place, classes=("cat", "dog")):
    """A picture with a heat map and a morph."""
    random = np.random.default_rng(place)
    frames = np.linspace(0, 1, FRAMES)[:, None, None, None] * random.random((FRAMES, 1, 8, 8))
    return Trial(
        f"set/{place}",
        classes[place % 2],
        random.random((1, 8, 8)),
        {"gradcam": random.random((8, 8))},
        {"cdeepex": frames},
    )


def made(folder, count=4):
    design = Design(
        GROUPS, ("cat", "dog"), NAMES, tuple(trial(i) for i in range(count)), {"run": "r"}, Rules(seconds=0.0)
    )
    return write_study(design, folder)


def test_one_file_that_asks_nobody_and_does_not_tell_the_classes(tmp_path):
    page, declaration = made(tmp_path)
    text = page.read_text()
    assert not re.search(r"https?://|src=\"(?!data:)|@import|fetch\(|XMLHttpRequest|sendBeacon|cookie", text)
    assert "default-src 'none'" in text and "<b>" not in text.partition('id="data"')[2].partition("</script>")[0]
    assert "cat" not in json.dumps(json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])["names"])
    told = json.loads(declaration.read_text())
    assert told["names"] == {"cat": NAMES[0], "dog": NAMES[1]} and told["chance"] == 2 and len(told["trials"]) == 4
    assert told["kinds"] == {"control": "verdict", "gradcam": "heat", "cdeepex": "morph"}
    assert read_declaration(declaration) == (told["study"], Rules(seconds=0.0))


def test_feedback_that_shows_nothing_is_counted(tmp_path):
    bare, negative, still = trial(0), trial(2), trial(1)
    bare.heat["gradcam"][:] = np.nan
    negative.heat["gradcam"][:] *= -1
    still.morphs["cdeepex"][:] = 0.5
    design = Design(GROUPS, ("cat", "dog"), NAMES, (bare, negative, still, trial(3)), {})
    assert empty(design) == {"gradcam": 2, "cdeepex": 1}
    assert json.loads(write_study(design, tmp_path)[1].read_text())["empty"] == {"gradcam": 2, "cdeepex": 1}
    assert json.loads(made(tmp_path)[1].read_text())["empty"] == {"gradcam": 0, "cdeepex": 0}


def test_another_picture_is_another_study(tmp_path):
    digests = [json.loads(made(tmp_path / str(count), count)[1].read_text())["study"] for count in (4, 6, 4)]
    assert digests[0] == digests[2] != digests[1]


def test_a_group_without_feedback_is_refused(tmp_path):
    design = Design(("control", "lime"), ("cat", "dog"), NAMES, tuple(trial(i) for i in range(4)), {})
    with pytest.raises(RunFolderError, match="lime has neither a heat map nor a morph"):
        write_study(design, tmp_path)


def picture(explainer, check, ids=("a", "b", "c"), **more):
    count = len(ids)
    arrays = {"maps": np.ones((count, 2, 4, 4)), "images": np.zeros((count, 1, 4, 4)), **more}
    meta = {"explainer": explainer, "check": check, "images": list(ids), "classes": ["cat", "dog", "cat"][:count]}
    return Picture(explainer, arrays, meta)


def test_pictures_that_a_run_has_kept():
    ends = {"counterfactuals": np.ones((2, 1, 4, 4)), "reconstructions": np.full((2, 1, 4, 4), 0.5)}
    kept = [
        picture("gradcam", "cascading"), picture("saliency", "cascading", ("z",)),
        picture("cdeepex", "counterfactual", ("a", "b"), **ends), picture("cdeepex", "cascading"),
    ]  # fmt: skip
    found = stored_trials(kept, GROUPS)
    assert [each.image for each in found] == ["a", "b"] and [each.truth for each in found] == ["cat", "dog"]
    frames = found[0].morphs["cdeepex"]
    assert frames.shape == (FRAMES, 1, 4, 4) and frames[0].mean() == 0.5 and frames[-1].mean() == 1.0
    assert set(found[0].heat) == {"gradcam"}
    with pytest.raises(RunFolderError, match=r"no pictures of lime; it has them of: cdeepex, gradcam, saliency"):
        stored_trials(kept, ["control", "lime"])
    with pytest.raises(RunFolderError, match=r"needs 10 pictures each of cat and dog .* 1 of cat, 1 of dog\."):
        choose(found, ("cat", "dog"), 20)
    assert len(choose(found, ("cat", "dog"), 2)) == 2


def test_heat_is_red_where_the_map_is_and_a_map_of_nothing_shows_nothing():
    grey = np.full((1, 4, 4), 0.8)
    values = np.zeros((4, 4))
    values[1, 2], values[0, 0], values[3, 3] = 3.0, -9.0, np.nan
    drawn = overlaid(grey, values)
    assert drawn[0, 1, 2] > 0.7 and drawn[2, 1, 2] < 0.2
    assert np.allclose(np.delete(drawn.reshape(3, 16), 6, axis=1), 0.6) and np.allclose(
        overlaid(grey, 0 * grey[0]), 0.6
    )


def test_an_address_is_the_picture():
    pixels = np.random.default_rng(0).random((3, 5, 6))
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(address(pixels).partition(",")[2]))))
    assert np.abs(back.transpose(2, 0, 1) / 255 - pixels).max() < 0.003


@pytest.mark.skipif(keyboard.CHROMIUM is None, reason="no chromium here")
@pytest.mark.parametrize(("group", "width", "count"), [("control", 1000, 4), ("gradcam", 360, 20), ("cdeepex", 360, 4)])
def test_played_through_by_keyboard(tmp_path, group, width, count):
    page, declaration = made(tmp_path, count)
    kind = json.loads(declaration.read_text())["kinds"][group]
    with keyboard.Browser(tmp_path, width, 740) as browser:
        browser.open(f"file://{page}?group={group}")
        heading = "document.querySelector('h1').textContent"
        assert browser.value("document.getElementById('go').disabled")
        browser.press("Tab", "Space", "Tab", "Enter")
        assert browser.value(heading) == "How it works"
        browser.press("Tab", "Enter")
        for number in range(count):
            assert browser.value(heading) == f"Picture {number + 1} of {count}"
            # What goes on is not there before there is an answer.
            assert browser.value("document.getElementById('go').offsetParent") is None
            # A name is chosen by its number, or by the button.
            browser.press(*(("Tab", "Enter") if number == 2 else ("1",)))
            verdict = browser.value("document.getElementById('verdict').textContent")
            assert re.match(r"(Right|Wrong): it is a (Ternal|Peat <b>)\.", verdict)
            assert browser.value("document.activeElement.id") == "go"
            assert browser.value("document.getElementById('feedback').hidden") == (kind == "verdict")
            if kind == "morph":
                before = browser.value("document.querySelector('#feedback img').src")
                browser.until(f"document.querySelector('#feedback img').src !== {json.dumps(before)}")
            if number == 1:
                # Answers, group and place survive a reload; the answer that was given cannot be given again.
                browser.reload()
                assert browser.value("document.getElementById('verdict').textContent") == verdict
                browser.press("2")
                assert browser.value("state.trials.length") == 2 and browser.value("state.group") == group
                browser.picture(tmp_path / f"{group}.png")
            assert browser.value("document.documentElement.scrollWidth") <= width
            browser.press("Enter")
        browser.press("4")
        assert browser.value(heading) == "Thank you"
        browser.press("Tab", "Enter")
        end = time.monotonic() + 120
        while not (found := list(tmp_path.glob("study-*.json"))) and time.monotonic() < end:
            time.sleep(0.05)
        wrong, asked = browser.errors()
        assert wrong == [] and asked == []
        assert browser.value("document.cookie") == "" and browser.value("localStorage.length") == 1
        browser.press("Tab", "Tab")
        assert browser.value("document.activeElement.id") == "forget"
        browser.press("Enter")
        assert browser.value("localStorage.length") == 0
    study, rules = read_declaration(declaration)
    results, refused = read_results(found, study)
    assert not refused and len(results) == 1 and rules.reason(results[0]).startswith(f"{count} of {count} answers were")
    assert results[0].group == group and results[0].groups == GROUPS and results[0].rating == 4
    assert len(results[0].trials) == count and results[0].correct == count / 2
    assert {each.image for each in results[0].trials} == {f"set/{i}" for i in range(count)}


@pytest.mark.skipif(keyboard.CHROMIUM is None, reason="no chromium here")
def test_the_page_draws_a_group_where_none_is_assigned(tmp_path):
    page, declaration = made(tmp_path)
    with keyboard.Browser(tmp_path) as browser:
        browser.open(f"file://{page}")
        drawn = browser.value("state.group")
        assert drawn in GROUPS
        # That 60 draws leave one of three out has a chance of 3 (2 / 3)^60 < 1e-10.
        assert set(browser.value("Array.from({ length: 60 }, () => fresh().group)")) == set(GROUPS)
        orders = browser.value("Array.from({ length: 200 }, () => fresh().order.join(''))")
        assert all(sorted(order) == list("0123") for order in orders) and len(set(orders)) > 12
        browser.press("Tab", "Space", "Tab", "Enter", "Tab", "Enter", *["1", "Enter"] * 4, "3")
        told = json.loads(browser.value("document.getElementById('text').value"))
    assert told["group"] == drawn and told["rating"] == 3 and told["planned"] == len(told["trials"]) == 4
    assert told["study"] == read_declaration(declaration)[0]
