"""The documentation: its pages are there, its links lead somewhere, its commands and names exist."""

import ast
import functools
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from bench.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
EVERY_COMMAND = {"--help"}


def named_pages():
    return re.findall(r"^\s*- .*?: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)


def blocks(page, *languages):
    return [body for _, language, body in FENCE.findall(page.read_text()) if language in languages]


def commands(page):
    """Command lines of a page, as lists of words: those of shell blocks and indented ones, continued lines joined."""
    found = []
    indented = re.findall(r"^    (bench .*)$", FENCE.sub("", page.read_text()).replace("\\\n", " "), re.MULTILINE)
    for body in [*blocks(page, "sh", "bash", "console"), *indented]:
        for line in body.replace("\\\n", " ").splitlines():
            for part in line.strip().removeprefix("$ ").split("&&"):
                words = shlex.split(part, comments=True)
                if words[:1] == ["bench"]:
                    found.append(words[1:])
    return found


def mentions(page):
    """What stands as `bench ...` within a sentence or a table."""
    text = FENCE.sub("", page.read_text())
    return [found.replace("\\|", "|").split()[1:] for found in re.findall(r"`(bench [^`\n]+)`", text)]


def found_command(words):
    """The command that some words begin with, a command of a group as well: its words and what takes the rest."""
    command, taken = typer.main.get_command(app), 0
    while getattr(command, "commands", None) and taken < len(words) and words[taken] in command.commands:
        command, taken = command.commands[words[taken]], taken + 1
    assert taken, f"bench has no command {words[0]!r}"
    return tuple(words[:taken]), command


@functools.cache
def options_of(command):
    """Options that the help of a command names."""
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0, f"bench {' '.join(command)} --help: {shown.output}"
    return EVERY_COMMAND | set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", shown.output))


def unknown_options(words):
    known = options_of(found_command(words)[0])
    given = [word.split("=")[0].rstrip("]") for word in words[1:] if re.match(r"\[?--?[a-z]", word)]
    return [word.lstrip("[") for word in given if word.lstrip("[") not in known]


def test_every_named_page_is_there_and_every_page_is_named():
    named = named_pages()
    assert len(named) == len(set(named)) >= 10
    assert {DOCS / name for name in named} == set(DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files(page):
    text = FENCE.sub("", page.read_text())
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text))
    relative = [link.split("#")[0] for link in links if not re.match(r"[a-z]+:", link)]
    missing = [link for link in relative if link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_parse(page):
    for words in commands(page):
        assert not unknown_options(words), words
        name, command = found_command(words)
        command.make_context(name[-1], list(words[len(name) :]))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_in_the_text_exist(page):
    for words in mentions(page):
        if words and not words[0].startswith(("-", ".")):
            assert not unknown_options(words), words


def test_an_unknown_option_is_found():
    assert unknown_options(["run", "--suite", "smoke", "--fast", "[--out"]) == ["--fast"]


def test_readme_and_tutorial_show_commands():
    assert len(commands(ROOT / "README.md")) >= 4 and len(commands(DOCS / "tutorial.md")) >= 5


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_is_python(page):
    for body in blocks(page, "python"):
        ast.parse(body)


@pytest.mark.parametrize("package", ["bench", "explainers", "models", "reports"])
def test_the_reference_names_what_is_public(package):
    entries = re.findall(r"^::: (\S+)$", (DOCS / "reference" / f"{package}.md").read_text(), re.MULTILINE)
    for entry in entries:
        home, _, name = entry.rpartition(".")
        assert hasattr(importlib.import_module(home), name), entry
    shown = {entry.rpartition(".")[2] for entry in entries}
    assert set(importlib.import_module(package).__all__) <= shown
