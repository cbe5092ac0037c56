"""A naive model of cohort builds, written from the contract alone (sections 1, 2 and 5), to judge the real ones by.

Slow and plain on purpose: it reads the whole store from disk for each answer and writes nothing. Never import
the package under test here. It expects deterministic ids: metadata.json alone tells a generation's facts. Left out:
manifests, the digits of a cohort id that nobody gave, locks.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STAGES = ("draft", "essay", "evaluation")
PREFIX = {"draft": "d_", "essay": "e_", "evaluation": "v_"}
TRUE, FALSE = ("true", "1", "yes"), ("false", "no", "0")
UNSET = ("", "0", "false", "none", "null")
REGENERATE, REUSE_DRAFTS, REUSE_ESSAYS = "regenerate", "reuse-drafts", "reuse-essays"
MODES = {
    **{name: name for name in (REGENERATE, REUSE_DRAFTS, REUSE_ESSAYS)},
    **{"evaluation-only": REUSE_ESSAYS, "evaluations-only": REUSE_ESSAYS},
    **{"reuse_drafts": REUSE_DRAFTS, "reuse_essays": REUSE_ESSAYS},
}
FILL_UP = ("fill-up", "fillup", "skip-existing-evaluations")

Task = tuple[str, ...]  # a signature without its replicate
Key = tuple[str, str]  # stage, gen_id


@dataclass(frozen=True)
class Expected:
    """What a build must come to. A refusal has a reason and nothing else."""

    status: str
    exit_code: int = 0
    reason: str = ""  # selection, table, metadata, parent, collision, name or membership
    members: dict[str, list[str]] = field(default_factory=dict)  # sorted; after the build, also the kept ones
    created: dict[Key, dict[str, Any]] = field(default_factory=dict)  # metadata.json
    counts: dict[str, dict[str, int]] = field(default_factory=dict)


class Refused(ValueError):
    """A build that must not be."""

    def __init__(self, reason: str, message: str, exit_code: int = 1):
        super().__init__(message)
        self.reason, self.exit_code = reason, exit_code


def build(root: Path, cohort_id: str, *, extend: bool = False) -> Expected:
    """Say what building this cohort in the store at `root` must come to; touch nothing."""
    try:
        return _Build(root, cohort_id, extend).expected()
    except Refused as refusal:
        return Expected("refused", refusal.exit_code, refusal.reason)


# --- values and ids (sections 1 and 2) ---------------------------------------------------------------------


def absent(value: Any) -> bool:
    """Missing, null, NaN, blank, or the text nan or unknown in any case."""
    if isinstance(value, float) and math.isnan(value):
        return True
    return value is None or str(value).strip().lower() in ("", "nan", "unknown")


def normal(value: Any) -> str:
    """A text field as signatures have it."""
    return str(value).strip().lower()


def gen_id_of(stage: str, task: Task, replicate: int) -> str:
    """The id of a signature."""
    digest = hashlib.blake2b(canonical(stage, task, replicate).encode(), digest_size=10).digest()
    number, digits = int.from_bytes(digest, "big"), ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return PREFIX[stage] + (digits or "0")


def canonical(stage: str, task: Task, replicate: int) -> str:
    """The text that an id is the hash of."""
    return "|".join((stage, *task, str(replicate)))


# --- the store ---------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Gen:
    """One generation: of the store, or one that this build would make."""

    stage: str
    gen_id: str
    task: Task
    replicate: int
    metadata: dict[str, Any]
    has_output: bool = False
    minted: bool = False

    @property
    def key(self) -> Key:
        return self.stage, self.gen_id

    @property
    def origin(self) -> str | None:
        """The cohort that first asked."""
        values = (self.metadata.get(key) for key in ("origin_cohort_id", "cohort_id"))
        return next((str(value) for value in values if not absent(value)), None)


def read_gen(root: Path, stage: str, gen_id: str) -> Gen:
    """One generation. Raises Refused where its metadata does not tell its signature."""
    folder = f"{root}/gens/{stage}/{gen_id}"
    try:
        metadata = json.loads(Path(folder, "metadata.json").read_bytes().decode())
    except (OSError, ValueError) as error:
        raise Refused("metadata", f"{folder}: {error}") from error
    if not isinstance(metadata, dict):
        raise Refused("metadata", f"{folder}: not an object")
    keys = {
        "draft": ("combo_id", "template_id", "llm_model_id"),
        "essay": ("parent_gen_id", "template_id"),
        "evaluation": ("parent_gen_id", "template_id", "llm_model_id"),
    }[stage]
    values = [metadata.get(key) for key in keys]
    replicate = metadata.get("replicate")
    if any(absent(value) or isinstance(value, bool) or not isinstance(value, str | int) for value in values):
        raise Refused("metadata", f"{folder}: a field of the signature is absent or invalid")
    if isinstance(replicate, bool) or not isinstance(replicate, int) or replicate < 1:
        raise Refused("metadata", f"{folder}: replicate")
    task = tuple(
        str(value) if key == "parent_gen_id" else normal(value) for key, value in zip(keys, values, strict=True)
    )
    return Gen(stage, gen_id, task, replicate, metadata, has_output=os.path.isfile(f"{folder}/parsed.txt"))


def names_of(root: Path, stage: str) -> list[str]:
    """The ids of a stage: its directories whose name does not start with a dot."""
    folder = root / "gens" / stage
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(folder) if entry.name[0] != "." and entry.is_dir())


def read_table(path: Path, needs: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a CSV file, cells stripped. Raises Refused where it is none, or lacks a column."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise Refused("table", f"{path}: {error}") from error
    header = [cell.strip() for cell in rows[0]] if rows else []
    if "\0" in text or len(set(header)) != len(header) or any(len(row) != len(header) for row in rows):
        raise Refused("table", f"{path}: not a table")
    if any(column not in header for column in needs):
        raise Refused("table", f"{path}: a column is missing")
    return [dict(zip(header, (cell.strip() for cell in row), strict=True)) for row in rows[1:]]


def flag(text: str, where: str) -> bool:
    """A yes or a no; any other text is an error."""
    if text.lower() not in TRUE + FALSE:
        raise Refused("table", f"{where}: {text!r} is neither yes nor no")
    return text.lower() in TRUE


# --- inputs ------------------------------------------------------------------------------------------------


def distinct(texts: Iterable[str]) -> list[str]:
    """Each text once, compared as signatures do, in the spelling and order of its first appearance."""
    seen: dict[str, str] = {}
    for text in texts:
        seen.setdefault(normal(text), text)
    return list(seen.values())


def active_templates(root: Path, stage: str) -> list[str]:
    path = root / "1_raw" / f"{stage}_templates.csv"
    rows = read_table(path, ("template_id", "active"))
    return distinct([row["template_id"] for row in rows if flag(row["active"], str(path))])


def models(root: Path, purpose: str) -> list[str]:
    path = root / "1_raw/llm_models.csv"
    rows = read_table(path, ("id", "for_generation", "for_evaluation"))
    flags = [{column: flag(row[column], str(path)) for column in ("for_generation", "for_evaluation")} for row in rows]
    return distinct([row["id"] for row, uses in zip(rows, flags, strict=True) if uses[purpose]])


def replication(root: Path) -> dict[str, int]:
    path = root / "1_raw/replication_config.csv"
    texts = {row["stage"]: row["replicates"] for row in read_table(path, ("stage", "replicates"))}
    for stage in STAGES:
        if not re.fullmatch("[0-9]+", texts.get(stage, "")) or int(texts[stage]) < 1:
            raise Refused("table", f"{path}: {stage}")
    return {stage: int(texts[stage]) for stage in STAGES}


def generators(root: Path, stage: str) -> dict[str, str]:
    """Template, as signatures have it -> generator; `llm` when blank."""
    rows = read_table(root / "1_raw" / f"{stage}_templates.csv", ("template_id",))
    return {normal(row["template_id"]): normal(row.get("generator", "")) or "llm" for row in rows}


@dataclass(frozen=True)
class Selection:
    """selected_essays.txt: ids of today (sorted, each once), mode and fill-up."""

    essays: tuple[str, ...]
    mode: str
    fill_up: bool


def read_selection(root: Path) -> Selection | None:
    """None means cartesian. Raises Refused for what it must not say."""
    try:
        text = (root / "2_tasks/selected_essays.txt").read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Refused("selection", str(error)) from error
    mode, fill_up, named = REGENERATE, False, []
    for line in re.split("\r\n|\r|\n", text):
        told, _, comment = (part.strip() for part in line.partition("#"))
        directive = comment.lower()
        if directive.startswith("mode:"):
            mode = directive.removeprefix("mode:").strip()
            if mode not in MODES:
                raise Refused("selection", f"unknown mode {mode!r}")
        elif directive in FILL_UP:
            fill_up = True
        if told:
            named.append(told)
    if not named:
        return None
    if fill_up and MODES[mode] != REUSE_ESSAYS:
        raise Refused("selection", "fill-up outside reuse-essays")
    return Selection(tuple(sorted({essay_of_today(root, name) for name in named})), MODES[mode], fill_up)


def essay_of_today(root: Path, name: str) -> str:
    """An essay's id of today; old ids resolve through the mappings, run by run."""
    current = names_of(root, "essay")
    if name in current:
        return name
    found = name
    for run_id in runs(root):
        rows = read_table(root / ".migrator/mappings" / run_id / "mapping.csv", ("stage", "old_gen_id", "new_gen_id"))
        new = {row["old_gen_id"]: row["new_gen_id"] for row in rows if row["stage"] == "essay"}
        found = new.get(name, new.get(found, found))  # a name that was given again means what bore it last
    if found not in current:
        raise Refused("selection", f"{name!r} is no essay")
    return found


def runs(root: Path) -> list[str]:
    """Run ids in the ledger's order."""
    ledger = root / ".migrator/ledger.jsonl"
    lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.is_file() else []
    return list(dict.fromkeys(json.loads(line)["run_id"] for line in lines))


# --- filling -----------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Demand:
    """So many generations of one task, and what a minted one has for metadata beside it."""

    task: Task
    count: int
    new: bool
    facts: dict[str, Any]
    met: list[Gen] = field(default_factory=list)


class _Build:
    """One build, told stage by stage."""

    def __init__(self, root: Path, cohort_id: str, extend: bool):
        if not re.fullmatch(r"[^/\\\0-\x1f\x7f.=+@-][^/\\\0-\x1f\x7f]*", cohort_id) or cohort_id != cohort_id.strip():
            raise Refused("name", f"{cohort_id!r} is no cohort id")
        self.root, self.cohort_id, self.extend = root, cohort_id, extend
        self.selection = read_selection(root)
        self.count = replication(root)
        self.listed = self.read_membership()
        self.store: dict[Key, Gen] = {}
        self.unreadable: set[Key] = set()
        for stage in STAGES:
            for name in names_of(root, stage):
                try:
                    self.store[stage, name] = read_gen(root, stage, name)
                except Refused:
                    self.unreadable.add((stage, name))
        self.generators = {stage: generators(root, stage) for stage in STAGES}
        self.rows: dict[str, list[Gen]] = {stage: [] for stage in STAGES}
        self.untouchable: set[Key] = set()  # selected essays and their drafts

    def read_membership(self) -> list[Key] | None:
        path = self.root / "cohorts" / self.cohort_id / "membership.csv"
        if not path.exists():
            return None
        return [(row["stage"], row["gen_id"]) for row in read_table(path, ("stage", "gen_id"))]

    def expected(self) -> Expected:
        if self.selection is None:
            self.cartesian()
        else:
            self.curated(self.selection)
        wanted = {gen.key for stage in STAGES for gen in self.rows[stage]}
        listed = set(self.listed or ())
        if self.listed is not None and wanted != listed and not self.extend:
            raise Refused("membership", "another membership.csv is there", 4)
        members = {stage: sorted(name for s, name in wanted | listed if s == stage) for stage in STAGES}
        return Expected(
            status="unchanged" if self.listed is not None and wanted <= listed else "built",
            members=members,
            created={gen.key: gen.metadata for stage in STAGES for gen in self.rows[stage] if gen.minted},
            counts={stage: self.counts(self.rows[stage]) for stage in STAGES},
        )

    def counts(self, gens: Sequence[Gen]) -> dict[str, int]:
        own = sum(not gen.minted and gen.key in set(self.listed or ()) for gen in gens)
        created = sum(gen.minted for gen in gens)
        return {
            "wanted": len(gens),
            "reused_own": own,
            "reused_other": len(gens) - own - created,
            "created": created,
            "missing_outputs": sum(not gen.has_output for gen in gens),
        }

    # the two kinds

    def cartesian(self) -> None:
        """Every combo x template x model, then every template under each."""
        rows = read_table(self.root / "2_tasks/selected_combo_mappings.csv", ("combo_id",))
        combos = distinct([row["combo_id"] for row in rows])
        templates = {stage: active_templates(self.root, stage) for stage in STAGES}
        writers = models(self.root, "for_generation")
        self.fill(
            "draft",
            [
                self.draft_demand(combo, template, model, new=False)
                for combo in combos
                for template in templates["draft"]
                for model in writers
            ],
        )
        self.fill(
            "essay",
            [
                self.essay_demand(draft, template, new=False)
                for draft in self.rows["draft"]
                for template in templates["essay"]
            ],
        )
        self.fill_evaluations(new=False)

    def curated(self, selection: Selection) -> None:
        """What the mode says, for each selected essay in the order of the ids."""
        chosen = []
        for name in selection.essays:
            essay = self.needed("essay", name)
            draft = self.needed("draft", essay.task[0])
            self.untouchable |= {essay.key, draft.key}
            chosen.append((essay, draft))
        writers = [(draft if absent(essay.metadata.get("llm_model_id")) else essay) for essay, draft in chosen]
        models_of = [gen.metadata["llm_model_id"] for gen in writers]
        if selection.mode == REGENERATE:
            drafts = [
                self.draft_demand(*(draft.metadata[key] for key in ("combo_id", "template_id")), model, new=True)
                for (_, draft), model in zip(chosen, models_of, strict=True)
            ]
            self.fill("draft", drafts)
            self.fill(
                "essay",
                [
                    self.essay_demand(draft, essay.metadata["template_id"], new=True)
                    for (essay, _), demand in zip(chosen, drafts, strict=True)
                    for draft in demand.met
                ],
            )
        else:
            self.list_once("draft", [draft for _, draft in chosen])
            if selection.mode == REUSE_DRAFTS:
                self.fill(
                    "essay",
                    [
                        self.essay_demand(draft, essay.metadata["template_id"], new=True, model=model)
                        for (essay, draft), model in zip(chosen, models_of, strict=True)
                    ],
                )
            else:
                self.list_once("essay", [essay for essay, _ in chosen])
        self.fill_evaluations(new=not selection.fill_up)

    def needed(self, stage: str, name: str) -> Gen:
        """A generation that must be there, with its facts."""
        if (stage, name) in self.unreadable:
            raise Refused("metadata", f"{stage} {name}")
        if (stage, name) not in self.store:
            raise Refused("parent", f"{stage} {name} is not in the store")
        return self.store[stage, name]

    # demands

    def draft_demand(self, combo: Any, template: Any, model: Any, new: bool) -> Demand:
        facts = {"combo_id": combo, "template_id": template, "llm_model_id": model}
        return Demand((normal(combo), normal(template), normal(model)), self.count["draft"], new, facts)

    def essay_demand(self, draft: Gen, template: Any, new: bool, model: Any = None) -> Demand:
        """An essay's model is the draft's, unless it is made in the place of one that had another."""
        facts = {"combo_id": draft.metadata["combo_id"], "llm_model_id": model or draft.metadata["llm_model_id"]}
        facts |= {"template_id": template, "parent_gen_id": draft.gen_id}
        return Demand((draft.gen_id, normal(template)), self.count["essay"], new, facts)

    def fill_evaluations(self, new: bool) -> None:
        """Active templates x evaluation models under each essay that is listed."""
        demands = []
        templates, judges = active_templates(self.root, "evaluation"), models(self.root, "for_evaluation")
        for essay in self.rows["essay"]:
            combo = self.draft_of(essay).metadata["combo_id"]
            for template in templates:
                for model in judges:
                    facts = {"combo_id": combo, "llm_model_id": model, "template_id": template}
                    facts["parent_gen_id"] = essay.gen_id
                    task = (essay.gen_id, normal(template), normal(model))
                    demands.append(Demand(task, self.count["evaluation"], new, facts))
        self.fill("evaluation", demands)

    def draft_of(self, essay: Gen) -> Gen:
        return next(gen for gen in self.rows["draft"] if gen.gen_id == essay.task[0])

    def list_once(self, stage: str, gens: Iterable[Gen]) -> None:
        """Rows of a stage that are named, not asked for by a task."""
        self.rows[stage] = list({gen.key: gen for gen in gens}.values())

    def fill(self, stage: str, demands: Sequence[Demand]) -> None:
        """Meet all demands of a stage. Equal tasks add up, and share out what they get in their order."""
        of_task: dict[Task, list[Demand]] = defaultdict(list)
        for demand in demands:
            of_task[demand.task].append(demand)
        for task, equal in of_task.items():
            wishes = [demand.facts for demand in equal for _ in range(demand.count)]
            got = self.meet(stage, task, wishes, new=equal[0].new)
            self.rows[stage] += got
            for demand in equal:
                demand.met, got = got[: demand.count], got[demand.count :]

    def meet(self, stage: str, task: Task, wishes: Sequence[dict[str, Any]], *, new: bool) -> list[Gen]:
        """Own members, then (unless new) others, then minted ones; what is met is in order of the replicates.

        So the same build finds the same in the same order when all of it are members, and some have gaps below.
        """
        there = sorted(
            (gen for gen in self.store.values() if gen.stage == stage and gen.task == task),
            key=lambda gen: (gen.replicate, gen.gen_id),
        )
        listed = set(self.listed or ())
        own = [gen for gen in there if gen.key in listed]
        others = [gen for gen in there if gen.key not in listed]
        if new:
            own = [gen for gen in own if gen.origin == self.cohort_id and gen.key not in self.untouchable]
            others = []
        kept = {gen.replicate: gen for gen in (own + others)[: len(wishes)]}
        taken, made = {gen.replicate for gen in there}, set[int]()
        while len(kept) + len(made) < len(wishes):
            made.add(next(number for number in range(1, len(taken | made) + 2) if number not in taken | made))
        return [
            kept[number] if number in kept else self.mint(stage, task, number, wish)
            for number, wish in zip(sorted([*kept, *made]), wishes, strict=True)
        ]

    def mint(self, stage: str, task: Task, replicate: int, facts: dict[str, Any]) -> Gen:
        gen_id = gen_id_of(stage, task, replicate)
        if (stage, gen_id) in self.unreadable:
            raise Refused("metadata", f"{stage} {gen_id} is there and does not say what it is")
        if (stage, gen_id) in self.store:
            raise Refused("collision", f"{stage} {gen_id} is there and has another signature", 4)
        metadata = {
            "stage": stage,
            "gen_id": gen_id,
            "origin_cohort_id": self.cohort_id,
            "mode": self.generators[stage].get(normal(facts["template_id"]), "llm"),
            **{key: str(value) if key == "parent_gen_id" else str(value).strip() for key, value in facts.items()},
            "replicate": replicate,
        }
        return Gen(stage, gen_id, task, replicate, metadata, minted=True)
