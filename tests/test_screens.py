"""Nothing that a terminal acts on gets from a store to the screen, wherever in the store it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_cohorts_against_oracle import call
from tests.torture.inputs import PLACES
from tests.torture.world import tiny_store

PAYLOADS = ("\x1b[2J\x1b]0;x\x07", "\x9b2J", "\u202egpj", "a\rb", "[bold]x[/bold][/]")
SCREENS = (
    ("status",),
    ("plan",),
    ("check",),
    ("history",),
    ("snapshots", "list"),
    ("doctor",),
    ("cohort", "show", "two"),
)


def acted_on(text: str) -> str:
    """The signs of a text that move, colour, hide or reverse."""
    return "".join(sign for sign in text if not sign.isprintable() and sign != "\n")


@pytest.mark.parametrize("place", PLACES)
def test_no_terminal_acts_on_what_a_store_says(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    for number, payload in enumerate(PAYLOADS):
        base = tmp_path / str(number)
        base.mkdir()
        tiny_store(base / "data")
        PLACES[place](base / "data", payload)
        folders = ("--data-root", base / "data", "--backups", base / "b", "--mappings", base / "m")
        for words in SCREENS if number == 0 else SCREENS[1:2]:
            answer = call(*folders, *words)
            assert acted_on(answer.out + answer.err) == "", (words, payload)
