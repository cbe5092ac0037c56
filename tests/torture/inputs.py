"""Hostile names in every place where a name is read, and generated documents and tables: never a traceback.

While a command runs an audit hook sees every file that Python opens for writing, makes, renames or removes: each of
them goes through the one writer. What lies outside of the four folders of a site must be as it was.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st

from migrator import runner, undo, upkeep
from migrator.engine import files, journal, snapshots
from migrator.errors import MigratorError
from migrator.store.layout import LEDGER
from tests.faults import site as site_at
from tests.torture.kinds import Kind, Tally, tallied
from tests.torture.world import exact, remember_steps, tiny_store, upgrade

PAYLOADS = (
    "../outside",
    "../../outside/x",
    "../../../../../../etc/passwd",
    "/etc/x",
    "/",
    "//",
    "..",
    ".",
    "",
    " ",
    "a/b",
    "a//b",
    "./a1",
    "a1/",
    "a1/../a2",
    "a\\..\\b",
    "C:\\x",
    "a\0b",
    "a\nb",
    "a\r\nb",
    "a\tb",
    "\ta",
    "-rf",
    "--help",
    "~root",
    "~",
    "$HOME",
    "$(touch outside/pwned)",
    "`touch outside/pwned`",
    ";touch outside/pwned",
    "| cat",
    ".hidden",
    ".migrator",
    ".set-aside",
    "x.tmp",
    "CON",
    "x" * 256,
    "x" * 5000,
    "é模板",
    "e\u0301",
    "\u202egpj",
    "\x1b[2J\x1b]0;x\x07",
    "\x9b2J",
    "=cmd()",
    "+1",
    "@x",
    "%s%n{0}",
    "\ud800",
    "NaN",
    "1e5",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CALLS = "mkdir rename remove rmdir symlink link chmod chown utime truncate setxattr"
_EVENTS = {"os." + name for name in _CALLS.split(" ")}
_watching: list[list[str]] = []
_installed: list[bool] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _watching or not (event in _EVENTS or (event == "open" and isinstance(args[2], int) and args[2] & _WRITING)):
        return
    frame = sys._getframe(1)
    caller = frame.f_code.co_filename
    if caller != files.__file__ and args[0] != os.devnull:
        _watching[-1].append(f"{event} {args[0]!r} by {caller}:{frame.f_lineno}")


@contextmanager
def watched() -> Iterator[list[str]]:
    """What is written past the one writer. A hook cannot be taken away again, only told to look elsewhere."""
    if not _installed:
        sys.addaudithook(_audit)
        _installed.append(True)
    _watching.append([])
    try:
        yield _watching[-1]
    finally:
        _watching.pop()


def _document(key: str, stage: str = "draft", **fields: Any) -> Callable[[Path, str], object]:
    def place(root: Path, payload: str) -> None:
        folder = root / "gens" / stage / "bad"
        folder.mkdir()
        (folder / "metadata.json").write_text(json.dumps({**fields, key: payload}))

    return place


def _folder(parent: str) -> Callable[[Path, str], object]:
    def place(root: Path, payload: str) -> None:
        target = root / parent / payload.replace("\ud800", "\udcff")  # a name has no surrogate, but any byte
        if "/" not in payload and "\0" not in payload and len(payload.encode(errors="replace")) < 256:
            target.mkdir(parents=True, exist_ok=True)
            (target / "metadata.json").write_text('{"combo_id": "z", "template_id": "t", "llm_model_id": "m"}')

    return place


def _cell(path: str, head: str) -> Callable[[Path, str], object]:
    def place(root: Path, payload: str) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        cell = '"' + payload.replace('"', '""') + '"'
        (root / path).write_bytes(
            f"{head}\n{','.join([cell] * (head.count(',') + 1))}\n".encode(errors="surrogatepass")
        )

    return place


def _ledger(root: Path, payload: str) -> None:
    upgrade(site_at(root.parent, jobs=1))
    path = root / LEDGER
    lines = [
        json.dumps({**json.loads(line), "run_id": payload, "number": "0004"}) for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")


def _record(key: str, **values: object) -> Callable[[Path, str], object]:
    def place(root: Path, payload: str) -> None:
        one = site_at(root.parent, jobs=1)
        upgrade(one)
        path = one.folder(one.runs()[-1].run_id) / snapshots.RUN_FILE
        path.write_text(json.dumps({**json.loads(path.read_text()), key: payload, **values}))
        os.chdir(root)  # so that a relative payload means something near

    return place


def _journal(root: Path, payload: str) -> None:
    one = site_at(root.parent, jobs=1)
    files.make_dirs(one.place.state)
    owed = {"action": journal.UPGRADE, "run_id": payload, "folder": payload, "moves": []}
    (one.place.state / journal.JOURNAL).write_text(json.dumps(owed))


PLACES: dict[str, Callable[[Path, str], object]] = {
    "gen_id": _document("gen_id", combo_id="z", template_id="t", llm_model_id="m"),
    "stage": _document("stage", combo_id="z", template_id="t", llm_model_id="m"),
    "combo_id": _document("combo_id", template_id="t", llm_model_id="m"),
    "parent": _document("parent_gen_id", "essay", template_id="e"),
    "parent of a copied essay": _document(
        "parent_gen_id", "essay", template_id="e", mode="copy", combo_id="c", draft_template="t", llm_model_id="m"
    ),
    "name of a generation": _folder("gens/draft"),
    "name of a cohort": _folder("cohorts"),
    "membership cell": _cell("cohorts/two/membership.csv", "stage,gen_id"),
    "tasks cell": _cell("2_tasks/x.csv", "gen_id,parent_gen_id"),
    "selected line": lambda root, payload: (root / "2_tasks/selected_essays.txt").write_bytes(
        payload.encode(errors="surrogatepass")
    ),
    "run id in the ledger": _ledger,
    "tree in run.json": _record("tree"),
    "link in run.json": _record("link"),
    "tree of an undone run": _record("tree", state=snapshots.ROLLED_BACK),
    "tree of a pruned run": _record("tree", pruned=True),
    "journal": _journal,
}
ACTS: tuple[Callable[[Any], object], ...] = (
    upkeep.status,
    runner.read_plan,
    upgrade,
    undo.rollback,
    lambda one: upkeep.prune(one, 1, rolled_back=True),
)


def hostile(place: str, base: Path, stride: int) -> Tally:
    """Each payload in one place, through status, plan, upgrade, rollback and prune."""
    remember_steps()
    ours = ("data", "b", "m", ".data.migrator")

    def one(payload: str) -> list[str]:
        shutil.rmtree(base, ignore_errors=True)
        (base / "outside").mkdir(parents=True)
        (base / "outside" / "x").write_text("not ours")
        tiny_store(base / "data")
        PLACES[place](base / "data", payload)
        seen = {path: value for path, value in exact(base).items() if path.split("/")[0] not in (*ours, ".")}
        found = []
        with watched() as past:
            for act in ACTS:
                try:
                    act(site_at(base, jobs=1))
                except (MigratorError, OSError):
                    pass
                except Exception as error:  # noqa: BLE001 - whatever gets out is what is looked for
                    found.append(f"{error!r} got out")
        found += [f"past the writer: {what}" for what in past]
        if {path: value for path, value in exact(base).items() if path.split("/")[0] not in (*ours, ".")} != seen:
            found.append("something outside was written")
        if not (base / "data/gens").is_dir():
            found.append("the data root is gone")
        return [f"{place} {payload[:40]!r}: {what}" for what in found]

    here = os.getcwd()
    try:
        return tallied(len(PAYLOADS), (one(payload) for payload in PAYLOADS[::stride]))
    finally:
        os.chdir(here)


# -- generated documents and tables

_GOOD = '{"stage": "draft", "gen_id": "bad", "combo_id": "c9", "template_id": "t", "llm_model_id": "m", "replicate": 1}'
_KEYS = st.sampled_from(
    ["stage", "gen_id", "combo_id", "template_id", "llm_model_id", "model_id", "replicate", "mode", "x"]
)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a1", "b1", "nan"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)
_PATCHES = st.lists(st.tuples(st.integers(0, len(_GOOD)), st.integers(0, 3), st.binary(max_size=3)), max_size=4)


def _patched(good: str, patches: list[tuple[int, int, bytes]]) -> bytes:
    data = bytearray(good.encode())
    for start, length, new in patches:
        data[start : start + length] = new
    return bytes(data)


DOCUMENTS = st.one_of(
    st.binary(max_size=60),
    st.dictionaries(_KEYS, _VALUES, max_size=6).map(lambda value: json.dumps(value).encode()),
    _PATCHES.map(partial(_patched, _GOOD)),
)
_CELL = st.one_of(
    st.sampled_from(["draft", "essay", "a1", "b1", '"', '"a1"', "stage", "gen_id", "="]), st.text(max_size=5)
)
_LINE = st.tuples(st.lists(_CELL, max_size=4).map(",".join), st.sampled_from(["\n", "\r\n", "\r", ""])).map("".join)
TABLES = st.one_of(
    st.binary(max_size=60),
    st.lists(_LINE, max_size=6).map(lambda lines: "".join(["stage,gen_id\n", *lines]).encode(errors="surrogatepass")),
)


def generated(path: str, kind: str, number: int, base: Path, stride: int) -> Tally:
    """Generated bytes in one file: a plan that refuses or accepts; each tenth that is accepted is run."""
    remember_steps()
    started = time.monotonic()
    count = 0
    broken: list[str] = []
    base.mkdir(parents=True)
    tiny_store(base / "data")
    shutil.copytree(base / "data", base / "kept", symlinks=True)
    target = base / "data" / path
    target.parent.mkdir(parents=True, exist_ok=True)

    @hypothesis.settings(max_examples=max(number // stride, 10), database=None, deadline=None, derandomize=stride > 1)
    @hypothesis.seed(len(path))
    @hypothesis.given(data=DOCUMENTS if kind == "document" else TABLES)
    def example(data: bytes) -> None:
        nonlocal count
        count += 1
        target.write_bytes(data)
        one = site_at(base, jobs=1)
        before = exact(base / "data", times_only=True)
        plan = runner.read_plan(one)
        assert plan is not None
        assert exact(base / "data", times_only=True) == before, "a plan wrote something"
        if count % 10 == 0:
            outcome = runner.upgrade(one)
            assert outcome.status == ("refused" if plan.blocking else "committed")
            if outcome.status == "committed":
                undo.rollback(one)
                assert target.read_bytes() == data

    try:
        example()
    except Exception as error:  # noqa: BLE001 - whatever gets out is what is looked for
        broken.append(f"{path}: {error!r} {getattr(error, '__notes__', '')}")
    return Tally(number, count, tuple(broken), time.monotonic() - started)


HOSTILE = Kind("hostile names", 40 * 8, [partial(hostile, place) for place in PLACES])
GENERATED = Kind(
    "generated inputs",
    10_000,
    [
        partial(generated, "gens/draft/bad/metadata.json", "document", 3500),
        partial(generated, "gens/draft/a1/raw_metadata.json", "document", 2500),
        partial(generated, "cohorts/two/membership.csv", "table", 2500),
        partial(generated, "2_tasks/x.csv", "table", 2000),
    ],
)
