"""Where the resource finds its folders: configuration, else environment, else beside the data root."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrator.errors import UsageError
from migrator.pipeline import Store


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATA_ROOT", "BACKUPS", "MAPPINGS"):
        monkeypatch.delenv(f"MIGRATOR_{name}", raising=False)


def test_the_configuration_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATOR_DATA_ROOT", str(tmp_path / "theirs"))
    monkeypatch.setenv("MIGRATOR_BACKUPS", str(tmp_path / "kept"))
    assert Store().root() == tmp_path / "theirs"
    assert Store().site().backups == tmp_path / "kept"
    assert Store(data_root=str(tmp_path / "mine"), backups=str(tmp_path / "b")).site().backups == tmp_path / "b"
    assert Store(data_root=str(tmp_path / "mine")).root() == tmp_path / "mine"


def test_backups_and_mappings_are_beside_the_root(tmp_path: Path) -> None:
    site = Store(data_root=str(tmp_path / "data")).site()
    assert (site.backups, site.mappings) == (tmp_path / "backups", tmp_path / "mappings")


def test_without_a_data_root_it_says_how_to_name_one() -> None:
    with pytest.raises(UsageError) as missing:
        Store().root()
    assert "MIGRATOR_DATA_ROOT" in str(missing.value.hint)
