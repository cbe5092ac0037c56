"""A small store, and the command line called in this process."""

import contextlib
import gc
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from migrator.cli import main
from tests.oracle import Tree
from tests.random_stores import write_tree

STORE: dict[str, Any] = {
    "gens/draft/old-draft/metadata.json": {
        "stage": "draft",
        "gen_id": "old-draft",
        "combo_id": "combo_1",
        "template_id": "links-v1",
        "llm_model_id": "sonnet-4",
    },
    "gens/draft/old-draft/parsed.txt": "a draft",
    "gens/essay/old-essay/metadata.json": {
        "stage": "essay",
        "gen_id": "old-essay",
        "template_id": "narrative-v1",
        "parent_gen_id": "old-draft",
        "llm_model_id": "sonnet-4",
    },
    "gens/essay/old-essay/parsed.txt": "an essay",
    "gens/evaluation/old-evaluation/metadata.json": {
        "stage": "evaluation",
        "gen_id": "old-evaluation",
        "template_id": "novelty",
        "parent_gen_id": "old-essay",
        "llm_model_id": "sonnet-4",
    },
    "gens/evaluation/old-evaluation/parsed.txt": "7",
    "5_parsing/mine.csv": "gen_id\nold-evaluation\n",
}
# prod is proved on staging; what is put behind it belongs to prod
SETTINGS = """
[env.staging]
data_root = "staging"
[env.prod]
data_root = "data"
proved_on = "staging"
"""


def as_tree(files: dict[str, Any]) -> Tree:
    """Files as bytes: texts in UTF-8, all else as JSON."""
    return {
        path: value.encode() if isinstance(value, str) else json.dumps(value).encode() for path, value in files.items()
    }


@dataclass(frozen=True)
class Answer:
    """What a call of the command line left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object and nothing else."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


Cli = Callable[..., Answer]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder without settings above it, and an environment without ours."""
    monkeypatch.chdir(tmp_path)
    for name in ("MIGRATOR_ENV", "MIGRATOR_DATA_ROOT", "MIGRATOR_LOG", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def root(here: Path) -> Path:
    """A data root with three generations of an older era and a derived table."""
    write_tree(as_tree(STORE), here / "data")
    return here / "data"


@pytest.fixture
def project(root: Path) -> Path:
    """A production store and a staging store of the same kind, in a folder with settings."""
    write_tree(as_tree(STORE), root.parent / "staging")
    (root.parent / "migrator.toml").write_text(SETTINGS)
    return root.parent


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    """Call the command line in this process: `cli("--data-root", root, "plan")`."""

    def call(*words: object) -> Answer:
        with contextlib.suppress(OSError):
            capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        assert isinstance(ended.value.code, int)
        return Answer(ended.value.code, *capsys.readouterr())

    before = signal.getsignal(signal.SIGTERM)
    yield call
    signal.signal(signal.SIGTERM, before)
    gc.enable()
