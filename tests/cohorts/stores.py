"""A small store of deterministic ids with its tables, written as a test wants it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from migrator import IdScheme, compute_gen_id, compute_signature
from migrator.store.ids import FIELDS

Templates = Mapping[str, object]


def tables(
    root: Path,
    *,
    combos: Sequence[str] = ("c1",),
    draft: Templates = {"dt": True},  # noqa: B006 - never changed
    essay: Templates = {"et": True},  # noqa: B006
    evaluation: Templates = {"vt": True},  # noqa: B006
    models: Mapping[str, tuple[object, object]] = {"m1": (True, False), "judge": (False, True)},
    replication: tuple[object, object, object] = (1, 1, 1),
) -> Path:
    """Write 1_raw/ and the combinations; templates whose name starts with `copy` are copied."""
    (root / "gens").mkdir(parents=True, exist_ok=True)
    for folder in ("1_raw", "2_tasks"):
        (root / folder).mkdir(exist_ok=True)
    for stage, names in (("draft", draft), ("essay", essay), ("evaluation", evaluation)):
        rows = [f"{name},{'copy' if name.startswith('copy') else ''},{active}" for name, active in names.items()]
        write(root, f"1_raw/{stage}_templates.csv", ["template_id,generator,active", *rows])
    rows = [f"{name},{generation},{evaluation}" for name, (generation, evaluation) in models.items()]
    write(root, "1_raw/llm_models.csv", ["id,for_generation,for_evaluation", *rows])
    rows = [f"{stage},{count}" for stage, count in zip(FIELDS, replication, strict=True)]
    write(root, "1_raw/replication_config.csv", ["stage,replicates", *rows])
    write(root, "2_tasks/selected_combo_mappings.csv", ["combo_id,concept_id", *(f"{combo},x" for combo in combos)])
    return root


def write(root: Path, path: str, lines: Sequence[str]) -> None:
    """A text file of these lines."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text("\n".join(lines) + "\n")


def select(root: Path, *lines: str) -> None:
    """Write the selection."""
    write(root, "2_tasks/selected_essays.txt", lines)


def draft(
    root: Path, replicate: int = 1, combo: str = "c1", template: str = "dt", model: str = "m1", **more: object
) -> str:
    """Add a draft and return its id; `origin` and `output` as wished."""
    return _add(root, "draft", (combo, template, model, replicate), model, **more)


def essay(root: Path, parent: str, replicate: int = 1, template: str = "et", model: str = "m1", **more: object) -> str:
    """Add an essay and return its id."""
    return _add(root, "essay", (parent, template, replicate), model, **more)


def evaluation(
    root: Path, parent: str, replicate: int = 1, template: str = "vt", model: str = "judge", **more: object
) -> str:
    """Add an evaluation and return its id."""
    return _add(root, "evaluation", (parent, template, model, replicate), model, **more)


def _add(
    root: Path,
    stage: str,
    values: tuple[str | int, ...],
    model: str,
    *,
    origin: str | None = "first",
    output: bool = True,
    gen_id: str = "",
    scheme: IdScheme | None = None,
) -> str:
    signature = compute_signature(stage, **dict(zip(FIELDS[stage], values, strict=True)))
    gen_id = gen_id or compute_gen_id(stage, signature, scheme or IdScheme())
    names = {"draft": ("combo_id", "template_id"), "essay": ("parent_gen_id", "template_id")}
    keys = names.get(stage, ("parent_gen_id", "template_id"))
    record = {"stage": stage, "gen_id": gen_id, "origin_cohort_id": origin, "llm_model_id": model}
    record |= {"replicate": values[-1], **dict(zip(keys, values, strict=False))}
    folder = root / "gens" / stage / gen_id
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(record, indent=2))
    if output:
        (folder / "parsed.txt").write_text("5")
    return gen_id


def cohort(root: Path, name: str, *members: tuple[str, str]) -> Path:
    """Write a membership of two columns; return its path."""
    write(root, f"cohorts/{name}/membership.csv", ["stage,gen_id", *(f"{stage},{gen_id}" for stage, gen_id in members)])
    return root / "cohorts" / name / "membership.csv"


def metadata(root: Path, stage: str, gen_id: str) -> dict[str, object]:
    """metadata.json of a generation."""
    found = json.loads((root / "gens" / stage / gen_id / "metadata.json").read_bytes())
    assert isinstance(found, dict)
    return found
