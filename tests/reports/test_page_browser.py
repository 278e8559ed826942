"""The page in a real browser: pointed at, walked through by keyboard, on a phone, in the dark, on paper."""

from __future__ import annotations

import base64
import json
import re

import keyboard
import pytest
import synthetic

import reports

pytestmark = pytest.mark.skipif(keyboard.CHROMIUM is None, reason="no chromium here")

NAMES = ("sensitive", "guided", "edge-detector", "failing", "borderline", "random")
TEXTS = (
    "body",
    *(f".badge.v-{word}" for word in ("pass", "fail", "undefined", "inconclusive", "unreliable")),
    ".faint",
    "nav a",
)
"""Texts of every kind: each must stand out from the page in light and in dark."""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    store = synthetic.build(folder / "a", NAMES, images=3, seeds=3)
    return reports.write_report(store.path)[0]


@pytest.fixture(scope="module")
def browser(page, tmp_path_factory):
    with keyboard.Browser(tmp_path_factory.mktemp("browser"), width=1280) as browser:
        yield browser


@pytest.fixture(autouse=True)
def opened(browser, page):
    browser.ask("Emulation.setEmulatedMedia", media="", features=[])
    browser.ask("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    browser.open(f"file://{page}")
    yield
    wrong, asked = browser.errors()
    assert wrong == [] and asked == []


def shown(browser, code):
    """An object of the page."""
    return json.loads(browser.value(f"JSON.stringify({code})"))


def media(browser, **features):
    browser.ask("Emulation.setEmulatedMedia", media=features.pop("media", ""), features=[
        {"name": name.replace("_", "-"), "value": value} for name, value in features.items()])  # fmt: skip


def luminance(browser, selector, name):
    """Relative luminance of a colour of the page."""
    parts = shown(
        browser, f"getComputedStyle(document.querySelector('{selector}'))['{name}'].match(/\\d+/g).slice(0, 3)"
    )
    linear = [((int(part) / 255 + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_pointing_at_a_verdict_tells_its_interval_and_a_click_leads_to_its_evidence(browser):
    browser.value(
        "document.querySelector('tr[data-name=guided] a.cell').scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    box = shown(browser, "document.querySelector('tr[data-name=guided] a.cell').getBoundingClientRect()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    assert browser.value("document.getElementById('detail').hidden")
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    browser.until("!document.getElementById('detail').hidden")
    said = browser.value("document.getElementById('detail').textContent")
    assert said.startswith("guided, cascading: FAIL") and "95% interval" in said and "values" in said
    for kind in ("mousePressed", "mouseReleased"):
        browser.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    browser.until("location.hash !== '' && document.querySelector(location.hash).closest('details').open")
    row = browser.value("document.querySelector(location.hash).textContent")
    assert "guided" in row and "cascading" in row and "the maps stay" in row


def test_everything_can_be_reached_by_keyboard(browser):
    browser.value("document.getElementById('filter-name').focus()")
    browser.press(*"guid")
    browser.until("document.getElementById('filter-count').textContent === '1 of 6 rows'")
    for _ in range(20):
        browser.press("Tab")
        if browser.value("document.activeElement.matches('a.cell')"):
            break
    assert browser.value("document.activeElement.dataset.said").startswith("guided, cascading:")
    assert browser.value("getComputedStyle(document.activeElement).outlineStyle") != "none", "the focus can be seen"
    browser.press("ArrowRight", "Enter")
    browser.until("location.hash.startsWith('#e')")
    assert "cascading-all" in browser.value("document.querySelector(location.hash).textContent")
    browser.value("document.querySelector('#matrix thead tr:last-child th button').focus()")
    browser.press("Enter")
    browser.until("document.querySelector('#matrix thead tr:last-child th').getAttribute('aria-sort') === 'ascending'")


def test_a_phone_scrolls_tables_and_not_the_page(browser):
    browser.ask("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=2, mobile=True)
    browser.until("document.documentElement.scrollWidth <= 390")
    assert browser.value("document.querySelector('#matrix .wide').scrollWidth > 390")
    assert float(browser.value("parseFloat(getComputedStyle(document.body).fontSize)")) >= 15
    assert browser.value("getComputedStyle(document.querySelector('.matrix td.name')).position") == "sticky"


def test_in_the_dark_everything_is_dark_and_still_told_apart(browser):
    light = browser.value("document.querySelector('picture img').currentSrc.length")
    source = browser.value("document.querySelector('picture img').currentSrc")
    media(browser, prefers_color_scheme="dark")
    browser.until("getComputedStyle(document.body).backgroundColor === 'rgb(18, 22, 29)'")
    paper = luminance(browser, "body", "backgroundColor")
    for name in TEXTS:
        assert (luminance(browser, name, "color") + 0.05) / (paper + 0.05) >= 4.5, name
    browser.until(f"document.querySelector('picture img').currentSrc.length !== {light}"
                  f" || document.querySelector('picture img').currentSrc !== {json.dumps(source)}")  # fmt: skip
    media(browser, prefers_color_scheme="light")
    browser.until("getComputedStyle(document.body).backgroundColor === 'rgb(255, 255, 255)'")
    paper = luminance(browser, "body", "backgroundColor")
    for name in TEXTS:
        assert (paper + 0.05) / (luminance(browser, name, "color") + 0.05) >= 4.5, name


def test_on_paper_nothing_is_hidden_or_cut(browser):
    browser.value("const at = document.getElementById('filter-name'); at.value = 'guided';"
                  "at.dispatchEvent(new Event('input'))")  # fmt: skip
    media(browser, media="print")
    browser.until("getComputedStyle(document.querySelector('.filter')).display === 'none'")
    rows = "[...document.querySelectorAll('#matrix tbody tr')].map((row) => getComputedStyle(row).display)"
    assert shown(browser, rows) == ["table-row"] * 6, "a filter of the screen does not reach the paper"
    pdf = base64.b64decode(browser.ask("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF") and len(re.findall(rb"/Type ?/Page\b", pdf)) > 1


def test_what_the_console_is_told_counts_as_an_error(browser):
    browser.value("console.error('planted')")
    browser.value("console.log('harmless')")
    (wrong,), _ = browser.errors()
    assert wrong["params"]["args"][0]["value"] == "planted"
    browser.said.clear()
