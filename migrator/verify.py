"""Read the new tree back and prove that it is what the plan says. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

from migrator.build import Build
from migrator.engine import listing
from migrator.engine.listing import FILE, Digests, Entry, Row
from migrator.engine.snapshots import Lines, Texts, lines_of, sealed
from migrator.engine.workers import Jobs, Shared
from migrator.errors import MigratorError
from migrator.plan import Plan
from migrator.store import codec
from migrator.store.inventory import Inventory
from migrator.store.layout import METADATA, is_own
from migrator.store.reading import Share
from migrator.store.records import Gen

_SHOWN = 5
_OTHER_CONTENT = "does not have the content that was planned"


class VerificationFailed(MigratorError):
    """The new tree is not what was planned; the live tree is untouched. `findings` lists all of it."""

    def __init__(self, findings: Iterable[str]) -> None:
        self.findings = sorted(findings)
        more = len(self.findings) - _SHOWN
        shown = "; ".join(self.findings[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        super().__init__(f"the new tree is not what was planned: {shown}")


def run(
    build: Build,
    plan: Plan,
    *,
    surveyed: Mapping[str, str] | None = None,
    also: Callable[[], Iterable[str]] = tuple,
    jobs: Jobs = None,
) -> tuple[Texts, Texts]:
    """The manifests of the old tree and of the new one, which is read back from the disk.

    `surveyed` are digests of files of the old tree, by path, that others than the build have read: of these it is not
    asked. `also` yields what else is wrong. Raises VerificationFailed; TryAgain where the live tree has changed
    meanwhile, which explains what was found.
    """
    share = partial(Shared, jobs=jobs if isinstance(jobs, Executor) else 1)
    planned = _Planned.of(build, plan, surveyed or {})
    tasks = (lambda: list(_generations(build, plan, share)), lambda: list(also()), build.manifest_before)
    parts, (*wrong, before) = listing.read_back(build.root, jobs, planned.look, tasks)
    findings = [text for texts in (*wrong, *(texts for texts, _, _ in parts)) for text in texts]
    wanted = len(planned.then) + sum(path not in planned.then for path in planned.new)
    if sum(number for _, number, _ in parts) < wanted:
        there = {entry.path for entry in listing.walk_shared(build.root, jobs)}
        findings += [f"{path} is missing" for path in (planned.then.keys() | planned.new.keys()) - there]
    if findings:
        listing.require_unchanged(plan.before.root, build.entries, jobs)
        raise VerificationFailed(findings)
    return before, sealed(lines for _, _, lines in parts)


@dataclass(frozen=True)
class _Planned:
    """What shall be where: `then` of the old tree, and what is `new`, in `folders` that may be new as well.

    Some of what is new stands in the place of what was there.
    """

    then: Mapping[str, Entry]
    digests: Mapping[str, tuple[str, str]]
    surveyed: Mapping[str, str]
    rewritten: Container[str]
    new: Mapping[str, str]
    folders: Container[str]

    @classmethod
    def of(cls, build: Build, plan: Plan, surveyed: Mapping[str, str]) -> _Planned:
        folders = {str(folder) for path in build.new for folder in PurePosixPath(path).parents}
        return cls(build.then, build.digests, surveyed, plan.recipe.contents, build.new, folders)

    def look(self, rows: list[Row], digests: Digests) -> tuple[list[str], int, Lines]:
        """Of a part of the new tree: what is wrong with it, how much of it was planned, its lines of the manifest.

        Whatever was there before has its kind, mode, owner and target; its time and bytes unless it was rewritten.
        Every file has the bytes that were planned, and beside what was planned there is nothing.
        """
        wrong: list[str] = []
        known = 0
        then, hashes, new, surveyed = self.then.get, self.digests.get, self.new, self.surveyed.get
        for row in rows:
            path, kind, _, _, _, _, time, _, target = row
            old = then(path)
            if old is None:
                known += path in new
                if kind == FILE and digests[path] != new.get(path):
                    wrong.append(f"{path} {_OTHER_CONTENT}")
                elif kind != FILE and path not in self.folders:
                    wrong.append(f"{path} was not planned")
                continue
            known += 1
            was = old[0]
            before, after = hashes(was, ("", ""))
            if kind == FILE and digests[path] != new.get(path, after):
                wrong.append(f"{path} {_OTHER_CONTENT}")
            elif row[1:5] != old[1:5] or target != old[8]:
                wrong.append(f"{path} has other attributes")
            else:
                before = surveyed(was, before)
                if (time == old[6] and before == after) or was in self.rewritten:
                    continue
                if before != after:
                    wrong.append(f"{path} is not the copy of {was}")
                elif not is_own(was):
                    wrong.append(f"{path} has another time")
        return wrong, known, lines_of(rows, digests)


def _generations(build: Build, plan: Plan, share: Share) -> Iterable[str]:
    """Before -> after is a bijection, the records are those planned, and each step's own check holds.

    Of each generation metadata.json is read, which alone must be enough; the bytes of all files are compared anyway.
    """
    store = Inventory.read(build.root, plan.before.scheme, (METADATA,), share)
    for stage, gen_id in store.gens.keys() ^ plan.after.gens.keys():
        yield f"{stage} {gen_id} is in only one of plan and tree"
    for key, gen in store.gens.items():
        planned = plan.after.gens.get(key)
        if planned and gen.metadata != planned.metadata and not _same_text(gen, planned):
            yield f"{gen.path}/{METADATA} does not say what was planned"
    if {(stage, old) for stage, old, _ in plan.mapping} != plan.before.gens.keys():
        yield "the mapping does not name every generation of the old tree"
    for problem in store.problems:
        if problem.blocking:
            yield f"{problem.kind}: {problem.path} {problem.message}"
    for step, _ in plan.steps:
        for problem in step.check(plan.before, store) if step.check else ():
            if problem.blocking:
                yield f"{step}: {problem.kind}: {problem.path} {problem.message}"


def _same_text(one: Gen, other: Gen) -> bool:
    """Whether two records are written alike: a NaN is not equal to itself, its text is."""
    return codec.dumps(one.documents[METADATA]) == codec.dumps(other.documents[METADATA])
