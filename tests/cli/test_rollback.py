"""migrator rollback and adopt: back, and forward again with the later work."""

import json
from pathlib import Path

import pytest

from migrator import compute_gen_id, compute_signature
from tests.cli.conftest import Cli
from tests.random_stores import read_tree


def test_the_tree_from_before_is_back(cli: Cli, root: Path) -> None:
    before = read_tree(root)
    run_id = cli("--data-root", root, "upgrade", "--yes", "--json").json["run_id"]
    answer = cli("--data-root", root, "rollback", "--yes", "--json")
    assert answer.code == 0
    assert (answer.json["status"], answer.json["run_id"]) == ("rolled-back", run_id)
    assert read_tree(root) == before


def test_it_asks_and_a_guarded_env_wants_its_name(cli: Cli, root: Path) -> None:
    (root.parent / "migrator.toml").write_text('[env.prod]\ndata_root = "data"\nconfirm = "type-name"\n')
    cli("--env", "prod", "upgrade", "--confirm", "prod")
    after = read_tree(root)
    assert cli("--env", "prod", "rollback").code == 2
    answer = cli("--env", "prod", "rollback", "--yes")
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == "  hint: migrator --env prod rollback --confirm prod"
    assert read_tree(root) == after
    assert cli("--env", "prod", "rollback", "--confirm", "prod").code == 0


def test_without_a_run_the_answer_is_no(cli: Cli, root: Path) -> None:
    answer = cli("--data-root", root, "rollback", "--yes", "--json")
    assert (answer.code, answer.json["status"]) == (1, "refused")


def test_a_run_that_failed_is_as_before_and_nothing_older_is_touched(
    cli: Cli, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli("--data-root", root, "upgrade", "--to", "0001", "--yes")
    before = read_tree(root)

    def fail(*words: object, **options: object) -> None:
        raise OSError(5, "Input/output error", "disk")

    with monkeypatch.context() as patch:
        patch.setattr("migrator.runner.verify.run", fail)
        assert cli("--data-root", root, "upgrade", "--yes").code == 1
    answer = cli("--data-root", root, "rollback", "--yes", "--json")
    assert (answer.code, answer.json["status"]) == (0, "as-before")
    assert "Input/output error" in cli("--data-root", root, "rollback", "--yes").out
    assert read_tree(root) == before


def later_draft(root: Path) -> str:
    """Work done on the upgraded store: a draft with the id of its signature."""
    fields = {"combo_id": "combo_9", "draft_template_id": "t", "generation_model_id": "m", "replicate": 1}
    gen_id = compute_gen_id("draft", compute_signature("draft", **fields))
    folder = root / "gens" / "draft" / gen_id
    folder.mkdir()
    record = {"stage": "draft", "gen_id": gen_id, "combo_id": "combo_9", "template_id": "t"}
    (folder / "metadata.json").write_text(json.dumps({**record, "llm_model_id": "m", "replicate": 1}))
    return gen_id


def test_later_work_is_never_dropped(cli: Cli, root: Path) -> None:
    before = read_tree(root)
    run_id = cli("--data-root", root, "upgrade", "--yes", "--json").json["run_id"]
    gen_id = later_draft(root)
    after = read_tree(root)

    refused = cli("--data-root", root, "rollback", "--yes", "--json")
    assert refused.code == 4
    assert gen_id in refused.json["error"]
    assert read_tree(root) == after

    aside = cli("--data-root", root, "rollback", "--yes", "--set-aside-new")
    assert aside.code == 0
    assert f"migrator --data-root {root} adopt {run_id}" in aside.out
    assert read_tree(root) == before

    assert cli("--data-root", root, "adopt", run_id).code == 4
    cli("--data-root", root, "upgrade", "--yes")
    brought = cli("--data-root", root, "adopt", run_id, "--json")
    assert (brought.code, brought.json["status"]) == (0, "adopted")
    assert brought.json["adopted"] == [f"gens/draft/{gen_id}"]
    assert (root / "gens" / "draft" / gen_id / "metadata.json").is_file()
    assert "Nothing to do." in cli("--data-root", root, "adopt", run_id).out
