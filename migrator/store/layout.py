"""Names and paths of a data root (contract, section 1). Pure: opens no file.

Every stage name, file name and folder name of the store is written here and nowhere else.
"""

from __future__ import annotations

DRAFT, ESSAY, EVALUATION = "draft", "essay", "evaluation"
STAGES = (DRAFT, ESSAY, EVALUATION)
PARENT_STAGE = {ESSAY: DRAFT, EVALUATION: ESSAY}

GENS, COHORTS, RAW, TASKS, COPIES = "gens", "cohorts", "1_raw", "2_tasks", "selected_essays"
OWN = ".migrator"  # ours, inside the tree: ledger and mappings
LEDGER = f"{OWN}/ledger.jsonl"
MAPPINGS = f"{OWN}/mappings"

METADATA, RAW_METADATA, PARSED_METADATA = "metadata.json", "raw_metadata.json", "parsed_metadata.json"
DOCUMENTS = (METADATA, RAW_METADATA, PARSED_METADATA)
PARSED_TEXT, RAW_TEXT, PROMPT_TEXT = "parsed.txt", "raw.txt", "prompt.txt"
MEMBERSHIP, MANIFEST = "membership.csv", "manifest.json"

MODELS_TABLE = f"{RAW}/llm_models.csv"
REPLICATION_TABLE = f"{RAW}/replication_config.csv"

AGGREGATED_SCORES = "5_parsing/aggregated_scores.csv"
SCORES_BY_ESSAY = "6_summary/generation_scores_pivot.csv"
SCORES_BY_TASK = "7_cross_experiment/evaluation_scores_by_template_model.csv"
REBUILT_TABLES = (AGGREGATED_SCORES, SCORES_BY_ESSAY, SCORES_BY_TASK)  # derived tables that are ours to make


def templates_table(stage: str) -> str:
    """Path of the templates of a stage."""
    return f"{RAW}/{stage}_templates.csv"


def gen_path(stage: str, gen_id: str) -> str:
    """Path of a generation's folder."""
    return f"{GENS}/{stage}/{gen_id}"


def manifest_path(cohort_id: str) -> str:
    """Path of a cohort's manifest."""
    return f"{COHORTS}/{cohort_id}/{MANIFEST}"


def run_mappings(run_id: str) -> str:
    """Folder of one run's mapping files inside the tree."""
    return f"{MAPPINGS}/{run_id}"


def is_own(path: str) -> bool:
    """Whether a path belongs to us and not to the user."""
    return path == OWN or path.startswith(OWN + "/")


def is_payload(path: str) -> bool:
    """Whether a path is that of a file of a generation, or of something deeper in it, but of none of the JSON files."""
    return path.startswith(f"{GENS}/") and path.count("/") > 2 and path.rpartition("/")[2] not in DOCUMENTS


def is_derived(path: str) -> bool:
    """Whether a path lies in a folder of derived tables (5_parsing, 6_summary, 7_*)."""
    top, slash, _ = path.partition("/")
    return bool(slash) and (top in ("5_parsing", "6_summary") or top.startswith("7_"))


def is_manifest(path: str) -> bool:
    """Whether a path is a cohort's manifest, which is a cache and nothing else."""
    parts = path.split("/")
    return len(parts) == 3 and parts[0] == COHORTS and parts[2] == MANIFEST


def unsafe_id(text: str) -> str | None:
    """Why a text cannot be a legacy id, or None.

    One path component that is exact in a CSV and harmless in a spreadsheet; parents and gen_ids are held to it
    before anything is made of them.
    """
    if not text or "/" in text or "\0" in text or text in (".", ".."):
        return "is not one path component"
    if text[0] in ".-=+@\t\r":
        return f"starts with {text[0]!r}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    return None
