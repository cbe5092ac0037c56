"""What went wrong with single generations: each function spoils a few, evenly spread, of a finished store.

Pure: changes the generations in memory. HABITS is the order in which `legacy` applies them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from migrator.demo import texts
from migrator.demo.eras import CAFE, OLD_ROOT, Gen, Legacy
from migrator.demo.texts import COPY


def model_in_legacy_fields(legacy: Legacy) -> None:
    """`llm_model_id` is null; the model stands in `legacy_fields.model_id`."""
    for draft in legacy.of("draft", "fusion-a")[::2]:
        draft.meta["llm_model_id"] = None
        draft.meta["legacy_fields"]["model_id"] = draft.model
    for essay in legacy.of("essay", "fusion-a")[::2]:
        del essay.meta["llm_model_id"]
        essay.meta["legacy_fields"] |= {"llm_model_id": None, "model_id": essay.model}


def model_in_membership(legacy: Legacy) -> None:
    """The model is missing, or says `nan` or `unknown`; only membership.csv has it."""
    legacy.of("draft", "unsplit-old")[-1].meta["model_id"] = "NaN"
    for evaluation in legacy.of("evaluation", "unsplit-old")[::4]:
        evaluation.meta["model_id"] = None
    for evaluation in legacy.of("evaluation", "unsplit-old")[1::4]:
        del evaluation.meta["model_id"]
    for draft in legacy.of("draft", "nocombo-old")[::2]:
        draft.meta["combo_id"] = "Unknown"


def models_disagree(legacy: Legacy) -> None:
    """`model_id` was filled with the provider's name beside a good `llm_model_id`."""
    for draft in legacy.of("draft", "cohort-main")[::4]:
        draft.meta["model_id"] = texts.PROVIDER_NAMES[draft.model]


def model_in_depth(legacy: Legacy) -> None:
    """`model_id` lies deep in raw_metadata.json, between values that few JSON libraries keep."""
    for draft in legacy.of("draft", "theme-b"):
        seed = legacy.rng.getrandbits(69) + 2**69  # 70 bits
        request = {"model_id": draft.model, "seed": seed, "temperature": float("nan"), "top_p": 1e-05}
        draft.json["raw_metadata.json"] |= {"request": request, "attempts": [{"model_id": draft.model}]}


def template_by_stage(legacy: Legacy) -> None:
    """`template_id` is blank; the template stands under `<stage>_template`."""
    for stage in ("essay", "evaluation"):
        for gen in legacy.of(stage, "unsplit-old")[::3]:
            gen.meta["template_id"] = " "


def upper_case(legacy: Legacy) -> None:
    """Somebody typed the template in capitals, with a blank at its end."""
    for draft in legacy.of("draft", "overlap")[::4]:
        draft.meta["template_id"] = f"{draft.template.title()} "


def replicate_as_text(legacy: Legacy) -> None:
    """The replicate went through a spreadsheet: `"2"`, or 2.0."""
    for stage in ("draft", "evaluation"):
        for gen in legacy.of(stage, "theme-b"):
            gen.meta["replicate"] = str(gen.replicate) if gen.replicate == 2 else gen.replicate
        for gen in legacy.of(stage, "overlap"):
            gen.meta["replicate"] = float(gen.replicate) if gen.replicate == 2 else gen.replicate


def replicate_in_one_file(legacy: Legacy) -> None:
    """Only parsed_metadata.json has the replicate, or only raw_metadata.json."""
    for name, first in (("raw_metadata.json", 3), ("parsed_metadata.json", 7)):
        for evaluation in legacy.of("evaluation", "fusion-a")[first::8]:
            del evaluation.json[name]["replicate"]


def parent_by_stage(legacy: Legacy) -> None:
    """The parent stands under `draft_gen_id` or `essay_gen_id`, beside a `parent_gen_id` that is null."""
    for stage, key in (("essay", "draft_gen_id"), ("evaluation", "essay_gen_id")):
        for gen in legacy.of(stage, "fusion-a")[::3]:
            gen.meta.update({"parent_gen_id": None, key: gen.parent})


def ids_in_depth(legacy: Legacy) -> None:
    """raw_metadata.json names the whole chain, deep down and in three ways."""
    for evaluation in legacy.of("evaluation", "cohort-main")[::6]:
        draft_id, essay_id = legacy.gens[evaluation.parent].parent, evaluation.parent
        chain = {"draft_gen_id": draft_id, "essay_gen_id": essay_id, "evaluation_gen_id": evaluation.gen_id}
        read = [{"stage": "essay", "gen_id": essay_id, "path": f"{OLD_ROOT}/gens/essay/{essay_id}"}]
        evaluation.json["raw_metadata.json"]["context"] = {"chain": chain, "read": read}


def task_name_alone(legacy: Legacy) -> None:
    """Of a lost draft nothing is known but its name, which has to be taken apart."""
    for essay in legacy.of("essay", ""):
        if essay.template == "links-passthrough-v0":
            for key in ("combo_id", "llm_model_id", "draft_template"):
                del essay.meta[key]
            essay.meta["draft_gen_id"] = essay.meta.pop("parent_gen_id")


def raw_text_alone(legacy: Legacy) -> None:
    """An imported essay was never parsed: its text is raw.txt."""
    for essay in legacy.of("essay", ""):
        if essay.template == "creative-synthesis-v8" and essay.replicate == 2:
            del essay.files["parsed.txt"], essay.json["parsed_metadata.json"]


def unnamed(legacy: Legacy) -> None:
    """metadata.json says neither `gen_id` nor `stage`."""
    for essay in legacy.of("essay", "cohort-main")[5::12]:
        del essay.meta["gen_id"], essay.meta["stage"]


def copies_without_raw(legacy: Legacy) -> None:
    """A copied essay has no raw.txt."""
    for essay in legacy.of("essay", "fusion-a"):
        if essay.template == COPY:
            del essay.files["raw.txt"], essay.meta["files"]


def never_ran(legacy: Legacy) -> None:
    """Planned and never run, or run and never parsed: all files but one or two are missing."""
    for evaluation in legacy.of("evaluation", "cohort-main")[9::16]:
        del evaluation.json["raw_metadata.json"], evaluation.json["parsed_metadata.json"]
        evaluation.files.clear()
    for essay in legacy.of("essay", "overlap")[-1::-6]:
        del essay.files["parsed.txt"], essay.json["parsed_metadata.json"]


def no_verdict(legacy: Legacy) -> None:
    """The evaluator gave no score, so that nothing was parsed; or what was parsed is no score."""
    for evaluation in legacy.of("evaluation", "fusion-a")[7::16]:
        evaluation.files["raw.txt"] = f"{texts.remarks(legacy.rng)}\n\nNo verdict today.\n"
        evaluation.json["parsed_metadata.json"] |= {"success": False, "error": "no SCORE line"}
        del evaluation.files["parsed.txt"]
    evaluations = legacy.of("evaluation", "theme-b")
    for evaluation, text in zip(evaluations[4::18] + evaluations[5::18], ("ten\n", "10.0\n") * 99, strict=False):
        evaluation.files["parsed.txt"] = text


def id_in_prose(legacy: Legacy) -> None:
    """A model wrote an id into its text: payload, which no migration may edit."""
    for evaluation in legacy.of("evaluation", "cohort-main")[2::24]:
        said = f"Compared with essay {evaluation.parent}, this adds little.\n\n"
        evaluation.files["raw.txt"] = said + str(evaluation.files["raw.txt"])


def things_left_behind(legacy: Legacy) -> None:
    """A person left notes, a folder and a symbolic link inside generations."""
    for essay in legacy.of("essay", "theme-b")[::6]:
        essay.files |= {
            "notes.md": f"# Idée\n\nBetter than its draft {essay.parent}.\nSend to Zoë – 模板 too long.\n",
            "latest.txt": Path("parsed.txt"),
            "versions/0.txt": texts.essay_text(legacy.rng),
        }


def foreign_script(legacy: Legacy) -> None:
    """Values that are not ASCII, and payload that is not UTF-8."""
    for draft in legacy.of("draft", "unsplit-old")[::4]:
        draft.files["prompt.txt"] = "Erzähle von Tagträumen.\r\n".encode("latin-1")
    for gen in [*legacy.of("draft", "unsplit-old")[::2], *legacy.of("evaluation", "cohort-main")[::12]]:
        gen.meta["note"] = "idée naïve – 模板 🌙"


def selected_by_hand(legacy: Legacy) -> None:
    """A cohort lists what others made, one row twice; another is sorted as no pipeline would."""
    chosen: list[Gen] = []
    for draft in legacy.of("draft", "cohort-main")[::4]:
        essays = [gen for gen in legacy.gens.values() if gen.parent == draft.gen_id]
        below = {essay.gen_id for essay in essays}
        chosen += [draft, *essays, *(gen for gen in legacy.gens.values() if gen.parent in below)]
    legacy.members["curated-best"] = [*chosen, chosen[-1]]
    legacy.members[CAFE].sort(key=lambda gen: gen.gen_id)


HABITS: tuple[Callable[[Legacy], None], ...] = (
    model_in_legacy_fields,
    model_in_membership,
    models_disagree,
    model_in_depth,
    template_by_stage,
    upper_case,
    replicate_as_text,
    replicate_in_one_file,
    parent_by_stage,
    ids_in_depth,
    task_name_alone,
    raw_text_alone,
    unnamed,
    copies_without_raw,
    never_ran,
    no_verdict,
    id_in_prose,
    things_left_behind,
    foreign_script,
    selected_by_hand,
)
