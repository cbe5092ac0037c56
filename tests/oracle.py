"""A naive model of the four migrations, written from the contract alone, to judge the real ones by.

Slow and plain on purpose: it reads a whole store as a mapping of paths to bytes, and returns another one.
Never import the package under test here. Left out, because the runner owns them: `.migrator/`, manifests,
derived tables, mtimes, and the warnings unknown-member, stale-table and leftover-reference.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

STAGES = ("draft", "essay", "evaluation")
PARENT_STAGE = {"essay": "draft", "evaluation": "essay"}
PREFIX = {"draft": "d_", "essay": "e_", "evaluation": "v_"}
METADATA = "metadata.json"
JSON_FILES = (METADATA, "raw_metadata.json", "parsed_metadata.json")
WARNINGS = frozenset({"replicate-assigned", "replicate-above-config", "parent-inferred", "model-id-dropped"})
TABLES = {
    "1_raw/draft_templates.csv": ("template_id",),
    "1_raw/essay_templates.csv": ("template_id",),
    "1_raw/evaluation_templates.csv": ("template_id",),
    "1_raw/llm_models.csv": ("id",),
    "1_raw/replication_config.csv": ("stage", "replicates"),
}
BOM = "\ufeff"
UNSAFE_STARTS = (".", "-", "=", "+", "@", "\t", "\r")

Problem = tuple[str, str, str]


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


Tree = dict[str, bytes | Link]


@dataclass
class Result:
    """What the four migrations make of a store; with a blocking problem the input tree and no rows."""

    tree: Tree
    mapping: list[tuple[str, str, str]]  # stage, old, new
    synthetic: list[dict[str, str]]  # rows of synthetic_drafts.csv, by essay_old_gen_id
    problems: set[Problem]  # kind, stage, gen_id; for a table: kind, "", path

    @property
    def blocking(self) -> set[Problem]:
        """The problems that stop a run."""
        return {problem for problem in self.problems if problem[0] not in WARNINGS}


# --- values and ids (sections 1 and 2) ---------------------------------------------------------------------


def absent(value: Any) -> bool:
    """Missing, null, NaN, blank, or the text nan or unknown in any case."""
    if value is None:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    return isinstance(value, str) and value.strip().lower() in ("", "nan", "unknown")


def first(*values: Any) -> Any:
    """The first value that is not absent, else None."""
    return next((value for value in values if not absent(value)), None)


def normal(value: Any) -> str:
    """A text field as signatures have it."""
    return str(value).strip().lower()


def field_problem(value: Any, text: str) -> str | None:
    """Why `value`, which a signature would hold as `text`, cannot be a field; None if it can."""
    if absent(value):
        return "missing-field"
    if isinstance(value, bool) or not isinstance(value, str | int):
        return "invalid-field"
    if "|" in text or any(unicodedata.category(char) == "Cc" for char in text):
        return "invalid-field"
    return None


def base36(number: int) -> str:
    """Lower-case base 36 without padding."""
    digits = ""
    while number:
        number, rest = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[rest] + digits
    return digits or "0"


def gen_id_of(stage: str, fields: Iterable[str | int]) -> str:
    """The id of a signature whose fields are normalised already."""
    canonical = stage + "|" + "|".join(str(each) for each in fields)
    digest = hashlib.blake2b(canonical.encode("utf-8"), digest_size=10).digest()
    return PREFIX[stage] + base36(int.from_bytes(digest, "big"))


def safe_id(name: str) -> bool:
    """Is `name` one path component that a legacy id may be?"""
    return bool(name) and "/" not in name and "\0" not in name and not name.startswith(UNSAFE_STARTS)


def wish_of(value: Any) -> int | None:
    """The replicate that one stored value asks for, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit():
        try:
            value = int(value)
        except ValueError:  # more digits than Python converts
            return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and value >= 1 else None


# --- files -------------------------------------------------------------------------------------------------


class BadFile(ValueError):
    """A file that cannot be read as what it should be."""


def load_json(data: bytes | Link) -> dict[str, Any]:
    """Parse one of the three JSON files; BadFile for whatever the contract calls invalid-json."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise BadFile("duplicate keys")
        return dict(pairs)

    if isinstance(data, Link):
        raise BadFile("not a regular file")
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=unique)
        json.dumps(document, ensure_ascii=False).encode("utf-8")  # a lone surrogate fails here
    except (ValueError, RecursionError) as error:
        raise BadFile(str(error)) from error
    if not isinstance(document, dict):
        raise BadFile("not an object")
    return document


def dump_json(document: dict[str, Any]) -> bytes:
    """JSON as the migrations write it."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8")


@dataclass
class Cell:
    """One cell: the text between the commas, and what it means."""

    raw: str
    value: str

    def put(self, new: str) -> None:
        """Replace the meaning, keep quotes and surrounding white space; nothing if it is there already."""
        if self.value.strip() == new:
            return
        lead = self.value[: len(self.value) - len(self.value.lstrip())]
        trail = self.value[len(self.value.rstrip()) :] if self.value.strip() else ""
        self.value = lead + new + trail
        quoted = self.raw.startswith('"') or any(char in new for char in ',"\r\n')
        self.raw = '"' + self.value.replace('"', '""') + '"' if quoted else self.value


@dataclass
class Line:
    """One row (or, without cells, one blank line) and its line end."""

    cells: list[Cell]
    end: str
    inserted: bool = False


def split_csv(text: str) -> list[Line]:
    """Cut a CSV text into rows whose raw cells, joined again, are the very text."""
    lines: list[Line] = []
    at = 0

    def line_end() -> str:
        return next((end for end in ("\r\n", "\r", "\n") if text.startswith(end, at)), "")

    while at < len(text):
        cells: list[Cell] = []
        while cells or not line_end():
            start, value = at, ""
            if text.startswith('"', at):
                at += 1
                while True:
                    if at >= len(text):
                        raise BadFile("unterminated quote")
                    if text.startswith('""', at):
                        value, at = value + '"', at + 2
                    elif text[at] == '"':
                        at += 1
                        break
                    else:
                        value, at = value + text[at], at + 1
            while at < len(text) and text[at] not in ",\r\n":
                value, at = value + text[at], at + 1
            cells.append(Cell(text[start:at], value))
            if not text.startswith(",", at):
                break
            at += 1
        end = line_end()
        at += len(end)
        lines.append(Line(cells, end))
    return lines


class Table:
    """A CSV file that can be changed cell by cell and written back with all its other bytes."""

    def __init__(self, data: bytes | Link, needs: Iterable[str] = ()):
        if isinstance(data, Link) or b"\0" in data:
            raise BadFile("not a table")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadFile("not UTF-8") from error
        self.bom = BOM if text.startswith(BOM) else ""
        self.lines = split_csv(text[len(self.bom) :])
        rows = [line for line in self.lines if line.cells]
        self.header = [cell.value.strip() for cell in rows[0].cells] if rows else []
        if len(set(self.header)) != len(self.header):
            raise BadFile("repeated header")
        if any(name not in self.header for name in needs):
            raise BadFile("column missing")
        if any(len(line.cells) != len(self.header) for line in rows):
            raise BadFile("row of another width")

    def rows(self) -> list[Line]:
        """All rows below the header."""
        return [line for line in self.lines if line.cells][1:]

    def cell(self, line: Line, column: str) -> Cell | None:
        """The row's cell in a column, None if there is no such column."""
        return line.cells[self.header.index(column)] if column in self.header else None

    def text(self, line: Line, column: str) -> str:
        """The stripped text of a cell, blank without such a column."""
        cell = self.cell(line, column)
        return cell.value.strip() if cell else ""

    def insert_before(self, line: Line, values: dict[str, str]) -> None:
        """Add a row; it ends like `line`, or like the one before if `line` is the unfinished last."""
        at = next(index for index, each in enumerate(self.lines) if each is line)
        cells = [Cell("", "") for _ in self.header]
        for cell, column in zip(cells, self.header, strict=True):
            if values.get(column):
                quoted = any(char in values[column] for char in ',"\r\n')
                raw = '"' + values[column].replace('"', '""') + '"' if quoted else values[column]
                cell.raw, cell.value = raw, values[column]
        self.lines.insert(at, Line(cells, line.end or self.lines[at - 1].end, inserted=True))

    def data(self) -> bytes:
        """The file's bytes."""
        rows = (",".join(cell.raw for cell in line.cells) + line.end for line in self.lines)
        return (self.bom + "".join(rows)).encode("utf-8")


def split_lines(text: str) -> list[tuple[str, str]]:
    """Lines and their ends; only LF, CRLF and CR separate."""
    return [(body, end) for body, end in re.findall(r"([^\r\n]*)(\r\n|\r|\n|\Z)", text) if body or end]


# --- the four migrations (section 3) -----------------------------------------------------------------------


@dataclass(eq=False)
class Gen:
    """One generation: its documents as they become, and its facts as they were read."""

    stage: str
    old: str  # a synthetic draft has its new id here
    docs: dict[str, dict[str, Any]] = field(default_factory=dict)
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, str] = field(default_factory=dict)
    text: bytes | None = None  # parsed.txt
    raw: bytes | None = None  # raw.txt
    blocked: bool = False
    template: Any = None
    model: Any = None
    combo: Any = None
    parent: Any = None
    replicate: int = 0
    lost: str | None = None  # the missing name of a backfilled essay's draft
    parent_gen: Gen | None = None
    new: str | None = None

    @property
    def meta(self) -> dict[str, Any]:
        return self.docs[METADATA]

    @property
    def legacy(self) -> dict[str, Any]:
        legacy = self.meta.get("legacy_fields")
        return legacy if isinstance(legacy, dict) else {}

    @property
    def origin(self) -> Any:
        return first(self.meta.get("origin_cohort_id"), self.meta.get("cohort_id"))

    def read_facts(self) -> None:
        """Look up each meaning of section 1's table, but the replicate."""
        meta, rows, stage = self.meta, self.rows, self.stage
        row_model = rows.get("evaluation_model" if stage == "evaluation" else "generation_model")
        self.template = first(meta.get("template_id"), meta.get(f"{stage}_template"))
        own = (meta.get("llm_model_id"), meta.get("model_id"), self.legacy.get("model_id"))
        self.model = first(*own, rows.get("llm_model_id"), row_model)
        self.combo = first(meta.get("combo_id"), rows.get("combo_id"))
        if stage in PARENT_STAGE:
            self.parent = first(meta.get("parent_gen_id"), meta.get(f"{PARENT_STAGE[stage]}_gen_id"))

    def wish(self) -> int | None:
        """The first usable value on the replicate line."""
        values = [self.docs[name].get("replicate") for name in JSON_FILES if name in self.docs]
        wishes = [wish_of(value) for value in [*values, self.rows.get("replicate")]]
        return next((wish for wish in wishes if wish is not None), None)

    def set_replicate(self, index: int) -> None:
        """Give the index, in metadata.json always, in the other files where they had the key."""
        self.replicate = index
        self.meta["replicate"] = index
        for document in self.docs.values():
            if "replicate" in document:
                document["replicate"] = index

    def task(self) -> tuple[str, ...]:
        """The signature without its replicate, the parent as stored."""
        if self.stage == "draft":
            return normal(self.combo), normal(self.template), normal(self.model)
        if self.stage == "essay":
            return str(self.parent), normal(self.template)
        return str(self.parent), normal(self.template), normal(self.model)


def assign(wishes: dict[Gen, int | None], taken: set[int]) -> dict[Gen, int]:
    """Index for each of a group: each wish to its first holder by id, the others the smallest free."""
    given: dict[Gen, int] = {}
    for gen in sorted(wishes, key=lambda each: each.old):
        wish = wishes[gen]
        if wish is not None and wish not in taken:
            given[gen] = wish
            taken.add(wish)
    rest = [gen for gen in wishes if gen not in given]
    for gen in sorted(rest, key=lambda each: (wishes[each] or math.inf, each.old)):
        given[gen] = smallest_free(taken)
        taken.add(given[gen])
    return given


def smallest_free(taken: set[int]) -> int:
    """The smallest index >= 1 that is not taken."""
    index = 1
    while index in taken:
        index += 1
    return index


def migrate(tree: Tree) -> Result:
    """Run 0001 to 0004 on a store; see Result."""
    return _Run(tree).result()


class _Run:
    """One pass over one store, in the order of the contract."""

    def __init__(self, tree: Tree):
        self.tree = tree
        self.folders = {path[:at] for path in tree for at in range(len(path)) if path[at] == "/"}
        self.problems: set[Problem] = set()
        self.gens: dict[str, dict[str, Gen]] = {stage: {} for stage in STAGES}
        self.tables: dict[str, Table] = {}
        self.texts: dict[str, str] = {}
        self.made: list[Gen] = []  # synthetic drafts, in order
        self.how: dict[Gen, str] = {}  # backfilled essay -> made / linked

    def result(self) -> Result:
        self.read_tables()
        self.read_gens()
        self.read_rows()
        self.normalize_replicates()
        self.backfill_drafts()
        self.name_by_signature()
        self.warn_dropped_models()
        found = Result(self.tree, [], [], self.problems)
        if found.blocking:
            return found
        found.synthetic = self.synthetic_rows()
        self.insert_drafts()
        for gen in self.known():
            self.rewrite(gen)
        for path, table in self.tables.items():
            self.follow_table(path, table)
        names = self.names()
        found.mapping = [(stage, old, new) for stage in STAGES for old, new in sorted(names[stage].items())]
        found.tree = self.new_tree(names)
        return found

    # reading

    def known(self) -> list[Gen]:
        """The generations that no phase has refused so far, in order."""
        every = (self.gens[stage][name] for stage in STAGES for name in sorted(self.gens[stage]))
        return [gen for gen in every if not gen.blocked]

    def block(self, gen: Gen, kind: str) -> None:
        self.problems.add((kind, gen.stage, gen.old))
        gen.blocked = True

    def read_tables(self) -> None:
        """All CSV and txt files that the run reads."""
        needs: dict[str, Iterable[str]] = {path: TABLES[path] for path in TABLES if path in self.tree}
        for path in sorted(self.tree):
            if re.fullmatch(r"cohorts/[^./][^/]*/membership\.csv", path):
                needs[path] = ("stage", "gen_id")
            if re.fullmatch(r"2_tasks/[^./][^/]*\.csv", path):
                needs[path] = ()
            if re.fullmatch(r"2_tasks/selected_[^/]*\.txt", path):
                data = self.tree[path]
                try:
                    if isinstance(data, Link) or b"\0" in data:
                        raise BadFile("not a text")
                    self.texts[path] = data.decode("utf-8")
                except ValueError:
                    self.problems.add(("invalid-table", "", path))
        for path, columns in needs.items():
            try:
                self.tables[path] = Table(self.tree[path], columns)
            except BadFile:
                self.problems.add(("invalid-table", "", path))

    def memberships(self) -> list[tuple[str, Table]]:
        """Cohort id and table, cohorts in code-point order."""
        paths = [path for path in self.tables if path.startswith("cohorts/")]
        return sorted((path.split("/")[1], self.tables[path]) for path in paths)

    def read_gens(self) -> None:
        for path, entry in self.tree.items():
            parts = path.split("/")
            if parts[0] != "gens" or len(parts) < 3 or parts[1] not in STAGES or parts[2][:1] in ("", "."):
                continue
            stage, name = parts[1], parts[2]
            if len(parts) > 3:
                self.gens[stage].setdefault(name, Gen(stage, name))
            elif isinstance(entry, Link):
                self.problems.add(("unsafe-path", stage, name))
        for gen in self.known():
            self.read_gen(gen)

    def read_gen(self, gen: Gen) -> None:
        folder = f"gens/{gen.stage}/{gen.old}/"
        if not safe_id(gen.old):
            self.block(gen, "unsafe-path")
        for name in JSON_FILES:
            if folder + name in self.folders:
                self.block(gen, "invalid-json")  # a directory in its place
            elif folder + name in self.tree:
                try:
                    gen.docs[name] = load_json(self.tree[folder + name])
                except BadFile:
                    self.block(gen, "invalid-json")
            elif name == METADATA:
                self.block(gen, "missing-metadata")
        gen.before = copy.deepcopy(gen.docs)
        if METADATA in gen.docs:
            if not absent(gen.meta.get("gen_id")) and gen.meta["gen_id"] != gen.old:
                self.block(gen, "gen-id-mismatch")
            if not absent(gen.meta.get("stage")) and gen.meta["stage"] != gen.stage:
                self.block(gen, "stage-mismatch")
        parsed, raw = self.tree.get(folder + "parsed.txt"), self.tree.get(folder + "raw.txt")
        gen.text = parsed if isinstance(parsed, bytes) else None
        gen.raw = raw if isinstance(raw, bytes) else None

    def read_rows(self) -> None:
        """Facts from the membership tables: per column the first cell that is not absent, as it stands."""
        for _, table in self.memberships():
            if not set(table.header) - {"stage", "gen_id"}:
                continue
            for line in table.rows():
                gen = self.gens.get(table.text(line, "stage"), {}).get(table.text(line, "gen_id"))
                if gen is None:
                    continue
                for column, cell in zip(table.header, line.cells, strict=True):
                    if not absent(cell.value):
                        gen.rows.setdefault(column, cell.value)
        for gen in self.known():
            gen.read_facts()

    # 0001

    def check_fields(self, gen: Gen) -> None:
        texts = [gen.template]
        if gen.stage != "essay":
            texts.append(gen.model)
        if gen.stage == "draft":
            texts.append(gen.combo)
        found = {field_problem(value, normal(value)) for value in texts}
        if gen.stage in PARENT_STAGE:
            parent = field_problem(gen.parent, str(gen.parent))
            if parent is None and not safe_id(str(gen.parent)):
                parent = "unsafe-path"
            found.add(parent)
        for kind in found - {None}:
            self.block(gen, str(kind))

    def normalize_replicates(self) -> None:
        groups: defaultdict[tuple[str, ...], list[Gen]] = defaultdict(list)
        for gen in self.known():
            self.check_fields(gen)
            if not gen.blocked:
                groups[(gen.stage, *gen.task())].append(gen)
        limits = self.replication()
        for group in groups.values():
            wishes = {gen: gen.wish() for gen in group}
            for gen, index in assign(wishes, set()).items():
                gen.set_replicate(index)
                if index != wishes[gen]:
                    self.problems.add(("replicate-assigned", gen.stage, gen.old))
                if index > limits.get(gen.stage, math.inf):
                    self.problems.add(("replicate-above-config", gen.stage, gen.old))

    def replication(self) -> dict[str, int]:
        limits: dict[str, int] = {}
        table = self.tables.get("1_raw/replication_config.csv")
        for line in table.rows() if table else []:
            number = table.text(line, "replicates") if table else ""
            if table and number.isascii() and number.isdigit():
                limits.setdefault(table.text(line, "stage"), int(number))
        return limits

    # 0002

    def generator(self, essay: Gen) -> str:
        table = self.tables.get("1_raw/essay_templates.csv")
        if table and "generator" in table.header:
            for line in table.rows():
                if normal(table.text(line, "template_id")) == normal(essay.template):
                    return normal(table.text(line, "generator")) or "llm"
        mode = essay.meta.get("mode")
        return "llm" if absent(mode) else normal(mode)

    def draft_facts(self, essay: Gen) -> tuple[Any, Any, Any]:
        """Combination, draft template and model of an essay's lost draft, as stored; None where unknown."""
        combo = model = template = None
        task = essay.meta.get("parent_task_id")
        if isinstance(task, str) and not absent(task):
            combo, template, model = self.take_apart(task.strip())
        meta = essay.meta
        return (
            first(essay.combo, combo),
            first(meta.get("draft_template"), meta.get("draft_template_id"), template),
            first(essay.model, model),
        )

    def take_apart(self, task: str) -> tuple[str | None, str | None, str | None]:
        """`<combo>_<template>_<model>`, with the longest known model and template."""

        def ending(text: str, path: str, column: str) -> str | None:
            table = self.tables.get(path)
            ids = [table.text(line, column) for line in table.rows()] if table else []
            fits = [each for each in ids if each and text.endswith("_" + each)]
            return max(fits, key=len) if fits else None

        model = ending(task, "1_raw/llm_models.csv", "id")
        if model is None:
            return None, None, None
        rest = task[: -len(model) - 1]
        template = ending(rest, "1_raw/draft_templates.csv", "template_id")
        if template is None:
            return None, None, model
        return rest[: -len(template) - 1], template, model

    def backfill_drafts(self) -> None:
        groups: defaultdict[str, list[Gen]] = defaultdict(list)
        for gen in self.known():
            if gen.stage == "essay" and str(gen.parent) not in self.gens["draft"]:
                gen.lost = str(gen.parent)
                groups[gen.lost].append(gen)
        wanted: list[tuple[Gen, str, list[Gen]]] = []  # smallest source, lost name, all sources with its text
        others: list[Gen] = []
        for name, essays in groups.items():
            sources = [essay for essay in essays if self.generator(essay) == "copy"]
            sources = sources or [essay for essay in essays if normal(essay.meta.get("mode")) == "copy"]
            if not sources:
                for essay in essays:
                    self.block(essay, "missing-parent")
                continue
            others += [essay for essay in essays if essay not in sources]
            texts: defaultdict[bytes, list[Gen]] = defaultdict(list)
            for essay in sorted(sources, key=lambda each: each.old):
                text = essay.raw if essay.text is None else essay.text
                if text is None:
                    self.block(essay, "backfill-no-text")
                else:
                    texts[text].append(essay)
            wanted += [(same[0], name, same) for same in texts.values()]
        there = [gen for gen in self.known() if gen.stage == "draft"]
        # lost name -> each of its drafts with the sources of that text
        chosen: defaultdict[str, list[tuple[Gen, list[Gen]]]] = defaultdict(list)
        for essay, name, sources in sorted(wanted, key=lambda each: each[0].old):
            draft = self.draft_for(essay, there)
            if draft is None:
                continue
            chosen[name].append((draft, sources))
            for source in sources:
                source.parent_gen = draft
        for essay in others:
            drafts = chosen[str(essay.lost)]
            if not drafts:
                continue
            index = essay.replicate
            fitting = [draft for draft, sources in drafts if index in {each.replicate for each in sources}]
            fitting = fitting or [draft for draft, _ in drafts]
            essay.parent_gen = min(fitting, key=lambda each: (each.replicate, each.old))
            self.problems.add(("parent-inferred", "essay", essay.old))
        self.renumber()

    def draft_for(self, essay: Gen, there: list[Gen]) -> Gen | None:
        """The draft that has the essay's text, synthetic if need be; None, and a problem, without facts."""
        combo, template, model = self.draft_facts(essay)
        found = {field_problem(value, normal(value)) for value in (combo, template, model)} - {None}
        for kind in found:
            self.block(essay, "backfill-missing-field" if kind == "missing-field" else str(kind))
        if found:
            return None
        task = normal(combo), normal(template), normal(model)
        text = essay.raw if essay.text is None else essay.text
        same = [draft for draft in there if draft.task() == task and draft.text == text]
        if same:
            return min(same, key=lambda each: (each.replicate, each.old))
        replicate = smallest_free({draft.replicate for draft in there + self.made if draft.task() == task})
        name = gen_id_of("draft", (*task, replicate))
        meta: dict[str, Any] = {"stage": "draft", "gen_id": name, "mode": "llm", "synthetic": True}
        meta |= {"template_id": template, "combo_id": combo, "llm_model_id": model, "replicate": replicate}
        if not absent(essay.origin):
            meta["origin_cohort_id"] = essay.origin
        draft = Gen("draft", name, {METADATA: meta}, text=text, replicate=replicate, new=name)
        draft.read_facts()
        self.made.append(draft)
        return draft

    def renumber(self) -> None:
        """Replicates of the essays that got another parent, among those that the parent had before."""
        essays = [gen for gen in self.known() if gen.stage == "essay"]
        groups: defaultdict[tuple[Gen, str], list[Gen]] = defaultdict(list)
        for essay in essays:
            if essay.lost is not None and essay.parent_gen is not None:
                groups[(essay.parent_gen, normal(essay.template))].append(essay)
        for (draft, template), moved in groups.items():
            before = [each for each in essays if each.lost is None and str(each.parent) == draft.old]
            taken = {each.replicate for each in before if normal(each.template) == template}
            if draft in self.made:
                taken = set()  # a synthetic draft had no essays, whatever old id equals its new one
            for essay in sorted(moved, key=lambda each: (each.replicate, each.old)):
                index = smallest_free(taken)
                taken.add(index)
                essay.set_replicate(index)

    def synthetic_rows(self) -> list[dict[str, str]]:
        rows = []
        for essay in self.known():
            draft = essay.parent_gen
            if essay.lost is None or draft is None:
                continue
            rows.append(
                {
                    "draft_gen_id": str(draft.new),
                    "how": "made" if draft in self.made else "linked",
                    "essay_old_gen_id": essay.old,
                    "essay_new_gen_id": str(essay.new),
                    "combo_id": str(draft.combo),
                    "template_id": str(draft.template),
                    "llm_model_id": str(draft.model),
                    "replicate": str(draft.replicate),
                }
            )
        return rows

    def insert_drafts(self) -> None:
        """Let every cohort that lists a backfilled essay list its draft too."""
        moved = {gen.old: gen for gen in self.known() if gen.lost is not None}
        for cohort, table in self.memberships():
            listed = {(table.text(line, "stage"), table.text(line, "gen_id")) for line in table.rows()}
            for line in table.rows():
                essay = moved.get(table.text(line, "gen_id"))
                draft = essay.parent_gen if essay and table.text(line, "stage") == "essay" else None
                if draft is None or ("draft", draft.old) in listed:
                    continue
                listed.add(("draft", draft.old))
                values = {"stage": "draft", "gen_id": draft.new, "cohort_id": cohort, "combo_id": draft.combo}
                values |= {"template_id": draft.template, "draft_template": draft.template}
                values |= {"llm_model_id": draft.model, "generation_model": draft.model}
                values |= {"replicate": draft.replicate}
                values |= {} if absent(draft.origin) else {"origin_cohort_id": draft.origin}
                table.insert_before(line, {column: str(value) for column, value in values.items()})

    # 0003

    def name_by_signature(self) -> None:
        bearer: dict[str, Gen] = {str(draft.new): draft for draft in self.made}
        for stage in STAGES:
            for gen in [each for each in self.known() if each.stage == stage]:
                fields: tuple[str, ...] = gen.task()
                if stage in PARENT_STAGE:
                    if gen.lost is None:
                        gen.parent_gen = self.gens[PARENT_STAGE[stage]].get(str(gen.parent))
                        if gen.parent_gen is None:
                            self.block(gen, "missing-parent")
                            continue
                    if gen.parent_gen is None or gen.parent_gen.new is None:
                        continue  # hangs below a generation that is refused
                    fields = (gen.parent_gen.new, *fields[1:])
                gen.new = gen_id_of(stage, (*fields, gen.replicate))
                if bearer.setdefault(gen.new, gen) is not gen:
                    raise NotImplementedError(f"collision of 80-bit ids, or equal signatures: {gen.new}")

    def names(self) -> dict[str, dict[str, str]]:
        """Old id to new id, per stage."""
        return {stage: {old: str(gen.new) for old, gen in self.gens[stage].items()} for stage in STAGES}

    def rewrite(self, gen: Gen) -> None:
        """References and missing keys (0003), then model_id (0004), in one generation's documents."""
        names = self.names()
        if gen.lost is not None and gen.parent_gen is not None:
            names["draft"][gen.lost] = str(gen.parent_gen.new)
        for name, document in gen.docs.items():
            gen.docs[name] = follow(document, gen.stage, names)
        wanted: dict[str, Any] = {"stage": gen.stage, "gen_id": gen.new, "template_id": gen.template}
        if gen.stage == "draft":
            wanted["combo_id"] = gen.combo
        if gen.parent_gen is not None:
            wanted["parent_gen_id"] = gen.parent_gen.new
        if gen.stage != "essay":
            wanted["llm_model_id"] = gen.model
        wanted["replicate"] = gen.replicate
        wanted["llm_model_id"] = self.final_model(gen)
        for key, value in wanted.items():
            if absent(gen.meta.get(key)) and not absent(value):
                gen.meta[key] = value
        for name, document in gen.docs.items():
            gen.docs[name] = without_model_id(document)

    def follow_table(self, path: str, table: Table) -> None:
        names = self.names()
        file = path.rsplit("/", 1)[-1]
        if path.startswith("1_raw/"):
            return
        for line in table.rows():
            if line.inserted:
                continue
            name = table.text(line, "gen_id")
            stage = table.text(line, "stage")
            if stage not in STAGES and path.startswith("2_tasks/"):
                having = [each for each in STAGES if name in names[each]]
                prefixes = [each for each in STAGES if file.startswith(each)]
                stage = prefixes[0] if prefixes else having[0] if len(having) == 1 else ""
            if stage not in STAGES:
                continue
            gen = self.gens[stage].get(name)
            parent = names.get(PARENT_STAGE.get(stage, ""), {}).get(table.text(line, "parent_gen_id"))
            if gen is not None:
                put(table.cell(line, "gen_id"), str(gen.new))
                parent = str(gen.parent_gen.new) if gen.parent_gen else None
                if path.startswith("cohorts/"):
                    put(table.cell(line, "replicate"), str(gen.replicate))
            if parent is not None:
                put(table.cell(line, "parent_gen_id"), parent)

    # 0004

    def final_model(self, gen: Gen) -> Any:
        """The llm_model_id that metadata.json has in the end."""
        meta = gen.meta
        if gen.stage != "essay":
            return first(meta.get("llm_model_id"), gen.model)
        return first(meta.get("llm_model_id"), meta.get("model_id"), gen.legacy.get("model_id"))

    def warn_dropped_models(self) -> None:
        for gen in self.known():
            dropped = [value for document in gen.docs.values() for value in model_ids(document)]
            kept = self.final_model(gen)
            if any(kept is None or normal(value) != normal(kept) for value in dropped if not absent(value)):
                self.problems.add(("model-id-dropped", gen.stage, gen.old))

    # writing

    def new_tree(self, names: dict[str, dict[str, str]]) -> Tree:
        out: Tree = {}
        for path, entry in self.tree.items():
            parts = path.split("/")
            if parts[0] == ".migrator":
                continue
            data = entry
            if parts[0] == "gens" and len(parts) > 3 and parts[2] in names.get(parts[1], {}):
                gen = self.gens[parts[1]][parts[2]]
                parts[2] = str(gen.new)
                document = gen.docs.get(parts[3]) if len(parts) == 4 else None
                if document is not None and json.dumps(document) != json.dumps(gen.before[parts[3]]):
                    data = dump_json(document)
            if parts[0] == "selected_essays" and len(parts) == 2 and parts[1].endswith(".txt"):
                parts[1] = names["essay"].get(parts[1][:-4], parts[1][:-4]) + ".txt"
            if path in self.tables:
                data = self.tables[path].data()
            if path in self.texts:
                data = self.selected(self.texts[path], names).encode("utf-8")
            assert "/".join(parts) not in out, f"two files would be {'/'.join(parts)}"
            out["/".join(parts)] = data
        for draft in self.made:
            folder = f"gens/draft/{draft.new}/"
            out[folder + METADATA] = dump_json(draft.meta)
            out[folder + "raw.txt"] = out[folder + "parsed.txt"] = draft.text or b""
        return out

    def selected(self, text: str, names: dict[str, dict[str, str]]) -> str:
        bom = BOM if text.startswith(BOM) else ""
        known = names["draft"] | names["essay"]
        lines = split_lines(text[len(bom) :])
        return bom + "".join(known.get(body.strip(), body) + end for body, end in lines)


def put(cell: Cell | None, new: str) -> None:
    """Replace a cell that there may be."""
    if cell is not None:
        cell.put(new)


def follow(node: Any, own: str, names: dict[str, dict[str, str]]) -> Any:
    """A JSON value of a file of stage `own` with every mention of an old id replaced."""
    if isinstance(node, str):
        return follow_path(node, names)
    if isinstance(node, list):
        return [follow(each, own, names) for each in node]
    if not isinstance(node, dict):
        return node
    sibling = node.get("stage")
    stage = sibling if isinstance(sibling, str) and sibling in STAGES else own
    targets = {f"{each}_gen_id": each for each in STAGES} | {"gen_id": stage}
    targets["parent_gen_id"] = PARENT_STAGE.get(stage, "")
    out: dict[str, Any] = {}
    for key, value in node.items():
        is_id = isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))
        if key in targets and is_id and str(value) in names.get(targets[key], {}):
            out[key] = names[targets[key]][str(value)]
        elif key in ("task_id", "evaluation_task_id") and isinstance(value, str):
            out[key] = follow_path(follow_task(value, names["essay"]), names)
        else:
            out[key] = follow(value, own, names)
    return out


def follow_path(text: str, names: dict[str, dict[str, str]]) -> str:
    """A text with the id of each `gens/<stage>/<id>` in it replaced."""
    parts = text.split("/")
    out = list(parts)
    for at in range(len(parts) - 2):
        if parts[at] == "gens" and parts[at + 1] in STAGES:
            out[at + 2] = names[parts[at + 1]].get(parts[at + 2], parts[at + 2])
    return "/".join(out)


def follow_task(text: str, essays: dict[str, str]) -> str:
    """A task id that starts with an essay's id, the longest of several."""
    fits = [old for old in essays if text.startswith(old + "__")]
    if not fits:
        return text
    old = max(fits, key=len)
    return essays[old] + text[len(old) :]


def walk(node: Any, visit: Callable[[dict[str, Any]], None]) -> None:
    """Call `visit` for every object at any depth."""
    if isinstance(node, dict):
        visit(node)
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        walk(each, visit)


def model_ids(document: dict[str, Any]) -> list[Any]:
    """The values of model_id at any depth."""
    found: list[Any] = []
    walk(document, lambda node: found.append(node["model_id"]) if "model_id" in node else None)
    return found


def without_model_id(node: Any) -> Any:
    """The value without the key model_id at any depth."""
    if isinstance(node, list):
        return [without_model_id(each) for each in node]
    if isinstance(node, dict):
        return {key: without_model_id(value) for key, value in node.items() if key != "model_id"}
    return node
