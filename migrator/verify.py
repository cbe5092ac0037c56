"""Read the new tree back and prove that it is what the plan says. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial

from migrator.build import Build
from migrator.engine import listing
from migrator.engine.listing import Entry
from migrator.engine.snapshots import Texts, manifest_of
from migrator.engine.workers import Beside, Jobs, spread
from migrator.errors import MigratorError
from migrator.plan import Plan
from migrator.store import codec
from migrator.store.inventory import Inventory
from migrator.store.layout import METADATA, is_own
from migrator.store.reading import Share
from migrator.store.records import Gen

_SHOWN = 5


class VerificationFailed(MigratorError):
    """The new tree is not what was planned; the live tree is untouched. `findings` lists all of it."""

    def __init__(self, findings: Iterable[str]) -> None:
        self.findings = sorted(findings)
        more = len(self.findings) - _SHOWN
        shown = "; ".join(self.findings[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        super().__init__(f"the new tree is not what was planned: {shown}")


def run(
    build: Build, plan: Plan, *, also: Callable[[], Iterable[str]] = tuple, jobs: Jobs = None
) -> tuple[list[Entry], Texts]:
    """The listing and the manifest of the new tree, read back from the disk. `also` yields what else is wrong with it.

    Raises VerificationFailed; TryAgain where the live tree has changed meanwhile, which explains what was found.
    """
    count = len(plan.entries)
    elsewhere = jobs if isinstance(jobs, Executor) else 1
    share = partial(spread, jobs=elsewhere)
    with ExitStack() as stack:
        reading = Beside(lambda: [*_generations(build, plan, share), *also()], count, jobs)
        stack.callback(reading.abandon)
        entries, digests = listing.read_back(build.root, jobs)
        manifest = manifest_of(entries, build.expected)  # equal to the digests that were read, or there are findings
        rendering = Beside(manifest.texts, count, jobs)
        stack.callback(rendering.abandon)
        findings = [*_attributes(plan, entries), *_payload(build, plan), *_contents(build, digests)]
        findings += reading.result()
        if findings:
            listing.require_unchanged(plan.before.root, build.before.entries, jobs)
            raise VerificationFailed(findings)
        return entries, rendering.result()


def _contents(build: Build, digests: dict[str, str]) -> Iterable[str]:
    """Every file is there with its bytes, and no other."""
    if build.expected == digests:
        return
    for path in build.expected.keys() | digests.keys():
        if build.expected.get(path) != digests.get(path):
            yield f"{path} does not have the content that was planned"


def _attributes(plan: Plan, entries: list[Entry]) -> Iterable[str]:
    """Whatever was there before has its kind, mode, owner and target, and its time unless it was rewritten."""
    found = {entry[0]: entry for entry in entries}
    places, contents = plan.places, plan.recipe.contents
    for path, kind, mode, uid, gid, _, mtime, _, target in plan.entries:
        place = places[path]
        new = found.get(place)
        if new is None or new[1:5] != (kind, mode, uid, gid) or new[8] != target:
            yield f"{place} is missing or has other attributes"
        elif new[6] != mtime and path not in contents and not is_own(path):
            yield f"{place} has another time"


def _payload(build: Build, plan: Plan) -> Iterable[str]:
    """What no step rewrites has the bytes that it had."""
    for placed in build.placed:
        if placed.before != placed.after and placed.source not in plan.recipe.contents:
            yield f"{placed.target} is not the copy of {placed.source}"


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
