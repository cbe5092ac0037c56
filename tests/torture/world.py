"""A tiny data root in every state that an action can start from, and the judge of what an action left.

An action is one entry in ACTIONS: what must have happened before, and the call. All sweeps take it from there.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from migrator import compute_gen_id, compute_signature, enrolment, runner, undo, upkeep
from migrator.ahead import Ahead
from migrator.engine import ledger, lock, snapshots, steps
from migrator.engine.steps import Step
from migrator.engine.survey import Surveyed, survey
from migrator.engine.tokens import Batch, Tokens
from migrator.errors import MigratorError
from migrator.rebuild import Scores
from migrator.site import Outcome, Site, settle
from migrator.store.layout import run_mappings
from tests.faults import Tree, exact
from tests.faults import site as site_at

Act = Callable[[Site], object]

DOCUMENTS = {
    "draft": {
        "a1": {"combo_id": "c", "template_id": "t", "llm_model_id": "m", "replicate": 2},
        "a2": {"combo_id": "c", "template_id": "t", "model_id": "m", "replicate": "2"},
    },
    "essay": {
        "b1": {"parent_gen_id": "a1", "template_id": "e"},
        "b2": {
            "parent_gen_id": "c_t_m",
            "mode": "copy",
            "template_id": "e",
            "combo_id": "c",
            "draft_template": "t",
            "llm_model_id": "m",
        },
    },
    "evaluation": {"v1": {"essay_gen_id": "b1", "template_id": "x", "model_id": "m"}},
}
TABLES = {
    "cohorts/one/membership.csv": "stage,gen_id,parent_gen_id\ndraft,a1,\nessay,b1,a1\nessay,b2,\nevaluation,v1,b1\n",
    "cohorts/one/manifest.json": "{}",
    "1_raw/draft_templates.csv": "template_id,generator\nt,llm\n",
    "2_tasks/selected_essays.txt": "# mode: regenerate\nb1\n",
    "2_tasks/evaluation_tasks.csv": "gen_id,parent_gen_id\nv1,b1\n",
    "selected_essays/b1.txt": "kept by hand\n",
    "5_parsing/aggregated_scores.csv": "gen_id,score\nv1,7\n",
}


AXES = {
    "1_raw/draft_templates.csv": "template_id,generator,active\nt,llm,yes\n",
    "1_raw/essay_templates.csv": "template_id,generator,active\ne,llm,yes\n",
    "1_raw/evaluation_templates.csv": "template_id,generator,active\nx,llm,yes\n",
    "1_raw/llm_models.csv": "id,for_generation,for_evaluation\nm,yes,yes\n",
    "1_raw/replication_config.csv": "stage,replicates\ndraft,1\nessay,1\nevaluation,1\n",
}


def tiny_store(root: Path) -> None:
    """A handful of generations with every kind of reference, a lost draft, a link, a read-only file."""
    for stage, gens in DOCUMENTS.items():
        for gen_id, metadata in gens.items():
            folder = root / "gens" / stage / gen_id
            folder.mkdir(parents=True)
            (folder / "metadata.json").write_text(json.dumps(metadata, indent=2))
            (folder / "parsed.txt").write_text(f"text of {gen_id}")
    raw = {"raw_path": "gens/essay/b1/raw.txt", "task_id": "b1__x", "essay_gen_id": "b1"}
    (root / "gens/evaluation/v1/raw_metadata.json").write_text(json.dumps(raw, indent=2))
    (root / "gens/draft/a1/link").symlink_to("parsed.txt")
    (root / "gens/draft/a1/parsed.txt").chmod(0o444)
    with suppress(OSError):  # where there are no such attributes
        for path in ("gens/draft/a2", "gens/draft/a2/metadata.json", "gens/essay/b1/parsed.txt"):
            os.setxattr(root / path, "user.note", f"of {path}".encode())
    for path, text in TABLES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


# -- what a reader sees


def _below_top(tree: Tree) -> Tree:
    return {path: value for path, value in tree.items() if path != "."}


def content(tree: Tree) -> dict[str, object]:
    """What a reader of the data finds: paths and contents, without what is ours."""
    return {path: value[4] for path, value in tree.items() if not path.startswith(".migrator")}


def _files(tree: dict[str, object]) -> dict[str, object]:
    return {path: value for path, value in tree.items() if value is not None}


def inodes(root: str | Path) -> set[int]:
    """The files of a tree: two trees must not share one."""
    folders = os.walk(root)
    statuses = (os.lstat(os.path.join(folder, name)) for folder, _, names in folders for name in names)
    return {status.st_ino for status in statuses if stat.S_ISREG(status.st_mode)}


# -- what can be done


class _HalfAhead(Ahead):
    """Also in one process every other text has been read ahead: both ways to copy one are taken."""

    def seen(self) -> tuple[Scores, Surveyed]:
        if self._child:
            return super().seen()
        scores, _ = super().seen()
        digests, _ = survey(self._store.root, self._payload()[::2], Batch(Tokens([])), lambda: False)
        return scores, Surveyed(digests)


def upgrade(one: Site) -> Outcome:
    with mock.patch.object(runner, "Ahead", _HalfAhead):
        return runner.upgrade(one)


def rollback(one: Site) -> object:
    return undo.rollback(one)


def set_aside(one: Site) -> object:
    return undo.rollback(one, set_aside_new=True)


def adopt(one: Site) -> object:
    return undo.adopt(one, next(run.run_id for run in one.runs() if run.state == snapshots.ROLLED_BACK))


def prune(one: Site) -> object:
    return upkeep.prune(one, 1, rolled_back=True)


def recover(one: Site) -> None:
    """What the next writing command does before anything else."""
    with lock.hold(one.place.state, "test"):
        settle(one)


def later_work(one: Site) -> None:
    """A generation and a cohort that come after the upgrade."""
    fields = {"combo_id": "new", "draft_template_id": "t", "generation_model_id": "m", "replicate": 1}
    gen_id = compute_gen_id("draft", compute_signature("draft", **fields))
    folder = one.place.real / "gens/draft" / gen_id
    folder.mkdir()
    metadata = {"combo_id": "new", "template_id": "t", "llm_model_id": "m", "replicate": 1}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    (one.place.real / "cohorts/two").mkdir()
    (one.place.real / "cohorts/two/membership.csv").write_text(f"stage,gen_id\ndraft,{gen_id}\n")


def axes(one: Site) -> None:
    """What a cohort is built from: one more essay of the selected essay's draft, and its evaluation."""
    root = one.place.real
    for path, text in AXES.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text)
    selected = root / "2_tasks/selected_essays.txt"
    selected.write_text(selected.read_text().replace("regenerate", "reuse-drafts"))


def cohort(one: Site) -> object:
    return enrolment.build(one, "built", environment={})


def extended(one: Site) -> object:
    return enrolment.build(one, "one", extend=True, environment={})


def spoil(one: Site) -> None:
    """Tables and a manifest that are not what the store would make them."""
    root = one.place.real
    next((root / "gens/evaluation").iterdir()).joinpath("parsed.txt").write_text("3")
    shutil.rmtree(root / "6_summary")
    (root / "cohorts/one/manifest.json").write_text("{}")


def regenerate(one: Site) -> object:
    return upkeep.regenerate(one)


@dataclass(frozen=True)
class Action:
    """Something that writes. `wanted` tells whether it still has something to do.

    `piecemeal`: it adds or replaces whole pieces, one by one; what half of it `owes` is finished or taken back.
    What is added here is swept by every kind.
    """

    name: str
    act: Act
    before: tuple[Act, ...] = ()
    wanted: Callable[[Site], bool] = lambda one: True
    piecemeal: bool = False
    owes: bool = True
    gives_back: bool = False  # the very first tree, byte for byte


def _pending(one: Site) -> bool:
    return bool(runner.read_pending(one))


def _undoable(one: Site) -> bool:
    return any(run.has_snapshot for run in one.runs())


ACTIONS = {
    action.name: action
    for action in (
        Action("upgrade", upgrade, (), _pending),
        Action("rollback", rollback, (upgrade,), _undoable, gives_back=True),
        Action("set-aside", set_aside, (upgrade, later_work), _undoable, gives_back=True),
        Action("adopt", adopt, (upgrade, later_work, set_aside, upgrade), piecemeal=True),
        Action("prune", prune, (upgrade, rollback, upgrade)),
        Action("cohort", cohort, (upgrade, axes), piecemeal=True),
        Action("extend", extended, (upgrade, axes), piecemeal=True),
        Action("regenerate", regenerate, (upgrade, spoil), piecemeal=True, owes=False),
    )
}
PLAIN, LINKED = "plain", "linked"
LAYOUTS = (PLAIN, LINKED)


@functools.lru_cache(maxsize=8)
def _discovered(folder: Path, stamps: tuple[tuple[str, int, int], ...]) -> tuple[Step, ...]:
    return tuple(_discover(folder))


_discover = steps.discover


def _remembered(folder: Path) -> list[Step]:
    statuses = [(path.name, path.stat()) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    return list(_discovered(folder, tuple((name, s.st_mtime_ns, s.st_ctime_ns) for name, s in statuses)))


def remember_steps() -> None:
    """Compile the steps once a process: half of a tiny run's time. Edited ones are read again."""
    steps.discover = _remembered


class World:
    """A data root at base/work in the state that an action starts from; `reset` brings that state back."""

    def __init__(
        self, base: Path, action: Action, layout: str = PLAIN, jobs: int = 1, work: Path | None = None
    ) -> None:
        remember_steps()
        self.base, self.action, self.layout, self.jobs = base, action, layout, jobs
        self.work = work or base / "work"  # elsewhere where another file system is to be tried
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        if layout == LINKED:
            tiny_store(self.work / "store")
            (self.work / "data").symlink_to("store")
        else:
            tiny_store(self.work / "data")
        self.first = exact(self.real)
        for act in action.before:
            act(self.site())
        self.keep()
        self.old = exact(self.real)
        self.runs = {run.run_id: run.state for run in self.site().runs()}
        action.act(self.site())
        self.new = content(exact(self.real))
        self.reset()

    def site(self, **values: object) -> Site:
        """The data root as a command sees it."""
        return site_at(self.work, jobs=self.jobs, **values)

    @property
    def real(self) -> Path:
        """The folder that holds the live tree."""
        return Path(os.path.realpath(self.work / "data"))

    def keep(self, name: str = "before") -> None:
        """Remember how everything is now."""
        shutil.rmtree(self.base / name, ignore_errors=True)
        shutil.copytree(self.work, self.base / name, symlinks=True)

    def reset(self, name: str = "before") -> None:
        """As it was before the action (or when it was kept under that name), with every time and link."""
        shutil.rmtree(self.work)
        shutil.copytree(self.base / name, self.work, symlinks=True)

    def act(self) -> object:
        """The action itself."""
        return self.action.act(self.site())

    # -- the judge

    def whole(self) -> list[str]:
        """Promise 1: a reader finds the old tree or the new one; piece by piece, where it is no run.

        Until a command has settled what is owed, the top folder's own time may be that of the exchange (xfs).
        """
        if not os.path.isdir(self.work / "data"):
            return ["there is no data root"]
        now = exact(self.real)
        if self.action.piecemeal:
            return self._pieces(now)
        ends = (self.old, self.first) if self.action.gives_back else (self.old,)
        if any(_below_top(now) == _below_top(end) for end in ends) or self.is_new():
            return []
        return ["the tree is neither the old nor the new"]

    def _pieces(self, now: Tree) -> list[str]:
        """Everything is there and untouched, or as the action leaves it; nothing else has come."""
        made = {path for path, value in now.items() if path in self.new and value[4] == self.new[path]}
        lost = [path for path, value in self.old.items() if path not in made and now.get(path) != value]
        strange = [path for path in now if path not in self.old and path not in made]
        found = [f"lost or changed: {', '.join(lost)}"] if lost else []
        return [*found, f"neither of before nor of after: {', '.join(strange)}"] if strange else found

    def is_old(self) -> bool:
        """Whether the live tree is the very one from before; where pieces came and went, times of folders apart."""
        now = exact(self.real)
        if self.action.piecemeal and not self.action.owes:  # an empty folder is nobody's loss
            return _files(content(now)) == _files(content(self.old))
        return content(now) == content(self.old) if self.action.piecemeal else now == self.old

    def is_half(self) -> bool:
        """Whether an action that goes piece by piece was cut off between two of them."""
        return self.action.piecemeal and not self.is_old() and not self.is_new()

    def is_new(self) -> bool:
        """Whether the live tree is the one that the action makes."""
        now = exact(self.real)
        return now == self.first if self.action.gives_back else content(now) == self.new

    def looks_write_nothing(self) -> list[str]:
        """Promise 4: status and plan write nothing, whatever they find."""
        seen = exact(self.work, times_only=True)
        one = self.site()
        try:
            upkeep.status(one)
            runner.read_plan(one)
        except MigratorError as error:
            return [f"a look failed: {error}"]
        return [] if exact(self.work, times_only=True) == seen else ["a look wrote something"]

    def recovers(self) -> list[str]:
        """Promise 4: the next writing commands settle what is owed, the action can be done, and nothing is left."""
        one = self.site()
        found = []
        try:
            if self.action.owes and self.is_half() and upkeep.status(one).owed is None:
                found.append("half of it stands, and status says that nothing is owed")
            recover(one)
            found += self.settled()
            if self.action.owes and self.is_half():
                found.append("half of it stands after the recovery")
            if self.action.wanted(one):
                self.action.act(one)
                found += self.settled()
        except (MigratorError, OSError) as error:
            return [f"recovery failed: {type(error).__name__}: {error}"]
        if not self.is_new():
            found.append("the action, done again, did not reach its tree")
        return found

    def settled(self) -> list[str]:
        """Nothing is owed, no tool of ours is left, and every snapshot is sound."""
        one = self.site()
        found = []
        if upkeep.status(one).owed is not None:
            found.append("something is still owed")
        state = [name for name in os.listdir(one.place.state) if name != lock.LOCK]
        if state:
            found.append(f"left beside the root: {state}")
        runs = {run.run_id: run for run in one.runs()}
        for name in sorted(os.listdir(one.backups)) if one.backups.is_dir() else ():
            if name not in runs:
                found.append(f"left in backups: {name}")
        for folder in (one.backups, one.mappings, self.real):
            for place, folders, names in os.walk(folder):
                found += [f"left: {place}/{name}" for name in folders + names if name.endswith(".tmp")]
        for run_id, state_then in self.runs.items():
            if run_id not in runs:
                found.append(f"run {run_id} ({state_then}) is gone")
        found += self._records(runs)
        found += self._trees(list(runs.values()))
        return found

    def _records(self, runs: dict[str, snapshots.Run]) -> list[str]:
        """Ledger and run.json agree, and the copies of the mappings are whole."""
        one = self.site()
        found = []
        applied = ledger.runs(one.ledger())
        committed = [run.run_id for run in runs.values() if run.state == snapshots.COMMITTED]
        if applied != committed:
            found.append(f"the ledger knows of {applied}, run.json of {committed}")
        for run_id in applied:
            inside, copy = self.real / run_mappings(run_id), one.mappings / run_id
            names = sorted(os.listdir(inside))
            if not copy.is_dir() or sorted(os.listdir(copy)) != names:
                found.append(f"the mapping of run {run_id} has no whole copy")
            elif any((inside / name).read_bytes() != (copy / name).read_bytes() for name in names):
                found.append(f"the copy of the mapping of run {run_id} is another one")
        return found

    def _trees(self, runs: list[snapshots.Run]) -> list[str]:
        """Snapshots are sound, failed runs left none, no file is shared between two trees, nothing stray."""
        found = []
        live = inodes(self.real)
        trees = {str(self.real)}
        for run in runs:
            if run.state == snapshots.BUILDING:
                found.append(f"run {run.run_id} is still building")
            if run.state == snapshots.FAILED and run.tree:
                found.append(f"failed run {run.run_id} has a tree")
            if run.state == snapshots.ROLLED_BACK and not run.pruned and not Path(run.tree).is_dir():
                found.append(f"the tree from after run {run.run_id} is gone")
            if not run.has_snapshot:
                trees.add(run.tree)
                continue
            trees.add(run.tree)
            if not Path(run.tree).is_dir():
                found.append(f"the snapshot of run {run.run_id} is gone")
                continue
            folder = self.site().folder(run.run_id)
            found += snapshots.damages(Path(run.tree), snapshots.read_manifest(folder / snapshots.BEFORE), full=True)
            if live & inodes(run.tree):
                found.append(f"files are shared between the live tree and the snapshot of run {run.run_id}")
        built = [str(p) for p in self.work.glob("b/*/tree")] + [str(p) for p in self.work.glob("data.*") if p.is_dir()]
        return found + [f"a stray tree: {path}" for path in built if path not in trees]
