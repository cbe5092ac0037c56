"""A small pipeline over the three stages, with a model that costs nothing: what one's own code location looks like.

`make example` starts it on a demo store. Elsewhere:
MIGRATOR_DATA_ROOT=/path/to/data dagster dev -f examples/daydreaming/pipeline.py
"""

import os

from migrator.pipeline import Reply, StubModel, Task, Work, definitions

CALLS = os.environ.get("EXAMPLE_CALLS", "")  # a file that gets a line for every call of the model
stub = StubModel()


def prompt(task: Task) -> str:
    """What the model is asked: the template's name, what it is about, and the parent's text."""
    source = f"\n\n{task.source}" if task.source else ""
    return f"Template {task.template} for {task.combo}, number {task.replicate}.{source}"


def model(task: Task, text: str) -> Reply:
    """Ask the model; here it is a stub, in your code it is the call that you pay for."""
    if CALLS:
        with open(CALLS, "a", encoding="utf-8") as log:
            log.write(f"{task.stage} {task.gen_id}\n")
    return stub(task, text)


def score(task: Task, raw: str) -> str:
    """The number in the last line of an evaluation; ValueError where there is none: raw.txt is kept, the run fails."""
    label, _, number = raw.strip().rpartition("\n")[2].partition(":")
    if label != "SCORE":
        raise ValueError("the last line has no SCORE")
    return number.strip()


defs = definitions(draft=Work(prompt, model), essay=Work(prompt, model), evaluation=Work(prompt, model, score))
