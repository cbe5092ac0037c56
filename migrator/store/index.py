"""The store by signature, from metadata.json alone: what reuse and look-ups stand on.

Reads and never writes. Where each value stands is `records.Gen`'s business; what cannot be used is a Problem, and
whoever needs that generation is told.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from migrator.errors import CareNeeded
from migrator.store import checks
from migrator.store.ids import DEFAULT_SCHEME, IdScheme, Signature
from migrator.store.inventory import Inventory
from migrator.store.layout import GENS, LEDGER, PARSED_TEXT, STAGES, gen_path
from migrator.store.problems import Problem
from migrator.store.reading import Alone, Share, uncollected
from migrator.store.records import Gen, Key

Task = tuple[Any, ...]  # a signature without its replicate, which is the last field


def text_or_none(value: object) -> str | None:
    """A value of metadata as text; None stays None."""
    return None if value is None else str(value)


@dataclass(frozen=True)
class Index:
    """Every usable generation by id and by task; `unusable` says of the others what is wrong with each.

    `tasks` maps (stage, task) to its generations, lowest replicate first.
    """

    root: Path
    gens: Mapping[Key, Gen]
    signatures: Mapping[Key, Signature]
    unusable: Mapping[Key, tuple[Problem, ...]]
    problems: tuple[Problem, ...]  # about no generation: a link in the place of a folder
    scheme: IdScheme = DEFAULT_SCHEME
    tasks: Mapping[tuple[str, Task], list[Key]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path, scheme: IdScheme = DEFAULT_SCHEME, share: Share = Alone) -> Index:
        """One pass over the store that reads metadata.json of each generation and nothing else.

        `share` may let several processes do it, which a process with threads must not start.
        """
        with uncollected():
            return cls.of(Inventory.read_metadata(root, scheme, share))

    @classmethod
    def of(cls, store: Inventory) -> Index:
        """The index of a store that was read."""
        signatures: dict[Key, Signature] = {}
        unusable: dict[Key, list[Problem]] = {key: [] for key in store.unread}
        elsewhere = []
        for problem in store.problems:
            key = (problem.stage, problem.gen_id)
            if problem.gen_id:
                unusable.setdefault(key, []).append(problem)
            else:
                elsewhere.append(problem)
        for key, gen in store.gens.items():
            if key not in unusable:
                signature = checks.signature_of(gen)
                if isinstance(signature, list):
                    unusable[key] = signature
                else:
                    signatures[key] = signature
        tasks: dict[tuple[str, Task], list[Key]] = {}
        for key, signature in signatures.items():
            tasks.setdefault((key[0], signature[:-1]), []).append(key)
        for keys in tasks.values():
            if len(keys) > 1:
                keys.sort(key=lambda key: (signatures[key][-1], key[1]))
        return cls(
            root=store.root,
            gens=store.gens,
            signatures=signatures,
            unusable={key: tuple(found) for key, found in unusable.items()},
            problems=tuple(elsewhere),
            scheme=store.scheme,
            tasks=tasks,
        )

    def joined(self, gens: Iterable[Gen]) -> Index:
        """The index with generations that are about to be made; their metadata is complete."""
        new = {gen.key: gen for gen in gens}
        signatures = {key: gen.signature() for key, gen in new.items()}
        return replace(self, gens={**self.gens, **new}, signatures={**self.signatures, **signatures}, tasks={})

    def exists(self, key: Key) -> bool:
        """Whether there is such a folder, usable or not."""
        return key in self.gens or key in self.unusable

    def find(self, stage: str, signature: Signature) -> Key | None:
        """The generation that has this signature, or None."""
        wanted = signature[-1]
        same = (key for key in self.tasks.get((stage, signature[:-1]), ()) if self.signatures[key][-1] == wanted)
        return next(same, None)

    def origin(self, key: Key) -> str | None:
        """The cohort that first asked for a generation, or None where nobody noted it."""
        return text_or_none(self.gens[key].origin_cohort)


# -- what else is looked at


def state(root: Path) -> tuple[object, ...]:
    """What changes when generations come, go or are migrated: the root's inode, the ledger, the stages' folders."""
    paths = (LEDGER, *(f"{GENS}/{stage}" for stage in STAGES))
    return (stamp(root)[:2], *(stamp(root / path) for path in paths))


def stamp(path: Path) -> tuple[int, ...]:
    """Device, inode, time, and size and links, which tell two changes within one tick of the clock apart."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, status.st_nlink)


def run_ids(root: Path) -> list[str]:
    """The runs that a tree has seen, in the ledger's order, each once. Raises CareNeeded for a torn ledger."""
    return list(dict.fromkeys(run_id for (run_id,) in _ledger(root, "run_id")))


def applied_steps(root: Path) -> list[tuple[str, str]]:
    """Number and digest of the steps that a tree has seen, in their order. Raises CareNeeded for a torn ledger."""
    return [(number, digest) for number, digest in _ledger(root, "number", "digest")]


def _ledger(root: Path, *keys: str) -> list[list[str]]:
    path = root / LEDGER
    try:
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        return [[str(line[key]) for key in keys] for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CareNeeded(f"the ledger cannot be read: {error}", where=path) from None


def without_output(root: Path, keys: Iterable[Key]) -> list[Key]:
    """Those generations that have no parsed.txt, in the order given."""
    return [key for key in keys if not os.path.isfile(root / gen_path(*key) / PARSED_TEXT)]
