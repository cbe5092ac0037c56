"""manifest.json: a cohort's members by signature, so that nobody has to read their metadata. A cache and nothing else.

Fresh means: sealed, and made from this very membership.csv after these very steps: the ledger's last run is known by
all steps that had been applied with it, since a run's id is a time and no time gets into a tree (contract, section 4).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from migrator.cohorts import membership
from migrator.cohorts.membership import Membership
from migrator.store import codec
from migrator.store.ids import DEFAULT_SCHEME, IdScheme, canonical
from migrator.store.index import Index, applied_steps, text_or_none
from migrator.store.layout import DRAFT, ESSAY, EVALUATION, PARENT_STAGE, STAGES, manifest_path
from migrator.store.problems import Problem
from migrator.store.reading import MAX_TABLE_BYTES, Unreadable, read_bytes
from migrator.store.records import Gen, Key

AXES = ("combos", "templates", "llms")  # the keys that manifests of every era have
MISSING, OLD, DAMAGED, STALE = "missing", "of an older era", "damaged", "stale"
_SEAL = re.compile(rb',\n  "seal": "([0-9a-f]{40})"\n}\Z')


def digest(data: bytes) -> str:
    """What a manifest remembers a file by."""
    return hashlib.blake2b(data, digest_size=20).hexdigest()


@dataclass(frozen=True)
class Manifest:
    """A fresh manifest; `generations`: canonical text -> stage, gen_id, parent, template, model, replicate, origin."""

    axes: Mapping[str, Any]
    replication: Mapping[str, int]
    generations: Mapping[str, Mapping[str, Any]]


class Rendered(NamedTuple):
    """`files` are the manifests that differ from what is there, as (path below the data root, bytes).

    A cohort with a blocking problem has no file; members that are not in the store are warnings.
    """

    files: list[tuple[str, bytes]]
    problems: list[Problem]


# -- reading


def load(root: Path, cohort_id: str) -> bytes | None:
    """The bytes of a cohort's manifest, empty where it cannot be read, None where there is none."""
    try:
        return read_bytes(f"{root}/{manifest_path(cohort_id)}", MAX_TABLE_BYTES)
    except Unreadable:
        return b""


def opened(data: bytes | None, table: bytes, last_run: str) -> Manifest | str:
    """The manifest where it is fresh for this membership.csv and this last run, else the reason why it is not."""
    if data is None:
        return MISSING
    content = _sealed(data)
    if content is None:
        return DAMAGED if _document(data) is None or b'"seal"' in data else OLD
    if content["membership"] != digest(table) or content["last_run"] != last_run:
        return STALE
    return Manifest({key: content[key] for key in AXES}, content["replication"], content["generations"])


def _sealed(data: bytes) -> dict[str, Any] | None:
    """The content where the seal is whole: then it is what this module wrote."""
    seal = _SEAL.search(data[-80:])
    if seal is None or digest(data[: seal.start() - len(data[-80:])]) != seal[1].decode():
        return None
    content: dict[str, Any] = json.loads(data)
    return content


def _document(data: bytes) -> dict[str, Any] | None:
    try:
        return codec.loads(data)
    except codec.InvalidJson:
        return None


# -- computing


def compute(
    index: Index,
    table: Membership,
    last_run: str,
    before: bytes | None,
    replication: Mapping[str, int] | None = None,
    *,
    grown: bool = False,
) -> tuple[bytes | None, list[Problem]]:
    """The manifest of a cohort, None where a member's metadata cannot be used, and every problem with its members.

    The older keys and the replication stay as `before` has them, else they are computed from the members. A build
    gives its replication; where the cohort has `grown`, what the members have is added to the older keys.
    """
    problems: list[Problem] = []
    members: list[Key] = []
    for key in membership.in_order(table.lines):
        if key in index.unusable:
            problems += index.unusable[key]
        elif key in index.signatures:
            members.append(key)
        else:
            problems.append(table.unknown(key))
    if any(problem.blocking for problem in problems):
        return None, problems
    found, kept = _axes(index, members), _kept(before)
    axes = {key: _united(kept.get(key), found[key]) if grown else kept.get(key, found[key]) for key in AXES}
    replication = replication or kept.get("replication") or _replication(index, members)
    generations = {canonical(key[0], index.signatures[key]): _entry(index, key) for key in members}
    content = {
        **{key: axes[key] for key in AXES},
        "replication": {stage: replication[stage] for stage in STAGES},
        "generations": {text: generations[text] for text in sorted(generations)},
        "membership": digest(table.data),
        "last_run": last_run,
    }
    body = codec.dumps(content).removesuffix(b"\n}")
    return body + f',\n  "seal": "{digest(body)}"\n}}'.encode(), problems


def _kept(before: bytes | None) -> dict[str, Any]:
    """What an earlier manifest says, where it can be believed: sealed, or of an era that had no seals."""
    if before is None:
        return {}
    sealed = _sealed(before)
    if sealed is not None:
        return sealed
    document = _document(before) or {}
    return {} if "seal" in document else {key: document[key] for key in AXES if key in document}


def _united(old: Any, new: Any) -> Any:
    """Two values of the older keys as one: lists sorted, each text once."""
    if isinstance(new, dict):
        known = old if isinstance(old, dict) else {}
        return {key: _united(known.get(key), value) for key, value in new.items()}
    texts = [text for text in old if isinstance(text, str)] if isinstance(old, list) else []
    return sorted({*texts, *new})


def _entry(index: Index, key: Key) -> dict[str, Any]:
    gen = index.gens[key]
    return {
        "stage": gen.stage,
        "gen_id": gen.gen_id,
        "parent": gen.parent,
        "template": text_or_none(gen.template),
        "model": text_or_none(gen.model),
        "replicate": gen.replicate,
        "origin": index.origin(key),
    }


def _axes(index: Index, members: Iterable[Key]) -> dict[str, Any]:
    gens = [index.gens[key] for key in members]
    combos = {_text(combo_of(index, gen)) for gen in gens}
    templates = {stage: {_text(gen.template) for gen in gens if gen.stage == stage} for stage in STAGES}
    models = {
        "generation": {_text(gen.model) for gen in gens if gen.stage in (DRAFT, ESSAY)},
        "evaluation": {_text(gen.model) for gen in gens if gen.stage == EVALUATION},
    }
    return {
        "combos": sorted(combos - {""}),
        "templates": {stage: sorted(names - {""}) for stage, names in templates.items()},
        "llms": {use: sorted(names - {""}) for use, names in models.items()},
    }


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def combo_of(index: Index, gen: Gen) -> Any:
    """The combination of a generation: its draft's, where that is in the store."""
    while gen.stage in PARENT_STAGE:
        parent = index.gens.get(gen.parent_key) if gen.parent_key else None
        if parent is None:
            return gen.combo
        gen = parent
    return gen.combo


def _replication(index: Index, members: Iterable[Key]) -> dict[str, int]:
    """How many replicates of one task the members have at most."""
    counts: dict[tuple[object, ...], int] = {}
    for key in members:
        task = (key[0], *index.signatures[key][:-1])
        counts[task] = counts.get(task, 0) + 1
    return {stage: max((n for task, n in counts.items() if task[0] == stage), default=0) for stage in STAGES}


def changed_manifests(
    root: Path, cohort_ids: Iterable[str] | None = None, scheme: IdScheme = DEFAULT_SCHEME, index: Index | None = None
) -> Rendered:
    """The manifests of these cohorts, or of all, that differ from what is there. Writes nothing.

    The ledger below `root` says which run they are made after. Give an `index` where the store has been read already.
    """
    root = Path(root)
    names, problems = membership.cohort_ids(root)
    wanted = names if cohort_ids is None else sorted(cohort_ids)
    index = index or Index.read(root, scheme)
    after = last_run(root)
    files = []
    for cohort_id in wanted:
        table = membership.read(root, cohort_id)
        if isinstance(table, Problem):
            problems.append(table)
        elif table is not None:
            before = load(root, cohort_id)
            data, found = compute(index, table, after, before)
            problems += found
            if data is not None and data != before:
                files.append((manifest_path(cohort_id), data))
    return Rendered(files, problems)


def last_run(root: Path) -> str:
    """What a manifest remembers the ledger's last run by, empty where there was none."""
    return run_digest(applied_steps(root))


def run_digest(steps: Iterable[tuple[str, str]]) -> str:
    """The same from number and digest of each applied step, in the ledger's order."""
    lines = [f"{number} {step}\n" for number, step in steps]
    return digest("".join(lines).encode()) if lines else ""
