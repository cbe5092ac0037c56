"""One generation as the steps see it: a frozen view of what was read, with the contract's reading order.

Pure: opens no file. Which keys meant what in which era is written here and nowhere else (contract, section 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from migrator.store.documents import Documents
from migrator.store.ids import (
    FIELD_SETS,
    FIELDS,
    PARENT_FIELDS,
    Fault,
    Signature,
    SignatureError,
    compute_signature,
    is_absent,
    signature_from,
    text_fault,
)
from migrator.store.layout import (
    DRAFT,
    ESSAY,
    EVALUATION,
    PARENT_STAGE,
    PARSED_METADATA,
    RAW_METADATA,
    gen_path,
)

Key = tuple[str, str]  # (stage, gen_id)
NOTHING: Mapping[str, Any] = {}

PARENT_KEYS = {ESSAY: ("parent_gen_id", "draft_gen_id"), EVALUATION: ("parent_gen_id", "essay_gen_id")}
CANONICAL_KEYS = (
    "template_id",
    "combo_id",
    "parent_gen_id",
    "llm_model_id",
)  # in the order in which they are added
SIGNATURE_SOURCES = {
    # signature field -> (canonical key of metadata.json, property of Gen)
    DRAFT: {
        "combo_id": ("combo_id", "combo"),
        "draft_template_id": ("template_id", "template"),
        "generation_model_id": ("llm_model_id", "model"),
    },
    ESSAY: {
        "draft_gen_id": ("parent_gen_id", "parent_value"),
        "essay_template_id": ("template_id", "template"),
    },
    EVALUATION: {
        "essay_gen_id": ("parent_gen_id", "parent_value"),
        "eval_template_id": ("template_id", "template"),
        "eval_model_id": ("llm_model_id", "model"),
    },
}


_CANONICAL_SOURCES = {
    # stage -> (canonical key, property of Gen) in the order in which they are added
    stage: [(key, dict(sources.values())[key]) for key in CANONICAL_KEYS if key in dict(sources.values())]
    for stage, sources in SIGNATURE_SOURCES.items()
}
_SIGNED_KEYS = {
    # stage -> keys of metadata.json, in the order of FIELDS
    stage: (*(key for key, _ in sources.values()), "replicate")
    for stage, sources in SIGNATURE_SOURCES.items()
}
ROW_COLUMNS = ("combo_id", "llm_model_id", "generation_model", "evaluation_model", "replicate")
T = TypeVar("T")


class _Once(Generic[T]):
    """A property that is computed once. Without the lock of functools.cached_property, a fifth of planning."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.function = function
        self.name = function.__name__

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        value = instance.__dict__[self.name] = self.function(instance)
        return value


def first_present(*values: object) -> Any:
    """The first value that is not absent, or None."""
    for value in values:
        if not is_absent(value):
            return value
    return None


@dataclass(frozen=True)
class Gen:
    """A generation. `origin` is the name it bore when the run began, empty for one that the run makes.

    `documents` holds the JSON files that exist, as read; `row` the generation's first present cell per ROW_COLUMNS
    of the membership tables. Neither is ever modified.
    """

    stage: str
    gen_id: str
    origin: str
    documents: Documents
    row: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, bytes] = field(default_factory=dict)  # payload of a generation that the run makes

    def __post_init__(self) -> None:
        if not isinstance(self.documents, Documents):
            object.__setattr__(self, "documents", Documents.of(self.documents))  # type: ignore[unreachable] # tests, notebooks

    @_Once
    def key(self) -> Key:
        """(stage, gen_id)."""
        return (self.stage, self.gen_id)

    @classmethod
    def of(
        cls,
        stage: str,
        gen_id: str,
        origin: str,
        documents: Documents,
        row: Mapping[str, str],
        texts: Mapping[str, bytes],
    ) -> Gen:
        """What the constructor makes of all its values, in a quarter of its time: a plan makes several of each."""
        gen = object.__new__(cls)
        values = gen.__dict__
        values["stage"] = stage
        values["gen_id"] = gen_id
        values["origin"] = origin
        values["documents"] = documents
        values["row"] = row
        values["texts"] = texts
        return gen

    def with_documents(self, documents: Documents) -> Gen:
        """The same generation with other documents."""
        return self.of(self.stage, self.gen_id, self.origin, documents, self.row, self.texts)

    def renumbered(self, documents: Documents) -> Gen:
        """The same with documents that differ in their replicates alone: what was found out of the rest stays."""
        gen = object.__new__(type(self))
        gen.__dict__.update(self.__dict__, documents=documents)
        gen.__dict__.pop("_signature", None)
        return gen

    @property
    def path(self) -> str:
        """The folder, relative to the data root."""
        return gen_path(self.stage, self.gen_id)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """metadata.json as read."""
        return self.documents.metadata or NOTHING

    @_Once
    def template(self) -> Any:
        """The template's id as read, or None."""
        return first_present(self.metadata.get("template_id"), self.metadata.get(f"{self.stage}_template"))

    @_Once
    def model(self) -> Any:
        """The model's id as read, or None."""
        metadata, row = self.metadata, self.row
        legacy = metadata.get("legacy_fields")
        return first_present(
            metadata.get("llm_model_id"),
            metadata.get("model_id"),
            legacy.get("model_id") if isinstance(legacy, dict) else None,
            row.get("llm_model_id"),
            row.get("evaluation_model" if self.stage == EVALUATION else "generation_model"),
        )

    @_Once
    def combo(self) -> Any:
        """The combination's id as read, or None."""
        return first_present(self.metadata.get("combo_id"), self.row.get("combo_id"))

    @_Once
    def parent_value(self) -> Any:
        """The parent's id as read, or None."""
        if self.stage not in PARENT_KEYS:
            return None
        metadata = self.metadata
        first, second = PARENT_KEYS[self.stage]
        return first_present(metadata.get(first), metadata.get(second))

    @_Once
    def parent(self) -> str | None:
        """The parent's id as text, or None where there is none or it is neither text nor an integer."""
        value = self.parent_value
        return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None

    @_Once
    def parent_key(self) -> Key | None:
        """(stage, gen_id) of the parent, or None."""
        parent = self.parent
        return None if parent is None or self.stage not in PARENT_STAGE else (PARENT_STAGE[self.stage], parent)

    @property
    def replicate(self) -> Any:
        """The replicate as it stands in metadata.json."""
        return self.metadata.get("replicate")

    @property
    def origin_cohort(self) -> Any:
        """The cohort that first asked for it, as read, or None."""
        return first_present(self.metadata.get("origin_cohort_id"), self.metadata.get("cohort_id"))

    @property
    def lost_draft_template(self) -> Any:
        """For an essay: the template of its draft as the essay remembers it, or None."""
        return first_present(self.metadata.get("draft_template"), self.metadata.get("draft_template_id"))

    def replicate_wishes(self) -> Iterator[Any]:
        """Every value on the replicate line, in reading order, absent ones too."""
        yield self.replicate
        written = self.values_at_top("replicate")
        for name in (RAW_METADATA, PARSED_METADATA):
            yield written.get(name)
        yield self.row.get("replicate")

    def values_at_top(self, key: str) -> dict[str, Any]:
        """File name -> value, of each of the three JSON files that has the key at its top."""
        return self.documents.at_top(key)

    def values_under(self, key: str) -> list[Any]:
        """Every value that stands under a key, at any depth of the three JSON files."""
        return self.documents.under(key)

    def signature_fields(self) -> Mapping[str, Any]:
        """Field -> value as read, without the replicate."""
        return self._fields

    @_Once
    def _fields(self) -> Mapping[str, Any]:
        return {name: getattr(self, source) for name, (_, source) in SIGNATURE_SOURCES[self.stage].items()}

    def faults(self) -> list[Fault]:
        """What is wrong with the fields of the signature, apart from the replicate.

        The parent's name as stored may be anything: its new id will stand in the signature.
        """
        found = [fault for name, value in self.signature_fields().items() if (fault := text_fault(name, value))]
        if not found:
            return []
        named = {name for name in PARENT_FIELDS if self.parent is not None and not is_absent(self.parent)}
        return [fault for fault in found if fault.field not in named]

    def missing_canonical(self) -> dict[str, Any]:
        """What metadata.json lacks to be enough alone: canonical key -> value as read elsewhere."""
        metadata = self.metadata
        return {
            key: getattr(self, source) for key, source in _CANONICAL_SOURCES[self.stage] if is_absent(metadata.get(key))
        }

    def signature(self, **overrides: object) -> Signature:
        """The signature from what was read; `overrides` replace fields. Raises SignatureError."""
        return self._signed(overrides) if overrides else self._signature

    @_Once
    def _signature(self) -> Signature:
        return self._signed({})

    def _signed(self, overrides: Mapping[str, object]) -> Signature:
        """The canonical keys come first in the reading order: a signature that they alone make is the one."""
        stage, names, metadata = self.stage, FIELDS[self.stage], self.metadata
        values = [metadata.get(key) for key in _SIGNED_KEYS[stage]]
        if None not in values and overrides.keys() <= FIELD_SETS[stage]:
            for name, value in overrides.items():
                values[names.index(name)] = value
            try:
                return signature_from(stage, values)
            except SignatureError:
                pass
        fields = {**self.signature_fields(), "replicate": self.replicate}
        return compute_signature(stage, **{**fields, **overrides})
