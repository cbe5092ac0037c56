"""Cohorts on a large store: building, look-ups, manifests. Makes its store by building one large cohort."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from migrator import CohortScope
from migrator.cohorts.manifest import Manifest, last_run, load, opened
from migrator.store.index import Index

ROOT = Path(__file__).resolve().parent.parent
EVALUATIONS = 20  # below each essay: templates x replicates
_FURTHER = 1000


def make_tables(root: Path, combos: int, replication: tuple[int, int, int]) -> None:
    """Tables for a cartesian cohort of combos x 1 draft, 1 essay and 4 evaluation templates, one model each."""
    (root / "gens").mkdir(parents=True, exist_ok=True)
    texts = {f"1_raw/{stage}_templates.csv": f"template_id,active\n{stage}-v1,1\n" for stage in ("draft", "essay")}
    templates = "".join(f"evaluation-v{number},1\n" for number in range(4))
    texts["1_raw/evaluation_templates.csv"] = "template_id,active\n" + templates
    texts["1_raw/llm_models.csv"] = "id,for_generation,for_evaluation\nwriter,1,0\njudge,0,1\n"
    rows = zip(("draft", "essay", "evaluation"), replication, strict=True)
    texts["1_raw/replication_config.csv"] = "stage,replicates\n" + "".join(f"{stage},{n}\n" for stage, n in rows)
    combo_rows = "".join(f"combo_{number}\n" for number in range(combos))
    texts["2_tasks/selected_combo_mappings.csv"] = "combo_id\n" + combo_rows
    for path, text in texts.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text)


def build(root: Path, name: str) -> tuple[float, dict[str, dict[str, int]]]:
    """Seconds of `cohort build NAME`, the whole command, and its counts."""
    command = [sys.executable, "-m", "migrator", "--data-root", str(root), "cohort", "build", name, "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    spent = time.perf_counter() - start
    if done.returncode:
        sys.exit(f"cohort build failed with {done.returncode}: {done.stdout}{done.stderr}")
    counts: dict[str, dict[str, int]] = json.loads(done.stdout)["counts"]
    return spent, counts


def look_ups(root: Path, cohort_id: str | None) -> tuple[float, float]:
    """Seconds of a scope's first look-up, and of each further one."""
    index = Index.read(root)
    signatures = [(key[0], signature) for key, signature in index.signatures.items()][:: len(index.gens) // _FURTHER]
    del index
    scope = CohortScope(root, cohort_id)
    start = time.perf_counter()
    scope.find_existing_gen_id(*signatures[0])
    first = time.perf_counter() - start
    start = time.perf_counter()
    for stage, signature in signatures:
        if scope.find_existing_gen_id(stage, signature) is None:
            sys.exit("wrong result: a generation was not found")
    return first, (time.perf_counter() - start) / len(signatures)


def measure(work: Path, generations: int) -> None:
    """Print a line for each figure."""
    root = work / "cohorts"
    combos = generations // (2 + EVALUATIONS)
    make_tables(root, combos, (1, 1, EVALUATIONS // 4))
    seconds, counts = build(root, "large")
    created = sum(count["created"] for count in counts.values())
    print(f"{'cohort build, all new':44} {seconds:8.2f} s   {created:,} generations")
    make_tables(root, max(1, combos * 2 // 5), (1, 1, EVALUATIONS // 8))
    seconds, counts = build(root, "part")
    wanted = sum(count["wanted"] for count in counts.values())
    print(f"{'cohort build, all reused':44} {seconds:8.2f} s   {wanted:,} rows")
    seconds, _ = build(root, "part")
    print(f"{'cohort build, unchanged':44} {seconds:8.2f} s")
    for name, cohort_id in (("metadata.json", None), ("a fresh manifest", "large")):
        first, further = look_ups(root, cohort_id)
        print(f"{'first look-up from ' + name:44} {first:8.2f} s   further {further * 1e3:.3f} ms")
    start = time.perf_counter()
    Index.read(root)
    reading = time.perf_counter() - start
    start = time.perf_counter()
    table = (root / "cohorts/large/membership.csv").read_bytes()
    if not isinstance(opened(load(root, "large"), table, last_run(root)), Manifest):
        sys.exit("wrong result: the manifest is not fresh")
    opening = time.perf_counter() - start
    print(f"{'opening the manifest against reading metadata':44} {opening:8.2f} s   {reading / opening:.1f} x faster")
