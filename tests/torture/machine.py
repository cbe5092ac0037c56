"""Commands in any order, each of them killed anywhere, and new work between them; a naive model says what stands.

The model is a mapping of paths to bytes. What an upgrade makes of it is said by tests.oracle, what a build adds by
tests.cohort_oracle: neither imports the package. Derived tables, manifests and `.migrator/` are not in it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from migrator import enrolment, undo, upkeep
from migrator.errors import DecisionNeeded, MigratorError
from migrator.site import Site
from tests import cohort_oracle
from tests.faults import Tree as Exact
from tests.faults import exact, site
from tests.oracle import STAGES, Link, Tree, gen_id_of, migrate
from tests.random_stores import read_tree
from tests.torture import kinds
from tests.torture.crash import Crashing, dying, inside_a_build
from tests.torture.kinds import Kind, Tally
from tests.torture.system import system
from tests.torture.world import AXES, LAYOUTS, LINKED, recover, remember_steps, tiny_store, upgrade

STEPS = 15  # commands in one story
STORIES = 60  # of one job
NEVER = 10_000
KILLED = st.just(NEVER) | st.integers(0, 24) | st.integers(4, 16)
TELLING = ("mkdir", "rename", "exchange", "symlink", "unlink", "rmdir", "syncfs")
ANY = st.integers(0, 99)
LEDGER = ".migrator/ledger.jsonl"


def seen(root: Path) -> Tree:
    """What the model knows of a data root."""
    return {path: data for path, data in read_tree(root).items() if not _is_left_out(path)}


def _is_left_out(path: str) -> bool:
    top = path.partition("/")[0]
    manifest = top == "cohorts" and path.endswith("/manifest.json")
    return manifest or top in (".migrator", "5_parsing", "6_summary") or top.startswith("7_")


def gens_of(tree: Tree, stage: str) -> list[str]:
    """The ids of a stage."""
    parts = [path.split("/") for path in tree]
    return sorted({part[2] for part in parts if part[:2] == ["gens", stage] and len(part) > 3})


def folders(tree: Tree) -> set[str]:
    """Generations and cohorts: what an adoption brings."""
    parts = [path.split("/") for path in tree]
    found = {"/".join(part[:3]) for part in parts if part[0] == "gens" and len(part) > 3}
    return found | {"/".join(part[:2]) for part in parts if part[0] == "cohorts" and len(part) > 2}


def record(tree: Tree, stage: str, gen_id: str) -> dict[str, Any]:
    """metadata.json of a generation."""
    data = tree[f"gens/{stage}/{gen_id}/metadata.json"]
    assert isinstance(data, bytes)
    found: dict[str, Any] = json.loads(data)
    return found


def is_computed(tree: Tree, stage: str, gen_id: str) -> bool:
    """Whether an id is the formula's for its record."""
    own = record(tree, stage, gen_id)
    names = {"draft": ("combo_id", "template_id", "llm_model_id"), "essay": ("parent_gen_id", "template_id")}
    keys = names.get(stage, ("parent_gen_id", "template_id", "llm_model_id"))
    values = [own.get(key) for key in (*keys, "replicate")]
    return None not in values and gen_id == gen_id_of(stage, values)


class Machine(RuleBasedStateMachine):
    """One data root and the model of it."""

    base: Path
    layout: str
    ran = 0

    def __init__(self) -> None:
        super().__init__()
        self.work = Path(tempfile.mkdtemp(dir=self.base))
        linked = self.layout == LINKED
        store = self.work / ("store" if linked else "data")
        tiny_store(store)
        for path, text in AXES.items():
            (store / path).parent.mkdir(exist_ok=True)
            (store / path).write_text(text)
        (store / "2_tasks/selected_combo_mappings.csv").write_text("combo_id\nc\n")
        if linked:
            (self.work / "data").symlink_to("store")
        self.tree = seen(store)
        self.upgraded = False
        self.after: Tree = {}  # as the latest upgrade left it
        self.before: Exact = {}  # what a rollback must give back
        self.asides: dict[str, Tree] = {}  # run id -> the tree that its rollback put aside
        self.runs: list[str] = []
        self.number = 0
        self.cut = False  # whether the last command was killed

    def teardown(self) -> None:
        shutil.rmtree(self.work)

    @property
    def site(self) -> Site:
        return site(self.work)

    @property
    def real(self) -> Path:
        return self.site.place.real

    def told(self, act: Callable[[], object], k: int) -> object:
        """What an action answers: its outcome, the error's class, or None where it was killed."""
        type(self).ran += 1
        self.cut = False
        answer: list[object] = []
        crash = Crashing(k, counts=self.is_telling)
        try:
            with dying(), system(crash):
                answer.append(act())
            if crash.fired:
                self.cut = True
                return None
        except MigratorError as error:
            return type(error)
        return answer[0]

    def is_telling(self, name: str, path: str) -> bool:
        """Whether the disk is another one after this call, as far as anybody can tell."""
        return name in TELLING and not inside_a_build(path, self.work)

    # -- new work

    def add(self, stage: str, gen_id: str, own: dict[str, Any]) -> None:
        folder = f"gens/{stage}/{gen_id}"
        for name, data in (("metadata.json", json.dumps(own).encode()), ("parsed.txt", f"by {gen_id}".encode())):
            path = self.real / folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            self.tree[f"{folder}/{name}"] = data

    @rule(stage=st.sampled_from(STAGES), combo=st.sampled_from("ck"), replicate=st.sampled_from((None, 1, 2)), n=ANY)
    def legacy_work(self, stage: str, combo: str, replicate: int | None, n: int) -> None:
        """A generation with a name of its own and no more than an old program knew."""
        self.number += 1
        own: dict[str, Any] = {"template_id": {"draft": "t", "essay": "e", "evaluation": "x"}[stage]}
        own |= {} if replicate is None else {"replicate": replicate}
        if stage == "draft":
            own |= {"combo_id": combo, "model_id": "m"}
        else:
            parents = gens_of(self.tree, STAGES[STAGES.index(stage) - 1])
            own |= {"parent_gen_id": parents[n % len(parents)], "llm_model_id": "m"}
        self.add(stage, f"old{self.number}", own)

    @precondition(lambda self: self.upgraded)
    @rule(stage=st.sampled_from(STAGES), combo=st.sampled_from("ck"), n=ANY)
    def computed_work(self, stage: str, combo: str, n: int) -> None:
        """A generation as the pipeline makes one today: the next replicate of its task, named by the formula."""
        if stage == "draft":
            own: dict[str, Any] = {"combo_id": combo, "template_id": "t", "llm_model_id": "m"}
            task = [combo, "t", "m"]
        else:
            parents = gens_of(self.tree, STAGES[STAGES.index(stage) - 1])
            own = {"parent_gen_id": parents[n % len(parents)], "template_id": "e" if stage == "essay" else "x"}
            task = [*own.values()] + (["m"] if stage == "evaluation" else [])
            own["llm_model_id"] = "m"
        replicate = 1
        while gen_id_of(stage, [*task, replicate]) in gens_of(self.tree, stage):
            replicate += 1
        gen_id = gen_id_of(stage, [*task, replicate])
        self.add(stage, gen_id, {"stage": stage, "gen_id": gen_id, **own, "replicate": replicate})

    # -- commands

    @rule(k=KILLED)
    def upgrade(self, k: int) -> None:
        expected = migrate(self.tree)
        old = exact(self.real) if not self.upgraded else {}
        answer = self.told(lambda: upgrade(self.site).status, k)
        if self.upgraded:
            assert answer in ("up-to-date", None), answer
        elif expected.blocking:
            assert answer in ("refused", None), answer
        else:
            assert answer in ("committed", None), answer
            if answer or (self.real / LEDGER).exists():
                recorded = (self.real / LEDGER).read_text().splitlines()
                self.runs.append(json.loads(recorded[-1])["run_id"])
                self.tree, self.upgraded, self.before = expected.tree, True, old
                self.after = dict(expected.tree)

    @precondition(lambda self: self.upgraded or self.cut)
    @rule(aside=st.booleans(), k=KILLED)
    def rollback(self, aside: bool, k: int) -> None:
        answer = self.told(lambda: undo.rollback(self.site, set_aside_new=aside).status, k)
        if not self.upgraded:
            assert answer in ("as-before", None) or (answer is MigratorError and not self.runs), answer
        elif self.tree != self.after and not aside:
            assert answer in (DecisionNeeded, None), answer
        else:
            assert answer in ("rolled-back", None), answer
            if not (self.real / LEDGER).exists():
                self.asides[self.runs[-1]] = self.tree
                self.upgraded = False
                if answer:
                    assert exact(self.real) == self.before, "the tree from before is not back"
                self.tree = seen(self.real)
                files = {path: value[4] for path, value in self.before.items() if value[4] is not None}
                plain = {path: data.target if isinstance(data, Link) else data for path, data in self.tree.items()}
                assert plain == {path: data for path, data in files.items() if not _is_left_out(path)}

    @precondition(lambda self: self.asides)
    @rule(k=KILLED, n=ANY)
    def adopt(self, k: int, n: int) -> None:
        run_id = sorted(self.asides)[n % len(self.asides)]
        theirs = self.asides[run_id]
        wanted = folders(theirs) - folders(self.tree)
        odd = [path for path in wanted if path.startswith("gens/") and not is_computed(theirs, *path.split("/")[1:])]
        answer = self.told(lambda: undo.adopt(self.site, run_id).status, k)
        if not self.upgraded or odd:
            assert answer in (DecisionNeeded, None), answer
            return
        assert answer in ("adopted" if wanted else "up-to-date", None), answer
        coming = {path: data for path, data in theirs.items() if any(path.startswith(f"{one}/") for one in wanted)}
        self.in_pieces(answer, self.tree | coming)

    @precondition(lambda self: self.upgraded)
    @rule(name=st.sampled_from(("one", "two")), mode=st.sampled_from(("", "reuse-drafts", "reuse-essays")), k=KILLED)
    def cohort(self, name: str, mode: str, k: int) -> None:
        if not all(is_computed(self.tree, stage, one) for stage in STAGES for one in gens_of(self.tree, stage)):
            return  # an old name: what a build says of it is no matter here
        selected = f"# mode: {mode}\n{gens_of(self.tree, 'essay')[0]}\n" if mode else ""
        self.told(lambda: recover(self.site), NEVER)
        (self.real / "2_tasks/selected_essays.txt").write_text(selected)
        self.tree["2_tasks/selected_essays.txt"] = selected.encode()
        expected = cohort_oracle.build(self.real, name, extend=True)
        answer = self.told(lambda: enrolment.build(self.site, name, extend=True, environment={}).status, k)
        assert answer in (expected.status, None), (answer, expected)
        if expected.status != "built":
            return
        membership = f"cohorts/{name}/membership.csv"
        live = seen(self.real)
        new = {path: data for path, data in live.items() if path == membership or path not in self.tree}
        if answer:
            members = cohort_oracle.read_table(self.real / membership, ("stage", "gen_id"))
            listed = {s: sorted(row["gen_id"] for row in members if row["stage"] == s) for s in STAGES}
            assert listed == expected.members
            made = {(path.split("/")[1], path.split("/")[2]) for path in new if path != membership}
            assert made == set(expected.created)
            for stage, gen_id in made:
                assert record(live, stage, gen_id) == expected.created[stage, gen_id]
            self.tree = self.tree | new
            return
        self.told(lambda: recover(self.site), NEVER)
        if seen(self.real) != self.tree:
            answer = enrolment.build(self.site, name, extend=True, environment={}).status
            assert answer == "unchanged", "killed, recovered, and neither as before nor built"
            assert {key for path in folders(seen(self.real)) - folders(self.tree) for key in [path]} <= {
                f"cohorts/{name}",
                *(f"gens/{stage}/{gen_id}" for stage, gen_id in expected.created),
            }
            self.tree = seen(self.real)

    @precondition(lambda self: self.upgraded)
    @rule(k=KILLED)
    def regenerate(self, k: int) -> None:
        self.told(lambda: upkeep.regenerate(self.site), k)

    @precondition(lambda self: self.asides)
    @rule(k=KILLED)
    def prune(self, k: int) -> None:
        answer = self.told(lambda: upkeep.prune(self.site, 1, rolled_back=True), k)
        if answer is None:
            self.told(lambda: recover(self.site), NEVER)
        self.asides = {
            run.run_id: self.asides[run.run_id]
            for run in self.site.runs()
            if run.run_id in self.asides and not run.pruned
        }
        assert answer is None or not self.asides

    @precondition(lambda self: self.cut)
    @rule(k=KILLED)
    def settle(self, k: int) -> None:
        """What any writing command begins with, killed as well."""
        self.told(lambda: recover(self.site), k)

    def in_pieces(self, answer: object, new: Tree) -> None:
        """Killed, it is settled first: then it is as before, or it is done."""
        if answer is None:
            self.told(lambda: recover(self.site), NEVER)
        assert answer is None or seen(self.real) == new
        self.tree = new if seen(self.real) == new else self.tree

    # -- at any time

    @invariant()
    def is_the_model(self) -> None:
        """The live tree is what the model says, ids included, and a look agrees with it."""
        live = seen(self.real)
        lost, strange = sorted(self.tree.keys() - live.keys()), sorted(live.keys() - self.tree.keys())
        assert (lost, strange) == ([], [])
        assert live == self.tree
        assert (self.real / LEDGER).exists() == self.upgraded
        found = upkeep.status(self.site)
        assert found.generations == {stage: len(gens_of(self.tree, stage)) for stage in STAGES}
        assert bool(found.pending) == (not self.upgraded)


def stories(layout: str, seed: int, base: Path, stride: int) -> Tally:
    """So many stories of commands; Hypothesis makes a broken one as short as it can."""
    remember_steps()
    started = time.monotonic()
    base.mkdir(parents=True)

    class Here(Machine):
        pass

    Here.base, Here.layout = base, layout
    broken: tuple[str, ...] = ()
    settings = hypothesis.settings(
        max_examples=max(STORIES // stride, 3),
        stateful_step_count=STEPS,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if stride == 1 and not kinds.hunting else [])],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    try:
        run_state_machine_as_test(hypothesis.seed(seed)(Here), settings=settings)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - whatever gets out is what is looked for
        broken = (f"{layout}, seed {seed}: {error!r}\n" + "\n".join(getattr(error, "__notes__", ())),)
    return Tally(STORIES * STEPS, Here.ran, broken, time.monotonic() - started)


SEEDS = 3
COMMANDS = Kind(
    "commands in any order", 1500, [partial(stories, layout, seed) for layout in LAYOUTS for seed in range(SEEDS)]
)
