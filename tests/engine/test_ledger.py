"""Which steps a tree has seen, and what is refused when the folder of steps does not fit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from migrator.engine import ledger
from migrator.engine.ledger import Applied
from migrator.engine.steps import Step
from migrator.errors import CareNeeded, DecisionNeeded

WHERE = Path("/data/.migrator/ledger.jsonl")


def step(number: str, digest: str = "") -> Step:
    """A step whose text is told by its digest."""
    return Step(number, f"step_{number}", "A title", digest or f"digest {number}", Path(f"{number}.py"), _silent)


def _silent(store: object) -> Iterable[object]:
    return ()


def applied(number: str, run_id: str = "20260101-000001") -> Applied:
    """An entry of the ledger."""
    return Applied(number, f"step_{number}", "A title", f"digest {number}", run_id, "then", "later", {"rename": 2})


STEPS = [step("0001"), step("0002"), step("0003")]


@pytest.mark.parametrize(
    ("numbers", "to", "expected"),
    [
        ([], None, ["0001", "0002", "0003"]),
        (["0001"], None, ["0002", "0003"]),
        (["0001", "0002", "0003"], None, []),
        ([], "0002", ["0001", "0002"]),
        (["0001"], "0002", ["0002"]),
        (["0001", "0002"], "0001", []),
    ],
)
def test_what_is_pending(numbers: list[str], to: str | None, expected: list[str]) -> None:
    """The steps that the ledger does not name, in order, up to and including `to`."""
    entries = [applied(number) for number in numbers]
    assert [one.number for one in ledger.pending(STEPS, entries, to)] == expected


REFUSED = [
    pytest.param([step("0001"), step("0002", "edited")], ["0001", "0002"], ["0002 step_0002 was edited"], id="edited"),
    pytest.param([step("0001")], ["0001", "0002"], ["0002 step_0002 was applied and is missing"], id="missing"),
    pytest.param(STEPS, ["0001", "0003"], ["0002 step_0002 is new and lies below the applied 0003"], id="inserted"),
    pytest.param(
        [step("0001", "edited"), step("0002"), step("0004", "edited"), step("0005")],
        ["0001", "0003", "0004"],
        [
            "0001 step_0001 was edited",
            "0003 step_0003 was applied",
            "0004 step_0004 was edited",
            "0002 step_0002 is new",
        ],
        id="all of it",
    ),
]


@pytest.mark.parametrize(("steps", "numbers", "faults"), REFUSED)
def test_steps_that_do_not_fit_are_refused(steps: list[Step], numbers: list[str], faults: list[str]) -> None:
    """Exit 4, and every one of them is listed, not the first."""
    with pytest.raises(DecisionNeeded) as error:
        ledger.pending(steps, [applied(number) for number in numbers])
    assert error.value.exit_code == 4
    told = error.value.message.removeprefix("the steps do not fit the ledger: ").split("; ")
    assert len(told) == len(faults)
    assert all(line.startswith(fault) for line, fault in zip(told, faults, strict=True))


def test_faults_count_also_below_to() -> None:
    """`--to` does not lead around an edited step."""
    with pytest.raises(DecisionNeeded):
        ledger.pending([step("0001"), step("0002", "edited")], [applied("0001"), applied("0002")], "0001")


def test_a_step_that_is_not_there_is_refused() -> None:
    """A slip of the pen in `--to` does nothing, rather than everything."""
    with pytest.raises(DecisionNeeded, match="no step 0009"):
        ledger.pending(STEPS, [], "0009")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A line an entry, JSON, other scripts as they are."""
    entries = [
        applied("0001"),
        Applied("0002", "b", "Titel é\u2028", "d", "20260101-000009", "s", "e", {}, "0.1.0", "me@here", "模板"),
    ]
    data = ledger.render(entries)
    assert data.count(b"\n") == 2
    assert "模板".encode() in data
    (tmp_path / "ledger.jsonl").write_bytes(data)
    assert ledger.read(tmp_path / "ledger.jsonl") == entries


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    """A store that no run has seen."""
    assert ledger.read(tmp_path / "ledger.jsonl") == []
    assert ledger.render([]) == b""


def test_runs_are_listed_once_in_order() -> None:
    """A run of two steps is one run."""
    entries = [applied("0001", "b"), applied("0002", "b"), applied("0003", "a")]
    assert ledger.runs(entries) == ["b", "a"]


GOOD = json.loads(ledger.render([applied("0001")]))
TORN = [
    pytest.param(ledger.render([applied("0001")])[:-20], 1, id="cut short"),
    pytest.param(ledger.render([applied("0001")]) + b'{"number": "00', 2, id="second line cut short"),
    pytest.param(b"\n" + ledger.render([applied("0001")]), 1, id="blank line"),
    pytest.param(b"\xff\xfe\n", 1, id="not UTF-8"),
    pytest.param(b"[]\n", 1, id="a list"),
    pytest.param(b"null\n", 1, id="null"),
    pytest.param(b"{}\n", 1, id="keys missing"),
    pytest.param(json.dumps({**GOOD, "from_the_future": 1}).encode(), 1, id="a newer tool"),
]


@pytest.mark.parametrize(("data", "line"), TORN)
def test_a_torn_ledger_needs_care(data: bytes, line: int) -> None:
    """Exit 10 with the line: what the tree has seen is never guessed."""
    with pytest.raises(CareNeeded, match=f"line {line} of the ledger") as error:
        ledger.parse(data, WHERE)
    assert error.value.exit_code == 10
    assert error.value.where == str(WHERE)


FOREIGN = [
    {"number": 1},
    {"digest": None},
    {"run_id": "../../elsewhere"},
    {"run_id": "/etc"},
    {"run_id": "a\0b"},
    {"run_id": ["x"]},
    {"counts": "many"},
]


@pytest.mark.parametrize("values", FOREIGN, ids=str)
def test_an_entry_with_impossible_values_needs_care(values: dict[str, object]) -> None:
    """The run id becomes a path and the number is compared: both are held to what they must be."""
    with pytest.raises(CareNeeded):
        ledger.parse(json.dumps({**GOOD, "run_id": "20260101-120000", **values}).encode(), WHERE)
