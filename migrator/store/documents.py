"""The JSON files of one generation, with changes that are made when somebody looks. Pure: opens no file.

metadata.json is brought up to date at once, since every step reads it. The two other files only collect what is to be
done: a full upgrade rewrites them once, where they are copied, in the process that copies them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from migrator.store import codec
from migrator.store.codec import Document
from migrator.store.layout import METADATA
from migrator.store.references import ID_KEYS, Names, follow_document


@dataclass(frozen=True, slots=True)
class Assign:
    """Keys of metadata.json that get a value; nothing where they have it."""

    values: Mapping[str, Any]

    def __call__(self, name: str, document: Document) -> Document:
        """The document with the values."""
        return _with(document, self.values) if name == METADATA else document


@dataclass(frozen=True, slots=True)
class Number:
    """The replicate: in metadata.json always, elsewhere where the key stands."""

    replicate: int

    def __call__(self, name: str, document: Document) -> Document:
        """The document with the replicate."""
        if name != METADATA and "replicate" not in document:
            return document
        return _with(document, {"replicate": self.replicate})


@dataclass(frozen=True, slots=True)
class Drop:
    """Keys that go, at any depth."""

    keys: tuple[str, ...]

    def __call__(self, name: str, document: Document) -> Document:
        """The document without the keys."""
        if not any(values_of(document, key) for key in self.keys):  # a fifth of the cost of making it anew
            return document
        found: Document = _without(document, self.keys)
        return found


@dataclass(frozen=True, slots=True)
class Follow:
    """Names that changed, in the files of a generation of this stage."""

    stage: str
    names: Names

    def __call__(self, name: str, document: Document) -> Document:
        """The document with every mention followed."""
        found: Document = follow_document(document, self.stage, self.names)
        return found


Revision = Assign | Number | Drop | Follow


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What is to be done to the bytes of one file; can be sent to another process."""

    name: str
    revisions: tuple[Revision, ...]

    def __call__(self, data: bytes) -> bytes | None:
        """The new bytes, or None where no value changes. Raises codec.InvalidJson."""
        old = codec.loads(data)
        new = revised(self.name, old, self.revisions)
        return None if new is old else codec.dumps(new)


def revised(name: str, document: Document, revisions: tuple[Revision, ...]) -> Document:
    """The document after all revisions; the same object where no value changes."""
    for revision in revisions:
        document = revision(name, document)
    return document


class Documents(Mapping[str, Document]):
    """File name -> document as it is now. Never modified: `revise` makes another."""

    __slots__ = ("_now", "read", "revisions")

    def __init__(
        self,
        read: Mapping[str, Document],
        revisions: tuple[Revision, ...] = (),
        metadata: Document | None = None,
    ) -> None:
        self.read = read
        self.revisions = revisions
        self._now: dict[str, Document] = {} if metadata is None else {METADATA: metadata}

    def revise(self, revision: Revision) -> Documents:
        """These documents with one more revision; metadata.json is brought up to date now."""
        metadata = revision(METADATA, self[METADATA])
        return Documents(self.read, (*self.revisions, revision), metadata)

    def under(self, key: str) -> list[Any]:
        """Every value that stands under a key, at any depth of any file."""
        return [value for name in self.read for value in self._under(name, key)]

    def _under(self, name: str, key: str) -> list[Any]:
        harmless = (Assign, Number) if key in ID_KEYS or key == "replicate" else (Assign, Number, Follow)
        if name != METADATA and all(isinstance(revision, harmless) for revision in self.revisions):
            return values_of(self.read[name], key)  # nothing so far can have changed where it stands
        return values_of(self[name], key)

    def __getitem__(self, name: str) -> Document:
        if name not in self._now:
            self._now[name] = revised(name, self.read[name], self.revisions)
        return self._now[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.read)

    def __len__(self) -> int:
        return len(self.read)


def values_of(node: object, key: str) -> list[Any]:
    """Every value that stands under a key, at any depth."""
    found: list[Any] = []
    stack = [node]
    while stack:
        here = stack.pop()
        if isinstance(here, dict):
            if key in here:
                found.append(here[key])
            stack += [value for value in here.values() if type(value) is dict or type(value) is list]
        elif isinstance(here, list):
            stack += [value for value in here if type(value) is dict or type(value) is list]
    return found


def _same(a: object, b: object) -> bool:
    return type(a) is type(b) and a == b


def _with(document: Document, values: Mapping[str, Any]) -> Document:
    changed = {key: value for key, value in values.items() if key not in document or not _same(document[key], value)}
    return {**document, **changed} if changed else document


def _without(node: Any, keys: tuple[str, ...]) -> Any:
    """A JSON value without these keys at any depth; the same object where none stands."""
    if isinstance(node, dict):
        kept = {
            key: _without(value, keys) if isinstance(value, dict | list) else value
            for key, value in node.items()
            if key not in keys
        }
        same = len(kept) == len(node) and all(kept[key] is value for key, value in node.items())
        return node if same else kept
    if isinstance(node, list):
        items = [_without(value, keys) for value in node]
        return node if all(a is b for a, b in zip(items, node, strict=True)) else items
    return node
