"""What a pipeline's own code is: three functions a stage, and the task that they are given. Knows no Dagster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from migrator.store.records import Gen, first_present


@dataclass(frozen=True)
class Task:
    """One generation to be made. `parents` are its forebears' tasks, the parent first; `source` the parent's text.

    `combo` and `model` are its own, else the nearest forebear's that has one. `template` is never of a forebear.
    """

    stage: str
    gen_id: str
    template: str
    combo: str
    model: str
    replicate: int
    metadata: Mapping[str, Any]
    parents: tuple[Task, ...] = ()
    source: str | None = None

    @classmethod
    def of(cls, gen: Gen, forebears: tuple[Gen, ...], source: str | None = None) -> Task:
        """The task that a record describes."""
        line = (gen, *forebears)
        return cls(
            stage=gen.stage,
            gen_id=gen.gen_id,
            template=str(gen.template),
            combo=str(first_present(*(one.combo for one in line)) or ""),
            model=str(first_present(*(one.model for one in line)) or ""),
            replicate=gen.replicate,
            metadata=gen.metadata,
            parents=tuple(cls.of(one, forebears[number:]) for number, one in enumerate(forebears, 1)),
            source=source,
        )


@dataclass(frozen=True)
class Reply:
    """What a model answered; `usage` are its own counts, kept in raw_metadata.json as given."""

    text: str
    finish_reason: str = "stop"
    truncated: bool = False
    usage: Mapping[str, Any] | None = None


def whole(task: Task, raw: str) -> str:
    """The parser that takes the whole answer."""
    return raw


@dataclass(frozen=True)
class Work:
    """How one stage is made: task -> prompt, task and prompt -> answer, task and answer -> parsed text.

    A parser raises ValueError for an answer that it cannot use. `parser_name` goes into parsed_metadata.json.
    """

    prompt: Callable[[Task], str]
    model: Callable[[Task, str], str | Reply]
    parse: Callable[[Task, str], str] = field(default=whole)

    @property
    def parser_name(self) -> str:
        """What the parser is called."""
        return "identity" if self.parse is whole else getattr(self.parse, "__name__", type(self.parse).__name__)
