"""Signatures and deterministic ids (contract, section 2). Pure: opens no file.

signature(draft)      = (combo_id, draft_template_id, generation_model_id, replicate)
signature(essay)      = (draft_gen_id, essay_template_id, replicate)
signature(evaluation) = (essay_gen_id, eval_template_id, eval_model_id, replicate)
gen_id                = prefix + base36(BLAKE2b-80("<stage>|" + "|".join(fields)))
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from migrator.errors import MigratorError
from migrator.store.layout import DRAFT, ESSAY, EVALUATION
from migrator.store.problems import INVALID_FIELD, MISSING_FIELD

Signature = tuple[str | int, ...]

PREFIX = {DRAFT: "d_", ESSAY: "e_", EVALUATION: "v_"}
FIELDS = {
    DRAFT: ("combo_id", "draft_template_id", "generation_model_id", "replicate"),
    ESSAY: ("draft_gen_id", "essay_template_id", "replicate"),
    EVALUATION: ("essay_gen_id", "eval_template_id", "eval_model_id", "replicate"),
}
PARENT_FIELDS = frozenset({"draft_gen_id", "essay_gen_id"})
FIELD_SETS = {stage: frozenset(names) for stage, names in FIELDS.items()}
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_PAIRS = [a + b for a in _DIGITS for b in _DIGITS]  # two digits at a time: half the divisions
_ABSENT = ("nan", "unknown")
_LONGEST_ABSENT = 7
_LARGEST_BITS = 12_000  # Python writes integers of up to 4,300 digits
_MADE = re.compile("[dev]_[0-9a-z-]+")  # an id of ours: nothing can be wrong with it
_FORBIDDEN = re.compile("[|\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class IdScheme:
    """How a canonical text becomes an id. `digest_size` in bytes: 10 is the contract, less forces collisions."""

    digest_size: int = 10

    def digest(self, text: str) -> str:
        """The BLAKE2b digest as a big-endian integer in lower-case base 36, without padding."""
        return _digest(text, self.digest_size)


@lru_cache(maxsize=1 << 20)
def _digest(text: str, size: int) -> str:
    """Kept, since a run asks three times: when it gives an id, checks the plan, and proves what it wrote."""
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=size).digest(), "big")
    pairs = []
    while number:
        number, pair = divmod(number, 1296)
        pairs.append(_PAIRS[pair])
    return "".join(reversed(pairs)).lstrip("0") or "0"


DEFAULT_SCHEME = IdScheme()


@dataclass(frozen=True, slots=True)
class Fault:
    """One field that cannot be part of a signature: `kind` is missing-field or invalid-field."""

    kind: str
    field: str
    message: str


class SignatureError(MigratorError, ValueError):
    """A signature that cannot be computed; `faults` lists every field that is wrong."""

    def __init__(self, stage: str, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        self.stage = stage
        super().__init__(f"no signature for this {stage}: " + "; ".join(f.message for f in self.faults))

    def __reduce__(self) -> tuple[type[SignatureError], tuple[str, tuple[Fault, ...]]]:
        return SignatureError, (self.stage, self.faults)


def is_absent(value: object) -> bool:
    """Whether a value counts as missing: null, NaN, blank, or the text `nan` or `unknown` in any case."""
    if isinstance(value, str):
        text = value.strip()
        return not text or (len(text) <= _LONGEST_ABSENT and text.lower() in _ABSENT)
    return value is None or value != value


def normalise(value: object) -> str:
    """A text field as it stands in a signature."""
    return str(value).strip().lower()


def _shown(value: object) -> str:
    """A value for a message, short enough for a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def text_fault(field: str, value: object) -> Fault | None:
    """What is wrong with a text or parent field of a signature, or None."""
    found = _text_field(field, value)
    return None if type(found) is str else found  # type: ignore[return-value] # a text or a Fault


@lru_cache(maxsize=4096)
def _plain_text(value: str) -> str | None:
    """A text as it stands in a signature, None where it cannot. Stores have few templates, models, combinations."""
    return None if is_absent(value) or _FORBIDDEN.search(normalise(value)) else normalise(value)


@lru_cache(maxsize=4096)
def _is_plain_parent(value: str) -> bool:
    """Whether a parent's name can stand in a signature as it is. Many have one parent, and stand beside each other."""
    return _MADE.fullmatch(value) is not None or not (is_absent(value) or _FORBIDDEN.search(value))


def _text_field(field: str, value: object) -> str | Fault:
    """The field as it stands in a signature, or what is wrong with it."""
    if type(value) is str:
        if field not in PARENT_FIELDS:
            text = _plain_text(value)
            if text is not None:
                return text
        elif _is_plain_parent(value):
            return value
    if is_absent(value):
        return Fault(MISSING_FIELD, field, f"{field} is missing")
    if not isinstance(value, str) and (not isinstance(value, int) or isinstance(value, bool)):
        return Fault(INVALID_FIELD, field, f"{field} is {_shown(value)}: neither text nor an integer")
    if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
        return Fault(INVALID_FIELD, field, f"{field} is an integer too large to be written")
    text = str(value) if field in PARENT_FIELDS else normalise(value)
    if _FORBIDDEN.search(text):
        return Fault(INVALID_FIELD, field, f"{field} {_shown(value)} contains '|' or a control character")
    return text


def replicate_fault(value: object) -> Fault | None:
    """What is wrong with a replicate, or None."""
    if type(value) is int and 0 < value < 1 << 30:
        return None
    if is_absent(value):
        return Fault(MISSING_FIELD, "replicate", "replicate is missing")
    if type(value) is int and value.bit_length() > _LARGEST_BITS:
        return Fault(INVALID_FIELD, "replicate", "replicate is an integer too large to be written")
    if type(value) is not int or value < 1:
        return Fault(INVALID_FIELD, "replicate", f"replicate {_shown(value)} is not an integer of 1 or more")
    return None


def compute_signature(stage: str, **fields: object) -> Signature:
    """Validate the fields of a task and return its signature: text fields, then the replicate as an int.

    Raises SignatureError (a ValueError) listing every field that is absent or invalid, ValueError for an unknown
    stage and TypeError for a field that the stage does not have.
    """
    if stage not in FIELDS:
        raise ValueError(f"unknown stage {stage!r}: expected one of {', '.join(FIELDS)}")
    names = FIELDS[stage]
    if not fields.keys() <= FIELD_SETS[stage]:
        unknown = ", ".join(sorted(fields.keys() - names))
        raise TypeError(f"a signature of {stage} has no field {unknown}: it has {', '.join(names)}")
    return signature_from(stage, [fields.get(name) for name in names])


def signature_from(stage: str, values: Sequence[object]) -> Signature:
    """The same of the values in the order of FIELDS. Raises SignatureError."""
    *texts, replicate = values
    found = list(map(_text_field, FIELDS[stage], texts))
    fault = replicate_fault(replicate)
    if fault or Fault in map(type, found):
        faults = [one for one in (*found, fault) if type(one) is Fault]
        raise SignatureError(stage, faults)
    return (*found, replicate)  # type: ignore[arg-type] # no faults: texts and an int


def canonical(stage: str, signature: Signature) -> str:
    """The text that is hashed."""
    return f"{stage}|" + "|".join(map(str, signature))


def compute_gen_id(stage: str, signature: Signature, scheme: IdScheme = DEFAULT_SCHEME) -> str:
    """The bare id of a signature. Two signatures may share it: see IdRegistry."""
    return PREFIX[stage] + scheme.digest(canonical(stage, signature))


def _suffix(gen_id: str, bare: str) -> int | None:
    """0 for the bare id, N for the id with the suffix -N, None for any other name."""
    if gen_id == bare:
        return 0
    tail = gen_id.removeprefix(bare + "-")
    return int(tail) if tail != gen_id and re.fullmatch("[1-9][0-9]{0,8}", tail) else None


def is_right_id(gen_id: str, stage: str, signature: Signature, scheme: IdScheme = DEFAULT_SCHEME) -> bool:
    """Whether an id is the formula's for this signature, or that with a collision's suffix."""
    return _suffix(gen_id, compute_gen_id(stage, signature, scheme)) is not None


@dataclass(frozen=True, slots=True)
class Collision:
    """Different signatures that share one bare id; `ids` maps each canonical text to the id it was given."""

    stage: str
    gen_id: str
    ids: Mapping[str, str]


class IdRegistry:
    """Hands out the ids of one stage, with the contract's rule for collisions.

    `taken` are names that must not be given to anyone (folders that stay). After `assign`, `collisions` lists every
    bare id that more than one signature claims.
    """

    def __init__(self, stage: str, scheme: IdScheme = DEFAULT_SCHEME, taken: Collection[str] = ()) -> None:
        self.stage = stage
        self.scheme = scheme
        self.taken = taken
        self.collisions: list[Collision] = []

    def assign(self, claims: Mapping[Signature, str | None]) -> dict[Signature, str]:
        """Map each signature to its id; a claim's value is the name its generation bears today, or None.

        Whoever bears a right id keeps it. Otherwise the bare id goes to the smallest canonical text and the others
        get -1, -2, ... in the order of their canonical texts.
        """
        groups: dict[str, list[Signature]] = {}
        for signature in claims:
            groups.setdefault(compute_gen_id(self.stage, signature, self.scheme), []).append(signature)
        assigned: dict[Signature, str] = {}
        for bare, members in groups.items():
            held = claims[members[0]]
            if len(members) == 1 and bare not in self.taken and not (held and held.startswith(bare)):
                assigned[members[0]] = bare
                continue
            self._assign_group(bare, members, claims, assigned)
        return assigned

    def _assign_group(
        self,
        bare: str,
        members: list[Signature],
        claims: Mapping[Signature, str | None],
        assigned: dict[Signature, str],
    ) -> None:
        members.sort(key=lambda signature: canonical(self.stage, signature))
        kept: dict[int, Signature] = {}
        for signature in members:
            suffix = _suffix(claims[signature] or "", bare)
            if suffix is not None:
                kept[suffix] = signature
        used = set(kept)
        for suffix, signature in kept.items():
            assigned[signature] = f"{bare}-{suffix}" if suffix else bare
        free = 0
        for signature in members:
            if signature in assigned:
                continue
            while free in used or (f"{bare}-{free}" if free else bare) in self.taken:
                free += 1
            used.add(free)
            assigned[signature] = f"{bare}-{free}" if free else bare
        if len(members) > 1:
            ids = {canonical(self.stage, signature): assigned[signature] for signature in members}
            self.collisions.append(Collision(self.stage, bare, ids))
