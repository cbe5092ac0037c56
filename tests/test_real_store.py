"""The main job on the real store, as an operator does it: through the command line, with real kills."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from migrator import Inventory, compute_gen_id
from tests.faults import MIGRATIONS, content, exact
from tests.real import unpack

MOMENTS = int(os.environ.get("MIGRATOR_TEST_MOMENTS", "3"))  # everyday; the long sweep takes 50


def command(base: Path, *args: str) -> list[str]:
    """A command line on base/data with its folders beside it."""
    folders = ["--data-root", str(base / "data"), "--backups", str(base / "b"), "--mappings", str(base / "m")]
    return [sys.executable, "-m", "migrator", *folders, "--migrations", str(MIGRATIONS), *args]


def run(base: Path, *args: str) -> tuple[int, dict[str, object]]:
    """Exit code and the one JSON object on standard output."""
    done = subprocess.run(command(base, *args, "--json"), capture_output=True, text=True, cwd=base, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def payload(root: Path) -> collections.Counter[str]:
    """Digests of all payload files."""
    names = ("prompt.txt", "raw.txt", "parsed.txt")
    files = (path for path in (root / "gens").rglob("*.txt") if path.name in names)
    return collections.Counter(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)


def test_goes_in_comes_out_and_back(tmp_path: Path) -> None:
    """Every text stays, every old id resolves, a second run changes nothing, a rollback gives all back."""
    root = unpack(tmp_path)
    before, texts = exact(root), payload(root)
    old = sorted(path.name for path in (root / "gens" / "evaluation").iterdir())
    code, result = run(tmp_path, "upgrade", "--yes")
    assert (code, result["status"]) == (0, "committed")
    counts = result["counts"]
    assert isinstance(counts, dict)
    assert (counts["generations"], counts["created"]) == (1231, 19)
    issues = result["issues"]
    assert isinstance(issues, list)
    assert not [issue for issue in issues if issue["blocking"]]
    assert run(tmp_path, "check")[0] == 0
    store = Inventory.read(root)
    for gen in store.gens.values():
        alone = type(gen)(gen.stage, gen.gen_id, gen.gen_id, {"metadata.json": dict(gen.metadata)})
        assert gen.gen_id == compute_gen_id(gen.stage, alone.signature())
    made = payload(root) - texts
    assert not texts - payload(root)
    assert sum(made.values()) == 2 * 19  # raw.txt and parsed.txt of each synthetic draft
    assert set(made) <= set(texts)
    done = subprocess.run(command(tmp_path, "map", *old), capture_output=True, text=True, check=True)
    new = done.stdout.split()
    assert len(new) == len(old) == len(set(new))
    assert all((root / "gens" / "evaluation" / name).is_dir() for name in new)
    after = exact(root)
    code, result = run(tmp_path, "upgrade", "--yes")
    assert (code, result["status"]) == (0, "up-to-date")
    assert exact(root) == after
    assert run(tmp_path, "rollback", "--yes")[0] == 0
    assert exact(root) == before
    first = set(store.gens)
    assert run(tmp_path, "upgrade", "--yes")[0] == 0
    assert set(Inventory.read(root).gens) == first


def killed_after(base: Path, seconds: float) -> bool:
    """Whether an upgrade was still at work after so long a time; then it is killed."""
    process = subprocess.Popen(
        command(base, "upgrade", "--yes", "--json"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=base
    )
    try:
        assert process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def test_killed_at_any_moment_the_tree_is_whole(tmp_path: Path) -> None:
    """SIGKILL at moments spread over a whole run: the old tree or the new one, status writes nothing, all recovers."""
    root = unpack(tmp_path)
    old = exact(root)
    started = time.monotonic()
    assert run(tmp_path, "upgrade", "--yes")[0] == 0
    whole = time.monotonic() - started
    new = content(root)
    assert run(tmp_path, "rollback", "--yes")[0] == 0
    for moment in range(MOMENTS):
        while not killed_after(tmp_path, whole * (moment + 0.5) / MOMENTS):
            whole *= (moment + 0.5) / MOMENTS  # it took less than that: the first one was slower
            assert run(tmp_path, "rollback", "--yes")[0] == 0
        is_new = content(root) == new
        assert is_new or exact(root) == old, f"moment {moment}"
        seen = exact(tmp_path)
        assert run(tmp_path, "status")[0] == 0
        assert exact(tmp_path) == seen, f"status wrote something at moment {moment}"
        assert run(tmp_path, "rollback", "--yes")[0] == 0
        assert exact(root) == old, f"moment {moment}"
    code, result = run(tmp_path, "upgrade", "--yes")
    assert (code, result["status"]) == (0, "committed")
    assert content(root) == new


def test_two_at_once_one_wins(tmp_path: Path) -> None:
    unpack(tmp_path)
    both = [
        subprocess.Popen(
            command(tmp_path, "upgrade", "--yes", "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in both]
    assert sorted(process.returncode for process in both) == [0, 5]
    loser = json.loads(outputs[[process.returncode for process in both].index(5)])
    assert "in use by" in str(loser)


@pytest.mark.slow
def test_killed_at_fifty_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "MOMENTS", 50)
    test_killed_at_any_moment_the_tree_is_whole(tmp_path)
