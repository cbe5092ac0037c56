"""Staging first, as a story: what it proved is said there, shown again for production, and compared."""

from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_staging_says_what_it_proved_and_for_whom(cli: Cli, project: Path) -> None:
    answer = cli("--env", "staging", "upgrade", "--yes")
    met = "1 draft, 1 essay, 1 evaluation of 3 eras, with 2 kinds of issues"
    assert f"Proven for prod: 4 steps on {met}. Next: check it, then\n  migrator --env prod upgrade\n" in answer.out


def test_production_proves_nothing_for_anybody(cli: Cli, project: Path) -> None:
    cli("--env", "staging", "upgrade", "--yes")
    answer = cli("--env", "prod", "upgrade", "--yes")
    assert answer.code == 0 and "Proven for" not in answer.out


@pytest.mark.parametrize("command", [("plan",), ("upgrade", "--yes")])
def test_the_proof_is_shown_again(cli: Cli, project: Path, command: tuple[str, ...]) -> None:
    cli("--env", "staging", "upgrade", "--yes")
    out = cli("--env", "prod", *command).out
    assert "The same steps passed on staging at " in out
    assert "on 1 draft, 1 essay, 1 evaluation of 3 eras, with 2 kinds of issues." in out
    assert "Rehearsed: staging had every stage, key, era and kind of issue that is here." in out


def test_what_was_not_rehearsed_is_warned_about(cli: Cli, project: Path) -> None:
    cli("--env", "staging", "upgrade", "--yes")
    essay = project / "data/gens/essay/old-essay/metadata.json"
    essay.write_text(essay.read_text().replace('"template_id"', '"[x]mood": 1, "template_id"'))
    out = cli("--env", "prod", "plan").out
    assert "Not rehearsed on staging; look at these before you go on:" in out
    assert "  the key '[x]mood' in the metadata.json of 1 essay\n" in out


def test_many_things_are_a_digest(cli: Cli, project: Path) -> None:
    cli("--env", "staging", "upgrade", "--yes")
    essay = project / "data/gens/essay/old-essay/metadata.json"
    more = "".join(f'"k{n}": 1, ' for n in range(20))
    essay.write_text(essay.read_text().replace('"template_id"', f'{more}"template_id"'))
    assert "  and 12 more\n" in cli("--env", "prod", "plan").out


def test_where_the_record_is_gone_it_says_so(cli: Cli, project: Path) -> None:
    """A run folder that was removed by hand: the ledger still proves the steps."""
    cli("--env", "staging", "upgrade", "--yes")
    for path in (project / "backups").glob("*/run.json"):
        path.unlink()
    assert "what that store was like is not recorded" in cli("--env", "prod", "plan").out
