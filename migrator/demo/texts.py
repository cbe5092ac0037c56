"""What the demo store is made of: its tables of templates and models, and seeded prose about day-dreaming.

Pure: opens no file; every choice is made by the generator that is handed in.
"""

from __future__ import annotations

from random import Random

COPY = "parsed-from-links-v1"

# 1_raw as the pipeline's users keep it: written as it stands.
RAW_TABLES = {
    "draft_templates.csv": """\
template_id,template_name,description,parser,generator,active
creative-synthesis-v2,Creative Synthesis V2,"First essay template, reused for drafts",,llm,True
gwern_original,Gwern Original,The prompt of the day-dreaming proposal,essay_block,llm,yes
original,Original,Early one-liner,,llm,False
application-implementation-v2,Application Implementation V2,From idea to working system,essay_block,,no
""",
    "essay_templates.csv": """\
template_id,template_name,description,parser,generator,active
creative-synthesis-v8,Creative Synthesis V8,Two-phase essay,,,False
creative-synthesis-v10,Creative Synthesis V10,"Two-phase essay, shorter",,llm,False
synthesis-theme-narrative-v18,Essay Synthesis V18,Main theme narrative (600±200 words),,llm,True
parsed-from-links-v1,Parsed From Links,The draft's final idea; no model is called,,copy,1
""",
    "evaluation_templates.csv": """\
template_id,template_name,description,parser,generator,active
novelty,Novelty,Binary originality auditor,in_last_line,llm,False
novelty-v2,Novelty V2,Originality auditor with partial credit,in_last_line,llm,True
style-coherence-v3,Style Coherence V3,"Coherence, with a structure-preserving rubric",in_last_line,llm,true
""",
    "llm_models.csv": """\
id,model,provider,display_name,for_generation,for_evaluation,specialization
sonnet-4,anthropic/claude-sonnet-4,anthropic,Sonnet 4,True,True,reasoning
gemini_25_pro,google/gemini-2.5-pro,google,Gemini 2.5 Pro,True,False,general
deepseek_r1_p,deepseek/deepseek-r1,deepseek,DeepSeek R1,False,False,reasoning
qwen3-235b-a22b,qwen/qwen3-235b-a22b,qwen,Qwen: Qwen3 235B A22B,False,False,instruction_following
""",
    "replication_config.csv": "stage,replicates\ndraft,2\nessay,1\nevaluation,3\n",
}

PROVIDER_NAMES = {
    "sonnet-4": "anthropic/claude-sonnet-4",
    "gemini_25_pro": "google/gemini-2.5-pro",
    "deepseek_r1_p": "deepseek/deepseek-r1",
    "qwen3-235b-a22b": "qwen/qwen3-235b-a22b",
}

CONCEPTS = {
    "default-mode-network": "the default mode network",
    "mind-wandering": "mind-wandering",
    "combinatorial-search": "combinatorial search",
    "generator-verifier-gap": "the generator–verifier gap",
    "generate-and-test": "generate-and-test",
    "dearth-ai-discoveries": "the dearth of machine discoveries",
    "idle-compute": "idle compute",
    "spaced-retrieval": "spaced retrieval",
    "reverie": "rêverie",
    "naive-search": "naïve search",
    "data-moats": "data moats",
    "offline-replay": "offline replay",
}

_CLAIMS = (
    "Left running overnight beside {b}, {a} turns up pairs that nobody asked for.",
    "What {a} proposes, {b} must refuse a thousand times before it keeps one.",
    "The bridge between {a} and {b} is {c}, and it is cheap as long as nobody waits for it.",
    "A model that never returns to {a} cannot be surprised by {b}.",
    "Most pairs of {a} and {b} are noise; a critic that costs less than the writer makes the noise bearable.",
    "We could pay for {c} with the hours in which {a} would otherwise do nothing.",
    "Seen from {b}, {a} looks less like a flaw than like a schedule.",
    "If {a} is the question, then {c} is the habit of asking it again at an odd hour.",
    "The gain of {a} compounds: each kept idea becomes a seed for {b}.",
    "Nothing in {b} rules out {c}; it only says that {a} has to come first.",
    "People call it insight when {a} meets {c}, and forget the drafts that were thrown away.",
    "A small loop is enough: sample {a}, join it to {b}, ask whether {c} would notice.",
)

_REMARKS = (
    "The text ties {a} to {b} and says what would count against it.",
    "Its first half restates {a}; the step to {b} is its own.",
    "The claim about {a} is bold, the mechanism through {b} is only sketched.",
    "Prior work on {a} covers most of this; the use of {b} is new.",
    "It reads well, yet {a} and {b} never quite meet.",
    "One could test the part about {a} within a week, the part about {b} hardly ever.",
)


def _sentences(rng: Random, forms: tuple[str, ...], count: int) -> str:
    sentences = []
    for form in rng.sample(forms, count):
        a, b, c = rng.sample(sorted(CONCEPTS.values()), 3)
        sentence = form.format(a=a, b=b, c=c)
        sentences.append(sentence[0].upper() + sentence[1:])
    return " ".join(sentences)


def draft_text(rng: Random) -> str:
    """Return a draft: thoughts, an essay of two paragraphs, and its final idea."""
    idea = _sentences(rng, _CLAIMS, 2)
    return (
        f"<thinking>\n{_sentences(rng, _CLAIMS, 2)}\n</thinking>\n"
        f"<essay>\n{_sentences(rng, _CLAIMS, 4)}\n\n{_sentences(rng, _CLAIMS, 3)}\n</essay>\n"
        f"<essay-idea>\n{idea}\n</essay-idea>\n"
    )


def essay_text(rng: Random) -> str:
    """Return an essay of three paragraphs."""
    return "\n\n".join(_sentences(rng, _CLAIMS, count) for count in (3, 4, 2)) + "\n"


def remarks(rng: Random) -> str:
    """Return what an evaluator says before it gives the score."""
    return _sentences(rng, _REMARKS, 3)


def prompt(rng: Random, template: str, subject: str) -> str:
    """Return the prompt that a template makes of its subject (concepts, a draft or an essay)."""
    return f"# {template}\n\n{_sentences(rng, _CLAIMS, 1)}\n\n{subject.strip()}\n\nAnswer in plain text.\n"
