"""Seeded small legacy stores that use every era's keys and oddities, and folders to and from them.

Without `blocking` a store has no blocking problem; what it does have is for the oracle to say. Spots where
the contract can be read in two ways are avoided here, not decided.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.oracle import PARENT_STAGE, STAGES, Link, Tree, migrate

COMBOS = ("combo_v1_0a1b2c3d4e5f", "combo_001", "Combo_É", "combo_v1_ffff")
MODELS = ("sonnet-4", "gemini_25_pro", "25_pro", "pro", "qwen3-235b-a22b", "modèle-é", "7")
TEMPLATES = {
    "draft": ("creative-v2", "gwern_original", "Deep-V1", "links_v10", "v10"),
    "essay": ("parsed-from-links-v1", "narrative-v18", "blank-gen", "copy_loud", "unlisted"),
    "evaluation": ("novelty", "Style-v3", "rigor_模板"),
}
GENERATORS = {"parsed-from-links-v1": "copy", "narrative-v18": "llm", "blank-gen": "", "copy_loud": " COPY "}
COPYING = ("parsed-from-links-v1", "copy_loud")
WORDS = (
    "amber",
    "Basil",
    "cedar",
    "Dune",
    "émeraude",
    "fox.2",
    "grün-9",
    "hazel_3",
    "ivory",
    "Joule",
    "模板",
)
COHORTS = ("cohort-main", "été 2025", "fusion a", "Zeta", "nocombo-old")
REPLICATES = (
    1,
    1,
    1,
    2,
    2,
    3,
    "2",
    "1",
    2.0,
    1.0,
    True,
    False,
    0,
    -1,
    "1.0",
    " 1 ",
    "007",
    10**20,
    None,
    "nan",
)
ODD_REPLICATES: tuple[Any, ...] = (1.5, "１", "1_0", "0", "", [], {}, float("nan"), 2**70, "-1", "two", 3e9)
ABSENT = (None, "", "  ", "nan", "NaN", "NAN", "unknown", "Unknown", float("nan"))
SCHEMAS = (
    ("stage", "gen_id"),
    ("stage", "gen_id", "cohort_id", "parent_gen_id", "combo_id", "template_id", "llm_model_id", "replicate"),
    (
        *("stage", "gen_id", "cohort_id", "combo_id", "draft_template", "generation_model"),
        *("generation_model_name", "essay_task_id", "parent_gen_id", "essay_template", "evaluation_template"),
        *("evaluation_model", "evaluation_model_name", "parser"),
    ),
)
MISSING = object()


@dataclass(eq=False)
class Item:
    """One generation as it is planned; how it is written depends on `index` alone, so ids can be changed."""

    index: int
    stage: str
    name: str
    combo: str
    template: str
    model: str
    parent: Item | None = None
    lost: str | None = None  # the parent is a draft that never existed
    draft_template: str = ""  # of the lost draft
    source: bool = False  # of a lost draft: facts and text must be there
    mode: Any = MISSING
    text: bytes | None = None
    cohorts: list[Cohort] = field(default_factory=list)
    in_rows: set[str] = field(default_factory=set)  # meanings that only membership rows tell

    @property
    def parent_name(self) -> str:
        return self.lost if self.lost is not None else self.parent.name if self.parent else ""


@dataclass(eq=False)
class Cohort:
    name: str
    columns: tuple[str, ...]


def random_store(seed: int, size: int = 30, blocking: bool = False) -> Tree:
    """A store of about `size` generations; with `blocking`, one to three blocking problems are planted."""
    maker = _Maker(seed, size)
    tree = maker.render()
    if maker.rng.random() < 0.7:
        maker.borrow_new_ids(migrate(tree).mapping)
        tree = maker.render()
    if blocking:
        for number in range(maker.rng.randint(1, 3)):
            _plant(tree, maker, number)
    return dict(sorted(tree.items()))


def write_tree(tree: Tree, folder: Path) -> None:
    """Write a store into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, entry in tree.items():
        target = folder / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, Link):
            target.symlink_to(entry.target)
        else:
            target.write_bytes(entry)


def read_tree(folder: Path) -> Tree:
    """Read a folder: files, symbolic links, and empty folders as a path that ends in a slash."""
    tree: Tree = {}
    for base, folders, files in os.walk(folder):
        here = Path(base)
        for name in (*folders, *files):
            path = here / name
            if path.is_symlink():
                tree[path.relative_to(folder).as_posix()] = Link(os.readlink(path))
            elif name in files:
                tree[path.relative_to(folder).as_posix()] = path.read_bytes()
        if not folders and not files and here != folder:
            tree[here.relative_to(folder).as_posix() + "/"] = b""
    return dict(sorted(tree.items()))


class _Maker:
    """Plans items and cohorts once; renders them as often as asked."""

    def __init__(self, seed: int, size: int):
        self.seed = seed
        self.rng = random.Random(f"store {seed}")
        self.items: list[Item] = []
        self.lost_names: set[str] = set()
        self.has_generators = self.rng.random() < 0.7
        self.cohorts = [self.cohort(name) for name in self.rng.sample(COHORTS, self.rng.randint(1, 4))]
        self.plan(size)

    # planning

    def of(self, stage: str) -> list[Item]:
        return [item for item in self.items if item.stage == stage]

    def cohort(self, name: str) -> Cohort:
        columns: tuple[str, ...] = self.rng.choice(SCHEMAS)
        if len(columns) > 2 and self.rng.random() < 0.5:
            columns = (*columns, "note", "origin_cohort_id")
        if "replicate" not in columns and self.rng.random() < 0.2:
            columns = (*columns, "replicate")
        if self.rng.random() < 0.1:
            columns = tuple(self.rng.sample(columns, len(columns)))
        return Cohort(name, columns)

    def name(self, stage: str) -> str:
        rng = self.rng
        taken = {item.name for item in self.of(stage)} | self.lost_names
        while True:
            dice = rng.random()
            if dice < 0.5:
                name = "".join(rng.choices("0123456789abcdefghijklmnopqrstuvwxyz", k=16))
            elif dice < 0.65 and self.items:
                name = rng.choice(self.items).name
            elif dice < 0.72 and self.items:
                name = f"{rng.choice(self.items).name}__{rng.choice(WORDS)}"
            elif dice < 0.8:
                name = rng.choice(("007", "42", "1e5", "1.0", "NA", "None", "true", "d_", "v_1-1"))
            else:
                name = rng.choice(WORDS) + rng.choice(("", "", "-x", "_Y", " z", ".tmp"))
                name = name.swapcase() if rng.random() < 0.1 else name
            if name not in taken and len(name) < 60:
                return name

    def add(self, stage: str, **facts: Any) -> Item:
        rng = self.rng
        planned: dict[str, Any] = {
            "name": self.name(stage),
            "combo": rng.choice(COMBOS[:2] if rng.random() < 0.7 else COMBOS),
            "template": rng.choice(TEMPLATES[stage][:2] if rng.random() < 0.6 else TEMPLATES[stage]),
            "model": rng.choice(MODELS[:2] if rng.random() < 0.6 else MODELS),
            "mode": rng.choice(("llm", "llm", "copy", MISSING, *ABSENT)),
        }
        item = Item(len(self.items), stage, **(planned | facts))
        item.cohorts = rng.sample(self.cohorts, min(len(self.cohorts), rng.choice((0, 1, 1, 1, 2))))
        columns = {column for cohort in item.cohorts for column in cohort.columns}
        model = {"draft": "generation_model", "essay": "generation_model"}.get(stage, "evaluation_model")
        for meaning, wanted in (("combo", {"combo_id"}), ("model", {"llm_model_id", model})):
            if wanted & columns and rng.random() < 0.25:
                item.in_rows.add(meaning)
        if item.text is None and rng.random() < 0.8:
            item.text = self.payload(item)
        self.items.append(item)
        return item

    def payload(self, item: Item) -> bytes:
        name = item.name.encode()
        texts = (
            b"text of " + name,
            b"",
            b"gens/draft/" + name + b"/raw.txt\r\nSCORE: 7\r\n",
            b"\xff\xfe\x00" + name,
        )
        return self.rng.choice((*texts, "same \u00e9 text\r".encode()))

    def plan(self, size: int) -> None:
        rng = self.rng
        for _ in range(max(2, size // 5)):
            self.add("draft")
        for draft in rng.sample(self.of("draft"), max(1, len(self.of("draft")) // 3)):  # twins
            text = draft.text if rng.random() < 0.5 else None
            self.add("draft", combo=draft.combo, template=draft.template, model=draft.model, text=text)
        for _ in range(max(1, size // 5)):
            self.add("essay", parent=rng.choice(self.of("draft")))
        for essay in rng.sample(self.of("essay"), max(1, len(self.of("essay")) // 3)):
            self.add("essay", parent=essay.parent, template=essay.template)
        for _ in range(rng.randint(0, max(1, size // 12))):
            self.plan_lost()
        while len(self.items) < size:
            essay = rng.choice(self.of("essay"))
            for _ in range(rng.randint(1, 3)):
                self.add("evaluation", parent=essay, template=rng.choice(TEMPLATES["evaluation"][:2]))

    def plan_lost(self) -> None:
        """Essays of one draft that never existed."""
        rng = self.rng
        drafts = {item.name for item in self.of("draft")}
        names = [
            f"{rng.choice(COMBOS)}_{rng.choice(TEMPLATES['draft'])}_pro",
            f"lost {len(self.items)}",
            "77",
        ]
        names += [item.name for item in self.items if item.stage != "draft"]  # an id, but of another stage
        name = rng.choice([each for each in names if each not in drafts | self.lost_names])
        self.lost_names.add(name)
        texts = [f"lost text {number} of {name}\r\n".encode() for number in range(rng.randint(1, 3))]
        like = rng.choice(self.of("draft"))
        facts = {"combo": like.combo, "model": like.model, "draft_template": like.template}
        if like.text is not None and rng.random() < 0.5:
            texts.append(like.text)
        for number in range(rng.randint(1, 6)):
            mine = {"draft_template": rng.choice(TEMPLATES["draft"])}
            mine = facts if rng.random() < 0.8 else mine
            source = number == 0 or rng.random() < 0.6
            if source and self.has_generators and rng.random() < 0.6:
                template, mode = rng.choice(COPYING), rng.choice(("copy", "llm", MISSING, "nan"))
            elif source:
                template, mode = rng.choice(("narrative-v18", "unlisted", "parsed-from-links-v1")), "copy"
            else:
                template, mode = (
                    rng.choice(("narrative-v18", "blank-gen")),
                    rng.choice(("llm", "copy", "unknown")),
                )
            source = source or mode == "copy"
            text = rng.choice(texts) if source or rng.random() < 0.5 else None
            made = self.add("essay", lost=name, source=source, template=template, mode=mode, text=text, **mine)
            made.in_rows.discard("combo")

    def borrow_new_ids(self, mapping: list[tuple[str, str, str]]) -> None:
        """Let an old id be another's new id (chains, cycles), or already right."""
        new = {(stage, old): name for stage, old, name in mapping}
        for _ in range(self.rng.randint(1, 3)):
            stage = self.rng.choice(STAGES)
            some = [item for item in self.of(stage) if (stage, item.name) in new]
            if len(some) < 2:
                continue
            one, other = self.rng.sample(some, 2)
            names = {item.name for item in self.of(stage)}
            a, b = new[stage, one.name], new[stage, other.name]
            if {a, b} & names:
                continue
            dice = self.rng.random()
            if dice < 0.3:
                one.name = a
            elif dice < 0.7:
                other.name = a
            else:
                one.name, other.name = b, a

    # writing

    def render(self) -> Tree:
        tree: Tree = {}
        for item in self.items:
            self.write_item(tree, item, random.Random(f"item {self.seed} {item.index}"))
        rng = random.Random(f"rest {self.seed}")
        for cohort in self.cohorts:
            self.write_cohort(tree, cohort, rng)
        self.write_sources(tree, rng)
        self.write_tasks(tree, rng)
        self.write_strays(tree, rng)
        return tree

    def any_item(self, rng: random.Random, stage: str | None = None) -> Item:
        return rng.choice(self.of(stage) if stage and self.of(stage) else self.items)

    def write_item(self, tree: Tree, item: Item, rng: random.Random) -> None:
        folder = f"gens/{item.stage}/{item.name}/"
        tree[folder + "metadata.json"] = _json(self.metadata(item, rng), rng)
        for part in ("raw", "parsed"):
            if rng.random() < 0.7:
                tree[f"{folder}{part}_metadata.json"] = _json(self.side_metadata(item, part, rng), rng)
        if rng.random() < 0.7:
            tree[folder + "prompt.txt"] = f"Judge {item.parent_name} in gens/essay/{item.name}\r\n".encode()
        if item.text is not None:
            which = rng.choice(("raw", "parsed", "both")) if item.source else "parsed"
            if which != "raw":
                tree[folder + "parsed.txt"] = item.text
            if which != "parsed" or rng.random() < 0.5:
                tree[folder + "raw.txt"] = item.text if which == "raw" else b"raw " + item.text
        other = self.any_item(rng)
        extras: dict[str, bytes | Link] = {
            "notes.md": f"see gens/{other.stage}/{other.name}/raw.txt".encode(),
            "attempts/1/metadata.json": json.dumps({"gen_id": item.name, "model_id": "x"}).encode(),
            "latest.txt": Link("raw.txt"),
            "sibling": Link(f"../../{other.stage}/{other.name}"),
            "dangling": Link("/nowhere/at/all"),
            "tmp/": b"",
            ".DS_Store": b"\0\0\0\1Bud1",
        }
        for name in rng.sample(sorted(extras), rng.choice((0, 0, 0, 1, 2))):
            tree[folder + name] = extras[name]

    def metadata(self, item: Item, rng: random.Random) -> dict[str, Any]:
        out: dict[str, Any] = {}
        legacy: dict[str, Any] = {}
        stage = item.stage
        for key, value in (("stage", stage), ("gen_id", item.name)):
            _set(out, key, value if rng.random() < 0.85 else _nothing(rng))
        self.ladder(rng, [(out, "template_id"), (out, f"{stage}_template")], _variant(item.template, rng))
        model: Any = _variant(item.model, rng)
        model = int(model) if model == "7" and rng.random() < 0.5 else model
        task = f"{item.combo}_{item.draft_template}_{item.model}"
        by_task = item.lost is not None and rng.random() < 0.4
        steps = [(out, "llm_model_id"), (out, "model_id"), (legacy, "model_id")]
        if "model" in item.in_rows or by_task:
            for place, key in steps:
                _set(place, key, _nothing(rng))
        elif stage != "essay" or item.source or rng.random() < 0.7:
            self.ladder(rng, steps, model, later=("other-model", model, model, None))
        if "combo" in item.in_rows or by_task:
            _set(out, "combo_id", _nothing(rng))
        elif stage == "draft" or item.lost is not None or rng.random() < 0.5:
            out["combo_id"] = _variant(item.combo, rng)
        if stage in PARENT_STAGE:
            parent: Any = item.parent_name
            parent = int(parent) if parent in ("42", "77") and rng.random() < 0.5 else parent
            keys = [(out, "parent_gen_id"), (out, f"{PARENT_STAGE[stage]}_gen_id")]
            self.ladder(rng, keys, parent, later=(parent, None, MISSING))
        else:
            _set(out, "parent_gen_id", rng.choice((MISSING, MISSING, "", "nan", None)))
        if item.lost is not None:
            keys = [(out, "draft_template"), (out, "draft_template_id")]
            if by_task:
                for place, key in keys:
                    _set(place, key, _nothing(rng))
            else:
                self.ladder(rng, keys, _variant(item.draft_template, rng))
            if by_task or rng.random() < 0.5:
                out["parent_task_id"] = task
        _set(out, "mode", item.mode if item.mode != "copy" else rng.choice(("copy", "copy", "Copy", " copy ")))
        _set(out, "replicate", _replicate(rng))
        for key in ("origin_cohort_id", "cohort_id"):
            _set(out, key, rng.choice((*COHORTS[:3], MISSING, MISSING, None, "nan")))
        if legacy or rng.random() < 0.3:
            legacy |= rng.choice(({}, {"task_id": "nan"}, {"parent_gen_id": "nan", "usage": None}))
            out["legacy_fields"] = legacy
        elif rng.random() < 0.1:
            out["legacy_fields"] = rng.choice((None, "nan", [], 3))
        self.noise(out, item, rng)
        keys_now = list(out)
        if rng.random() < 0.3:
            rng.shuffle(keys_now)
        return {key: out[key] for key in keys_now}

    def ladder(
        self,
        rng: random.Random,
        steps: list[tuple[dict[str, Any], str]],
        value: Any,
        later: tuple[Any, ...] = (MISSING, "another", None, "nan"),
    ) -> None:
        """Put a value on one of several keys: before it nothing that counts, after it whatever."""
        at = rng.choice((0, 0, *range(len(steps))))
        for number, (place, key) in enumerate(steps):
            options = (MISSING, MISSING, *later)
            chosen = _nothing(rng) if number < at else value if number == at else rng.choice(options)
            _set(place, key, chosen)

    def side_metadata(self, item: Item, part: str, rng: random.Random) -> dict[str, Any]:
        out: dict[str, Any] = {"function": f"{item.stage}_{part}"}
        if rng.random() < 0.8:
            out |= {"stage": item.stage, "gen_id": item.name}
        if item.parent_name and rng.random() < 0.5:
            out["parent_gen_id"] = item.parent_name
        _set(out, "replicate", _replicate(rng) if rng.random() < 0.6 else MISSING)
        _set(out, "llm_model_id", rng.choice((MISSING, item.model, None)))
        _set(
            out,
            "model_id",
            rng.choice((MISSING, MISSING, MISSING, item.model, item.model.upper(), "nan", "old-model")),
        )
        name = f"{item.stage}/{item.name}/{part}"
        out[f"{part}_path"] = rng.choice(("/srv/dd/data/gens/", "data/gens/", "gens/")) + name + ".txt"
        self.noise(out, item, rng)
        return out

    def noise(self, out: dict[str, Any], item: Item, rng: random.Random) -> None:
        """Mentions that must follow, look-alikes that must not, and values that must survive."""
        draft, essay, evaluation = (self.any_item(rng, stage) for stage in STAGES)
        other = self.any_item(rng)
        lost = item.lost or (item.parent.lost if item.parent else None) or "never-was"
        where = f"gens/{other.stage}/{other.name}"
        options: dict[str, Callable[[], Any]] = {
            "files": lambda: {"raw": f"/srv/dd/data/{where}/raw.txt", "parsed": None, "model_id": item.model},
            "copied_from": lambda: rng.choice((where, f"{where}/", f"./{where}/a b/c.txt", f"file:///{where}")),
            "two_paths": lambda: f"{where}/x/gens/draft/{draft.name}/y",
            "not_a_path": lambda: rng.choice((f"my{where}/raw.txt", f"{where}.txt", f"{where} ", f"x {where}/y")),
            "no_stage": lambda: f"gens/summary/{other.name}/raw.txt",
            "sources": lambda: [{"stage": each.stage, "gen_id": each.name} for each in (draft, essay, other)],
            "links": lambda: {
                "draft_gen_id": draft.name,
                "essay_gen_id": essay.name,
                "deep": [[{"a": where}]],
            },
            "history": lambda: [
                {"gen_id": item.name},
                {"evaluation_gen_id": evaluation.name, "model_id": "NaN"},
            ],
            "child": lambda: {"stage": evaluation.stage, "parent_gen_id": evaluation.parent_name},
            "task_id": lambda: rng.choice((f"{essay.name}__novelty__sonnet-4", "nan", essay.name, f"x{essay.name}__y")),
            "evaluation_task_id": lambda: f"{essay.name}__{rng.choice(WORDS)}__rigor",
            "essay_task_id": lambda: f"{essay.name}__is-not-followed",
            "bare": lambda: other.name,
            "numbers": lambda: [
                2**70 + item.index,
                -(2**70),
                0.1,
                1e22,
                1e-7,
                -0.0,
                float("nan"),
                float("inf"),
            ],
            "text": lambda: 'é 模板 \u2028 \U0001f600 \x07 \x7f \\ " / \r\n',
            "lost": lambda: [
                {"draft_gen_id": lost},
                {"stage": "draft", "gen_id": lost},
                f"gens/draft/{lost}/x",
            ],
            "lost_parent": lambda: {"stage": "essay", "parent_gen_id": lost, "gen_id": lost},
            "usage": lambda: {"prompt_tokens": 12, "cost": 0.25, "": {}, "list": []},
        }
        for key in rng.sample(sorted(options), rng.choice((0, 1, 2, 4))):
            out.setdefault(key, options[key]())

    def write_cohort(self, tree: Tree, cohort: Cohort, rng: random.Random) -> None:
        members = [item for item in self.items if cohort in item.cohorts]
        members.sort(key=lambda item: STAGES.index(item.stage))
        if rng.random() < 0.2:
            rng.shuffle(members)
        rows = [[self.cell(item, column, cohort, rng) for column in cohort.columns] for item in members]
        for stage, name in (("draft", "never-was"), ("essay", ""), ("summary", "x"), ("evaluation", "7e7")):
            if rng.random() < 0.15:
                fill = {"stage": stage, "gen_id": name, "note": "unknown, but kept"}
                if stage == "evaluation":
                    fill["parent_gen_id"] = self.any_item(rng, "essay").name
                rows.insert(rng.randint(0, len(rows)), [fill.get(column, "") for column in cohort.columns])
        folder = f"cohorts/{cohort.name}/"
        tree[folder + "membership.csv"] = _csv([list(cohort.columns), *rows], rng)
        if rng.random() < 0.6:
            tree[folder + "manifest.json"] = json.dumps({"combos": [COMBOS[0]], "model_id": "kept"}).encode()

    def cell(self, item: Item, column: str, cohort: Cohort, rng: random.Random) -> str:
        def maybe(value: str, needed: bool = False) -> str:
            return value if needed else rng.choice((value, value, "", "nan", "Unknown"))

        stage = item.stage
        known: dict[str, Callable[[], str]] = {
            "stage": lambda: stage,
            "gen_id": lambda: item.name,
            "cohort_id": lambda: cohort.name,
            "origin_cohort_id": lambda: rng.choice((cohort.name, "")),
            "combo_id": lambda: maybe(_variant(item.combo, rng), "combo" in item.in_rows),
            "llm_model_id": lambda: maybe(_variant(item.model, rng), "model" in item.in_rows),
            "generation_model": lambda: maybe(item.model, "model" in item.in_rows and stage != "evaluation"),
            "evaluation_model": lambda: maybe(item.model, "model" in item.in_rows and stage == "evaluation"),
            "template_id": lambda: maybe(item.template),
            f"{stage}_template": lambda: maybe(item.template),
            "replicate": lambda: rng.choice(("1", "2", "3", "", "nan", "2.0", "01", "x", "4")),
            "parent_gen_id": lambda: rng.choice((item.parent_name, item.parent_name, "", "stale")),
            "note": lambda: rng.choice(('say "hi", twice', "two\nlines", "two\r\nlines", "=1+1", "é", "")),
        }
        if column == "parent_gen_id" and stage == "draft":
            return ""
        return known[column]() if column in known else rng.choice(("", "", "x"))

    def write_sources(self, tree: Tree, rng: random.Random) -> None:
        """1_raw: templates, models, replication."""
        for stage in STAGES:
            header = ["template_id", "template_name", "parser", "generator", "active"]
            rows = [[name, name.title(), "", GENERATORS.get(name, "llm"), "True"] for name in TEMPLATES[stage]]
            rows = [row for row in rows if row[0] != "unlisted"]
            if stage == "essay" and not self.has_generators:
                if rng.random() < 0.5:
                    continue
                header, rows = header[:3], [row[:3] for row in rows]
            if stage == "essay":
                rows = [[row[0].title() if rng.random() < 0.3 else row[0], *row[1:]] for row in rows]
            tree[f"1_raw/{stage}_templates.csv"] = _csv([header, *rows], rng, repeat=False)
        models = [[name, f"maker/{name}", "True", "true"] for name in MODELS]
        tree["1_raw/llm_models.csv"] = _csv([["id", "model", "for_generation", "for_evaluation"], *models], rng)
        if rng.random() < 0.6:
            rows = [
                ["stage", "replicates"],
                ["draft", "2"],
                ["essay", "1"],
                ["evaluation", rng.choice(("3", "x"))],
            ]
            tree["1_raw/replication_config.csv"] = _csv(rows[: rng.randint(1, 4)], rng, repeat=False)
        tree["1_raw/concepts/a.txt"] = b"concept\r\n"
        tree["1_raw/link_templates.csv"] = b'not,"read\xff'

    def write_tasks(self, tree: Tree, rng: random.Random) -> None:
        """2_tasks: selections and older tables."""
        for stage, file in zip(
            STAGES, ("draft_generation_tasks", "essay_generation_tasks", "evaluation_tasks"), strict=True
        ):
            if rng.random() < 0.6:
                rows = [["task", "parent_gen_id", "gen_id", "draft_gen_id"]]
                for item in rng.sample(self.of(stage), len(self.of(stage)) // 2):
                    parent = "" if stage == "draft" else rng.choice((item.parent_name, ""))
                    rows.append(["a task", parent, item.name, "kept"])
                if stage == "evaluation":
                    rows.append(["", self.any_item(rng, "essay").name, "", ""])
                rows.append(["", "", "never-was", ""])
                tree[f"2_tasks/{file}.csv"] = _csv(rows, rng)
        if rng.random() < 0.5:
            items = rng.sample(self.items, len(self.items) // 2)
            tree["2_tasks/other_tasks.csv"] = _csv([["gen_id"], *([item.name] for item in items)], rng)
            rows = [[item.stage, item.name, "" if item.stage == "draft" else item.parent_name] for item in items]
            tree["2_tasks/mixed.csv"] = _csv([["stage", "gen_id", "parent_gen_id"], *rows], rng)
        combos = [["combo_id", "version", "concept_id"], *([combo, "v1", "concept"] for combo in COMBOS)]
        tree["2_tasks/selected_combo_mappings.csv"] = _csv(combos, rng)
        for file in ("selected_essays.txt", "selected_essays.été.txt", "selected_.txt"):
            if rng.random() < 0.5:
                tree[f"2_tasks/{file}"] = self.selection(rng)
        tree["2_tasks/notes.txt"] = f"{self.any_item(rng).name}\n".encode()
        for item in rng.sample(self.items, 4):
            tree[f"selected_essays/{item.name}.txt"] = f"copy of {item.name}\r\n".encode()
        tree["selected_essays/by-hand.txt"] = b"mine"
        tree[f"selected_essays/{self.any_item(rng, 'essay').name}.md"] = b"not a txt"
        tree[f"selected_essays/sub/{self.any_item(rng, 'essay').name}.txt"] = b"deeper"

    def selection(self, rng: random.Random) -> bytes:
        lines = ["# mode: regenerate", "#fill-up", "", "  ", "never-was", "# a comment", "two words"]
        lines = rng.sample(lines, rng.randint(0, len(lines)))
        for item in rng.sample(self.items, min(6, len(self.items))):
            lines.append(
                rng.choice((item.name, f" {item.name}", f"{item.name}\t ", f"{item.name}.txt", f"# {item.name}"))
            )
        rng.shuffle(lines)
        ends = rng.choice((("\n",), ("\r\n",), ("\r",), ("\n", "\r\n", "\r")))
        text = "".join(line + rng.choice(ends) for line in lines)
        return text.rstrip("\r\n").encode() if rng.random() < 0.3 else text.encode()

    def write_strays(self, tree: Tree, rng: random.Random) -> None:
        """What no migration knows."""
        name = self.any_item(rng, "draft").name
        strays: Tree = {
            "gens/draft/.set-aside/x/metadata.json": b"{broken",
            "gens/essay/.DS_Store": b"\0Bud1",
            "gens/draft/README": b"stray",
            f"gens/summary/{name}/metadata.json": json.dumps({"gen_id": name, "model_id": "kept"}).encode(),
            "gens/.trash/": b"",
            ".DS_Store": b"\0",
            "cohorts/README.txt": b"stray",
            "cohorts/empty/": b"",
            "5_parsing/aggregated_scores.csv": f"gen_id,score\n{name},7\n".encode(),
            "6_summary/mine.csv": b"a,b\r\n1",
            "7_reporting/": b"",
            "mine/notes.txt": f"gens/draft/{name}/raw.txt".encode(),
            "latest": Link(f"gens/draft/{name}"),
            "combo_mappings.csv": b"combo_id\n",
        }
        for path in rng.sample(sorted(strays), rng.randint(0, len(strays))):
            tree[path] = strays[path]


# --- small parts -------------------------------------------------------------------------------------------


def _set(place: dict[str, Any], key: str, value: Any) -> None:
    if value is not MISSING:
        place[key] = value


def _nothing(rng: random.Random) -> Any:
    return rng.choice((MISSING, MISSING, *ABSENT))


def _variant(text: str, rng: random.Random) -> str:
    """The same text for a signature."""
    return rng.choice((text, text, text, text, text.upper(), f" {text}", f"{text} "))


def _replicate(rng: random.Random) -> Any:
    return rng.choice((MISSING, MISSING, MISSING, *REPLICATES, rng.choice(ODD_REPLICATES)))


def _json(document: dict[str, Any], rng: random.Random) -> bytes:
    """JSON in one of the layouts that older tools wrote."""
    style = rng.randrange(6)
    if style == 0:
        return json.dumps(document).encode()
    if style == 1:
        return json.dumps(document, indent=4, ensure_ascii=False).replace("\n", "\r\n").encode()
    text = json.dumps(document, indent=2, ensure_ascii=style == 2)
    return (text + "\n" if style == 3 else text).encode()


def _csv(rows: list[list[str]], rng: random.Random, repeat: bool = True) -> bytes:
    """A table with some BOM, line ends, quoting, padding, blank lines, repeated rows and a torn last line."""
    ends = rng.choice((("\n",), ("\n",), ("\r\n",), ("\r\n",), ("\r",), ("\n", "\r\n", "\r")))
    quoting, padding = rng.choice((0, 0, 0.3, 1)), rng.choice((0, 0, 0.2))
    blanks, twice = rng.choice((0, 0, 0.1)), rng.choice((0, 0, 0.1)) if repeat else 0
    out = [rng.choice(ends)] if rng.random() < 0.03 else []
    for number, row in enumerate(rows):
        cells = []
        for value in row:
            text = value
            if value and value == value.strip() and value not in ABSENT and rng.random() < padding:
                text = rng.choice((f" {value}", f"{value} ", f" {value}\t"))
            must = any(char in value for char in ',"\r\n') or value.startswith('"')
            quoted = must or rng.random() < quoting or row == [""]
            cells.append('"' + text.replace('"', '""') + '"' if quoted else text)
        for _ in range(2 if number and rng.random() < twice else 1):
            out += [",".join(cells), rng.choice(ends)]
        if rng.random() < blanks:
            out.append(rng.choice(ends))
    text = "".join(out)
    if len(ends) == 1 and rng.random() < 0.3:
        text = text.removesuffix(ends[0])
    return (("\ufeff" if rng.random() < 0.2 else "") + text).encode()


# --- blocking problems -------------------------------------------------------------------------------------


def _plant(tree: Tree, maker: _Maker, number: int) -> None:
    """One blocking problem of a random kind, in something new or in something that others need."""
    rng = maker.rng
    plants = (
        *(_plant_bad_json, _plant_bad_json, _plant_bad_field, _plant_bad_field, _plant_wrong_identity),
        *(
            _plant_missing_parent,
            _plant_bad_backfill,
            _plant_unsafe,
            _plant_bad_table,
            _plant_missing_metadata,
        ),
    )
    rng.choice(plants)(tree, maker, rng, f"planted{number}")


def _complete(stage: str, name: str, parent: str) -> dict[str, Any]:
    document: dict[str, Any] = {"stage": stage, "gen_id": name, "template_id": f"t-{name}", "replicate": 1}
    document |= {"combo_id": "combo_planted", "llm_model_id": "sonnet-4"}
    return document if stage == "draft" else document | {"parent_gen_id": parent}


def _fresh(maker: _Maker, rng: random.Random, name: str) -> tuple[str, dict[str, Any]]:
    """A stage, and metadata without fault for a new generation there."""
    stage = rng.choice(STAGES)
    parent = maker.any_item(rng, PARENT_STAGE[stage]).name if stage in PARENT_STAGE else ""
    return stage, _complete(stage, name, parent)


def _put(tree: Tree, stage: str, name: str, document: Any) -> None:
    tree[f"gens/{stage}/{name}/metadata.json"] = json.dumps(document).encode()


def _settled(maker: _Maker, rng: random.Random) -> Item:
    """A generation that is no part of a lost draft's group."""
    return rng.choice([item for item in maker.items if item.lost is None])


def _plant_bad_json(tree: Tree, maker: _Maker, rng: random.Random, _name: str) -> None:
    item = _settled(maker, rng)
    file = rng.choice(("metadata.json", "metadata.json", "raw_metadata.json", "parsed_metadata.json"))
    good = json.dumps(_complete(item.stage, item.name, item.parent_name))
    tree[f"gens/{item.stage}/{item.name}/{file}"] = rng.choice(
        (
            *(
                b"",
                b"\0\0",
                b"[]",
                b"null",
                b'"text"',
                b'{"a": 1, "a": 2}',
                b'{"a": {"b": 1, "b": 1}}',
                b"{} x",
            ),
            *(good.encode()[:-9], good.encode("utf-8-sig"), good.encode("utf-16"), b'{"a": "\xe9"}'),
            *(b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b"<<<<<<< ours\n{}", b'{"a": ' + b"9" * 5000 + b"}"),
            *(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"version https://git-lfs", b"{'a': 1}"),
        )
    )


def _plant_missing_metadata(tree: Tree, maker: _Maker, rng: random.Random, name: str) -> None:
    if rng.random() < 0.5:
        item = _settled(maker, rng)
        tree.pop(f"gens/{item.stage}/{item.name}/metadata.json", None)
        tree.setdefault(f"gens/{item.stage}/{item.name}/raw.txt", b"left alone")
    else:
        tree[f"gens/{rng.choice(STAGES)}/{name}/" + rng.choice(("", "raw.txt"))] = b""


def _plant_bad_field(tree: Tree, maker: _Maker, rng: random.Random, name: str) -> None:
    stage, document = _fresh(maker, rng, name)
    keys = {"draft": ("combo_id", "llm_model_id"), "essay": ("parent_gen_id",)}
    key = rng.choice(("template_id", *keys.get(stage, ("parent_gen_id", "llm_model_id"))))
    bad: list[Any] = [True, False, 1.5, 2.0, [], {}, ["x"], "a|b", "a\x07b", "a\nb", "a\x7fb"]
    if rng.random() < 0.5:
        document[key] = rng.choice(ABSENT)
    else:
        document[key] = rng.choice([each for each in bad if key != "parent_gen_id" or not isinstance(each, str)])
    if rng.random() < 0.2:
        del document[key]
    _put(tree, stage, name, document)
    if stage != "evaluation" and rng.random() < 0.5:  # what hangs below is not judged
        child = "essay" if stage == "draft" else "evaluation"
        _put(tree, child, f"{name}-child", _complete(child, f"{name}-child", name))


def _plant_wrong_identity(tree: Tree, maker: _Maker, rng: random.Random, name: str) -> None:
    stage, document = _fresh(maker, rng, name)
    for key in rng.choice((("gen_id",), ("stage",), ("gen_id", "stage"))):
        document[key] = rng.choice((f" {document[key]}", 5, str(document[key]).upper(), "essays", ["x"]))
    _put(tree, stage, name, document)


def _plant_missing_parent(tree: Tree, _maker: _Maker, rng: random.Random, name: str) -> None:
    stage = rng.choice(("essay", "evaluation"))
    document = _complete(stage, name, rng.choice((f"none {name}", f"{name} ", name.upper())))
    document["mode"] = rng.choice(("llm", None, "nan"))
    _put(tree, stage, name, document)
    if stage == "essay":
        tree[f"gens/essay/{name}/parsed.txt"] = b"a text, but no copy"


def _plant_bad_backfill(tree: Tree, _maker: _Maker, rng: random.Random, name: str) -> None:
    document = _complete("essay", name, f"lost {name}") | {"mode": "copy", "draft_template": "creative-v2"}
    if rng.random() < 0.4:
        _put(tree, "essay", name, document)
        return
    key = rng.choice(("combo_id", "draft_template", "llm_model_id"))
    document[key] = rng.choice((*ABSENT, True, "a|b", 1.5))
    if rng.random() < 0.3:
        document["parent_task_id"] = rng.choice(("nan", "not to be taken apart", ""))
    _put(tree, "essay", name, document)
    tree[f"gens/essay/{name}/raw.txt"] = b"text"


def _plant_unsafe(tree: Tree, maker: _Maker, rng: random.Random, name: str) -> None:
    stage, document = _fresh(maker, rng, name)
    if rng.random() < 0.4:
        tree[f"gens/{stage}/{name}"] = Link(rng.choice(("/nowhere", f"../{stage}/{maker.items[0].name}")))
        return
    unsafe = rng.choice(("-rf", "=1+1", "+x", "@x", "\tx", "\rx")) + name
    _put(tree, stage, unsafe, document | {"gen_id": unsafe})


def _plant_bad_table(tree: Tree, _maker: _Maker, rng: random.Random, name: str) -> None:
    bad = {
        "membership": (b"", b"\n", b"stage\ndraft\n", b"gen_id,note\nx,y\n", b"stage;gen_id\ndraft;x\n"),
        "any": (
            *(b"stage,gen_id\ndraft,\xe9\n", b'stage,gen_id\ndraft,"x\ny\n', b"stage,gen_id,stage\n"),
            *(b"stage,gen_id\ndraft\n", b"stage,gen_id\r\ndraft,x,y\r\n", b"stage,gen_id\ndraft,\0\n"),
        ),
    }
    place = rng.choice(("cohort", "tasks", "selected", "replication"))
    if place == "cohort":
        tree[f"cohorts/zz {name}/membership.csv"] = rng.choice((*bad["membership"], *bad["any"]))
    elif place == "tasks":
        tree[f"2_tasks/{name}.csv"] = rng.choice(bad["any"])
    elif place == "selected":
        tree[f"2_tasks/selected_{name}.txt"] = rng.choice((b"\xff\xfe", b"caf\xe9\n", b"a\0b\n"))
    else:
        tree["1_raw/replication_config.csv"] = rng.choice((b"", b"stage,count\ndraft,1\n", *bad["any"]))
