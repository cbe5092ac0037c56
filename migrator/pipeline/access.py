"""A step's way to the store: every look and every write under the shared lock, by the names that hold at that moment.

A model is asked while nothing is held. What it answered lands where its generation lies by then, also when an upgrade
or a rollback went on meanwhile. Payload that is there is never written over.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from migrator.engine import files, ledger, lock
from migrator.engine.exchange import Place
from migrator.errors import MigratorError
from migrator.store.ids import is_absent, normalise
from migrator.store.inventory import Inventory
from migrator.store.layout import (
    DRAFT,
    LEDGER,
    PARSED_TEXT,
    PROMPT_TEXT,
    RAW_TEXT,
    gen_path,
    templates_table,
    unsafe_id,
)
from migrator.store.mappings import Past, follow
from migrator.store.problems import Problem
from migrator.store.records import Gen, Key
from migrator.store.table import InvalidTable, Table

PAYLOAD = (PROMPT_TEXT, RAW_TEXT, PARSED_TEXT)  # in the order in which a pipeline makes them
Content = Callable[[Gen], Mapping[str, bytes]]


@dataclass(frozen=True)
class Found:
    """A generation as a step found it: its record, its forebears (parent first), and what the tree had seen by then."""

    gen: Gen
    forebears: tuple[Gen, ...]
    generator: str
    past: Past


class Access:
    """One step at work on a data root; `what` tells others who it is, `wait` is how many seconds it has patience."""

    def __init__(self, root: Path, what: str, wait: float) -> None:
        self.place = Place.at(root)
        self.what = what
        self.wait = wait

    @contextlib.contextmanager
    def shared(self) -> Iterator[Path]:
        """The tree as it lies now, which nobody exchanges meanwhile. Keep it short."""
        self.place.require()
        with lock.hold(self.place.state, self.what, shared=True, wait=self.wait):
            yield self.place.real

    def find(self, key: Key) -> Found:
        """The generation that a partition key means today. Raises MigratorError where there is none."""
        with self.shared() as root:
            past = Past.of_tree(root, ledger.runs(ledger.read(root / LEDGER)))
            if not _is_folder(root, key):
                key = follow([key], Past(), past)[key]
            gen = _read(root, key)
            forebears, last = [], gen
            while last.stage != DRAFT:
                if last.parent_key is None:
                    raise MigratorError(f"the {last.stage} {last.gen_id} names no parent", where=root / last.path)
                last = _read(root, last.parent_key)
                forebears.append(last)
            return Found(gen, tuple(forebears), _generator(root, gen), past)

    def present(self, found: Found) -> list[str]:
        """Which payload the generation has."""
        with self.shared() as root:
            folder = root / self._today(root, found).path
            return [name for name in PAYLOAD if (folder / name).is_file()]

    def text(self, found: Found, gen: Gen, name: str) -> str:
        """A payload file of the generation, or of one of its forebears. Raises MigratorError where there is none."""
        with self.shared() as root:
            path = root / self._today(root, found, gen).path / name
            try:
                return path.read_bytes().decode()
            except OSError as error:
                raise MigratorError(
                    f"the {gen.stage} {gen.gen_id} has no {name} to go on from: {error.strerror}",
                    where=path,
                    hint=f"materialize {gen.stage}_parsed of partition {gen.gen_id} first",
                ) from None
            except UnicodeDecodeError as error:
                raise MigratorError(f"{name} is not UTF-8 (byte {error.start})", where=path) from None

    def put(self, found: Found, content: Content) -> Gen:
        """Write what `content` makes of the record as it stands now, in its order; return that record.

        Each file is replaced whole. Where a payload file of that name is there already, nothing is written.
        """
        with self.shared() as root:
            gen = self._today(root, found)
            folder, new = root / gen.path, content(gen)
            if not any((folder / name).exists() for name in new if name in PAYLOAD):
                for name, data in new.items():
                    files.replace_file(folder / name, data)
            return gen

    def _today(self, root: Path, found: Found, gen: Gen | None = None) -> Gen:
        """A record under the name that it has by now."""
        key = (gen or found.gen).key
        run_ids = ledger.runs(ledger.read(root / LEDGER))
        if run_ids != found.past.run_ids:
            key = follow([key], found.past, Past.of_tree(root, run_ids))[key]
        return _read(root, key)


def _is_folder(root: Path, key: Key) -> bool:
    return not unsafe_id(key[1]) and os.path.isdir(root / gen_path(*key))


def _read(root: Path, key: Key) -> Gen:
    """One record. Raises MigratorError with everything that is wrong with it."""
    if not _is_folder(root, key):
        raise MigratorError(
            f"there is no {key[0]} {key[1]!r} in the store",
            where=root,
            hint="migrator dagster sync brings the partition keys up to date",
        )
    store = Inventory.read_some(root, [key])
    gen = store.get(*key)
    wrong: list[Problem] = [problem for problem in store.problems if problem.blocking]
    if gen is None or wrong:
        raise MigratorError("; ".join(problem.message for problem in wrong), where=root / gen_path(*key))
    return gen


def _generator(root: Path, gen: Gen) -> str:
    """How it is to be made: what its template's row says, else its mode, else `llm`."""
    path = root / templates_table(gen.stage)
    try:
        table = Table.parse(path.read_bytes())
    except FileNotFoundError:
        table = None
    except InvalidTable as error:
        raise MigratorError(str(error), where=path) from None
    if table is not None and "template_id" in table.columns and "generator" in table.columns:
        for _, record in table.records():
            if normalise(record["template_id"]) == normalise(gen.template):
                return normalise(record["generator"]) or "llm"
    mode = gen.metadata.get("mode")
    return "llm" if is_absent(mode) else normalise(mode)
