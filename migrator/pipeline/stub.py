"""A model for examples and rehearsals: the same prompt gives the same text anywhere, and it costs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from migrator.pipeline.work import Reply, Task, Work
from migrator.store.layout import EVALUATION

_WORDS = ("signal", "pattern", "market", "memory", "drift", "critic", "thread", "seed", "filter", "insight")
_LENGTH = 24  # words


@dataclass
class StubModel:
    """Answers out of the prompt's digest; `calls` lists the generations that it was asked for."""

    calls: list[str] = field(default_factory=list)

    def __call__(self, task: Task, prompt: str) -> Reply:
        """Some words, and for an evaluation a last line with a score from 0 to 9."""
        self.calls.append(task.gen_id)
        digest = hashlib.blake2b(f"{task.model}\n{prompt}".encode(), digest_size=_LENGTH).digest()
        words = " ".join(_WORDS[byte % len(_WORDS)] for byte in digest)
        text = f"{words}\nSCORE: {digest[0] % 10}\n" if task.stage == EVALUATION else f"{words}\n"
        usage = {"prompt_tokens": len(prompt.split()), "completion_tokens": len(text.split())}
        return Reply(text, usage=usage)


def prompt(task: Task) -> str:
    """What the task is, and the parent's text; replicates differ by their number."""
    source = f"\n\n{task.source}" if task.source else ""
    return f"Template {task.template} for {task.combo}, number {task.replicate}.{source}"


def in_last_line(task: Task, raw: str) -> str:
    """The number behind SCORE: in the last line. Raises ValueError where there is none."""
    last = raw.strip().rpartition("\n")[2]
    label, _, score = last.partition(":")
    if label.strip() != "SCORE":
        raise ValueError(f"the last line has no SCORE: {last[:60]!r}")
    return score.strip()


def works(model: Callable[[Task, str], Reply]) -> tuple[Work, Work, Work]:
    """Draft, essay and evaluation around the stub, as `definitions` takes them."""
    return Work(prompt, model), Work(prompt, model), Work(prompt, model, in_last_line)
