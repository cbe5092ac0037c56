"""What is read of the live tree while the plan of a run is made: scores, and the digests of payload. Writes nothing.

No step can change either, so they need no plan; a second core would have nothing to do meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType

from migrator.engine.listing import FILE, Entry
from migrator.engine.survey import Surveyed, survey
from migrator.engine.tokens import Batch, Hit, Tokens
from migrator.engine.workers import Beside, Jobs, processes, reap
from migrator.rebuild import Scores, scores_of
from migrator.store.inventory import Inventory
from migrator.store.layout import is_payload
from migrator.tables.scores import Score, evaluation_of, score_of

_Look = tuple[dict[str, tuple[str, str]], dict[str, str], list[tuple[str, int, str]]]


class _Texts(Batch):
    """Takes the scores from what it searches."""

    def __init__(self, tokens: Tokens) -> None:
        super().__init__(tokens)
        self.scores: dict[str, tuple[str, str]] = {}

    def add(self, path: str, data: bytes) -> None:
        super().add(path, data)
        gen_id = evaluation_of(path)
        if gen_id:
            self.scores[gen_id] = (*score_of(data),)


class Ahead:
    """A child that reads until somebody asks for what it has seen. Without one all but the scores is left to others."""

    def __init__(self, store: Inventory, entries: Sequence[Entry], jobs: Jobs) -> None:
        self._store, self._entries = store, entries
        self._child: Beside[_Look] | None = None
        if processes(len(entries), jobs) > 1:
            self._asked, self._ask = os.pipe()
            os.set_blocking(self._asked, False)
            self._child = Beside(self._look, len(entries), jobs)

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._child:
            self._child.abandon()
            os.close(self._asked)
            os.close(self._ask)
        reap()  # of all children of the run: this was the first

    def _look(self) -> _Look:
        payload = self._payload()
        names = Tokens((gen_id for _, gen_id in self._store.gens), sum(entry.size for entry in payload))
        texts = _Texts(names)
        digests, hits = survey(self._store.root, payload, texts, self._is_asked)
        return texts.scores, digests, hits

    def _payload(self) -> list[Entry]:
        """The files to look into: first those that have a score, which somebody else would have to read."""
        payload = [entry for entry in self._entries if entry.kind == FILE and is_payload(entry.path)]
        return sorted(payload, key=lambda entry: not evaluation_of(entry.path))

    def _is_asked(self) -> bool:
        try:
            return bool(os.read(self._asked, 1))
        except BlockingIOError:
            return False

    def seen(self) -> tuple[Scores, Surveyed]:
        """The scores by evaluation, and what was seen of the payload until now; the child ends with it."""
        if self._child is None:
            return scores_of(self._store), Surveyed()
        os.write(self._ask, b".")
        scores, digests, hits = self._child.result()
        surveyed = Surveyed(digests, [Hit(*hit) for hit in hits])
        return scores_of(self._store, {gen_id: Score(*score) for gen_id, score in scores.items()}), surveyed
