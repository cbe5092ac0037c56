"""Amounts in words: one of a thing reads as one."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import migrator
from migrator.report import text

# a count that is put in, and a plural behind it that does not ask how many there are
BARE = re.compile(
    r"\{(?:[^{}]*:,|len\([^{}]*\)|\w*count\w*)\} "
    r"(?:generations|steps|issues|cohorts|tables|rows|things|ids|records|paths|times|files\b(?! and))\b"
)

NEVER_ONE = ("things stand", "generations[/]")  # the line before asks, or it is a whole pipeline


@pytest.mark.parametrize(
    ("rebuilt", "said"),
    [
        ([], ""),
        (["cohorts/a/manifest.json"], "1 manifest is made anew"),
        (["5_parsing/aggregated_scores.csv"], "1 derived table is made anew"),
        (
            ["5_parsing/aggregated_scores.csv", "cohorts/a/manifest.json"],
            "1 derived table and 1 manifest are made anew",
        ),
        (["cohorts/a/manifest.json", "cohorts/b/manifest.json"], "2 manifests are made anew"),
    ],
)
def test_what_is_made_anew(rebuilt: list[str], said: str) -> None:
    plan: Any = SimpleNamespace(rebuilt=rebuilt)
    assert text.rebuilt(plan) == said


def test_no_plural_stands_behind_a_count_that_may_be_one() -> None:
    """`text.many` asks how many there are."""
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted(Path(migrator.__file__).parent.rglob("*.py"))
        for line in path.read_text().splitlines()
        if BARE.search(line) and not any(words in line for words in NEVER_ONE)
    ]
    assert found == []
    assert BARE.search('f"{len(found)} rows"') and BARE.search('f"{checked:,} generations"')
