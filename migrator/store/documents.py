"""The JSON files of one generation, with changes that are made when somebody looks. Pure: opens no file.

metadata.json is brought up to date at once, since every step reads it. The two other files, its sidecars, stay bytes
and only collect what is to be done: they are rewritten once, where they are copied, in the process that copies them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from migrator.store import codec
from migrator.store.codec import Document
from migrator.store.layout import METADATA
from migrator.store.references import ID_KEYS, Names, follow_document

# Of revisions and contents a plan makes several a generation. To make a frozen one takes more than twice the time.


@dataclass(slots=True)
class Assign:
    """Keys of metadata.json that get a value; nothing where they have it."""

    values: Mapping[str, Any]

    def __call__(self, name: str, document: Document) -> Document:
        """The document with the values."""
        return _with(document, self.values) if name == METADATA else document


@dataclass(slots=True)
class Number:
    """The replicate: in metadata.json always, elsewhere where the key stands."""

    replicate: int

    def __call__(self, name: str, document: Document) -> Document:
        """The document with the replicate."""
        if "replicate" in document:
            same = _same(document["replicate"], self.replicate)
            return document if same else {**document, "replicate": self.replicate}
        return {**document, "replicate": self.replicate} if name == METADATA else document


@dataclass(slots=True)
class Drop:
    """Keys that go, at any depth."""

    keys: tuple[str, ...]

    def __call__(self, name: str, document: Document) -> Document:
        """The document without the keys."""
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


@dataclass(slots=True)
class Written:
    """A file that gets this document, whatever its bytes were."""

    document: Document

    def __call__(self, data: bytes) -> bytes:
        """The new bytes."""
        return codec.dumps(self.document)


@dataclass(slots=True)
class Rewrite:
    """What is to be done to the bytes of one file."""

    name: str
    revisions: tuple[Revision, ...]

    def __call__(self, data: bytes) -> bytes | None:
        """The new bytes, or None where no value changes. Raises codec.InvalidJson."""
        return codec.rewritten(data, lambda document: revised(self.name, document, self.revisions))


def revised(name: str, document: Document, revisions: tuple[Revision, ...]) -> Document:
    """The document after all revisions; the same object where no value changes.

    Each looks at one key of an object at a time, so that some keys of a document can be revised without the others.
    """
    for revision in revisions:
        document = revision(name, document)
    return document


ASKED = ("replicate", "model_id")  # what steps ask of raw_metadata.json and parsed_metadata.json
_SCALARS = (str, int, float, bool, type(None))


class Sidecar(NamedTuple):
    """raw_metadata.json or parsed_metadata.json, proven when it was read: its bytes, and what steps ask of it.

    `top` maps the asked keys to their values at the top, `under` to every value at any depth; a key that does not
    stand is left out. The whole is parsed again for who wants more: that is seldom, and bytes are small.
    """

    data: bytes
    top: Document
    under: Mapping[str, list[Any]]

    @classmethod
    def of(cls, data: bytes, document: Document) -> Sidecar:
        """The sidecar of some bytes that hold this document."""
        under = _under(document, ASKED)
        return cls(data, {key: document[key] for key in ASKED if key in document}, under)

    def document(self) -> Document:
        """The whole of it."""
        return codec.loads(self.data)

    def values_under(self, key: str) -> list[Any]:
        """Every value that stands under a key, at any depth."""
        return self.under.get(key, []) if key in ASKED else values_of(self.document(), key)

    def is_moot(self, revision: Revision, key: str, found: list[Any]) -> bool:
        """Whether a revision cannot have changed what was found under a key."""
        if isinstance(revision, Assign):
            return True  # of metadata.json only
        if isinstance(revision, Follow):
            return key not in ID_KEYS and all(type(v) in _SCALARS and "gens/" not in str(v) for v in found)
        if isinstance(revision, Number):
            return key != "replicate" and type(self.top.get("replicate")) in _SCALARS
        return False


class Documents(Mapping[str, Document]):
    """File name -> document as it is now. Never modified: `revise` makes another."""

    __slots__ = ("_now", "data", "metadata", "revisions", "sidecars")

    def __init__(
        self,
        metadata: Document | None,
        sidecars: Mapping[str, Sidecar],
        revisions: tuple[Revision, ...] = (),
        data: bytes = b"",
    ) -> None:
        self.metadata = metadata
        self.sidecars = sidecars
        self.revisions = revisions
        self.data = data  # of metadata.json as read, where it was kept
        self._now: dict[str, Document] | None = None

    @classmethod
    def of(cls, whole: Mapping[str, Document]) -> Documents:
        """Documents that nobody read from a disk."""
        others = {name: document for name, document in whole.items() if name != METADATA}
        sidecars = {name: Sidecar.of(codec.dumps(document), document) for name, document in others.items()}
        return cls(whole.get(METADATA), sidecars)

    def revise(self, revision: Revision) -> Documents:
        """These documents with one more revision; metadata.json is brought up to date now."""
        metadata = None if self.metadata is None else revision(METADATA, self.metadata)
        return Documents(metadata, self.sidecars, (*self.revisions, revision), self.data)

    def as_read(self) -> Iterator[tuple[str, bytes]]:
        """(file name, bytes) of each file; no bytes where they were not kept when it was read."""
        if self.metadata is not None:
            yield METADATA, self.data
        for name, sidecar in self.sidecars.items():
            yield name, sidecar.data

    def differ(self, before: Documents) -> bool:
        """Whether any value has changed since `before`, of which these are a revision."""
        if self.metadata is not before.metadata:
            return True
        since = self.revisions[len(before.revisions) :]
        if any(before.under(key) for revision in since if isinstance(revision, Drop) for key in revision.keys):
            return True  # what goes need not be looked for in the whole documents
        return any(revised(name, before[name], since) is not before[name] for name in self.sidecars) if since else False

    def at_top(self, key: str) -> dict[str, Any]:
        """File name -> value, of each file that has the key at its top."""
        found = {} if self.metadata is None or key not in self.metadata else {METADATA: self.metadata[key]}
        for name, sidecar in self.sidecars.items():
            top = revised(name, sidecar.top, self.revisions) if key in ASKED else self[name]
            if key in top:
                found[name] = top[key]
        return found

    def under(self, key: str) -> list[Any]:
        """Every value that stands under a key, at any depth of any file."""
        found = values_of(self.metadata, key)
        for name, sidecar in self.sidecars.items():
            values = sidecar.values_under(key)
            if not values:
                continue  # no revision gives a sidecar a key that it lacked
            for revision in self.revisions:
                if not sidecar.is_moot(revision, key, values):
                    values = values_of(self[name], key)
                    break
            found += values
        return found

    def __getitem__(self, name: str) -> Document:
        if name == METADATA and self.metadata is not None:
            return self.metadata
        if self._now is None:
            self._now = {}
        if name not in self._now:
            self._now[name] = revised(name, self.sidecars[name].document(), self.revisions)
        return self._now[name]

    def __iter__(self) -> Iterator[str]:
        if self.metadata is not None:
            yield METADATA
        yield from self.sidecars

    def __len__(self) -> int:
        return (self.metadata is not None) + len(self.sidecars)


def values_of(node: object, key: str) -> list[Any]:
    """Every value that stands under a key, at any depth."""
    return _under(node, (key,)).get(key, [])


def _under(node: object, keys: Sequence[str]) -> dict[str, list[Any]]:
    """The same of several keys; those that stand nowhere are left out."""
    found: dict[str, list[Any]] = {}
    stack = [node]
    while stack:
        here: Any = stack.pop()
        if type(here) is dict:
            for key in keys:
                if key in here:
                    found.setdefault(key, []).append(here[key])
            here = here.values()
        elif type(here) is not list:
            continue
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
        changed = {}
        for key, value in node.items():
            if type(value) is dict or type(value) is list:
                inner = _without(value, keys)
                if inner is not value:
                    changed[key] = inner
        if changed:
            node = {**node, **changed}
        dropped = [key for key in keys if key in node]
        if dropped:
            node = dict(node)
            for key in dropped:
                del node[key]
        return node
    if isinstance(node, list):
        items = [_without(value, keys) for value in node]
        return node if all(a is b for a, b in zip(items, node, strict=True)) else items
    return node
