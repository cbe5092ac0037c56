"""What a run would do: the steps' changes folded in memory, and the recipe for the new tree. Writes nothing.

The dry run ends here; a real run hands the very same value to `build`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property, partial
from typing import Any

from migrator.engine import listing
from migrator.engine.folders import Content
from migrator.engine.ledger import Applied
from migrator.engine.listing import Entry
from migrator.engine.steps import Step
from migrator.engine.tree import Recipe, Targets
from migrator.engine.workers import Beside, Jobs
from migrator.errors import MigratorError
from migrator.store import codec
from migrator.store.changes import Effect, fold, rewritten
from migrator.store.checks import judge
from migrator.store.documents import Rewrite, Written
from migrator.store.ids import PREFIX
from migrator.store.inventory import Inventory
from migrator.store.layout import GENS, METADATA, PARENT_STAGE, REBUILT_TABLES, STAGES, is_derived, manifest_path
from migrator.store.mappings import Row, sorted_rows
from migrator.store.problems import STALE_TABLE, UNSAFE_PATH, Problem, accepted, ordered
from migrator.store.records import Gen, Key
from migrator.store.references import copy_path

VERBS = ("created", "renamed", "rewritten", "unchanged")


@dataclass(frozen=True)
class Check:
    """One thing that holds, or does not, on the planned result; `today` is the value of the live store."""

    name: str
    right: int
    total: int
    today: int

    @property
    def passed(self) -> bool:
        """Whether it holds for all."""
        return self.right == self.total


@dataclass(frozen=True)
class Plan:
    """The whole of a run before anything is written. `entries` is the live tree as listed before it was read."""

    before: Inventory
    after: Inventory
    steps: tuple[tuple[Step, Effect], ...]
    ledger: tuple[Applied, ...]
    entries: Sequence[Entry]
    problems: tuple[Problem, ...]
    mapping: tuple[Row, ...]
    synthetic: tuple[Mapping[str, object], ...]
    recipe: Recipe
    places: Targets  # path today -> path then, of every entry
    rebuilt: tuple[str, ...]  # paths of what is made anew from the result: our derived tables, every manifest
    stages: Mapping[str, Mapping[str, int]]  # stage -> created, renamed, rewritten, unchanged -> generations

    @cached_property
    def counts(self) -> dict[str, int]:
        """Generations, and how many of them are created, renamed, rewritten, unchanged; each is counted once."""
        verbs = {verb: sum(stage[verb] for stage in self.stages.values()) for verb in VERBS}
        return {"generations": len(self.after.gens), **verbs}

    @cached_property
    def reaching(self) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
        """Before and after: stage -> how many generations have a chain of parents up to a draft, and how many are."""
        return _reaching(self.before), _reaching(self.after)

    @cached_property
    def checks(self) -> tuple[Check, ...]:
        """What holds on the planned result, with today's values; computed when it is asked for."""
        return tuple(_checks(self))

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what the plan was made from: the live tree's listing, the steps and the ledger."""
        total = hashlib.blake2b(digest_size=16)
        total.update(repr([(step.number, step.digest) for step, _ in self.steps]).encode())
        total.update(repr([(entry.number, entry.digest, entry.run_id) for entry in self.ledger]).encode())
        total.update(repr(self.before.scheme).encode())
        total.update(json.dumps(self.entries).encode())
        return total.hexdigest()

    @property
    def blocking(self) -> list[Problem]:
        """What must be settled before the run."""
        return [problem for problem in self.problems if problem.blocking]

    @property
    def old_names(self) -> set[str]:
        """Ids that nothing bears any more when the run is done."""
        current = {gen_id for _, gen_id in self.after.gens}
        return {old for _, old, new in self.mapping if old != new} - current

    @cached_property
    def bytes_needed(self) -> int:
        """Disk that the new tree takes, in bytes."""
        return room(self.entries)


def room(entries: Iterable[Entry]) -> int:
    """Disk that things take, in bytes, each rounded up to whole blocks of 4,096."""
    return 4096 * sum([(entry.size or 1) + 4095 >> 12 for entry in entries])


def make(
    entries: Sequence[Entry],
    store: Inventory,
    steps: Sequence[Step],
    ledger: Sequence[Applied],
    accept: Collection[str] = (),
    jobs: Jobs = None,
) -> Plan:
    """Fold the steps over the store. Problems are values: all are in the plan, blocking ones first."""
    before = after = replace(store, problems=(*store.problems, *_strange_entries(entries, store)))
    done: list[tuple[Step, Effect]] = []
    for step in steps:
        after, effect = _run_step(step, after)
        done.append((step, effect))
    problems = [accepted(problem, accept) for problem in after.problems]
    sound = not any(problem.blocking for problem in problems)
    checking = Beside(partial(_checked, steps if sound else (), before, after), len(entries), jobs)
    try:
        recipe = _recipe(before, after)
        places, clashes = _places(entries, recipe)
        synthetic = tuple(_synthetic(after, [effect for _, effect in done]))
        stages = _per_stage(before, after)
        wanted = rebuilt_paths(after)
        blocked = in_the_way(wanted, partial(_kind_at, entries))
        refused = {problem.path for problem in problems if problem.blocking}
        problems += [*(clash for clash in clashes if clash.path not in refused), *_carried(blocked)]
        problems += (Problem(*row) for row in checking.result())
    finally:
        checking.abandon()
    mapping = sorted_rows((gen.stage, gen.origin, gen.gen_id) for gen in after.gens.values() if gen.origin)
    if any(old != new for _, old, new in mapping):
        problems += _stale(listing.outside(entries, GENS))
    return Plan(
        before=before,
        after=after,
        steps=tuple(done),
        ledger=tuple(ledger),
        entries=entries,
        problems=tuple(ordered(problems)),
        mapping=tuple(mapping),
        synthetic=synthetic,
        recipe=recipe,
        places=places,
        rebuilt=tuple(path for path in wanted if path not in blocked),
        stages=stages,
    )


def _run_step(step: Step, store: Inventory) -> tuple[Inventory, Effect]:
    try:
        return fold(store, step.changes(store))
    except MigratorError as error:
        raise MigratorError(f"step {step}: {error.message}", where=error.where, hint=error.hint) from error
    except (Exception, SystemExit) as error:
        raise MigratorError(f"step {step} failed: {error!r}", where=step.path) from error


def _checked(steps: Sequence[Step], before: Inventory, after: Inventory) -> list[tuple[Any, ...]]:
    """The fields of what the steps' own checks find on the planned table."""
    found: list[tuple[Any, ...]] = []
    for step in steps:
        try:
            found += [astuple(problem) for problem in step.check(before, after)] if step.check else []
        except MigratorError:
            raise
        except (Exception, SystemExit) as error:
            raise MigratorError(f"the check of step {step} failed: {error!r}", where=step.path) from error
    return found


def _strange_entries(entries: Sequence[Entry], store: Inventory) -> list[Problem]:
    """What cannot be copied, apart from what the reader has already refused by a kind of its own."""
    text = "is neither a file, a folder nor a symbolic link: it cannot be copied"
    told = {problem.path for problem in store.problems}
    strange = (entry.path for entry in entries if entry.kind == listing.OTHER)
    return [Problem(UNSAFE_PATH, path=path, message=text) for path in strange if path not in told]


def _kind_at(entries: Sequence[Entry], path: str) -> str | None:
    place = listing.place_of(entries, path)
    return None if place is None else entries[place].kind


def _stale(entries: Sequence[Entry]) -> list[Problem]:
    text = "was made from the store as it was: it still speaks of old ids"
    return [
        Problem(STALE_TABLE, path=entry.path, message=text)
        for entry in entries
        if entry.path.endswith(".csv")
        and entry.kind == listing.FILE
        and is_derived(entry.path)
        and entry.path not in REBUILT_TABLES
    ]


def _carried(blocked: Mapping[str, str]) -> list[Problem]:
    """What would be made anew, were there no link in its way: it is carried over as it is."""
    return [
        Problem(STALE_TABLE, path=path, message=f"is carried over: nothing is written through or over {place}")
        for path, place in blocked.items()
    ]


def rebuilt_paths(store: Inventory) -> tuple[str, ...]:
    """Paths of the derived tables and manifests that are made anew from a store."""
    return (*REBUILT_TABLES, *(manifest_path(cohort) for cohort, _, _ in store.cohorts()))


def in_the_way(paths: Iterable[str], kind_of: Callable[[str], str | None]) -> dict[str, str]:
    """Path -> what stands where it, or a folder above it, would be made: a link above all, which is never replaced.

    `kind_of` tells what is at a path (FOLDER, FILE, LINK, OTHER), or None.
    """
    found = {}
    for path in paths:
        parts = path.split("/")
        wanted = {"/".join(parts[:depth]): listing.FOLDER for depth in range(1, len(parts))} | {path: listing.FILE}
        blocked = [place for place, kind in wanted.items() if kind_of(place) not in (None, kind)]
        if blocked:
            found[path] = blocked[0]
    return found


def _places(entries: Sequence[Entry], recipe: Recipe) -> tuple[Targets, list[Problem]]:
    """Where every entry goes, and names that two things would have in the new tree, such as a stray file's."""
    try:
        places = Targets(entries, recipe.moves)
    except MigratorError as error:
        return Targets([], {}), [Problem(UNSAFE_PATH, path=error.where or "", message=error.message)]
    text = "is in the way of a generation that the run makes"
    made = {path.rpartition("/")[0] for path in recipe.additions}  # in folders that stay where they are
    taken = sorted(path for path in made - recipe.moves.keys() if _kind_at(entries, path))
    return places, [Problem(UNSAFE_PATH, path=path, message=text) for path in taken]


def _recipe(before: Inventory, after: Inventory) -> Recipe:
    moves: dict[str, str] = {}
    contents: dict[str, Content] = {}
    additions: dict[str, bytes] = {}
    read: dict[str, bytes] = {}
    for gen in after.gens.values():
        if not gen.origin:
            additions[f"{gen.path}/{METADATA}"] = codec.dumps(gen.documents[METADATA])
            additions |= {f"{gen.path}/{name}": text for name, text in gen.texts.items()}
            continue
        old = before.gens[gen.stage, gen.origin]
        if gen.gen_id != old.gen_id:
            moves[old.path] = gen.path
        documents, folder = gen.documents, old.path
        for name, data in documents.as_read():
            path = f"{folder}/{name}"
            if data:
                read[path] = data
            if name != METADATA and documents.revisions:
                contents[path] = Rewrite(name, documents.revisions)
            elif name == METADATA and documents.metadata is not old.documents.metadata:
                contents[path] = Written(documents[METADATA])
    for path, table in after.tables.items():
        if table is not before.tables[path]:
            contents[path] = table.render()
    for path, text in after.selections.items():
        if text != before.selections[path]:
            contents[path] = text.encode()
    for old_name, new_name in zip(before.copies, after.copies, strict=True):
        if old_name != new_name:
            moves[copy_path(old_name)] = copy_path(new_name)
    return Recipe(moves, contents, additions, read)


def verb_of(before: Inventory, gen: Gen) -> str:
    """What happens to a generation of the new tree: created, renamed, rewritten or unchanged."""
    if not gen.origin:
        return "created"
    if gen.gen_id != gen.origin:
        return "renamed"
    return "rewritten" if rewritten(before.gens[gen.key], gen) else "unchanged"


def _per_stage(before: Inventory, after: Inventory) -> dict[str, dict[str, int]]:
    result = {stage: dict.fromkeys(VERBS, 0) for stage in STAGES}
    for gen in after.gens.values():
        result[gen.stage][verb_of(before, gen)] += 1
    return result


def _synthetic(after: Inventory, effects: Sequence[Effect]) -> list[dict[str, object]]:
    """Rows of synthetic_drafts.csv: every essay that got another draft, in ids of the end."""
    links: dict[Key, Key] = {}
    for effect in effects:
        moved = {key: (key[0], new) for key, new in effect.names.items()}
        links = {moved.get(child, child): moved.get(parent, parent) for child, parent in links.items()}
        links |= dict(effect.relinked)
    rows = []
    for child_key, parent_key in links.items():
        child, parent = after.gens[child_key], after.gens[parent_key]
        rows.append(
            {
                "draft_gen_id": parent.gen_id,
                "how": "linked" if parent.origin else "made",
                "essay_old_gen_id": child.origin,
                "essay_new_gen_id": child.gen_id,
                "combo_id": parent.combo,
                "template_id": parent.template,
                "llm_model_id": parent.model,
                "replicate": parent.replicate,
            }
        )
    return sorted(rows, key=lambda row: (str(row["draft_gen_id"]), str(row["essay_old_gen_id"])))


def _checks(plan: Plan) -> list[Check]:
    before, after = plan.before, plan.after
    reached = [sum(side[stage][0] for stage in PARENT_STAGE) for side in plan.reaching]
    children = sum(plan.reaching[1][stage][1] for stage in PARENT_STAGE)
    return [
        Check("ids match their signature", _right(after), len(after.gens), _right(before)),
        Check("every essay and evaluation reaches a draft", reached[1], children, reached[0]),
    ]


def _right(store: Inventory) -> int:
    """How many ids are right. Most legacy ids do not even have the prefix, so those are not judged."""
    gens = store.gens.values()
    return sum(gen.gen_id.startswith(PREFIX[gen.stage]) and not judge(store, gen) for gen in gens)


def _reaching(store: Inventory) -> dict[str, tuple[int, int]]:
    by_stage: dict[str, list[tuple[Key, Gen]]] = {stage: [] for stage in STAGES}
    for key, gen in store.gens.items():
        by_stage[key[0]].append((key, gen))
    reached: set[Key | None] = set()
    counts = {}
    for stage, gens in by_stage.items():  # drafts before essays before evaluations
        right = [key for key, gen in gens if stage not in PARENT_STAGE or gen.parent_key in reached]
        reached.update(right)
        counts[stage] = (len(right), len(gens))
    return counts
