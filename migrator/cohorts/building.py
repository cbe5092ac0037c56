"""What a build of a cohort would do: read, allocate, compare with what is there. Writes nothing.

The dry half of `cohort build`; `migrator.enrolment` writes what this returns, under the lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from migrator.cohorts import allocation, axes, manifest, membership, selection
from migrator.cohorts.allocation import Allocation, Wanted
from migrator.cohorts.membership import Membership
from migrator.errors import UsageError
from migrator.store import codec, mappings
from migrator.store.documents import Documents
from migrator.store.ids import DEFAULT_SCHEME, IdScheme, is_absent, normalise
from migrator.store.index import Index, run_ids, without_output
from migrator.store.layout import COHORTS, EVALUATION, GENS, METADATA, STAGES, unsafe_id
from migrator.store.problems import ID_COLLISION, UNSAFE_PATH, Problem, ordered
from migrator.store.reading import Alone, Share
from migrator.store.records import Gen, Key

BUILT, UNCHANGED, REFUSED = "built", "unchanged", "refused"
VARIABLE = "DD_COHORT"
_UNSET = frozenset({"", "0", "false", "none", "null"})
_NAME = re.compile(r"\w(?:[\w .+@=,-]*[\w+@=-])?")
_LONGEST_NAME = 200  # bytes; a file system takes 255, and tools append to names


@dataclass(frozen=True)
class Building:
    """A build that could be made, or why it is refused.

    `added` and `gone` are the difference to the members of before; gone ones are what the build alone would not have.
    Where `status` is built: `table` and `record` are the new membership.csv and manifest.json, `minted` has
    metadata.json of each new generation. Where it is unchanged, `record` is set if the manifest was not fresh.
    """

    cohort_id: str
    status: str
    mode: str = selection.CARTESIAN
    allocation: Allocation | None = None
    added: tuple[Key, ...] = ()
    gone: tuple[Key, ...] = ()
    problems: tuple[Problem, ...] = ()
    missing_outputs: Mapping[str, int] | None = None
    table: bytes | None = None
    record: bytes | None = None

    @property
    def minted(self) -> Mapping[Key, bytes]:
        """metadata.json of each generation that is new."""
        return self.allocation.minted if self.allocation else {}

    @property
    def undecided(self) -> bool:
        """Whether it is refused for nothing but what a person can decide: a collision, or a changed membership."""
        return self.status == REFUSED and all(p.kind == ID_COLLISION for p in self.problems if p.blocking)


def plan(
    root: Path,
    name: str | None = None,
    *,
    extend: bool = False,
    accept: Collection[str] = (),
    scheme: IdScheme = DEFAULT_SCHEME,
    environment: Mapping[str, str] = os.environ,
    share: Share = Alone,
) -> Building:
    """Work out a build; `share` as in Index.read. Raises UsageError for a name that cannot be a cohort's."""
    given = _given(name, environment)
    selected, problems = selection.read(root)
    found, wrong = axes.read(root, curated=selected.curated)
    index = Index.read(root, scheme, share)
    problems += [*wrong, *index.problems, *in_the_way(root)]
    past = mappings.of_tree(root, run_ids(root)) if selected.curated else {}
    essays, unknown = selection.resolve(selected, index, past)
    problems += unknown
    before = membership.read(root, given) if given else None
    if isinstance(before, Problem):
        problems.append(before)
    if problems:
        return Building(given or "", REFUSED, selected.mode, problems=tuple(ordered(problems)))
    wanted = Wanted(given or "", selected.mode, selected.fill_up, essays, found)
    if not given:
        wanted = Wanted(derived_id(wanted), selected.mode, selected.fill_up, essays, found)
        before = membership.read(root, wanted.cohort_id)
        if isinstance(before, Problem):
            return Building(wanted.cohort_id, REFUSED, selected.mode, problems=(before,))
    assert not isinstance(before, Problem)
    return _compared(root, index, allocation.allocate(wanted, index, before, accept), before, extend)


def _compared(root: Path, index: Index, allocated: Allocation, before: Membership | None, extend: bool) -> Building:
    """The build against the members of before."""
    wanted, listed = allocated.wanted, before.lines if before else {}
    keys = {member.key for member in allocated.members}
    added = tuple(member.key for member in allocated.members if member.key not in listed)
    gone = tuple(key for key in membership.in_order(listed) if key not in keys)
    problems = [*allocated.problems, *allocation.orphans(allocated, index, gone)]
    problems += [before.unknown(key) for key in gone if before and not index.exists(key)]
    blocked = any(problem.blocking for problem in problems)
    changed = before is None or bool(added or (gone and not extend))
    refused = blocked or bool(before and changed and not extend)
    status = REFUSED if refused else BUILT if changed else UNCHANGED
    building = Building(
        wanted.cohort_id,
        status,
        wanted.mode,
        allocated,
        added,
        gone,
        tuple(ordered(problems)),
        _lacking(root, allocated),
    )
    if refused:
        return building
    table = before.data if before else b""
    if changed:
        new = [member for member in allocated.members if member.key not in listed]
        table = before.extended(new) if before else membership.render(wanted.cohort_id, new)
    old, last_run = manifest.load(root, wanted.cohort_id), manifest.last_run(root)
    if not changed and isinstance(manifest.opened(old, table, last_run), manifest.Manifest):
        return building
    minted = (Gen(*key, key[1], Documents.of({METADATA: codec.loads(data)})) for key, data in allocated.minted.items())
    record, _ = manifest.compute(
        index.joined(minted),
        membership.parse(wanted.cohort_id, table),
        last_run,
        old,
        wanted.axes.replication,
        grown=changed,
    )
    return replace(building, table=table if changed else None, record=record)


def _lacking(root: Path, allocated: Allocation) -> dict[str, int]:
    """How many members of each stage have no parsed.txt."""
    there = (member.key for member in allocated.members if member.key not in allocated.minted)
    lacking = [*allocated.minted, *without_output(root, there)]
    return {stage: sum(key[0] == stage for key in lacking) for stage in STAGES}


def in_the_way(root: Path) -> list[Problem]:
    """Links and files where a build would make folders: nothing is written through a link."""
    folders = (GENS, *(f"{GENS}/{stage}" for stage in STAGES), COHORTS)
    return [
        Problem(UNSAFE_PATH, path=path, message="is not a folder: nothing is written through a link or over a file")
        for path in folders
        if os.path.lexists(root / path) and (os.path.islink(root / path) or not os.path.isdir(root / path))
    ]


# -- names


def _given(name: str | None, environment: Mapping[str, str]) -> str | None:
    """The cohort that is named on the command line, else by the environment, else None."""
    if name is None:
        name = environment.get(VARIABLE, "").strip()
        if name.lower() in _UNSET:
            return None
    require_name(name)
    return name


def require_name(name: str) -> None:
    """Raise UsageError where a text cannot be the name of a cohort's folder."""
    reason = unsafe_id(name)
    if not reason and is_absent(name):
        reason = "means that there is none"
    if not reason and (not _NAME.fullmatch(name) or name.endswith(".tmp")):
        reason = "is not made of letters, digits, blanks and . _ - + @ = ,"
    if not reason and len(name.encode()) > _LONGEST_NAME:
        reason = f"is longer than {_LONGEST_NAME} bytes"
    if reason:
        raise UsageError(
            f"{name!r} cannot be the name of a cohort: it {reason}", hint="migrator cohort build my-cohort"
        )


def derived_id(wanted: Wanted) -> str:
    """The name of a cohort that was given none: a hash over what it is built from, whatever the order."""
    curated = wanted.mode != selection.CARTESIAN
    stages = (EVALUATION,) if curated else STAGES
    content = {
        "combos": _sorted(wanted.axes.combos),
        "templates": {stage: _sorted(wanted.axes.templates[stage]) for stage in stages},
        "generation_models": [] if curated else _sorted(wanted.axes.generation_models),
        "evaluation_models": _sorted(wanted.axes.evaluation_models),
        "replication": dict(wanted.axes.replication),
        "mode": wanted.mode,
        "fill_up": wanted.fill_up,
        "essays": sorted(wanted.essays),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "cohort-" + hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _sorted(texts: Iterable[str]) -> list[str]:
    return sorted(map(normalise, texts))
