"""The generations of the demo store: what each era of the pipeline asked for, and how it wrote that down.

Pure: opens no file. A table says what was asked for, one function an era says how its JSON files looked.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from migrator.demo import texts
from migrator.demo.texts import COPY

Json = dict[str, Any]
Content = str | bytes | Path  # of a file, or where a symbolic link points

OLD_ROOT = "/srv/daydreaming/data"  # where the store lay when absolute paths were written
CAFE = "Café idées"
STAGES = ("draft", "essay", "evaluation")


@dataclass
class Gen:
    """One generation: the truth about it, and the files in which its era told (or hid) that truth."""

    stage: str
    gen_id: str
    combo: str
    draft_template: str
    template: str
    model: str
    text: str  # of parsed.txt
    replicate: int = 1
    parent: str = ""  # an id, or the name of a draft that is lost
    cohort: str = ""
    mode: str = "llm"
    json: dict[str, Json] = field(default_factory=dict)
    files: dict[str, Content] = field(default_factory=dict)

    @property
    def meta(self) -> Json:
        """The content of metadata.json."""
        return self.json["metadata.json"]


Form = Callable[[Gen, str], dict[str, Json]]  # a generation and its run id -> its JSON files


class Legacy:
    """The store while it grows, and the one source of its chances."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.gens: dict[str, Gen] = {}
        self.members: dict[str, list[Gen]] = {}
        self.combos: dict[str, list[str]] = {}  # concepts by combo id, in order of first use

    def of(self, stage: str, cohort: str) -> list[Gen]:
        """Return the generations of a stage that a cohort asked for, in order of making."""
        return [gen for gen in self.gens.values() if (gen.stage, gen.cohort) == (stage, cohort)]

    def combo(self, combo_id: str = "") -> str:
        """Return a new combination of three concepts, named by chance unless a name is given."""
        combo_id = combo_id or f"combo_v1_{self.rng.getrandbits(48):012x}"
        self.combos.setdefault(combo_id, sorted(self.rng.sample(sorted(texts.CONCEPTS), 3)))
        return combo_id

    def add(self, form: Form, stage: str, **facts: Any) -> Gen:
        """Make a generation, let its era write its files, and list it in the cohort that asked for it."""
        gen_id = "".join(self.rng.choices(string.digits + string.ascii_lowercase, k=16))
        gen = Gen(stage, gen_id, **facts)
        gen.json = form(gen, str(UUID(int=self.rng.getrandbits(128), version=4)))
        gen.files |= self._payload(gen)
        self.gens[gen_id] = gen
        if gen.cohort:
            self.members.setdefault(gen.cohort, []).append(gen)
        return gen

    def essay(self, form: Form, draft: Gen, template: str, **facts: Any) -> Gen:
        """Add an essay below a draft: a copy of its text, or one that a model wrote."""
        copied = template == COPY
        text = draft.text if copied else texts.essay_text(self.rng)
        kin = {"combo": draft.combo, "draft_template": draft.draft_template, "model": draft.model}
        facts = {"parent": draft.gen_id, "cohort": draft.cohort, "mode": "copy" if copied else "llm"} | facts
        return self.add(form, "essay", template=template, text=text, **kin, **facts)

    def evaluation(self, form: Form, essay: Gen, template: str, **facts: Any) -> Gen:
        """Add an evaluation of an essay, with a score from 0.0 to 9.0."""
        text = f"{self.rng.randint(0, 90) / 10}\n"
        kin = {"combo": essay.combo, "draft_template": essay.draft_template, "parent": essay.gen_id}
        facts = {"cohort": essay.cohort, "model": "sonnet-4"} | facts
        return self.add(form, "evaluation", template=template, text=text, **kin, **facts)

    def _payload(self, gen: Gen) -> dict[str, Content]:
        subject = ", ".join(texts.CONCEPTS[concept] for concept in self.combos[gen.combo])
        if gen.parent in self.gens:
            subject = self.gens[gen.parent].text
        raw = gen.text
        if gen.stage == "evaluation":
            raw = f"{texts.remarks(self.rng)}\n\nSCORE: {gen.text}"
        files: dict[str, Content] = {"raw.txt": raw, "parsed.txt": gen.text}
        if gen.mode == "llm":
            files["prompt.txt"] = texts.prompt(self.rng, gen.template, subject)
        return files


# ---------------------------------------------------------------- how each era wrote


def _where(gen: Gen, name: str, root: str) -> str:
    return f"{root}/gens/{gen.stage}/{gen.gen_id}/{name}"


def _parts(gen: Gen, run: str, root: str, **extra: Any) -> dict[str, Json]:
    """Return raw_metadata.json and parsed_metadata.json as all the eras that had them agree."""
    told = {"stage": gen.stage, "gen_id": gen.gen_id, "run_id": run} | extra
    raw = told | {
        "mode": gen.mode,
        "function": f"{gen.stage}_raw",
        "finish_reason": "copy" if gen.mode == "copy" else "stop",
        "usage": {"prompt_tokens": 3 * len(gen.text), "completion_tokens": len(gen.text) // 4},
        "duration_s": 0.001,
        "raw_path": _where(gen, "raw.txt", root),
    }
    parsed = told | {
        "function": f"{gen.stage}_parsed",
        "success": True,
        "error": None,
        "parsed_path": _where(gen, "parsed.txt", root),
    }
    return {"raw_metadata.json": raw, "parsed_metadata.json": parsed}


def unsplit(gen: Gen, run: str) -> dict[str, Json]:
    """The first era: one JSON file, `model_id` at its top, the replicate nowhere."""
    task = [gen.combo, gen.draft_template, gen.model, *([gen.template] if gen.stage == "essay" else [])]
    meta = {
        "stage": gen.stage,
        "gen_id": gen.gen_id,
        "parent_gen_id": gen.parent,
        "template_id": gen.template,
        "model_id": gen.model,
        "task_id": "nan" if gen.stage == "evaluation" else "__".join(task),
        "function": f"{gen.stage}_response",
        "run_id": run,
        "cohort_id": gen.cohort,
    }
    own = {"combo_id": gen.combo} if gen.stage == "draft" else {f"{gen.stage}_template": gen.template}
    return {"metadata.json": meta | own}


def imported(gen: Gen, run: str) -> dict[str, Json]:
    """The importer of older text files: parents by name, everything a copy, the first replicate unsaid."""
    name = f"{gen.combo}_{gen.draft_template}_{gen.model}"
    folder = f"{gen.stage}_responses"
    told: Json = {"replicate": gen.replicate} if gen.replicate > 1 else {}
    meta = {
        "stage": gen.stage,
        "gen_id": gen.gen_id,
        "mode": "copy",
        "template_id": gen.template,
        "llm_model_id": gen.model,
        "parent_gen_id": gen.parent,
        "combo_id": gen.combo,
        **({"parent_task_id": name, "draft_template": gen.draft_template} if gen.stage == "essay" else {}),
        "source_file": f"3_generation/{folder}/{name}_{gen.template}.txt",
        "created_from": folder,
        **told,
        **({"cohort_id": gen.cohort} if gen.cohort else {}),
        "legacy_fields": {"origin_filename": f"{name}_{gen.template}.txt", "parent_gen_id": gen.parent},
    }
    return {"metadata.json": meta} | _parts(gen, run, OLD_ROOT, input_mode="copy", **told)


def split(gen: Gen, run: str) -> dict[str, Json]:
    """Three JSON files, absolute paths; the replicate in the two younger files only."""
    meta = {
        "stage": gen.stage,
        "gen_id": gen.gen_id,
        "mode": gen.mode,
        "template_id": gen.template,
        "llm_model_id": gen.model,
        "parser_name": "in_last_line" if gen.stage == "evaluation" else "identity",
        **({"combo_id": gen.combo} if gen.stage == "draft" else {"parent_gen_id": gen.parent}),
        "cohort_id": gen.cohort,
        "run_id": run,
        "files": {"raw": _where(gen, "raw.txt", OLD_ROOT)},
        "legacy_fields": {"parent_gen_id": gen.parent or "nan"},
    }
    parts = _parts(gen, run, OLD_ROOT, cohort_id=gen.cohort, replicate=gen.replicate)
    if gen.stage == "evaluation":
        parts["raw_metadata.json"]["evaluation_task_id"] = f"{gen.parent}__{gen.template}__{gen.model}"
    return {"metadata.json": meta} | parts


def row_only(gen: Gen, run: str) -> dict[str, Json]:
    """The same while a bug was in it: combination, model and replicate went to membership.csv alone."""
    files = split(gen, run)
    meta = files["metadata.json"]
    meta["llm_model_id"] = "nan"
    if gen.stage == "draft":
        meta["combo_id"] = None
    else:
        meta[{"essay": "draft_gen_id", "evaluation": "essay_gen_id"}[gen.stage]] = meta.pop("parent_gen_id")
    for name in ("raw_metadata.json", "parsed_metadata.json"):
        del files[name]["replicate"]
    return files


def themed(gen: Gen, run: str) -> dict[str, Json]:
    """The replicate in metadata.json at last, paths relative, `cohort_id` still."""
    parts = _parts(gen, run, "data", cohort_id=gen.cohort, replicate=gen.replicate)
    if gen.parent:
        parts["raw_metadata.json"]["parent_gen_id"] = gen.parent
    meta = modern(gen, run)["metadata.json"]
    meta["cohort_id"] = meta.pop("origin_cohort_id")
    return {"metadata.json": meta} | parts


def modern(gen: Gen, run: str) -> dict[str, Json]:
    """The last era before deterministic ids: `origin_cohort_id`, and younger files that say little."""
    meta = {
        "stage": gen.stage,
        "gen_id": gen.gen_id,
        **({"origin_cohort_id": gen.cohort} if gen.cohort else {}),
        "mode": gen.mode,
        "template_id": gen.template,
        "combo_id": gen.combo,
        **({"parent_gen_id": gen.parent} if gen.parent else {}),
        "llm_model_id": gen.model,
        "replicate": gen.replicate,
    }
    parts = _parts(gen, run, "data")
    if gen.mode == "copy":
        parent = {"stage": "draft", "gen_id": gen.parent}
        parts["raw_metadata.json"] |= {
            "copied_from": f"data/gens/draft/{gen.parent}/parsed.txt",
            "input": parent,
        }
    return {"metadata.json": meta} | parts


# ---------------------------------------------------------------- what each era asked for


@dataclass(frozen=True)
class Era:
    """A cohort of the past. Drafts after the first replicate got only the copied essay."""

    cohort: str
    form: Form
    drafts: tuple[str, ...]
    models: tuple[str, ...]
    draft_replicates: int
    essays: tuple[str, ...]
    evaluations: tuple[str, ...]
    evaluation_replicates: int
    combo: str = ""  # the cohort whose combination it takes over: every task then has a twin there

    def grow(self, legacy: Legacy, combo: str) -> None:
        """Add one combination's worth of this cohort."""
        for template, model in product(self.drafts, self.models):
            for replicate in range(1, self.draft_replicates + 1):
                text = texts.draft_text(legacy.rng)
                facts = {"combo": combo, "draft_template": template, "template": template, "text": text}
                draft = legacy.add(self.form, "draft", model=model, replicate=replicate, cohort=self.cohort, **facts)
                for essay_template in self.essays if replicate == 1 else (COPY,):
                    self._below(legacy, legacy.essay(self.form, draft, essay_template))

    def _below(self, legacy: Legacy, essay: Gen) -> None:
        for template in self.evaluations:
            for replicate in range(1, self.evaluation_replicates + 1):
                legacy.evaluation(self.form, essay, template, replicate=replicate)


_CREATIVE, _GWERN, _NARRATIVE = "creative-synthesis-v2", "gwern_original", "synthesis-theme-narrative-v18"
_GEMINI, _DEEPSEEK, _QWEN = "gemini_25_pro", "deepseek_r1_p", "qwen3-235b-a22b"
_BOTH = (COPY, _NARRATIVE)

ERAS = (
    Era("unsplit-old", unsplit, (_CREATIVE, _GWERN), ("sonnet-4", _GEMINI), 1,
        (COPY, "creative-synthesis-v10"), ("novelty", "style-coherence-v3"), 1),
    Era("fusion-a", split, (_CREATIVE, "application-implementation-v2"), (_DEEPSEEK, _GEMINI), 2,
        _BOTH, ("novelty", "style-coherence-v3"), 2),
    Era("nocombo-old", row_only, (_GWERN,), (_GEMINI,), 2, (COPY,), ("novelty", "novelty-v2"), 1),
    Era("theme-b", themed, (_CREATIVE, _GWERN), (_QWEN,), 2, _BOTH, ("style-coherence-v3",), 3),
    Era("overlap", themed, (_CREATIVE, _GWERN), (_QWEN,), 2, _BOTH, ("style-coherence-v3",), 3, "theme-b"),
    Era("cohort-main", modern, (_CREATIVE, _GWERN), ("sonnet-4", _GEMINI), 2,
        _BOTH, ("novelty-v2", "style-coherence-v3"), 2),
)  # fmt: skip

# Essays whose drafts were never stored: draft template and model (one name each), essay template, replicate,
# and which text: rows with one letter share it, "own" is no copy of anything.
_LOST = (
    (_CREATIVE, _DEEPSEEK, COPY, 1, "a"),
    (_CREATIVE, _DEEPSEEK, COPY, 2, "b"),  # one name, two texts
    (_CREATIVE, _DEEPSEEK, _NARRATIVE, 2, "own"),  # goes to the draft of text b
    (_CREATIVE, _DEEPSEEK, "creative-synthesis-v10", 3, "own"),  # goes to the first
    (_GWERN, _DEEPSEEK, "creative-synthesis-v8", 1, "c"),  # no generator says copy here, only the mode
    (_GWERN, _DEEPSEEK, "creative-synthesis-v8", 2, "d"),
    (_GWERN, _QWEN, "links-passthrough-v0", 1, "e"),  # a template that no table knows
    ("application-implementation-v2", "sonnet-4", COPY, 1, "f"),
    ("application-implementation-v2", "sonnet-4", COPY, 2, "f"),  # one text twice: one draft
)
LOST_NAMES, LOST_MADE, LOST_LINKED = 5, 7, 1  # what the backfill finds in one round

# What was found where a replicate should be. True, 0, fractions and words say nothing; 9 is left alone.
_ODD_REPLICATES = (1, 1, "2", 4.0, None, float("nan"), 0, True, "two", 1.5, 9)


def import_lost(legacy: Legacy) -> None:
    """Add what the importer found: essays of drafts that nobody kept, each with two evaluations."""
    combo = legacy.combo()
    known: dict[str, str] = {}
    for template, model, essay_template, replicate, label in _LOST:
        text = known.setdefault(label, texts.draft_text(legacy.rng))
        if label == "own":
            text = texts.essay_text(legacy.rng)
        _lost_essay(legacy, combo, (template, model), essay_template, replicate, text)
    kept = [draft for draft in legacy.of("draft", "fusion-a") if draft.template == _CREATIVE][-1]
    _lost_essay(legacy, kept.combo, (kept.template, kept.model), COPY, 1, kept.text)  # not lost at all
    _lost_essay(legacy, kept.combo, (kept.template, kept.model), COPY, 2, texts.draft_text(legacy.rng))


def _lost_essay(legacy: Legacy, combo: str, draft: tuple[str, str], template: str, replicate: int, text: str) -> None:
    draft_template, model = draft
    facts = {
        "combo": combo,
        "draft_template": draft_template,
        "model": model,
        "template": template,
        "text": text,
    }
    name = f"{combo}_{draft_template}_{model}"
    cohort = CAFE if draft_template == _CREATIVE else ""
    essay = legacy.add(imported, "essay", parent=name, cohort=cohort, replicate=replicate, mode="copy", **facts)
    for evaluation_template in ("novelty", "style-coherence-v3"):
        legacy.evaluation(imported, essay, evaluation_template)


def add_strays(legacy: Legacy) -> None:
    """Add generations that no cohort lists: one task again and again, its replicates as hands typed them."""
    combo = legacy.combo(f"combo_rêverie_{len(legacy.combos)}")
    facts = {"combo": combo, "draft_template": _GWERN, "template": _GWERN, "model": "sonnet-4"}
    for number, replicate in enumerate(_ODD_REPLICATES):
        draft = legacy.add(modern, "draft", text=texts.draft_text(legacy.rng), **facts)
        draft.meta["replicate"] = replicate
        if number < 4:
            essay = legacy.essay(modern, draft, COPY)
            for template in ("novelty-v2", "style-coherence-v3"):
                legacy.evaluation(modern, essay, template)


def fill_up(legacy: Legacy) -> None:
    """Add a cohort of evaluations alone, whose replicates begin at 1 as those of cohort-main did."""
    for essay in legacy.of("essay", "cohort-main")[-12:]:
        legacy.evaluation(themed, essay, "novelty", cohort="novelty-fillup")
        for replicate in (1, 2):
            legacy.evaluation(themed, essay, "novelty-v2", replicate=replicate, cohort="novelty-fillup")


def grow(legacy: Legacy) -> None:
    """Add one round: every era once, with fresh combinations."""
    combos: dict[str, str] = {}
    for era in ERAS:
        combos[era.cohort] = combos[era.combo] if era.combo else legacy.combo()
        era.grow(legacy, combos[era.cohort])
    import_lost(legacy)
    add_strays(legacy)
    fill_up(legacy)
