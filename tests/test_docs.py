"""Documentation that cannot rot: every command in it exists, every verb and option is in it."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from calowatch import __version__, cli
from calowatch.cli import frame

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
PROGRAM = frame.build(cli.app)


def fenced_lines(page: Path) -> list[str]:
    """Return the lines of all fenced blocks, those that end in a backslash joined with the next."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def commands(page: Path) -> list[list[str]]:
    """Return the words of every call of the program, up to a pipe, a redirection or a comment."""
    found = []
    for line in fenced_lines(page):
        for part in re.split(r"\s(?:\||&&|;|>|2>|<)\s", line.removeprefix("$ ")):
            words = shlex.split(part, comments=True)
            if words and words[0] == "calowatch":
                found.append(words[1:])
    return found


def all_verbs(command=PROGRAM, path=()):
    children = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from all_verbs(child, (*path, name))


VERBS = list(all_verbs())


def resolve(words):
    """Follow the words down to a verb; return it and the words that remain."""
    command, rest = PROGRAM, list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


def options_of(command) -> dict:
    names = {
        name: parameter for parameter in command.params for name in parameter.opts + parameter.secondary_opts
    }
    return {name: parameter for name, parameter in names.items() if name.startswith("-")}


def complaint(words: list[str]) -> str | None:
    """Say what is wrong with a call, if anything is."""
    command, rest = resolve(words)
    known = {**options_of(command), "--help": None, "-h": None}
    if getattr(command, "commands", None) and not (rest and rest[0] in known):
        return f"no such verb: {' '.join(words)}"
    given = [word.partition("=")[0] for word in rest if re.match(r"--?[a-zA-Z]", word)]
    unknown = [word for word in given if word not in known]
    return f"no such option: {' '.join(unknown)} in {' '.join(words)}" if unknown else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_documentation_exist(page):
    assert [found for words in commands(page) if (found := complaint(words))] == []


def test_the_check_itself_finds_mistakes():
    assert complaint(["nonsense"]) == "no such verb: nonsense"
    assert complaint(["detector", "--nonsense"]) == "no such option: --nonsense in detector --nonsense"
    assert complaint(["detector", "HE", "-27", "33", "3", "--era=run3"]) is None
    assert complaint(["--version"]) is None


def test_the_readme_shows_every_verb():
    shown = {words[0] for words in commands(ROOT / "README.md") if words}
    assert {path[0] for path, _ in VERBS} <= shown


def test_the_command_reference_is_current():
    spec = importlib.util.spec_from_file_location("commands_page", ROOT / "docs" / "commands.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.TARGET.read_text() == module.reference(), "run `make docs`"


@pytest.mark.parametrize(("path", "verb"), VERBS, ids=[" ".join(path) for path, _ in VERBS])
def test_every_verb_and_option_has_help(path, verb):
    where = " ".join(path)
    assert verb.help, where
    assert [parameter.name for parameter in verb.params if not parameter.help] == []
    assert f"calowatch {where}" in f"{verb.help}\n{verb.epilog}", f"{where}: help shows no example"
    assert "--json" in options_of(verb), where


@pytest.mark.parametrize(("path", "verb"), VERBS, ids=[" ".join(path) for path, _ in VERBS])
def test_examples_in_help_exist(path, verb):
    lines = [line.strip().removeprefix("$ ") for line in f"{verb.help}\n{verb.epilog}".splitlines()]
    calls = [
        shlex.split(line.replace("\\[", "["), comments=True)[1:]
        for line in lines
        if line.startswith("calowatch ")
    ]
    assert [found for words in calls if (found := complaint(words))] == []


def test_the_changelog_knows_the_version():
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_sections(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    broken = []
    for target in targets:
        file, _, section = target.partition("#")
        if "://" in target:
            continue
        linked = page.parent / file if file else page
        if not linked.exists() or (section and section not in anchors(linked)):
            broken.append(target)
    assert broken == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_make_targets_in_documentation_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        line.split()[1]
        for page in PAGES
        for line in fenced_lines(page)
        if line.startswith("make ") and not line.split()[1].startswith("#")
    }
    assert named <= targets


def test_functions_named_in_the_python_page_exist():
    from importlib import import_module

    names = re.findall(r"`(calowatch[\w.]+)`", (ROOT / "docs" / "python.md").read_text())
    assert len(names) > 10
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert callable(getattr(import_module(module), attribute)), name
