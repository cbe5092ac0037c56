"""Look-ups over the global task universe, from the view of one cohort. Reads only; pandas is loaded when it is needed.

A fresh manifest answers for the cohort's own members without reading their metadata; everything else, and everything
where the manifest is missing, stale or damaged, comes from metadata.json.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from migrator.cohorts import manifest, membership
from migrator.cohorts.manifest import Manifest
from migrator.cohorts.membership import Membership
from migrator.errors import MigratorError
from migrator.store.ids import DEFAULT_SCHEME, FIELDS, IdScheme, Signature, canonical, compute_signature
from migrator.store.index import Index, stamp, state, without_output
from migrator.store.layout import STAGES, gen_path
from migrator.store.problems import Problem
from migrator.store.records import Key

if TYPE_CHECKING:
    import pandas as pd

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Existing:
    """A generation that has a signature; it is reused where another cohort than the scope's first asked for it."""

    gen_id: str
    origin_cohort_id: str | None
    is_reused: bool


@dataclass(frozen=True)
class _Cached:
    """What a fresh manifest knows, both ways round."""

    generations: Mapping[str, Mapping[str, object]]

    @cached_property
    def texts(self) -> dict[Key, str]:
        """(stage, gen_id) -> canonical text."""
        return {(str(entry["stage"]), str(entry["gen_id"])): text for text, entry in self.generations.items()}


class CohortScope:
    """The store as one cohort sees it. The first look-up reads; it reads again when the store has changed.

    Changed means: the root's inode, the ledger, a stage folder's mtime, or `refresh()`.
    """

    def __init__(
        self, data_root: str | Path, cohort_id: str | None = None, *, scheme: IdScheme = DEFAULT_SCHEME
    ) -> None:
        self.root = Path(data_root)
        self.cohort_id = cohort_id
        self._scheme = scheme
        self._state: tuple[object, ...] = ()
        self._index: Index | None = None
        self._cached: _Cached | None = None
        self._asked = False  # whether the manifest was looked at in this state

    def refresh(self) -> None:
        """Forget what was read; the next look-up reads again."""
        self._state, self._index, self._cached, self._asked = (), None, None, False

    # -- look-ups

    def find_existing_gen_id(self, stage: str, signature: Signature) -> Existing | None:
        """The generation that has this signature, or None. Raises SignatureError for one that cannot be."""
        fields = FIELDS.get(stage, ())
        if len(signature) != len(fields):
            raise ValueError(f"a signature of {stage!r} has the fields {', '.join(fields) or 'of no known stage'}")
        proven = compute_signature(stage, **dict(zip(fields, signature, strict=True)))
        self._follow()
        cached = self._manifest()
        entry = cached.generations.get(canonical(stage, proven)) if cached else None
        if entry and self._is_there((stage, str(entry["gen_id"]))):
            origin = entry["origin"]
            return self._existing(str(entry["gen_id"]), None if origin is None else str(origin))
        index = self._read()
        key = index.find(stage, proven)
        return None if key is None else self._existing(key[1], index.origin(key))

    def signature_for_gen(self, stage: str, gen_id: str) -> Signature | None:
        """The signature of a generation, or None where there is none of that id.

        Raises MigratorError, listing what is wrong, where its metadata cannot be used.
        """
        if stage not in STAGES:
            raise ValueError(f"unknown stage {stage!r}: expected one of {', '.join(STAGES)}")
        self._follow()
        key = (stage, gen_id)
        cached = self._manifest()
        if cached and key in cached.texts and self._is_there(key):
            *texts, replicate = cached.texts[key].split("|")[1:]
            return (*texts, int(replicate))
        index = self._read()
        if key in index.unusable:
            reasons = "; ".join(problem.message for problem in index.unusable[key])
            raise MigratorError(f"the {stage} {gen_id!r} has no signature: {reasons}", where=gen_path(*key))
        return index.signatures.get(key)

    # -- members

    def members(self, cohort_id: str | None = None) -> pd.DataFrame:
        """The rows of a cohort's membership.csv, all columns as text, blanks as empty text; the scope's own by default.

        Raises MigratorError where there is no such cohort, or where its table cannot be trusted.
        """
        import pandas

        table = self._membership(cohort_id).table
        rows = [record for _, record in table.records()]
        for row in rows:
            row["stage"], row["gen_id"] = row["stage"].strip(), row["gen_id"].strip()
        return pandas.DataFrame(rows, columns=list(table.columns), dtype=str)

    def missing(self, cohort_id: str | None = None) -> pd.DataFrame:
        """The rows of `members` whose generation has no parsed.txt yet (or is not in the store at all)."""
        rows = self.members(cohort_id)
        lacking = set(self.missing_keys(cohort_id))
        keys = zip(rows["stage"], rows["gen_id"], strict=True)
        return rows[[key in lacking for key in keys]].reset_index(drop=True)

    def missing_keys(self, cohort_id: str | None = None) -> list[Key]:
        """(stage, gen_id) of the members without parsed.txt, in the order of the rows, each once."""
        return without_output(self.root, self._membership(cohort_id).lines)

    def _membership(self, cohort_id: str | None) -> Membership:
        name = cohort_id if cohort_id is not None else self.cohort_id
        if name is None:
            raise ValueError("which cohort? Neither the call nor the scope names one")
        found = membership.read(self.root, name) if membership.is_name(name) else None
        if found is None:
            raise MigratorError(f"there is no cohort {name!r}", where=self.root, hint="migrator cohort show lists them")
        if isinstance(found, Problem):
            raise MigratorError(f"the cohort's table cannot be trusted: {found.message}", where=found.path)
        return found

    # -- what is kept

    def _existing(self, gen_id: str, origin: str | None) -> Existing:
        return Existing(gen_id, origin, self.cohort_id is None or origin != self.cohort_id)

    def _is_there(self, key: Key) -> bool:
        return os.path.isdir(self.root / gen_path(*key))

    def _follow(self) -> None:
        """Forget everything where the store has changed since it was read."""
        now = state(self.root)
        if self.cohort_id is not None:
            files = (membership.membership_path(self.cohort_id), manifest.manifest_path(self.cohort_id))
            now += tuple(stamp(self.root / path) for path in files)
        if now != self._state:
            self.refresh()
            self._state = now

    def _read(self) -> Index:
        if self._index is None:
            self._index = Index.read(self.root, self._scheme)
        return self._index

    def _manifest(self) -> _Cached | None:
        """The scope's own manifest where it is fresh; why it is not is logged, once for a state of the store."""
        if self._asked or self.cohort_id is None or not membership.is_name(self.cohort_id):
            return self._cached
        self._asked = True
        table = membership.read(self.root, self.cohort_id)
        if isinstance(table, Membership):
            data, run_id = manifest.load(self.root, self.cohort_id), manifest.last_run(self.root)
            found = manifest.opened(data, table.data, run_id)
            if isinstance(found, Manifest):
                self._cached = _Cached(found.generations)
            else:
                _log.warning("the manifest of cohort %s is %s: reading metadata.json instead", self.cohort_id, found)
        return self._cached
