"""What is under way, so that the next writing command can finish or undo it after a crash.

One small file beside the data root, replaced by a rename and removed when nothing is owed any more.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from migrator.engine import files
from migrator.errors import CareNeeded

JOURNAL = "journal.json"
UPGRADE, ROLLBACK, ADOPT, ENROL = "upgrade", "rollback", "adopt", "enrol"


@dataclass(frozen=True, slots=True)
class Journal:
    """One action: what (upgrade, rollback, adopt, enrol), of which run, and the run's folder.

    `moves` are renames (from, to), all prepared before the first one. To enrol is to build a cohort: `run_id` is the
    cohort's, `folder` is where all was prepared, `digests` says by target what each new generation's only file must
    be to be taken back, and `made` lists the folders of the tree that are made for it.
    """

    action: str
    run_id: str
    folder: str
    moves: tuple[tuple[str, str], ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    made: tuple[str, ...] = ()


def write(state: Path, journal: Journal) -> None:
    """Record what is about to happen, durably."""
    files.replace_file(state / JOURNAL, json.dumps(asdict(journal), indent=2).encode())


def read(state: Path) -> Journal | None:
    """What is owed, or None. Raises CareNeeded for a journal that is not ours to interpret."""
    path = state / JOURNAL
    try:
        data = json.loads(path.read_bytes())
        moves = tuple((str(old), str(new)) for old, new in data.pop("moves"))
        made = tuple(map(str, data.pop("made", ())))
        journal = Journal(**data, moves=moves, made=made)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CareNeeded(
            f"the journal of an interrupted run cannot be read: {error}",
            where=path,
            hint="the live tree is whole; look into the run's folder, then remove the journal by hand",
        ) from None
    if journal.action not in (UPGRADE, ROLLBACK, ADOPT, ENROL):
        raise CareNeeded(f"the journal names an unknown action {journal.action!r}", where=path)
    return journal


def remove(state: Path) -> None:
    """Nothing is owed any more."""
    with contextlib.suppress(FileNotFoundError):
        files.remove_file(state / JOURNAL)
        files.sync_dir(state)


def digest(data: bytes) -> str:
    """What a journal knows a small file by."""
    return hashlib.blake2b(data, digest_size=20).hexdigest()
