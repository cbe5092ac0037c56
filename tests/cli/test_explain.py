"""`migrator explain`: one id from signature to name, its family and its past."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from migrator import IdScheme, runner
from migrator.cli import main, screen, settings
from migrator.demo import make_legacy_store
from migrator.engine.exchange import Place
from migrator.site import Site
from tests.cli.conftest import Cli


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's store as it was."""
    root = tmp_path_factory.mktemp("legacy") / "data"
    make_legacy_store(root)
    return root


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's store after one run."""
    base = tmp_path_factory.mktemp("upgraded")
    make_legacy_store(base / "data")
    steps = settings.shipped_migrations()
    runner.upgrade(Site(Place.at(base / "data"), steps, base / "backups", base / "mappings"))
    return base / "data"


@pytest.fixture
def explain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, Any]]:
    """Calls the command; returns (exit code, what it printed, as an object with --json)."""
    monkeypatch.chdir(tmp_path)

    def call(root: Path, *args: str) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as ended:
            main(["--data-root", str(root), "explain", *args])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        out = json.loads(captured.out) if "--json" in args else captured.out + captured.err
        return ended.value.code, out

    return call


Explain = Callable[..., tuple[int, Any]]


def mapping(root: Path) -> list[list[str]]:
    """(stage, old, new) of the only run."""
    file = next((root / ".migrator/mappings").glob("*/mapping.csv"))
    return [line.split(",") for line in file.read_text().splitlines()[1:]]


def test_an_id_of_today(upgraded: Path, explain: Explain) -> None:
    """Every step from the signature to the id, the way up, and the name before."""
    _, old, new = next(row for row in mapping(upgraded) if row[0] == "evaluation")
    code, found = explain(upgraded, new, "--json")
    (facts,) = found["generations"]
    assert code == 0
    assert facts["canonical"] == "evaluation|" + "|".join(map(str, facts["signature"].values()))
    assert int(facts["digest"], 16) == int(facts["number"]) == int(facts["base36"], 36)
    assert facts["gen_id"] == facts["computed_id"] == "v_" + facts["base36"] == new
    assert facts["right"]
    assert [one["stage"] for one in facts["lineage"]] == ["evaluation", "essay", "draft"]
    assert facts["old_names"] == [old]
    assert [(run["what"], run["old"], run["new"]) for run in facts["runs"]] == [("renamed", old, new)]
    assert (upgraded / facts["path"] / "metadata.json").is_file()
    assert facts["problems"] == []


def test_an_old_id_means_the_generation_of_today(upgraded: Path, explain: Explain) -> None:
    """On the screen: both names."""
    _, old, new = next(row for row in mapping(upgraded) if row[0] == "essay")
    code, out = explain(upgraded, old)
    assert code == 0
    assert f"essay {new}  was called {old}" in out


def test_a_draft_that_a_run_made(upgraded: Path, explain: Explain) -> None:
    """It has no old name; the run that made it is told."""
    names = {new for _, _, new in mapping(upgraded)}
    made = next(path.name for path in sorted((upgraded / "gens/draft").glob("d_*")) if path.name not in names)
    _, found = explain(upgraded, made, "--json")
    (facts,) = found["generations"]
    assert [(run["what"], run["old"], run["new"]) for run in facts["runs"]] == [("made", None, made)]
    assert facts["children"] >= 1


def test_before_the_run_it_tells_what_an_id_will_be(legacy: Path, upgraded: Path, explain: Explain) -> None:
    """And a name that only the run will give is known as well. Nothing is written."""
    listing = sorted(legacy.rglob("*"))
    _, old, new = next(row for row in mapping(upgraded) if row[0] == "essay")
    _, found = explain(legacy, old, "--json")
    assert found["generations"][0]["becomes"]["gen_id"] == new
    _, found = explain(legacy, new, "--json")
    (facts,) = found["generations"]
    assert (facts["exists"], facts["path"], facts["old_names"]) == (False, f"gens/essay/{old}", [old])
    assert sorted(legacy.rglob("*")) == listing


@pytest.mark.parametrize("name", ["nope", "[red]\x1b[31m", "..", ""])
def test_unknown_is_a_no(upgraded: Path, explain: Explain, name: str) -> None:
    """Exit 1, and nothing that a terminal would act on."""
    code, out = explain(upgraded, name)
    assert code == 1
    assert "\x1b" not in out


def test_close_matches(upgraded: Path, explain: Explain) -> None:
    """A beginning, or a slip of the finger, leads to the id."""
    new = next(row[2] for row in mapping(upgraded) if row[0] == "draft")
    for typed in (new[:8], new[:-1] + "#"):
        code, found = explain(upgraded, typed, "--json")
        assert code == 1
        assert new in found["close"]


def test_a_collision_stands_side_by_side(tmp_path: Path, explain: Explain, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bare id shows every generation that shares it, with its own signature."""
    scheme = IdScheme(digest_size=1)
    real = settings.Settings.site
    monkeypatch.setattr(settings.Settings, "site", lambda *a, **k: replace(real(*a, **k), scheme=scheme))
    make_legacy_store(tmp_path / "data")
    site = Site(
        Place.at(tmp_path / "data"),
        settings.shipped_migrations(),
        tmp_path / "b",
        tmp_path / "m",
        scheme=scheme,
    )
    plan = runner.read_plan(site)
    assert plan is not None
    bare = next(problem.gen_id for problem in plan.problems if problem.kind == "id-collision")
    code, found = explain(tmp_path / "data", bare, "--json")
    assert code == 0
    sharing = found["generations"]
    assert len(sharing) > 1
    assert {facts["computed_id"] for facts in sharing} == {bare}
    assert len({facts["canonical"] for facts in sharing}) == len(sharing)
    assert "share this id" in explain(tmp_path / "data", bare)[1]


def test_a_name_of_two_stages_shows_both(legacy: Path, tmp_path: Path, explain: Explain) -> None:
    """And --stage tells them apart."""
    root = tmp_path / "data"
    for stage in ("draft", "essay"):
        folder = root / "gens" / stage / "same"
        folder.mkdir(parents=True)
        (folder / "metadata.json").write_text('{"template_id": "<script>[b]\\u001b[31m"}')
    code, out = explain(root, "same")
    assert code == 0
    assert "--stage draft, --stage essay" in out
    assert "<script>[b]\\x1b[31m" in out
    assert len(explain(root, "same", "--stage", "draft", "--json")[1]["generations"]) == 1


def test_ids_of_the_lineage_are_whole_in_a_narrow_terminal(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("--data-root", root, "upgrade", "--yes")
    monkeypatch.setattr(screen, "console", lambda: Console(file=sys.stdout, width=60, highlight=False))
    out = cli("--data-root", root, "explain", "old-evaluation").out
    lineage = out.partition("Lineage\n")[2].partition("\n\n")[0]
    ids = {path.name for path in (root / "gens").glob("*/*")}
    assert len(ids) == 3
    assert all(gen_id in lineage for gen_id in ids)
