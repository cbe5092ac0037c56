"""The rival: the same migration as somebody would write it in an afternoon, with the standard library alone.

A backup by copytree, then four steps in place. Right on the stores of stores.py and nothing more: no dry run,
no lost drafts, no checks, and a crash half way leaves half of it. Shares no code with its rival.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import re
import shutil
import string
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Ids = dict[str, dict[str, str]]  # old id -> new id, by stage

STAGES = ("draft", "essay", "evaluation")
PARENT_STAGE = {"essay": "draft", "evaluation": "essay"}
JSON_FILES = ("metadata.json", "raw_metadata.json", "parsed_metadata.json")
DIGITS = string.digits + string.ascii_lowercase
GEN_PATH = re.compile(r"(^|/)gens/(draft|essay|evaluation)/([^/]+)(?=/|$)")


def generations(root: Path, stage: str) -> list[Path]:
    """Return the folders of a stage, sorted."""
    folders = (root / "gens" / stage).iterdir()
    return sorted(path for path in folders if path.is_dir() and not path.name.startswith("."))


def load(path: Path) -> Json:
    """Return a JSON file's object, or an empty one if there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def save(path: Path, value: Json) -> None:
    """Write a JSON file as the contract wants it."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def absent(value: Any) -> bool:
    """Say whether a value counts as missing."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "unknown"))


def first(*values: Any) -> Any:
    """Return the first value that is there."""
    return next((value for value in values if not absent(value)), None)


def signature(stage: str, meta: Json) -> tuple[str, ...]:
    """Return the generation's signature without its replicate, the parent as metadata.json has it."""
    legacy = meta.get("legacy_fields") or {}
    template = str(first(meta.get("template_id"), meta.get(f"{stage}_template"))).strip().lower()
    if stage == "essay":
        return str(meta["parent_gen_id"]), template
    model = first(meta.get("llm_model_id"), meta.get("model_id"), legacy.get("model_id"))
    model = str(model).strip().lower()
    if stage == "draft":
        return str(meta["combo_id"]).strip().lower(), template, model
    return str(meta["parent_gen_id"]), template, model


def usable(value: Any) -> int | None:
    """Return a replicate that means something, or None."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None


def rows(root: Path) -> Iterator[tuple[Path, list[str], list[dict[str, str]]]]:
    """Yield path, columns and rows of every membership.csv."""
    for path in sorted(root.glob("cohorts/*/membership.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            yield path, list(reader.fieldnames or []), list(reader)


def write_rows(path: Path, columns: list[str], table: list[dict[str, str]]) -> None:
    """Write a membership.csv."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def indexes(group: list[tuple[float, str]]) -> dict[str, int]:
    """Return the index of each id of one task, from pairs of wish (infinity: none) and id."""
    taken: dict[float, str] = {}
    for wish, gen_id in sorted(group, key=lambda pair: pair[1]):
        if wish != math.inf:
            taken.setdefault(wish, gen_id)
    for _, gen_id in sorted(pair for pair in group if taken.get(pair[0]) != pair[1]):
        taken[next(free for free in range(1, len(taken) + 2) if free not in taken)] = gen_id
    return {gen_id: int(index) for index, gen_id in taken.items()}


def normalize_replicates(root: Path) -> None:
    """Give each generation of a task its own index, as an integer."""
    assigned: dict[str, dict[str, int]] = {stage: {} for stage in STAGES}
    for stage in STAGES:
        groups: dict[tuple[str, ...], list[tuple[float, str]]] = defaultdict(list)
        contents = {folder: {name: load(folder / name) for name in JSON_FILES} for folder in generations(root, stage)}
        for folder, files in contents.items():
            wishes = (usable(value.get("replicate")) for value in files.values())
            wish = next((index for index in wishes if index), math.inf)
            groups[signature(stage, files["metadata.json"])].append((wish, folder.name))
        for group in groups.values():
            assigned[stage] |= indexes(group)
        for folder, files in contents.items():
            index = assigned[stage][folder.name]
            for name, value in files.items():
                known = value.get("replicate")
                wanted = name == "metadata.json" or "replicate" in value
                if wanted and (type(known), known) != (int, index):
                    save(folder / name, value | {"replicate": index})
    for path, columns, table in rows(root):
        if "replicate" in columns:
            for row in table:
                row["replicate"] = str(assigned[row["stage"]].get(row["gen_id"], row["replicate"]))
            write_rows(path, columns, table)


def new_id(stage: str, fields: tuple[str, ...]) -> str:
    """Return the id of a signature."""
    canonical = "|".join((stage, *fields))
    number = int.from_bytes(hashlib.blake2b(canonical.encode(), digest_size=10).digest(), "big")
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
    return {"draft": "d_", "essay": "e_", "evaluation": "v_"}[stage] + (digits or "0")


def rename_generations(root: Path) -> Ids:
    """Rename every folder to its deterministic id and return what became of the old ones."""
    ids: Ids = {stage: {} for stage in STAGES}
    for stage in STAGES:
        for folder in generations(root, stage):
            meta = load(folder / "metadata.json")
            fields = signature(stage, meta)
            if stage in PARENT_STAGE:
                fields = (ids[PARENT_STAGE[stage]][fields[0]], *fields[1:])
            ids[stage][folder.name] = new_id(stage, (*fields, str(meta["replicate"])))
        if len(set(ids[stage].values())) != len(ids[stage]):
            raise SystemExit(f"two {stage}s would have one id")
        for old, new in ids[stage].items():
            (root / "gens" / stage / old).rename(root / "gens" / stage / new)
    return ids


def rewritten(value: Any, ids: Ids, stage: str, key: str = "") -> Any:
    """Return a JSON value with every mention of an old id replaced; `stage` is that of the object around."""
    if isinstance(value, dict):
        inner = value.get("stage")
        stage = inner if inner in STAGES else stage
        return {name: rewritten(item, ids, stage, name) for name, item in value.items()}
    if isinstance(value, list):
        return [rewritten(item, ids, stage) for item in value]
    if not isinstance(value, str):
        return value
    if key == "gen_id":
        return ids[stage].get(value, value)
    if key == "parent_gen_id":
        return ids[PARENT_STAGE[stage]].get(value, value) if stage in PARENT_STAGE else value
    if key in ("draft_gen_id", "essay_gen_id", "evaluation_gen_id"):
        return ids[key.removesuffix("_gen_id")].get(value, value)
    if key in ("task_id", "evaluation_task_id") and "__" in value:
        essay, rest = value.split("__", 1)
        return f"{ids['essay'].get(essay, essay)}__{rest}"
    if "gens/" not in value:
        return value
    return GEN_PATH.sub(lambda hit: f"{hit[1]}gens/{hit[2]}/{ids[hit[2]].get(hit[3], hit[3])}", value)


def rewrite_references(root: Path, ids: Ids) -> None:
    """Let the JSON files and the members of cohorts follow the new ids."""
    for stage in STAGES:
        for folder in generations(root, stage):
            for name in JSON_FILES:
                before = load(folder / name)
                after = rewritten(before, ids, stage)
                if after != before:
                    save(folder / name, after)
    for path, columns, table in rows(root):
        for row in table:
            row["gen_id"] = ids[row["stage"]].get(row["gen_id"], row["gen_id"])
            if row.get("parent_gen_id"):
                parent = row["parent_gen_id"]
                row["parent_gen_id"] = ids[PARENT_STAGE[row["stage"]]].get(parent, parent)
        write_rows(path, columns, table)


def without_model_id(value: Any) -> Any:
    """Return a JSON value without `model_id`, at any depth."""
    if isinstance(value, dict):
        return {key: without_model_id(item) for key, item in value.items() if key != "model_id"}
    if isinstance(value, list):
        return [without_model_id(item) for item in value]
    return value


def remove_model_id(root: Path) -> None:
    """Remove `model_id` everywhere; where it was the only model, it becomes `llm_model_id`."""
    for stage in STAGES:
        for folder in generations(root, stage):
            for name in JSON_FILES:
                before = load(folder / name)
                after = without_model_id(before)
                if name == "metadata.json":
                    legacy = before.get("legacy_fields") or {}
                    model = first(before.get("llm_model_id"), before.get("model_id"), legacy.get("model_id"))
                    if model is not None:
                        after["llm_model_id"] = model
                if after != before:
                    save(folder / name, after)


def migrate(root: Path, *, backup: bool = True) -> None:
    """Back the store up beside itself and migrate it in place, saying how long each part took."""
    started = time.perf_counter()

    def done(what: str) -> None:
        nonlocal started
        print(f"{what:22} {time.perf_counter() - started:7.2f} s")
        started = time.perf_counter()

    if backup:
        shutil.copytree(root, root.with_name(root.name + ".backup"), symlinks=True)
        done("backup")
    normalize_replicates(root)
    done("normalize replicates")
    ids = rename_generations(root)
    done("rename generations")
    rewrite_references(root, ids)
    done("rewrite references")
    remove_model_id(root)
    done("remove model_id")


def main() -> None:
    """Migrate the store that the command line names."""
    parser = argparse.ArgumentParser(description="Migrate a store naively, in place, after a backup to ROOT.backup.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--no-backup", action="store_true", help="nothing to go back to: a bound, not a rival")
    options = parser.parse_args()
    migrate(options.root, backup=not options.no_backup)


if __name__ == "__main__":
    main()
