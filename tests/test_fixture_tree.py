"""The same steps bring a tree of test fixtures up to date: a data root needs nothing but gens/."""

from __future__ import annotations

import shutil
from pathlib import Path

from migrator import runner
from tests.faults import content, site

FIXTURE = Path(__file__).parent / "fixtures" / "legacy"


def test_a_root_with_gens_alone_is_upgraded_to_the_contracts_ids(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path / "data")
    assert runner.upgrade(site(tmp_path)).status == "committed"
    folders = {path.rpartition("/")[0] for path in content(tmp_path / "data") if path.endswith("metadata.json")}
    assert folders == {
        "gens/draft/d_4py995ydm8lggqs",
        "gens/essay/e_4nyhf2w3mpgelz3h",
        "gens/evaluation/v_393dzd2gfe1kff1v",
    }
