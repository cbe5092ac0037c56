"""Write the finished tree beside the live one, once, as the plan says. Never touches the live tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from migrator.engine import files, folders, ledger, listing, tree
from migrator.engine.ledger import Applied
from migrator.engine.listing import Entry
from migrator.engine.snapshots import Texts, manifest_of
from migrator.engine.survey import Surveyed
from migrator.engine.tokens import Hit, Tokens
from migrator.engine.workers import Jobs
from migrator.plan import Plan
from migrator.store import mappings
from migrator.store.layout import LEDGER, REBUILT_TABLES, is_derived, is_own, is_payload, run_mappings
from migrator.store.mappings import ISSUES, MAPPING, SYNTHETIC
from migrator.store.problems import LEFTOVER_REFERENCE, Problem, ordered

LEFTOVERS_PER_FILE = 100


@dataclass(frozen=True)
class Build:
    """A tree that is written but not yet proven.

    `entries` are the old tree's as they are now, `then` the same as they were, by their path in this one; `digests`
    those before and after of each file, by its path today; `new` those of files that are made, not copied, by path.
    """

    root: Path
    entries: Sequence[Entry]
    then: Mapping[str, Entry]
    digests: Mapping[str, tuple[str, str]]
    new: dict[str, str]
    problems: tuple[Problem, ...]

    @property
    def count(self) -> int:
        """How many files and links it has."""
        return len(self.digests) + sum(path not in self.then for path in self.new)

    def manifest_before(self) -> Texts:
        """The manifest of the old tree."""
        return manifest_of(self.entries, {path: before for path, (before, _) in self.digests.items()}).texts()


def run(plan: Plan, root: Path, *, jobs: Jobs = None) -> Build:
    """Copy the live tree to `root`, as the plan says, without what is made anew from the result."""
    with Building(plan, root, jobs=jobs) as building:
        return building.finish(plan)


class Building:
    """The new tree of a plan while it is made: generations first, and last what is made anew from the result.

    With `link` payload is hard-linked; the entries of the build are then those from after that. What was
    `surveyed` is neither hashed nor searched again where it stays as it is. A context manager, as that of a tree.
    """

    def __init__(
        self,
        plan: Plan,
        root: Path,
        *,
        surveyed: Surveyed | None = None,
        link: bool = False,
        jobs: Jobs = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._root, self._link, self._jobs = root, link, jobs
        self._surveyed = surveyed = surveyed or Surveyed()
        self._old_names = plan.old_names
        unseen = sum(entry.size for entry in plan.entries if entry.path not in surveyed.digests)
        others = (gen_id for _, gen_id in plan.before.gens)
        self._tree = tree.Building(
            plan.entries,
            plan.before.root,
            root,
            plan.recipe,
            places=plan.places,
            tokens=Tokens(self._old_names, unseen, others) if self._old_names else None,
            linked=is_payload if link else None,
            digests=surveyed.digests,
            later=plan.rebuilt,
            jobs=jobs,
            progress=progress,
        )

    def __enter__(self) -> Building:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._tree.__exit__(kind, error, at)

    def finish(self, plan: Plan) -> Build:
        """The finished tree of the plan, which may now say what is `rebuilt`; old ids that are left are problems."""
        then = {plan.places[entry.path]: entry for entry in plan.entries}  # while children are copying
        built = self._tree.finish(plan.recipe)
        source, link, surveyed = plan.before.root, self._link, self._surveyed
        entries = listing.as_linked(source, plan.entries, is_payload, self._jobs) if link else plan.entries
        new = {path: listing.hash_bytes(data) for path, data in plan.recipe.additions.items()}
        rewritten = plan.recipe.contents
        seen = (hit for hit in surveyed.hits if hit.token in self._old_names and hit.path not in rewritten)
        hits = sorted([*built.hits, *(hit._replace(path=plan.places[hit.path]) for hit in seen)])
        problems = ordered([*plan.problems, *leftovers(hits)])
        return Build(self._root, entries, then, built.digests, new, tuple(problems))


def leftovers(hits: Iterable[Hit]) -> list[Problem]:
    """A warning for each place that mentions an old id: with its line, at most 100 a file; a carried table is one."""
    by_file: dict[str, list[Hit]] = {}
    for hit in hits:
        if not is_own(hit.path):
            by_file.setdefault(hit.path, []).append(hit)
    problems = []
    for path, found in by_file.items():
        if is_derived(path) and path not in REBUILT_TABLES:
            text = f"mentions old ids {len(found)} time{'' if len(found) == 1 else 's'}; it is not rewritten"
            problems.append(Problem(LEFTOVER_REFERENCE, path=path, message=text))
            continue
        for hit in found[:LEFTOVERS_PER_FILE]:
            problems.append(
                Problem(LEFTOVER_REFERENCE, path=path, message=f"line {hit.line} mentions the old id {hit.token}")
            )
    return problems


def record(build: Build, plan: Plan, run_id: str, applied: Sequence[Applied]) -> Build:
    """Write ledger and mappings into the new tree, so that data and record become visible in one act."""
    folder = run_mappings(run_id)
    own = {
        LEDGER: ledger.render([*plan.ledger, *applied]),
        f"{folder}/{MAPPING}": mappings.render_mapping(plan.mapping),
        f"{folder}/{SYNTHETIC}": mappings.render_synthetic(plan.synthetic),
        f"{folder}/{ISSUES}": mappings.render_issues(build.problems),
    }
    if (build.root / LEDGER).exists():
        files.remove_file(build.root / LEDGER)
    folders.add(build.root, own)
    folders.finish_folder(str(plan.before.root), str(build.root), plan.entries[0], "")
    return replace(build, new={**build.new, **{path: listing.hash_bytes(data) for path, data in own.items()}})
