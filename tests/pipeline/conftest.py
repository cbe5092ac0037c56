"""A store to be made, a model that counts its calls, and three kinds of Dagster instances."""

from __future__ import annotations

import gc
import json
import logging
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from migrator import compute_gen_id, compute_signature
from migrator.cli import main
from migrator.pipeline import Store, Task, Work, definitions
from migrator.store.layout import STAGES
from tests.random_stores import Tree, read_tree

_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
PROGRAMS = ("initdb", "postgres")


@dataclass
class Model:
    """A model that answers the same to the same, and remembers whom it was called for."""

    calls: list[str] = field(default_factory=list)
    before: Callable[[Task], None] | None = None

    def __call__(self, task: Task, prompt: str) -> str:
        self.calls.append(task.gen_id)
        if self.before:
            self.before(task)
        return f"{len(prompt) % 10}\nSCORE: {len(prompt) % 10}\n"


def prompt_of(task: Task) -> str:
    """A prompt that shows all a task can say."""
    return f"{task.stage} {task.template} {task.combo} {task.model} {task.replicate}\n{task.source}"


def last_line(task: Task, raw: str) -> str:
    """A parser that refuses an answer without a score."""
    _, found, score = raw.partition("SCORE: ")
    if not found:
        raise ValueError("there is no score")
    return score


_CURRENT: list[Model] = []  # the model of the test that runs now: definitions are made once and cost a second


@lru_cache(maxsize=2)
def location(automated: bool = False) -> dg.Definitions:
    """A code location whose stages call the current test's model; evaluations must have a score."""

    def call(task: Task, prompt: str) -> str:
        return _CURRENT[-1](task, prompt)

    work = Work(prompt_of, call)
    return definitions(
        draft=work,
        essay=work,
        evaluation=Work(prompt_of, call, last_line),
        automation_condition=dg.AutomationCondition.missing() if automated else None,
    )


@lru_cache
def job(name: str) -> dg.JobDefinition:
    """A job of the code location."""
    return location().resolve_job_def(name)


@dataclass
class Line:
    """The pipeline of one store on one instance; `model.calls` tells what was paid for."""

    root: Path
    instance: dg.DagsterInstance
    model: Model = field(default_factory=Model)

    @property
    def resources(self) -> dict[str, Any]:
        """The resource of that root."""
        return {"migrator": Store(data_root=str(self.root))}

    def register(self, *keys: tuple[str, str]) -> None:
        """Make partitions of generations."""
        for stage, gen_id in keys:
            self.instance.add_dynamic_partitions(f"{stage}_gens", [gen_id])

    def make(self, stage: str, gen_id: str, *, fails: bool = False) -> Events:
        """Materialize one generation; the events of the run."""
        _CURRENT[:] = [self.model]
        result = job(f"make_{stage}").execute_in_process(
            partition_key=gen_id,
            instance=self.instance,
            resources=self.resources,
            raise_on_error=False,
        )
        events = Events([(event.step_key or "", event.event_type_value) for event in result.all_events], result)
        assert result.success is not fails, events.error
        return events

    def build(self, name: str = "", *, extend: bool = False, fails: bool = False) -> Events:
        """Build a cohort and register its members."""
        config = {"cohort_id": {"config": {"name": name}}, "cohort_membership": {"config": {"extend": extend}}}
        result = job("build_cohort").execute_in_process(
            instance=self.instance,
            resources=self.resources,
            run_config={"ops": config},
            raise_on_error=False,
        )
        events = Events([(event.step_key or "", event.event_type_value) for event in result.all_events], result)
        assert result.success is not fails, events.error
        return events

    def registered(self) -> list[tuple[str, str]]:
        """Every partition, parents first."""
        return [
            (stage, name) for stage in STAGES for name in sorted(self.instance.get_dynamic_partitions(f"{stage}_gens"))
        ]

    def make_all(self) -> list[Events]:
        """Materialize every partition."""
        return [self.make(*key) for key in self.registered()]


@dataclass(frozen=True)
class Events:
    """What the event log has of a run."""

    log: list[tuple[str, str]]
    result: dg.ExecuteInProcessResult

    def steps(self, kind: str) -> list[str]:
        """The steps with an event of this kind, in order, each once."""
        return list(dict.fromkeys(step for step, event in self.log if event == kind))

    @property
    def skipped(self) -> list[str]:
        """Steps that the event log calls skipped."""
        return self.steps("STEP_SKIPPED")

    @property
    def error(self) -> str:
        """What the failed steps said."""
        failures = (event for event in self.result.all_events if event.event_type_value == "STEP_FAILURE")
        return "\n".join(str(event.step_failure_data.error) for event in failures)

    def metadata(self, kind: str) -> list[dict[str, Any]]:
        """The metadata of every materialization or observation."""
        found = []
        for event in self.result.all_events:
            if event.event_type_value == kind == "ASSET_MATERIALIZATION":
                found.append(event.step_materialization_data.materialization.metadata)
            if event.event_type_value == kind == "ASSET_OBSERVATION":
                found.append(event.asset_observation_data.asset_observation.metadata)
        return [{name: value.value for name, value in metadata.items()} for metadata in found]


def gen(root: Path, stage: str, files: dict[str, str] | None = None, gen_id: str = "", **fields: Any) -> str:
    """Make a generation's folder with its record and these files; returns its id, the deterministic one by default."""
    fields = {"replicate": 1, **fields}
    if not gen_id:
        names = {
            "draft": {
                "combo_id": "combo_id",
                "draft_template_id": "template_id",
                "generation_model_id": "llm_model_id",
            },
            "essay": {"draft_gen_id": "parent_gen_id", "essay_template_id": "template_id"},
            "evaluation": {
                "essay_gen_id": "parent_gen_id",
                "eval_template_id": "template_id",
                "eval_model_id": "llm_model_id",
            },
        }[stage]
        signature = {name: fields[key] for name, key in names.items()} | {"replicate": fields["replicate"]}
        gen_id = compute_gen_id(stage, compute_signature(stage, **signature))
    folder = root / "gens" / stage / gen_id
    folder.mkdir(parents=True)
    record = {"stage": stage, "gen_id": gen_id, "origin_cohort_id": "first", **fields}
    (folder / "metadata.json").write_text(json.dumps(record, indent=2))
    for name, text in (files or {}).items():
        (folder / name).write_text(text)
    return gen_id


def chain(root: Path) -> tuple[str, str, str]:
    """A draft, its essay and its evaluation, nothing made yet."""
    draft = gen(root, "draft", combo_id="combo_1", template_id="links-v1", llm_model_id="sonnet-4")
    essay = gen(root, "essay", template_id="narrative-v1", parent_gen_id=draft)
    return draft, essay, gen(root, "evaluation", template_id="novelty", parent_gen_id=essay, llm_model_id="qwen")


def tree(root: Path) -> Tree:
    """Every file with its bytes."""
    return read_tree(root)


def mtimes(root: Path) -> dict[str, int]:
    """When every file and folder was last written."""
    return {str(path.relative_to(root)): path.lstat().st_mtime_ns for path in root.rglob("*")}


# -- instances


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Dagster logs every event to standard error; and it leaves connections to SQLite to the garbage collector."""
    logging.disable(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def ephemeral() -> Iterator[dg.DagsterInstance]:
    """An instance in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def sqlite_home() -> Iterator[Path]:
    """The folder of an instance as Dagster makes it by default; in memory, where SQLite need not wait for a disk."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as home:
        yield Path(home)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Path]:
    """A PostgreSQL server of our own on a socket in a temporary folder; its folder. Skips where there is none."""
    programs = {name: _program(name) for name in PROGRAMS}
    lacking = [name for name, path in programs.items() if path is None]
    if lacking:
        pytest.skip(f"PostgreSQL's programs are not installed: {', '.join(lacking)}")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir=_MEMORY))
    user: dict[str, Any] = {}
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data, log = folder / "data", folder / "log"
    make = [str(programs["initdb"]), "-D", str(data), "-U", "dagster", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
    try:
        subprocess.run(make, check=True, capture_output=True, cwd=folder, **user)
        serve = [
            str(programs["postgres"]),
            "-D",
            str(data),
            "-k",
            str(folder),
            "-c",
            "listen_addresses=",
            "-c",
            "fsync=off",
        ]
        with log.open("wb") as out, subprocess.Popen(serve, stdout=out, stderr=out, cwd=folder, **user) as server:
            try:
                _await_server(folder, server, log)
                yield folder
            finally:
                server.terminate()
                server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> Path | None:
    """A program of PostgreSQL: on the path, or where Debian keeps it."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name)
    return debian[-1] if debian else Path(found) if found else None


def _await_server(folder: Path, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg2

    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg2.connect(host=str(folder), user="dagster", dbname="postgres").close()
            return
        except psycopg2.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.05)


@pytest.fixture
def postgres_home(postgres_server: Path, tmp_path: Path) -> Path:
    """The folder of an instance that keeps everything in a new database."""
    import psycopg2

    name = f"d{uuid.uuid4().hex}"
    with closing(psycopg2.connect(host=str(postgres_server), user="dagster", dbname="postgres")) as connection:
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
    home = tmp_path / "dagster_home"
    home.mkdir()
    url = f"postgresql+psycopg2://dagster@/{name}?host={postgres_server}"
    (home / "dagster.yaml").write_text(f"storage:\n  postgres:\n    postgres_url: {url}\n")
    return home


@contextmanager
def opened(home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of a folder."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@pytest.fixture(params=["ephemeral", "sqlite", "postgres"])
def instance(request: pytest.FixtureRequest) -> Iterator[dg.DagsterInstance]:
    """Each of the three kinds in turn."""
    if request.param == "ephemeral":
        yield request.getfixturevalue("ephemeral")
        return
    with opened(request.getfixturevalue(f"{request.param}_home")) as found:
        yield found


@pytest.fixture(params=["sqlite", "postgres"])
def home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a lasting instance, named in the environment."""
    folder: Path = request.getfixturevalue(f"{request.param}_home")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    return folder


@pytest.fixture
def sqlite_instance(sqlite_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same for one that is enough where the storage does not matter."""
    monkeypatch.setenv("DAGSTER_HOME", str(sqlite_home))
    return sqlite_home


def axes(root: Path, combos: Sequence[str] = ("c1",), replicates: int = 1, **templates: Sequence[str]) -> None:
    """Write the tables that a cohort is built from: one model, one template a stage unless others are named."""
    for stage in STAGES:
        rows = "".join(f"{name},true,llm\n" for name in templates.get(stage, [f"{stage}-v1"]))
        _write(root / "1_raw" / f"{stage}_templates.csv", f"template_id,active,generator\n{rows}")
    _write(root / "1_raw" / "llm_models.csv", "id,for_generation,for_evaluation\nsonnet-4,true,true\n")
    rows = "".join(f"{stage},{replicates if stage == 'draft' else 1}\n" for stage in STAGES)
    _write(root / "1_raw" / "replication_config.csv", f"stage,replicates\n{rows}")
    _write(root / "2_tasks" / "selected_combo_mappings.csv", "combo_id\n" + "".join(f"{name}\n" for name in combos))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty data root."""
    (tmp_path / "data" / "gens").mkdir(parents=True)
    return tmp_path / "data"


@pytest.fixture
def line(root: Path, ephemeral: dg.DagsterInstance) -> Line:
    """The pipeline of that root, on an instance in memory."""
    return Line(root, ephemeral)


class Answer(dict[str, Any]):
    """The JSON object of a call; `out` is what it printed."""

    out: str = ""


Migrator = Callable[..., Answer]


@pytest.fixture
def migrator(root: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Migrator]:
    """The command line on that root, called in this process; its JSON object, or with `plain` its lines."""
    before = signal.getsignal(signal.SIGTERM)

    def call(*words: str, code: int = 0, plain: bool = False) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["--data-root", str(root), *words, *([] if plain else ["--json"])])
        gc.enable()  # a command does without it to its end; this process goes on
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        answer = Answer({} if plain else json.loads(out))
        answer.out = out
        return answer

    yield call
    signal.signal(signal.SIGTERM, before)
