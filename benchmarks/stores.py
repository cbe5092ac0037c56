"""Makes large legacy stores for the benchmarks, quickly and the same for the same size.

Many generations of a few habits, where the demo has a few of every habit: valid chains, ten cohorts, twins,
replicates in raw_metadata.json, `model_id`, `cohort_id`, absolute paths; no lost drafts.
"""

from __future__ import annotations

import argparse
import os
import random
import string
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

# The mix of the store that the pipeline's users had: drafts, essays, evaluations.
DRAFTS, ESSAYS, EVALUATIONS = 289, 258, 4790

# Bytes of payload, so that a generation with its three JSON files has 27 kB as theirs had.
PROMPT_SIZE, RAW_SIZE = 18_800, 6_400
TINY = b"a few bytes\n"

COHORTS = 10
TWIN_EVERY = 40  # each 40th generation takes task and replicate of the one before it

DRAFT_TEMPLATES = ("creative-synthesis-v2", "gwern_original", "application-implementation-v2")
ESSAY_TEMPLATES = ("parsed-from-links-v1", "synthesis-theme-narrative-v18")
EVALUATION_TEMPLATES = ("novelty-v2", "style-coherence-v3", "gemini-prior-art-eval-v2")
MODELS = ("sonnet-4", "gemini_25_pro", "deepseek_r1_p")

_WORDS = b"memory drift insight search draft market filter loop seed critic graph token moat signal thread idle "
_WIDE = "stage,gen_id,cohort_id,parent_gen_id,combo_id,template_id,llm_model_id,replicate"


@dataclass(frozen=True, slots=True)
class Gen:
    """One generation, as its JSON files and its membership row will say."""

    number: int  # in its stage, from 0: decides its habits
    stage: str
    gen_id: str
    combo: str
    parent: str
    template: str
    model: str
    replicate: int
    cohort: int


def make_store(root: Path, generations: int, *, payload: bool = True) -> None:
    """Make a store of that many generations in `root`, which must not exist; without payload, texts are tiny.

    Raises FileExistsError when `root` exists, ValueError for fewer than 20 generations.
    """
    if generations < 20:
        raise ValueError(f"A benchmark's store has 20 generations or more, not {generations}.")
    root.mkdir(parents=True)
    _write_tables(root)
    filler = memoryview(_filler()) if payload else None
    rosters = [_open_roster(root, cohort) for cohort in range(COHORTS)]
    for gen in _chains(generations):
        _write_generation(f"{root}/gens/{gen.stage}/{gen.gen_id}", gen, filler)
        rosters[gen.cohort].write(_row(gen))
    for roster in rosters:
        roster.close()


def _chains(generations: int) -> Iterator[Gen]:
    """Yield drafts, then essays, then evaluations, each below one that came before."""
    rng = random.Random(generations)
    total = DRAFTS + ESSAYS + EVALUATIONS
    drafts = list(_with_twins(_drafts(max(1, generations * DRAFTS // total), rng)))
    yield from drafts
    essays = list(_with_twins(_essays(max(1, generations * ESSAYS // total), drafts, rng)))
    yield from essays
    yield from _with_twins(_evaluations(generations - len(drafts) - len(essays), essays, rng))


def _with_twins(gens: Iterator[Gen]) -> Iterator[Gen]:
    before: Gen | None = None
    for gen in gens:
        if before is not None and gen.number % TWIN_EVERY == TWIN_EVERY - 1:
            gen = replace(before, number=gen.number, gen_id=gen.gen_id)  # noqa: PLW2901 - the same, once more
        yield gen
        before = gen


def _drafts(count: int, rng: random.Random) -> Iterator[Gen]:
    for number in range(count):
        task, replicate = divmod(number, 2)
        task, template = divmod(task, len(DRAFT_TEMPLATES))
        task, model = divmod(task, len(MODELS))
        yield Gen(
            number=number,
            stage="draft",
            gen_id=_new_id(rng),
            combo=f"combo_v1_{task:012x}",
            parent="",
            template=DRAFT_TEMPLATES[template],
            model=MODELS[model],
            replicate=replicate + 1,
            cohort=task % COHORTS,
        )


def _essays(count: int, drafts: list[Gen], rng: random.Random) -> Iterator[Gen]:
    for number in range(count):
        turn, place = divmod(number, len(drafts))
        replicate, template = divmod(turn, len(ESSAY_TEMPLATES))
        yield _below(drafts[place], number, "essay", ESSAY_TEMPLATES[template], replicate + 1, rng)


def _evaluations(count: int, essays: list[Gen], rng: random.Random) -> Iterator[Gen]:
    for number in range(count):
        turn, place = divmod(number, len(essays))
        replicate, template = divmod(turn, len(EVALUATION_TEMPLATES))
        yield _below(essays[place], number, "evaluation", EVALUATION_TEMPLATES[template], replicate + 1, rng)


def _below(parent: Gen, number: int, stage: str, template: str, replicate: int, rng: random.Random) -> Gen:
    model = parent.model if stage == "essay" else MODELS[0]
    return Gen(number, stage, _new_id(rng), parent.combo, parent.gen_id, template, model, replicate, parent.cohort)


def _new_id(rng: random.Random) -> str:
    return "".join(rng.choices(string.digits + string.ascii_lowercase, k=16))


# ---------------------------------------------------------------- what is written


def _write_generation(folder: str, gen: Gen, filler: memoryview | None) -> None:
    os.mkdir(folder)
    root = "/srv/daydreaming/data" if gen.number % 3 != 1 else "data"
    place = f"{root}/gens/{gen.stage}/{gen.gen_id}"
    _write(f"{folder}/metadata.json", _metadata(gen, place).encode())
    _write(f"{folder}/raw_metadata.json", _part(gen, "raw", place).encode())
    _write(f"{folder}/parsed_metadata.json", _part(gen, "parsed", place).encode())
    prompt: bytes | memoryview = TINY
    raw: bytes | memoryview = TINY
    if filler is not None:
        # Another place in the filler for each file: no two generations are alike.
        start = gen.number * 7919 % (len(filler) - PROMPT_SIZE - RAW_SIZE)
        prompt, raw = filler[start : start + PROMPT_SIZE], filler[start + PROMPT_SIZE :][:RAW_SIZE]
    _write(f"{folder}/prompt.txt", prompt)
    _write(f"{folder}/raw.txt", raw)
    score = f"{gen.number % 91 / 10}\n".encode()
    _write(f"{folder}/parsed.txt", score if gen.stage == "evaluation" else raw)


def _write(path: str, content: bytes | memoryview) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(file, content)
    os.close(file)


def _metadata(gen: Gen, place: str) -> str:
    """Return metadata.json in one of three habits; written by hand because json.dumps takes half the time."""
    parent = f'\n  "parent_gen_id": "{gen.parent}",' if gen.parent else ""
    head = f"""{{
  "stage": "{gen.stage}",
  "gen_id": "{gen.gen_id}",{parent}
  "mode": "llm",
  "template_id": "{gen.template}",
  "combo_id": "{gen.combo}","""
    if gen.number % 3 == 0:
        return f"""{head}
  "model_id": "{gen.model}",
  "cohort_id": "cohort-{gen.cohort}",
  "files": {{
    "raw": "{place}/raw.txt"
  }}
}}"""
    if gen.number % 3 == 1:
        return f"""{head}
  "llm_model_id": "{gen.model}",
  "origin_cohort_id": "cohort-{gen.cohort}",
  "replicate": {gen.replicate}
}}"""
    return f"""{head}
  "llm_model_id": null,
  "cohort_id": "cohort-{gen.cohort}",
  "replicate": "{gen.replicate}",
  "legacy_fields": {{
    "model_id": "{gen.model}",
    "parent_gen_id": "{gen.parent or "nan"}"
  }}
}}"""


def _part(gen: Gen, part: str, place: str) -> str:
    """Return raw_metadata.json or parsed_metadata.json."""
    replicate = f'\n  "replicate": {gen.replicate},' if gen.number % 3 != 1 else ""
    return f"""{{
  "stage": "{gen.stage}",
  "gen_id": "{gen.gen_id}",
  "function": "{gen.stage}_{part}",
  "model_id": "{gen.model}",{replicate}
  "finish_reason": "stop",
  "usage": {{
    "prompt_tokens": 4750,
    "completion_tokens": 1600
  }},
  "duration_s": 12.75,
  "{part}_path": "{place}/{part}.txt"
}}"""


def _open_roster(root: Path, cohort: int) -> BinaryIO:
    folder = root / "cohorts" / f"cohort-{cohort}"
    folder.mkdir(parents=True)
    roster = open(folder / "membership.csv", "wb", buffering=1 << 16)  # noqa: SIM115 - open for the whole making
    roster.write(f"{_WIDE}\n".encode())
    return roster


def _row(gen: Gen) -> bytes:
    return (
        f"{gen.stage},{gen.gen_id},cohort-{gen.cohort},{gen.parent},{gen.combo},{gen.template},{gen.model},"
        f"{gen.replicate}\n"
    ).encode()


def _write_tables(root: Path) -> None:
    for stage in ("draft", "essay", "evaluation"):
        (root / "gens" / stage).mkdir(parents=True)
    tables = root / "1_raw"
    tables.mkdir()
    templates = {"draft": DRAFT_TEMPLATES, "essay": ESSAY_TEMPLATES, "evaluation": EVALUATION_TEMPLATES}
    for stage, names in templates.items():
        lines = [f"{name},{'copy' if name.startswith('parsed-from') else 'llm'},True\n" for name in names]
        (tables / f"{stage}_templates.csv").write_text("template_id,generator,active\n" + "".join(lines))
    models = "".join(f"{name},True,{name == MODELS[0]}\n" for name in MODELS)
    (tables / "llm_models.csv").write_text("id,for_generation,for_evaluation\n" + models)
    (tables / "replication_config.csv").write_text("stage,replicates\ndraft,9\nessay,9\nevaluation,99\n")


def _filler() -> bytes:
    """Return 1 MB of words in an order that a compressing file system cannot guess."""
    words = _WORDS.split()
    return b" ".join(random.Random(0).choices(words, k=150_000))


def main() -> None:
    """Make the store that the command line names and say how long it took."""
    parser = argparse.ArgumentParser(description="Make a large legacy store for benchmarks.")
    parser.add_argument("root", type=Path, help="where; must not exist")
    parser.add_argument("generations", type=int)
    parser.add_argument("--tiny", action="store_true", help="payload of a few bytes")
    args = parser.parse_args()
    start = time.perf_counter()
    make_store(args.root, args.generations, payload=not args.tiny)
    print(f"{args.generations} generations in {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    main()
