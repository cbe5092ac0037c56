"""Seeded small stores with deterministic ids, and requests for cohorts in them, sound and wrong.

A request is made when its turn has come, because it may select what an earlier build made. Spots where the
contract can be read in two ways are avoided here, not decided.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests import random_stores
from tests.cohort_oracle import STAGES, gen_id_of, names_of, normal
from tests.oracle import Tree, migrate
from tests.random_stores import random_store

COMBOS = ("combo_v1_0a1b2c3d4e5f", "Combo_É", "combo_003")
TEMPLATES = {
    "draft": ("creative-v2", "Gwern_Original"),
    "essay": ("narrative-v18", "Parsed-From-Links-v1", "blank-gen"),
    "evaluation": ("novelty", "Style-v3", "rigor_模板"),
}
GENERATORS = {"Parsed-From-Links-v1": ("copy", " Copy "), "blank-gen": ("", " ")}
MODELS = ("sonnet-4", "Gemini_25_Pro", "qwen3", "7")
COHORTS = ("été 2025", "fusion-a", "old")
NEW_COHORTS = ("next", "later", "curated.best")
RUNS = ("20250901-101500", "20250901-101500-2", "20251002-000000")
YES, NO = ("true", "True", "1", "yes", "YES", " TRUE "), ("false", "False", "0", "no", "No")
SELECTION, COMBO_TABLE = "2_tasks/selected_essays.txt", "2_tasks/selected_combo_mappings.csv"
REPLICATION, MODEL_TABLE = "1_raw/replication_config.csv", "1_raw/llm_models.csv"
Value = TypeVar("Value")
LARGEST = 30  # evaluations in one cohort: keeps a build at a few milliseconds


def table_of(stage: str) -> str:
    """Path of a stage's templates."""
    return f"1_raw/{stage}_templates.csv"


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]], end: str = "\n", bom: bool = False) -> bytes:
    """A CSV file."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end)
    writer.writerow(header)
    writer.writerows(rows)
    return (("\ufeff" if bom else "") + out.getvalue()).encode()


@dataclass(frozen=True)
class Axes:
    """What the tables say: which rows are in, and how many replicates."""

    combos: tuple[str, ...]
    templates: dict[str, tuple[str, ...]]
    generation: tuple[str, ...]
    evaluation: tuple[str, ...]
    replicates: dict[str, int]

    def evaluations(self) -> int:
        """How many a cartesian cohort has."""
        size = len(self.combos) * len(self.generation) * len(self.evaluation)
        for stage in STAGES:
            size *= len(self.templates[stage]) * self.replicates[stage]
        return size

    def tables(self, rng: random.Random) -> Tree:
        """The five tables and the combos, in one of many spellings."""
        tree: Tree = {}
        for stage in STAGES:
            rows: list[list[str]] = [
                [
                    spelled(name, rng),
                    f'called "{name}", so',
                    rng.choice(GENERATORS.get(name, ("llm", "", "LLM"))),
                    rng.choice(YES if name in self.templates[stage] else NO),
                ]
                for name in once((*self.templates[stage], *TEMPLATES[stage]))
            ]
            tree[table_of(stage)] = shuffled_csv(("template_id", "name", "generator", "active"), rows, rng)
        models = [
            [
                spelled(name, rng),
                *(rng.choice(YES if name in uses else NO) for uses in (self.generation, self.evaluation)),
            ]
            for name in once((*self.generation, *self.evaluation, *MODELS))
        ]
        tree[MODEL_TABLE] = shuffled_csv(("id", "for_generation", "for_evaluation"), models, rng)
        counts = [[stage, rng.choice(("{}", " {} ")).format(self.replicates[stage])] for stage in STAGES]
        tree[REPLICATION] = shuffled_csv(("stage", "replicates"), counts, rng)
        combos = [[spelled(name, rng), f"concept-{number}"] for name in self.combos for number in range(2)]
        tree[COMBO_TABLE] = shuffled_csv(("combo_id", "concept_id"), combos, rng)
        return tree


def random_axes(rng: random.Random) -> Axes:
    """Axes of a cartesian cohort with at most LARGEST evaluations, none of them empty."""
    while True:
        axes = Axes(
            some(COMBOS, rng),
            {stage: some(TEMPLATES[stage], rng) for stage in STAGES},
            some(MODELS, rng),
            some(MODELS, rng),
            {stage: rng.choice((1, 1, 2, 3)) for stage in STAGES},
        )
        if axes.evaluations() <= LARGEST:
            return axes


def some(values: Sequence[str], rng: random.Random) -> tuple[str, ...]:
    """One to three of the values, few rather than many, the first ones rather than the last."""
    return tuple(dict.fromkeys(usual(values, rng) for _ in range(rng.choice((1, 2, 2, 3)))))


def usual(values: Sequence[Value], rng: random.Random) -> Value:
    """One of the values, one of the first two more often than not: so stores and requests meet."""
    return rng.choice(values[:2] if rng.random() < 0.6 else values)


def spelled(name: str, rng: random.Random) -> str:
    """The same name to a signature."""
    return rng.choice((name, name, name, name.upper(), name.lower(), f" {name} ", f"{name}\t"))


def once(names: Iterable[str]) -> list[str]:
    """Each name in its first spelling."""
    return list({normal(name): name for name in reversed(list(names))}.values())


def shuffled_csv(header: Sequence[str], rows: list[list[str]], rng: random.Random) -> bytes:
    """A table with its rows and columns in any order."""
    rng.shuffle(rows)
    order = rng.sample(range(len(header)), len(header))
    cells = [[row[at] for at in order] for row in rows]
    return csv_bytes([header[at] for at in order], cells, rng.choice(("\n", "\r\n")), bom=rng.random() < 0.2)


# --- stores ------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Item:
    """One generation of the store that a case begins with."""

    stage: str
    gen_id: str
    metadata: dict[str, Any]
    parent: Item | None = None


@dataclass(eq=False)
class Case:
    """A store, and the requests that follow one another in it."""

    seed: int
    rng: random.Random = field(init=False)
    items: list[Item] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)  # ids as the formula gives them
    old_ids: dict[str, list[str]] = field(default_factory=dict)  # essay -> its names in the past
    last: Request | None = None

    def __post_init__(self) -> None:
        self.rng = random.Random(f"cohorts {self.seed}")
        for stage, count in (("draft", 6), ("essay", 7), ("evaluation", 9)):
            for _ in range(self.rng.randint(0 if stage == "evaluation" else 1, count)):
                self.add(stage)

    def of(self, stage: str) -> list[Item]:
        return [item for item in self.items if item.stage == stage]

    def add(self, stage: str) -> None:
        """A generation with its right id; replicates with gaps, spellings of every kind."""
        rng = self.rng
        template, model = usual(TEMPLATES[stage], rng), usual(MODELS, rng)
        replicate = rng.choice((1, 1, 1, 2, 2, 3, 5))
        facts: dict[str, Any] = {"template_id": spelled(template, rng)}
        if stage == "draft":
            parent, combo = None, usual(COMBOS, rng)
            facts |= {"combo_id": spelled(combo, rng), "llm_model_id": spelled(model, rng)}
            task = (normal(combo), normal(template), normal(model))
        else:
            parent = usual(self.of("draft" if stage == "essay" else "essay"), rng)
            facts["parent_gen_id"] = parent.gen_id
            task = (parent.gen_id, normal(template))
            if stage == "evaluation":
                facts["llm_model_id"] = spelled(model, rng)
                task = (*task, normal(model))
            elif rng.random() < 0.5:
                facts["llm_model_id"] = rng.choice((spelled(model, rng), None, "nan", " "))
        gen_id = gen_id_of(stage, task, replicate)
        if gen_id in self.taken:
            return
        self.taken.add(gen_id)
        gen_id += rng.choice(("-1", "-2")) if rng.random() < 0.03 else ""  # once it had lost a collision
        key = rng.choice(("origin_cohort_id", "cohort_id"))
        facts |= {"stage": stage, "gen_id": gen_id, "mode": rng.choice(("llm", "copy")), "replicate": replicate}
        facts |= {key: rng.choice((*COHORTS, *COHORTS, None, "next"))}
        keys = rng.sample(sorted(facts), len(facts))
        self.items.append(Item(stage, gen_id, {key: facts[key] for key in keys}, parent))

    def tree(self) -> Tree:
        """The store before the first request."""
        rng = self.rng
        tree: Tree = {f"gens/{stage}/": b"" for stage in STAGES}
        for item in self.items:
            folder = f"gens/{item.stage}/{item.gen_id}/"
            tree[folder + "metadata.json"] = json.dumps(item.metadata, ensure_ascii=False).encode()
            if rng.random() < 0.6:
                tree[folder + "parsed.txt"] = rng.choice((b"7", b"", b"text \xff"))
            if rng.random() < 0.3:
                tree[folder + "raw.txt"] = b"raw"
        for cohort in rng.sample(COHORTS, rng.randint(0, len(COHORTS))):
            tree[f"cohorts/{cohort}/membership.csv"] = self.membership()
            if rng.random() < 0.5:
                old = {"combos": ["x"], "templates": {}, "llms": {}}
                tree[f"cohorts/{cohort}/manifest.json"] = rng.choice((json.dumps(old).encode(), b"", b"[1"))
        tree |= {"gens/essay/.set-aside/x/metadata.json": b"{", "gens/draft/.DS_Store": b"\0", "gens/notes.md": b"#"}
        return tree | self.history()

    def membership(self) -> bytes:
        """Some of the store; essays bring their drafts, evaluations may stand alone."""
        rng = self.rng
        listed = [item for item in self.items if rng.random() < 0.4]
        parents = [item.parent for item in listed if item.stage == "essay" and item.parent]
        rows = [item for stage in STAGES for item in dict.fromkeys([*parents, *listed]) if item.stage == stage]
        parent_ids = [item.parent.gen_id if item.parent else "" for item in rows]
        end = rng.choice(("\n", "\r\n"))
        if rng.random() < 0.5:
            return csv_bytes(("stage", "gen_id"), [(item.stage, item.gen_id) for item in rows], end)
        header = ("note", "gen_id", "stage", "parent_gen_id", "replicate")
        replicates = [item.metadata["replicate"] for item in rows]
        cells = [
            ("a, b", item.gen_id, item.stage, parent, n)
            for item, parent, n in zip(rows, parent_ids, replicates, strict=True)
        ]
        return csv_bytes(header, cells, end)

    def history(self) -> Tree:
        """None, or a ledger of up to three runs with their mappings; the ids of before lead to those of today."""
        rng = self.rng
        count = rng.choice((0, 0, 1, 1, 2, 3))
        past = {item: [f"old{rng.randrange(10**9)}" for _ in range(count)] for item in self.items}
        for item in rng.sample(self.items, len(self.items) // 3):  # had its id from some run on
            past[item] = past[item][: count // 2] + [item.gen_id] * (count - count // 2)
        tree: Tree = {}
        for number, run_id in enumerate(RUNS[:count]):
            names = {item: [*past[item], item.gen_id] for item in self.items}
            rows = sorted((STAGES.index(i.stage), i.stage, *names[i][number : number + 2]) for i in self.items)
            mapping = csv_bytes(("stage", "old_gen_id", "new_gen_id"), [row[1:] for row in rows])
            tree[f".migrator/mappings/{run_id}/mapping.csv"] = mapping
        self.old_ids = {item.gen_id: sorted(set(past[item]) - {item.gen_id}) for item in self.of("essay")}
        entries = [ledger_line(number, run_id) for number, run_id in enumerate(RUNS[:count], 1)]
        return tree | ({".migrator/ledger.jsonl": b"".join(entries)} if entries else {})

    def requests(self) -> int:
        """How many builds follow one another."""
        return self.rng.randint(2, 4)

    def request(self, root: Path) -> Request:
        """The next one, in the store as it is by now."""
        rng, last = self.rng, self.last
        axes = last.axes if last and rng.random() < 0.5 else random_axes(rng)
        files = axes.tables(rng)
        selection = self.selection(root, axes)
        if last and axes is last.axes and rng.random() < 0.4:
            selection = last.files.get(SELECTION)
        if selection is not None:
            files[SELECTION] = selection
        self.write_outputs(root)
        name = last.cohort_id if last and rng.random() < 0.4 else rng.choice((*NEW_COHORTS, *NEW_COHORTS, *COHORTS))
        self.last = Request(name, axes, files, extend=rng.random() < 0.5)
        return self.last

    def write_outputs(self, root: Path) -> None:
        """Let some generations have their text by now."""
        for stage in STAGES:
            for name in names_of(root, stage):
                path = root / "gens" / stage / name / "parsed.txt"
                if not path.exists() and self.rng.random() < 0.3:
                    path.write_bytes(b"5")

    def selection(self, root: Path, axes: Axes) -> bytes | None:
        """selected_essays.txt or None for no such file: every directive, alias and oddity."""
        rng = self.rng
        essays = names_of(root, "essay")
        if rng.random() < 0.2:
            return None
        evaluations = len(axes.templates["evaluation"]) * len(axes.evaluation) * axes.replicates["evaluation"]
        under = evaluations * axes.replicates["draft"] * axes.replicates["essay"]
        chosen = rng.sample(essays, min(len(essays), rng.randint(1, 4), max(1, LARGEST // under)))
        if rng.random() < 0.1:
            chosen = []
        lines = [self.selected(name) for name in chosen for _ in range(rng.choice((1, 1, 1, 2)))]
        mode, directives = self.directives()
        if not chosen and mode != "reuse-essays":
            directives = [line for line in directives if "mode" in line]  # fill-up in vain: wrong or not?
        comments = rng.sample(("", "# best of", "#", "   ", "# model: any", f"# {essays[0] if essays else ''}"), 2)
        lines = scattered([*lines, *comments], directives, rng)
        end = rng.choice(("\n", "\n", "\r\n"))
        text = end.join(lines) + rng.choice((end, ""))
        return (("\ufeff" if rng.random() < 0.1 else "") + text).encode()

    def selected(self, name: str) -> str:
        """The line of an essay: its id or an id that it once had, with blanks or a comment behind it."""
        rng = self.rng
        old = self.old_ids.get(name, [])
        name = rng.choice(old) if old and rng.random() < 0.5 else name
        return rng.choice(("{}", "{}", "  {}\t", "{} # good")).format(name)

    def directives(self) -> tuple[str, list[str]]:
        """The mode that counts, and lines that say so; seldom fill-up where it must not be."""
        rng = self.rng
        aliases = {
            "regenerate": ("regenerate",),
            "reuse-drafts": ("reuse-drafts", "reuse_drafts"),
            "reuse-essays": ("reuse-essays", "reuse_essays", "evaluation-only", "evaluations-only"),
        }
        modes = rng.choices(sorted(aliases), k=rng.choice((0, 1, 1, 1, 2)))
        lines = [
            rng.choice(("# mode: {}", "#mode:{}", "#  Mode: {}  ", "  # MODE:   {}")).format(
                rng.choice((str, str.upper, str.title))(rng.choice(aliases[mode]))
            )
            for mode in modes
        ]
        mode = modes[-1] if modes else "regenerate"
        if rng.random() < (0.5 if mode == "reuse-essays" else 0.05):
            fill = rng.choice(("# fill-up", "#fillup", "# skip-existing-evaluations", "# Fill-Up ", "#  FILLUP"))
            lines.insert(rng.randint(0, len(lines)), fill)
        return mode, lines


@dataclass(frozen=True)
class Request:
    """Tables and selection as they lie there when a cohort is built."""

    cohort_id: str
    axes: Axes
    files: Tree
    extend: bool = False

    def put(self, root: Path) -> None:
        """Write the files; a selection of before is gone."""
        (root / SELECTION).unlink(missing_ok=True)
        for path, data in self.files.items():
            assert isinstance(data, bytes)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)


def scattered(lines: list[str], directives: list[str], rng: random.Random) -> list[str]:
    """The lines in any order, among them the directives in theirs."""
    rng.shuffle(lines)
    spots = sorted(rng.randint(0, len(lines)) for _ in directives)
    for shift, (spot, directive) in enumerate(zip(spots, directives, strict=True)):
        lines.insert(spot + shift, directive)
    return lines


def ledger_line(number: int, run_id: str) -> bytes:
    """One line of a ledger."""
    entry: dict[str, Any] = {"number": f"{number:04}", "name": "made up", "title": "", "digest": "0" * 64}
    entry |= {"run_id": run_id, "start": "2025-09-01T10:15:00Z", "end": "2025-09-01T10:15:01Z", "counts": {}}
    return json.dumps(entry | {"version": "0", "who": ""}).encode() + b"\n"


def migrated_store(seed: int) -> Tree:
    """A store of older eras after its migrations, with tables and a selection.

    The selection names essays as they were called before. The mode regenerate is left out: whether an essay's
    model may come from a membership row, which no signature needed, can be read in two ways.
    """
    rng = random.Random(f"migrated {seed}")
    result = migrate(random_store(seed))
    tree = {path: data for path, data in result.tree.items() if not path.startswith(".migrator/")}
    axes = Axes(
        combos=("combo_001",),
        templates={stage: random_stores.TEMPLATES[stage][:2] for stage in STAGES},
        generation=("sonnet-4",),
        evaluation=("sonnet-4", "gemini_25_pro"),
        replicates={stage: rng.choice((1, 2, 3)) for stage in STAGES},
    )
    essays = [old for stage, old, _ in result.mapping if stage == "essay" and "#" not in old and old == old.strip()]
    mode = rng.choice(("reuse-drafts", "reuse-essays", "reuse-essays\n# fill-up"))
    lines = [f"# mode: {mode}", *rng.sample(essays, min(3, len(essays)))] if rng.random() < 0.8 else []
    mapping = csv_bytes(("stage", "old_gen_id", "new_gen_id"), result.mapping)
    past: Tree = {
        f".migrator/mappings/{RUNS[0]}/mapping.csv": mapping,
        ".migrator/ledger.jsonl": ledger_line(1, RUNS[0]),
    }
    return tree | axes.tables(rng) | past | {SELECTION: "\n".join(lines).encode()}


# --- wrong inputs ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Small:
    """A store as small as can be: one draft, one essay, one evaluation; and its tables, one of each."""

    draft: str = gen_id_of("draft", ("c", "dt", "m"), 1)
    essay: str = gen_id_of("essay", (gen_id_of("draft", ("c", "dt", "m"), 1), "et"), 1)

    def tree(self) -> Tree:
        evaluation = gen_id_of("evaluation", (self.essay, "vt", "m"), 1)
        return (
            record("draft", self.draft, combo_id="c", template_id="dt", llm_model_id="m")
            | record("essay", self.essay, parent_gen_id=self.draft, template_id="et")
            | record("evaluation", evaluation, parent_gen_id=self.essay, template_id="vt", llm_model_id="m")
            | small_tables()
        )


def record(stage: str, gen_id: str, **facts: Any) -> Tree:
    """A generation's metadata.json, replicate 1 and of cohort `old` unless said otherwise."""
    document = {"stage": stage, "gen_id": gen_id, "replicate": 1, "origin_cohort_id": "old"} | facts
    return {f"gens/{stage}/{gen_id}/metadata.json": json.dumps(document).encode()}


def small_tables(draft: int = 1, essay: int = 1, evaluation: int = 1) -> Tree:
    """One combo `c`, templates `dt`, `et`, `vt`, model `m` for both; so many replicates."""
    rows = {"draft": "dt", "essay": "et", "evaluation": "vt"}
    tree: Tree = {
        table_of(stage): f"template_id,generator,active\n{name},llm,true\n".encode() for stage, name in rows.items()
    }
    counts = f"stage,replicates\ndraft,{draft}\nessay,{essay}\nevaluation,{evaluation}\n"
    return tree | {
        MODEL_TABLE: b"id,for_generation,for_evaluation\nm,true,true\n",
        REPLICATION: counts.encode(),
        COMBO_TABLE: b"combo_id\nc\n",
    }


@dataclass(frozen=True)
class Wrong:
    """A store with one thing wrong, and what refusing it must look like."""

    change: Callable[[Tree], Tree]
    exit_code: int
    reason: str
    says: tuple[str, ...] = ()  # what the message must name

    def tree(self) -> Tree:
        return self.change(Small().tree())


def _put(path: str, text: str | bytes) -> Callable[[Tree], Tree]:
    return lambda tree: tree | {path: text.encode() if isinstance(text, str) else text}


def _drop(*paths: str) -> Callable[[Tree], Tree]:
    return lambda tree: {path: data for path, data in tree.items() if not path.startswith(paths)}


def _replace(path: str, old: str, new: str) -> Callable[[Tree], Tree]:
    def change(tree: Tree) -> Tree:
        data = tree[path]
        assert isinstance(data, bytes)
        assert old.encode() in data
        return tree | {path: data.replace(old.encode(), new.encode())}

    return change


def _both(*changes: Callable[[Tree], Tree]) -> Callable[[Tree], Tree]:
    def change(tree: Tree) -> Tree:
        for one in changes:
            tree = one(tree)
        return tree

    return change


_D, _E = Small().draft, Small().essay
_DRAFT_JSON, _ESSAY_JSON = f"gens/draft/{_D}/metadata.json", f"gens/essay/{_E}/metadata.json"


def _selected(text: str | bytes) -> Callable[[Tree], Tree]:
    return _put(SELECTION, text)


WRONG: dict[str, Wrong] = {
    "unknown mode": Wrong(_selected(f"# mode: reuse-all\n{_E}\n"), 1, "selection", ("reuse-all",)),
    "fill-up, regenerate": Wrong(_selected(f"# fill-up\n{_E}\n"), 1, "selection"),
    "fill-up, reuse-drafts": Wrong(_selected(f"# mode: reuse-drafts\n# fillup\n{_E}\n"), 1, "selection"),
    "a draft id among essays": Wrong(_selected(f"{_E}\n{_D}\n"), 1, "selection", (_D,)),
    "an unknown id": Wrong(_selected(f"{_E}\ne_nobody\n"), 1, "selection", ("e_nobody",)),
    "an id in another case": Wrong(_selected(_E.upper()), 1, "selection", (_E.upper(),)),
    "a path for an id": Wrong(_selected("../draft/" + _D), 1, "selection"),
    "a selection that is not UTF-8": Wrong(_selected(b"caf\xe9\n"), 1, "selection", ("selected_essays.txt",)),
    "an essay set aside": Wrong(
        _both(_put("gens/essay/.set-aside/e_gone/metadata.json", "{}"), _selected("e_gone\n")), 1, "selection"
    ),
    "an essay without its draft": Wrong(_both(_drop(f"gens/draft/{_D}"), _selected(_E)), 1, "parent", (_D,)),
    "an old id that leads nowhere": Wrong(
        _both(
            _put(".migrator/ledger.jsonl", ledger_line(1, RUNS[0])),
            _put(f".migrator/mappings/{RUNS[0]}/mapping.csv", "stage,old_gen_id,new_gen_id\nessay,old,e_gone\n"),
            _selected("old\n"),
        ),
        1,
        "selection",
        ("old",),
    ),
    "an old draft id": Wrong(
        _both(
            _put(".migrator/ledger.jsonl", ledger_line(1, RUNS[0])),
            _put(f".migrator/mappings/{RUNS[0]}/mapping.csv", f"stage,old_gen_id,new_gen_id\ndraft,old,{_D}\n"),
            _selected("old\n"),
        ),
        1,
        "selection",
        ("old",),
    ),
    **{
        f"no replicates for {stage}": Wrong(
            _put(REPLICATION, "stage,replicates\n" + "".join(f"{s},1\n" for s in STAGES if s != stage)),
            *(1, "table", (stage,)),
        )
        for stage in STAGES
    },
    **{
        f"replicates {text!r}": Wrong(_replace(REPLICATION, "essay,1", f"essay,{text}"), 1, "table", ("essay",))
        for text in ("0", "two", "", "-1", "1.5", "true", "nan", "٢", "1_0", "1e1")
    },
    **{
        f"{stage} template active {text!r}": Wrong(
            _replace(table_of(stage), "llm,true", f"llm,{text}"), 1, "table", (f"{stage}_templates.csv",)
        )
        for stage in STAGES
        for text in ("maybe", "y", "on", "2", "1.0", "")
    },
    "generation flag 'perhaps'": Wrong(
        _replace(MODEL_TABLE, "true,true", "perhaps,true"), 1, "table", ("llm_models.csv",)
    ),
    "evaluation flag 'perhaps'": Wrong(
        _replace(MODEL_TABLE, "true,true", "true,perhaps"), 1, "table", ("llm_models.csv",)
    ),
    **{
        f"no {path}": Wrong(_drop(path), 1, "table", (path.rpartition("/")[2],))
        for path in (*map(table_of, STAGES), MODEL_TABLE, REPLICATION, COMBO_TABLE)
    },
    **{
        f"no column {column} in {path}": Wrong(
            _replace(path, column, f"{column}_"), 1, "table", (path.rpartition("/")[2], column)
        )
        for path, columns in {
            **{table_of(stage): ("template_id", "active") for stage in STAGES},
            MODEL_TABLE: ("id", "for_generation", "for_evaluation"),
            REPLICATION: ("stage", "replicates"),
            COMBO_TABLE: ("combo_id",),
        }.items()
        for column in columns
    },
    **{
        f"{name} in {path}": Wrong(_put(path, data), 1, "table", (path.rpartition("/")[2],))
        for path, header in ((table_of("essay"), b"template_id,active"), (COMBO_TABLE, b"combo_id,x"))
        for name, data in {
            "Latin-1": header + b"\ncaf\xe9,1\n",
            "an open quote": header + b'\n"a,1\n',
            "a repeated header": header + b"," + header[-1:] + b",x,x\na,1,1,1,1\n",
            "NUL": header + b"\na\0,1\n",
            "a row of another width": header + b"\na,1,2\n",
            "nothing": b"",
        }.items()
    },
    "an essay without metadata": Wrong(
        _both(_drop(_ESSAY_JSON), _put(f"gens/essay/{_E}/raw.txt", "x"), _selected(_E)), 1, "metadata", (_E,)
    ),
    **{
        f"{what} of a selected essay: {name}": Wrong(_both(_put(path, data), _selected(_E)), 1, "metadata", (gen_id,))
        for what, path, gen_id in (("metadata", _ESSAY_JSON, _E), ("draft", _DRAFT_JSON, _D))
        for name, data in {
            "torn": b'{"stage": ',
            "a list": b"[]",
            "not UTF-8": b'{"stage": "\xe9"}',
            "empty": b"{}",
        }.items()
    },
    "a membership without gen_id": Wrong(_put("cohorts/c1/membership.csv", "stage,id\n"), 1, "table"),
    "a membership with less": Wrong(
        _put("cohorts/c1/membership.csv", f"stage,gen_id\ndraft,{_D}\n"), 4, "membership", (_E,)
    ),
    "a membership with more": Wrong(
        _both(
            _put("cohorts/c1/membership.csv", f"stage,gen_id\ndraft,{_D}\nessay,{_E}\n"),
            _replace(COMBO_TABLE, "c\n", "other\n"),
        ),
        4,
        "membership",
        (_D,),
    ),
}
UNSAFE_NAMES = ("../x", "..", ".", "a/b", "/abs", ".hidden", "a\nb", "a\x07b", "=1+1", "@x", "x/..")
