"""Steps and upgrades beside each other: nothing waits for a model, nothing is lost (contract, section 7)."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrator.engine import lock
from migrator.engine.exchange import Place
from migrator.engine.lock import hold
from migrator.errors import MigratorError
from migrator.pipeline import Task
from migrator.pipeline.access import Access
from tests.pipeline.conftest import Line, Migrator, gen

ROOT = Path(__file__).parents[2]


def legacy(root: Path) -> None:
    """A finished draft and an essay to be made, under names of an older era."""
    gen(root, "draft", {"parsed.txt": "d"}, gen_id="old-draft", combo_id="c1", template_id="l", llm_model_id="m")
    gen(root, "essay", gen_id="old-essay", template_id="t", parent_gen_id="old-draft")


def modern(root: Path, line: Line) -> str:
    """The same under names of today; the essay's, which is registered."""
    draft = gen(root, "draft", {"parsed.txt": "d"}, combo_id="c1", template_id="l", llm_model_id="m")
    essay = gen(root, "essay", template_id="t", parent_gen_id=draft)
    line.register(("essay", essay))
    return essay


def essays(root: Path) -> dict[str, set[str]]:
    """Each essay's folder with the names in it."""
    return {path.name: {file.name for file in path.iterdir()} for path in (root / "gens" / "essay").iterdir()}


def upgrade(root: Path, *words: str) -> subprocess.Popen[str]:
    """An upgrade in a process of its own."""
    command = [sys.executable, "-m", "migrator", "--data-root", str(root), "upgrade", "--yes", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


ALL = {"metadata.json", "prompt.txt", "raw.txt", "raw_metadata.json", "parsed.txt", "parsed_metadata.json"}


def test_an_answer_lands_under_the_new_id(root: Path, line: Line, migrator: Migrator) -> None:
    """The store is upgraded while the model thinks: nothing stands in its way, and the answer is at the new place."""
    legacy(root)
    line.register(("essay", "old-essay"))
    line.model.before = lambda task: migrator("upgrade", "--yes") and None
    line.make("essay", "old-essay")
    new = migrator("map", "old-essay")["mapping"]["old-essay"]
    assert essays(root) == {new: ALL}
    assert new in (root / "gens" / "essay" / new / "raw_metadata.json").read_text()
    assert line.model.calls == ["old-essay"]


def test_an_answer_lands_under_the_old_id_after_a_rollback(root: Path, line: Line, migrator: Migrator) -> None:
    """The same the other way round: the run is undone while the model thinks."""
    legacy(root)
    migrator("upgrade", "--yes")
    new = migrator("map", "old-essay")["mapping"]["old-essay"]
    line.register(("essay", new))

    def undo(task: Task) -> None:
        migrator("rollback", "--yes", "--set-aside-new")

    line.model.before = undo
    events = line.make("essay", new, fails=True)  # its own next step has only the new name, which nobody knows now
    assert "there is no essay" in events.error
    assert essays(root) == {"old-essay": {"metadata.json", "raw.txt", "raw_metadata.json"}}
    assert line.model.calls == [new]


def test_an_upgrade_names_the_step_it_would_disturb(root: Path, migrator: Migrator) -> None:
    """Exit 5 at once, with the step and its Dagster run; with --wait it goes on when the step is done."""
    legacy(root)
    access = Access(root, "essay_raw of old-essay, Dagster run 5b8a563c", 0)
    with access.shared():
        error = migrator("upgrade", "--yes", code=5)["error"]
        assert re.search(r"a step of the pipeline: .*, pid \d+ \(essay_raw of old-essay, Dagster run 5b8a563c\)", error)
        patient = upgrade(root, "--wait", "60")
        time.sleep(0.3)
    _, complaints = patient.communicate(timeout=120)
    assert patient.returncode == 0, complaints
    assert "old-essay" not in essays(root)


def test_a_step_waits_for_an_upgrade(root: Path, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that meets an upgrade has the lock only after it."""
    essay = modern(root, line)
    held, asked, order = threading.Event(), threading.Event(), []

    def exclusive() -> None:
        with hold(Place.at(root).state, "upgrade"):
            held.set()
            asked.wait(20)
            time.sleep(0.2)
            order.append("upgrade")

    @contextlib.contextmanager
    def watched(*args: object, **more: object) -> Iterator[None]:
        asked.set()
        with hold(*args, **more):  # type: ignore[arg-type]
            order.append("step")
            yield

    monkeypatch.setattr(lock, "hold", watched)
    thread = threading.Thread(target=exclusive)
    thread.start()
    assert held.wait(5)
    line.make("essay", essay)
    thread.join()
    assert order[:2] == ["upgrade", "step"]
    assert essays(root) == {essay: ALL}


def test_patience_ends(root: Path) -> None:
    """A step that has waited long enough fails and says for whom; a retry is worth it."""
    legacy(root)
    with (
        hold(Place.at(root).state, "upgrade"),
        pytest.raises(MigratorError, match=r"in use by .*\(upgrade\)"),
        Access(root, "a step", 0.2).shared(),
    ):
        raise AssertionError("the lock was shared with an upgrade")


def test_steps_leave_nothing_beside_the_root(root: Path, line: Line) -> None:
    """No notes, no temporary files: only the lock file stays."""
    essay = modern(root, line)
    line.make("essay", essay)
    assert [path.name for path in Place.at(root).state.iterdir()] == ["lock"]
    assert essays(root) == {essay: ALL}


@pytest.mark.slow
def test_steps_and_upgrades_in_a_storm(root: Path) -> None:
    """Writers and upgrades and rollbacks in many rounds: every answer is there in the end, and only once."""
    gen(root, "draft", {"parsed.txt": "d"}, gen_id="old-draft", combo_id="c1", template_id="l", llm_model_id="m")
    for number in range(20):
        gen(root, "essay", gen_id=f"old-{number}", template_id=f"t{number}", parent_gen_id="old-draft")
    access = Access(root, "a step", 120)
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            found = access.find(("essay", f"old-{number}"))
            time.sleep(number / 10)
            access.put(found, lambda gen: {"raw.txt": f"{number}".encode()})
        except MigratorError as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for words in (["upgrade", "--yes"], ["rollback", "--yes", "--set-aside-new"], ["upgrade", "--yes"]):
        command = [sys.executable, "-m", "migrator", "--data-root", str(root), *words, "--wait", "60"]
        assert subprocess.run(command, capture_output=True, cwd=ROOT).returncode == 0
    for thread in threads:
        thread.join()
    assert failures == []
    texts = [path.read_text() for path in root.parent.glob("**/raw.txt")]
    assert sorted(set(texts), key=int) == [str(number) for number in range(20)]
