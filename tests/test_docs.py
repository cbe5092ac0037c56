"""What the documents say is so: commands and options exist, links lead somewhere, examples run, vectors are right."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import json
import re
import runpy
from pathlib import Path

import click
import pytest

from migrator import PlanTables, View, compute_gen_id
from migrator.cli import COMMANDS, group
from migrator.demo import make_legacy_store
from migrator.engine.exchange import Place
from migrator.errors import CareNeeded, DecisionNeeded, MigratorError, TryAgain, UsageError
from migrator.runner import upgrade
from migrator.site import Site, shipped_migrations
from migrator.store import problems
from tests.test_layers import MAY_IMPORT

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^\$ |`|^ {4}(?:\$ )?)((?:migrator|make) [^`\n]*)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


def commands(text: str) -> list[str]:
    """Every command line in a page, in code blocks and in running text, without its comment."""
    found = [match[1] for match in COMMAND.finditer(text)]
    for language, body in FENCE.findall(text):
        if language in ("console", "sh", "bash"):
            found += [line for line in body.splitlines() if line.startswith(("migrator ", "make "))]
    return [line.partition("  ")[0].partition(" # ")[0].strip() for line in found]


def option_names(command: click.Command) -> set[str]:
    return {name for option in command.params for name in option.opts + option.secondary_opts}


def complaint(line: str) -> str | None:
    """What is wrong with a command line of a page, or None."""
    words = line.replace("…", "").replace("...", "").split()
    if words[0] == "make":
        targets = {match[1] for match in re.finditer(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}
        wanted = [word for word in words[1:] if re.fullmatch("[a-z][a-z-]*", word)]
        return next((f"no target {word}" for word in wanted[:1] if word not in targets), None)
    command: click.Command = group
    words = [word for word in words[1:] if word not in ("|", "&&", "[", "]")]
    allowed = option_names(group) | {"--help", "--version", "-h"}
    takes = {name for option in group.params for name in option.opts}
    position = 0
    while position < len(words) and words[position].startswith("-"):
        if words[position] not in allowed:
            return f"no option {words[position]}"
        position += 2 if words[position] in takes and words[position] not in ("--help", "--version") else 1
    if position == len(words):
        return None
    name = words[position]
    if name not in COMMANDS:
        return None if not re.fullmatch("[a-z]+", name) else f"no command {name}"
    command = importlib.import_module(f"migrator.cli.{COMMANDS[name][0]}").command
    if isinstance(command, click.Group) and position + 1 < len(words) and words[position + 1] in command.commands:
        command = command.commands[words[position + 1]]
    known = option_names(command) | {"--help"}
    asked = [word.partition("=")[0] for word in words[position:] if word.startswith("--")]
    return next((f"{name} has no option {word}" for word in asked if word.strip("[]") not in known), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_exists(page: Path) -> None:
    complaints = {line: complaint(line) for line in commands(page.read_text())}
    assert {line: why for line, why in complaints.items() if why} == {}


@pytest.mark.parametrize(
    "line",
    ["migrator apply", "migrator upgrade --force", "make migrate-moon", "migrator --root x status"],
)
def test_the_check_of_commands_can_fail(line: str) -> None:
    assert complaint(line)


def test_pages_have_commands() -> None:
    assert len([line for page in PAGES for line in commands(page.read_text())]) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.fixture(scope="module")
def migrated_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose data/ is the demo's store, upgraded."""
    base = tmp_path_factory.mktemp("notebook")
    make_legacy_store(base / "data")
    upgrade(Site(Place.at(base / "data"), shipped_migrations(), base / "backups", base / "mappings"))
    return base


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, migrated_demo: Path) -> None:
    """Beside a data/ as the demo leaves it, which no example changes."""
    with contextlib.chdir(migrated_demo):
        assert doctest.testfile(str(page), module_relative=False).failed == 0


def test_the_notebook_page_shows_every_method() -> None:
    text = (ROOT / "docs" / "notebook.md").read_text()
    examples = "".join(example.source for example in doctest.DocTestParser().get_examples(text))
    methods = [name for kind in (View, PlanTables) for name in vars(kind) if not name.startswith("_")]
    assert [name for name in methods if name not in ("site", "plan") and f".{name}" not in examples] == []


def test_the_ids_page_has_an_example_and_the_contracts_vectors() -> None:
    text = (ROOT / "docs" / "ids.md").read_text()
    assert ">>>" in text
    rows = re.findall(r"^\|\s*`((?:draft|essay|evaluation)[¦|][^`]*)`\s*\|\s*`([dev]_[0-9a-z]+)`", text, re.MULTILINE)
    assert len(rows) == 7
    for canonical, gen_id in rows:
        stage, *fields = canonical.replace("\\|", "|").replace("¦", "|").split("|")
        assert compute_gen_id(stage, tuple(fields)) == gen_id


def test_the_readme_names_every_exit_code() -> None:
    text = (ROOT / "README.md").read_text()
    codes = {error.exit_code for error in (MigratorError, UsageError, DecisionNeeded, TryAgain, CareNeeded)}
    line = text[text.index("Exit codes:") :].partition("\n\n")[0]
    assert codes | {0, 3, 130} == {int(number) for number in re.findall(r"\b(\d+)\b", line)}


def test_the_readme_lists_every_command() -> None:
    table = (ROOT / "README.md").read_text().partition("## Commands")[2].partition("\n## ")[0]
    assert [name for name in COMMANDS if f"`{name}" not in table and f"{name} " not in table] == []


def test_the_runbook_has_every_exit_code_alert_and_kind_of_issue() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    first = set(re.findall(r"^\| `?([\w-]+)`? \|", text, re.MULTILINE))
    codes = {error.exit_code for error in (MigratorError, UsageError, DecisionNeeded, TryAgain, CareNeeded)}
    assert {str(code) for code in codes | {0, 3, 130}} - first == set()
    sources = "".join(path.read_text() for path in (ROOT / "migrator").rglob("*.py"))
    alerts = set(re.findall(r'notify\("([\w-]+)", level="(?:warning|error|critical)"', sources))
    assert len(alerts) > 4
    assert alerts - first == set()
    kinds = {value for name, value in vars(problems).items() if name.isupper() and isinstance(value, str)}
    assert len(kinds) > 15
    assert kinds - first == set()


def test_the_rooms_are_told_as_they_are() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", text.partition("## Rooms")[2], re.MULTILINE)
    there = {path.stem for path in (ROOT / "migrator").iterdir() if path.suffix in ("", ".py")} & set(MAY_IMPORT)
    there -= {"__init__", "__main__"}
    assert {room for room, _ in rows} == there
    for room, told in rows:
        allowed = set(MAY_IMPORT[room]) & there - {room}
        assert told == "everything" or set(re.findall(r"`(\w+)`", told)) == allowed, room


def test_every_promise_links_to_a_test() -> None:
    promises = (ROOT / "README.md").read_text().partition("## Promises")[2].partition("\nNot promised")[0]
    rows = [row for row in promises.splitlines() if row.startswith("| ") and not row.startswith("| promise")]
    assert len(rows) >= 8
    assert all("(tests/" in row for row in rows)


def test_a_dead_link_is_told_from_one_that_was_not_reached(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`make links`: without a network nothing is dead; what a server does not have is."""
    main = runpy.run_path(str(ROOT / "docs" / "links.py"))["main"]
    said = {
        "https://a.example/": ("working", ""),
        "https://b.example/": ("redirected", "https://a.example/"),
        "https://c.example/": ("broken", "HTTPSConnectionPool(host='c.example', port=443): Max retries exceeded"),
        "https://d.example/": ("timeout", "Read timed out"),
    }
    told = tmp_path / "output.json"

    def write() -> None:
        lines = (
            {"filename": "x.md", "lineno": 3, "status": status, "code": 0, "uri": uri, "info": info}
            for uri, (status, info) in said.items()
        )
        told.write_text("\n".join(map(json.dumps, lines)) + "\n")

    write()
    assert main(str(told)) == 0
    assert capsys.readouterr().out.endswith("2 work, 0 dead, 2 not reached\n")
    said["https://e.example/"] = ("broken", "404 Client Error: Not Found for url: https://e.example/")
    write()
    assert main(str(told)) == 1
    assert "dead: x.md:3: https://e.example/" in capsys.readouterr().out
