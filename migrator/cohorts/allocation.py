"""From axes and selection to the members of a cohort: demands, filling, minting (contract, section 5). Pure.

Opens no file and asks no clock: the index, the membership and the axes come in, the allocation goes out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain

from migrator.cohorts.axes import Axes
from migrator.cohorts.manifest import combo_of
from migrator.cohorts.membership import Member, Membership
from migrator.cohorts.selection import CARTESIAN, REGENERATE, REUSE_DRAFTS, REUSE_ESSAYS
from migrator.store import codec
from migrator.store.ids import FIELDS, IdRegistry, Signature, compute_gen_id, compute_signature
from migrator.store.index import Index, Task, text_or_none
from migrator.store.layout import DRAFT, ESSAY, EVALUATION, METADATA, PARENT_STAGE, STAGES, gen_path
from migrator.store.problems import GEN_ID_MISMATCH, ID_COLLISION, MISSING_PARENT, Problem, accepted
from migrator.store.records import Key


@dataclass(frozen=True)
class Wanted:
    """What a build is asked for: the cohort, how, and from what."""

    cohort_id: str
    mode: str
    fill_up: bool
    essays: Sequence[str]  # by the ids of today, sorted
    axes: Axes


@dataclass(frozen=True)
class Demand:
    """`count` generations of one task; a new one must have been made for this cohort.

    The texts are what the metadata of a generation that is minted for it will say.
    """

    stage: str
    count: int
    combo: str
    template: str
    model: str
    parent: str = ""
    new: bool = False

    @cached_property
    def task(self) -> Task:
        """The signature without its replicate."""
        values = {
            DRAFT: (self.combo, self.template, self.model),
            ESSAY: (self.parent, self.template),
            EVALUATION: (self.parent, self.template, self.model),
        }[self.stage]
        fields = dict(zip(FIELDS[self.stage], values, strict=False))
        return compute_signature(self.stage, **fields, replicate=1)[:-1]


@dataclass
class Count:
    """What became of one stage's demands; `sources` counts what was reused, by the cohort that first asked for it."""

    wanted: int = 0
    reused_own: int = 0
    reused_other: int = 0
    created: int = 0
    sources: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Allocation:
    """The members of a build, drafts before essays before evaluations; `minted` has the metadata.json of new ones."""

    wanted: Wanted
    members: tuple[Member, ...]
    minted: Mapping[Key, bytes]
    counts: Mapping[str, Count]
    problems: tuple[Problem, ...]


def allocate(wanted: Wanted, index: Index, before: Membership | None, accept: Collection[str] = ()) -> Allocation:
    """Fill the demands of a build. `accept` names collisions that the operator lets stand."""
    filling = _Filling(wanted, index, before)
    {
        CARTESIAN: _cartesian,
        REGENERATE: _regenerate,
        REUSE_DRAFTS: _reuse_drafts,
        REUSE_ESSAYS: _reuse_essays,
    }[wanted.mode](filling)
    problems = [accepted(problem, accept) for problem in filling.problems]
    members = tuple(filling.members.values())
    return Allocation(wanted, members, filling.minted, filling.counts, tuple(dict.fromkeys(problems)))


# -- the modes


def _cartesian(filling: _Filling) -> None:
    axes = filling.wanted.axes
    drafts = filling.fill(
        Demand(DRAFT, axes.replication[DRAFT], combo, template, model)
        for combo in axes.combos
        for template in axes.templates[DRAFT]
        for model in axes.generation_models
    )
    essays = filling.fill(
        Demand(ESSAY, axes.replication[ESSAY], draft.combo, template, draft.model, draft.gen_id)
        for draft in chain.from_iterable(drafts)
        for template in axes.templates[ESSAY]
    )
    _evaluate(filling, chain.from_iterable(essays), new=False)


def _regenerate(filling: _Filling) -> None:
    replication = filling.wanted.axes.replication
    selected = filling.selected()
    drafts = filling.fill(
        Demand(DRAFT, replication[DRAFT], draft.combo, draft.template, essay.model or draft.model, new=True)
        for essay, draft in selected
    )
    essays = filling.fill(
        Demand(ESSAY, replication[ESSAY], draft.combo, essay.template, draft.model, draft.gen_id, new=True)
        for (essay, _), group in zip(selected, drafts, strict=True)
        for draft in group
    )
    _evaluate(filling, chain.from_iterable(essays), new=True)


def _reuse_drafts(filling: _Filling) -> None:
    replication = filling.wanted.axes.replication
    selected = filling.selected()
    filling.take(draft for _, draft in selected)
    essays = filling.fill(
        Demand(
            ESSAY,
            replication[ESSAY],
            draft.combo,
            essay.template,
            essay.model or draft.model,
            draft.gen_id,
            new=True,
        )
        for essay, draft in selected
    )
    _evaluate(filling, chain.from_iterable(essays), new=True)


def _reuse_essays(filling: _Filling) -> None:
    selected = filling.selected()
    filling.take(draft for _, draft in selected)
    filling.take(essay for essay, _ in selected)
    _evaluate(filling, [essay for essay, _ in selected], new=not filling.wanted.fill_up)


def _evaluate(filling: _Filling, essays: Iterable[Member], *, new: bool) -> None:
    axes = filling.wanted.axes
    filling.fill(
        Demand(EVALUATION, axes.replication[EVALUATION], essay.combo, template, model, essay.gen_id, new)
        for essay in essays
        for template in axes.templates[EVALUATION]
        for model in axes.evaluation_models
    )


# -- filling


class _Filling:
    """The state of one build: who is a member so far, what was minted, what was found."""

    def __init__(self, wanted: Wanted, index: Index, before: Membership | None) -> None:
        self.wanted, self.index = wanted, index
        self.own = frozenset(before.lines) if before else frozenset()
        self.members: dict[Key, Member] = {}
        self.minted: dict[Key, bytes] = {}
        self.counts = {stage: Count() for stage in STAGES}
        self.problems: list[Problem] = [p for key in sorted(self.own) for p in index.unusable.get(key, ())]
        self.chosen: set[Key] = set()  # the selected essays and their drafts, which are never new
        self._names: dict[str, set[str]] = {stage: set() for stage in STAGES}
        for stage, gen_id in chain(index.gens, index.unusable):
            self._names[stage].add(gen_id)

    def selected(self) -> list[tuple[Member, Member]]:
        """(essay, its draft) of each selected essay; those that cannot be used are problems."""
        found = []
        for gen_id in self.wanted.essays:
            essay = self._usable((ESSAY, gen_id))
            parent = essay.parent if essay else ""
            draft = self._usable((DRAFT, parent), child=(ESSAY, gen_id)) if essay else None
            if essay and draft:
                found.append((essay, draft))
                self.chosen |= {essay.key, draft.key}
        return found

    def take(self, members: Iterable[Member]) -> None:
        """Let generations that the build names itself be members."""
        for member in members:
            if member.key not in self.members:
                self.counts[member.stage].wanted += 1
                self._add(member)

    def fill(self, demands: Iterable[Demand]) -> list[list[Member]]:
        """The members that meet each demand; equal tasks add up and are handed out in the order of the demands."""
        asked = list(demands)
        if not asked:
            return []
        stage = asked[0].stage
        totals: dict[Task, int] = {}
        for demand in asked:
            totals[demand.task] = totals.get(demand.task, 0) + demand.count
        self._note_unusable(stage, totals)
        reused = {demand.task: self._existing(demand, totals[demand.task]) for demand in asked}
        replicates = {task: self._free(stage, task, count - len(reused[task])) for task, count in totals.items()}
        self._note_in_the_way(stage, reused, replicates)
        ids = self._ids(stage, [(*task, number) for task, numbers in replicates.items() for number in numbers])
        self.counts[stage].wanted += sum(totals.values())
        return [self._met(demand, reused[demand.task], replicates[demand.task], ids) for demand in asked]

    def _met(
        self, demand: Demand, reused: list[Key], replicates: list[int], ids: Mapping[Signature, str]
    ) -> list[Member]:
        """Take what meets one demand from the front of what its task has."""
        met = []
        for _ in range(demand.count):
            if reused:
                member = self._member(reused.pop(0))
                self._add(member)
            else:
                number = replicates.pop(0)
                member = self._mint(demand, number, ids[(*demand.task, number)])
            met.append(member)
        return met

    def _existing(self, demand: Demand, count: int) -> list[Key]:
        """Generations that meet a task: this cohort's first, then, unless it must be new, others of the store."""
        keys = self.index.tasks.get((demand.stage, demand.task), [])
        own = [key for key in keys if key in self.own]
        if demand.new:
            mine = (key for key in own if key not in self.chosen and self.index.origin(key) == self.wanted.cohort_id)
            return list(mine)[:count]
        return [*own, *(key for key in keys if key not in self.own)][:count]

    def _free(self, stage: str, task: Task, count: int) -> list[int]:
        """The smallest replicates that no generation has."""
        if count <= 0:
            return []
        signatures = self.index.signatures
        used = {signatures[key][-1] for key in self.index.tasks.get((stage, task), ())}
        free: list[int] = []
        number = 0
        while len(free) < count:
            number += 1
            if number not in used:
                free.append(number)
        return free

    def _ids(self, stage: str, minted: Sequence[Signature]) -> dict[Signature, str]:
        """The ids of new signatures, by the rule for collisions: whoever bears an id keeps it."""
        claims: dict[Signature, str | None] = dict.fromkeys(minted)
        names = self._names[stage]
        for signature in minted:
            bare = compute_gen_id(stage, signature, self.index.scheme)
            name, number = bare, 0
            while name in names:
                bearer = self.index.signatures.get((stage, name))
                if bearer is not None and compute_gen_id(stage, bearer, self.index.scheme) == bare:
                    claims[bearer] = name
                elif bearer is not None:
                    path = f"{gen_path(stage, name)}/{METADATA}"
                    message = "it bears the id of a task that this build needs, and its own signature gives another"
                    self.problems.append(Problem(GEN_ID_MISMATCH, stage, name, path, message))
                number += 1
                name = f"{bare}-{number}"
        registry = IdRegistry(stage, self.index.scheme, names)
        ids = registry.assign(claims)
        for collision in registry.collisions:
            sides = ", ".join(f"{text} is {gen_id}" for text, gen_id in collision.ids.items())
            message = f"{len(collision.ids)} signatures share this id: {sides}"
            self.problems.append(Problem(ID_COLLISION, stage, collision.gen_id, "", message))
        return ids

    def _mint(self, demand: Demand, replicate: int, gen_id: str) -> Member:
        stage = demand.stage
        member = Member(stage, gen_id, demand.parent, demand.combo, demand.template, demand.model, replicate)
        record = {
            "stage": stage,
            "gen_id": gen_id,
            "origin_cohort_id": self.wanted.cohort_id,
            "mode": self.wanted.axes.generator(stage, demand.template),
            "template_id": demand.template,
            "combo_id": demand.combo,
            "parent_gen_id": demand.parent,
            "llm_model_id": demand.model,
            "replicate": replicate,
        }
        if stage not in PARENT_STAGE:
            del record["parent_gen_id"]
        self.minted[member.key] = codec.dumps(record)
        self.members[member.key] = member
        self.counts[stage].created += 1
        return member

    def _add(self, member: Member) -> None:
        """Note a generation that was there before as a member."""
        self.members[member.key] = member
        count = self.counts[member.stage]
        if member.key in self.own:
            count.reused_own += 1
        else:
            count.reused_other += 1
            origin = self.index.origin(member.key) or ""
            count.sources[origin] = count.sources.get(origin, 0) + 1

    def _member(self, key: Key) -> Member:
        gen = self.index.gens[key]
        texts = (gen.parent, combo_of(self.index, gen), gen.template, gen.model)
        parent, combo, template, model = ((text_or_none(value) or "").strip() for value in texts)
        return Member(*key, parent, combo, template, model, gen.replicate)

    # -- what cannot be used

    def _usable(self, key: Key, child: Key | None = None) -> Member | None:
        """A generation that the build needs, or None, noting what is wrong with it."""
        if key in self.index.signatures:
            return self._member(key)
        if key in self.index.unusable:
            self.problems += self.index.unusable[key]
        elif child:
            self.problems.append(_orphan(child, key, "the store"))
        return None

    def _note_unusable(self, stage: str, tasks: Collection[Task]) -> None:
        """Generations that have a demanded task and cannot be used: their replicate is wrong, or two names differ."""
        for key, problems in self.index.unusable.items():
            gen = self.index.gens.get(key)
            if gen is not None and gen.stage == stage and not gen.faults() and gen.signature(replicate=1)[:-1] in tasks:
                self.problems += problems

    def _note_in_the_way(
        self, stage: str, reused: Mapping[Task, Sequence[Key]], replicates: Mapping[Task, Sequence[int]]
    ) -> None:
        """Generations whose name says that they are a replicate which the build would use, and which cannot be read."""
        unreadable = {gen_id: problems for (one, gen_id), problems in self.index.unusable.items() if one == stage}
        if not unreadable:
            return
        for task, numbers in replicates.items():
            known = (self.index.signatures[key][-1] for key in reused[task])
            for number in range(1, max((int(n) for n in chain(numbers, known)), default=0) + 1):
                gen_id = compute_gen_id(stage, (*task, number), self.index.scheme)
                self.problems += unreadable.get(gen_id, ())


def orphans(allocation: Allocation, index: Index, kept: Iterable[Key]) -> list[Problem]:
    """Members whose parent is missing: an essay's draft from the cohort, an evaluation's essay from the store.

    `kept` are the members of an existing cohort, which stay members.
    """
    members = {member.key: member.parent for member in allocation.members}
    for key in kept:
        if key in index.signatures:
            members.setdefault(key, index.gens[key].parent or "")
    found = []
    for key, parent in members.items():
        if key[0] == DRAFT:
            continue
        above = (PARENT_STAGE[key[0]], parent)
        if above not in members and not (key[0] == EVALUATION and index.exists(above)):
            found.append(_orphan(key, above, "the store" if key[0] == EVALUATION else "the cohort"))
    return found


def _orphan(key: Key, parent: Key, where: str) -> Problem:
    message = f"its parent, the {parent[0]} {parent[1]!r}, is not in {where}"
    return Problem(MISSING_PARENT, *key, f"{gen_path(*key)}/{METADATA}", message)
