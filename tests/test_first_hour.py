"""Somebody who has never seen it comes through the first hour with the README alone, in an empty clone.

The commands are the README's own: a changed README changes what is done here. The screens are those of the docs.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import first_hour
from tests.faults import content
from tests.first_hour import ROOT, Screen
from tests.test_fixture_tree import FIXTURE

README = (ROOT / "README.md").read_text()

pytestmark = pytest.mark.skipif(
    not shutil.which("git") or not (ROOT / ".git").exists(), reason="a clone needs git, and a repository to clone"
)


@dataclass(frozen=True)
class Story:
    """One part of the hour: what was shown, and what the two stores were like at its end."""

    screens: list[Screen]
    prod: dict[str, object]
    staging: dict[str, object]


@dataclass(frozen=True)
class Hour:
    """The clone, the four parts, and the README's real screen."""

    folder: Path
    stories: dict[str, Story]
    real: Screen


@pytest.fixture(
    scope="module", params=["borrowed", pytest.param("made", marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def hour(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hour]:
    """The first hour, played once: with this environment's packages, or (slow) with what `make setup` makes."""
    base = tmp_path_factory.mktemp("first-hour")
    folder, environment = first_hour.clone(base / "migrator"), first_hour.alone(base / "home")
    if request.param == "borrowed":
        first_hour.borrow_environment(folder)
    else:
        code, screen = first_hour.at_terminal("make setup", folder, environment)
        assert code == 0, screen
    real = first_hour.real_screen(folder, environment)
    stories = {}
    for part in first_hour.first_hour(README).split("\n### ")[1:]:
        screens = list(first_hour.play(part, folder, environment))
        stores = [content(folder / name) for name in ("data", "data-staging")]
        stories[part.partition("\n")[0]] = Story(screens, *stores)
    yield Hour(folder, stories, real)
    shutil.rmtree(base)


def test_every_command_works(hour: Hour) -> None:
    failed = [screen for story in hour.stories.values() for screen in story.screens if screen.code]
    assert failed == []


def test_a_store_is_migrated(hour: Hour) -> None:
    """Staging, then production: the same new ids, and the payload as it was."""
    story = hour.stories["Migrate a store"]
    payload = "gens/evaluation/v_393dzd2gfe1kff1v/parsed.txt"
    assert payload in story.prod
    assert story.prod[payload] == content(FIXTURE)["gens/evaluation/p0q7c5t1/parsed.txt"]
    assert {path for path in story.prod if path.startswith("gens/")} == {
        p for p in story.staging if p.startswith("gens/")
    }
    assert "Type prod to go on: prod" in story.screens[-1].text


def test_it_is_found_out_what_happened_to_an_old_id(hour: Hour) -> None:
    """Its name of today alone, then where that comes from, and when."""
    mapped, explained = hour.stories["Find out what happened to an old id"].screens
    assert mapped.text == "e_4nyhf2w3mpgelz3h"
    assert "essay|d_4py995ydm8lggqs|parsed-from-links-v1|1" in explained.text
    assert "renamed  z81mmd0a → e_4nyhf2w3mpgelz3h" in explained.text


def test_it_is_rolled_back(hour: Hour) -> None:
    """The tree is the one from before, and the old name counts again."""
    story = hour.stories["Roll back"]
    assert story.prod == content(FIXTURE)
    assert story.screens[-1].text == "z81mmd0a"


def test_a_step_of_their_own_is_added(hour: Hour) -> None:
    """Its test passes, the plan has it, staging got it, and production was left alone."""
    story = hour.stories["Add a step of your own"]
    draft = story.staging["gens/draft/d_4py995ydm8lggqs/metadata.json"]
    assert isinstance(draft, bytes) and b'"language": "en"' in draft
    assert any("1 passed" in screen.text for screen in story.screens)
    assert any("0005 draft_language        rewrite" in screen.text for screen in story.screens)
    assert story.prod == content(FIXTURE)


def test_the_screens_in_the_docs_are_those_of_today(hour: Hour) -> None:
    """But for times, amounts and fingerprints. `python -m tests.first_hour` writes them anew."""
    screens = [screen for story in hour.stories.values() for screen in story.screens]
    page = (ROOT / first_hour.PAGE).read_text()
    told = list(first_hour.screens_of(page))
    assert [screen.line for screen in told] == [screen.line for screen in screens]
    assert [screen.words for screen in told] == [screen.words for screen in screens]
    prose = first_hour.filled(first_hour.first_hour(README), told)
    assert prose == page


def test_the_real_screen_of_the_readme_is_that_of_today(hour: Hour) -> None:
    (told,) = first_hour.screens_of(README.partition("## One real screen")[2].partition("\n## ")[0])
    assert (told.line, told.words) == (hour.real.line, hour.real.words)


def test_what_was_drawn_over_is_not_on_the_screen() -> None:
    """A bar that has gone, a line that was written anew, colours."""
    raw = "one\nbar 10 %\x1b[2K\rbar 99 %\n\x1b[1A\x1b[2K\x1b[32mdone\x1b[0m\n\x1b[?25hnext"
    assert first_hour.shown(raw) == "one\ndone\nnext"
