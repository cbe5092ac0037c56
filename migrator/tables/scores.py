"""What an evaluation's parsed.txt says: a score, or why there is none. Reads and never writes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from migrator.store.layout import EVALUATION, GENS, PARSED_TEXT
from migrator.store.reading import NotRegular, Unreadable, read_bytes

HIGHEST = Decimal(9)
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")  # no plus, no exponent, no `nan`; digits of ASCII only
_LARGEST = 1 << 20  # bytes; a score has a few
_STAGE, _FILE = f"{GENS}/{EVALUATION}", f"/{PARSED_TEXT}"


class Score(NamedTuple):
    """A score as it was written, or an empty text and the reason."""

    text: str
    error: str = ""


MISSING = Score("", f"missing {PARSED_TEXT}")


def score_of(data: bytes) -> Score:
    """The score that a text is when it is stripped: a decimal number from 0 to 9."""
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        return Score("", f"{PARSED_TEXT} is not UTF-8")
    if not text:
        return Score("", f"{PARSED_TEXT} is empty")
    if not _NUMBER.fullmatch(text):
        return Score("", f"{PARSED_TEXT} is not a decimal number")  # its text may hold anything, old ids too
    if text.startswith("-") or Decimal(text) > HIGHEST:
        return Score("", f"{PARSED_TEXT} is not from 0 to {HIGHEST}")
    return Score(text)


def evaluation_of(path: str) -> str:
    """The id of the evaluation whose parsed.txt a path of a data root is, else an empty text."""
    if not path.endswith(_FILE):
        return ""
    stage, _, gen_id = path.removesuffix(_FILE).rpartition("/")
    return gen_id if stage == _STAGE else ""


def read_scores(root: Path, gen_ids: Iterable[str]) -> dict[str, Score]:
    """The scores of these evaluations of a data root, by id. A link in the place of parsed.txt is followed."""
    return {gen_id: _read(f"{root}/{_STAGE}/{gen_id}{_FILE}") for gen_id in gen_ids}


def _read(path: str) -> Score:
    try:
        data = read_bytes(path, _LARGEST, follow=True)
    except (NotRegular, Unreadable) as error:
        return Score("", f"{PARSED_TEXT} {error}")
    return MISSING if data is None else score_of(data)
