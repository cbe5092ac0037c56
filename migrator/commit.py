"""The one moment: the finished tree takes the live one's place, or nothing happens at all.

Order of acts (each before the next): everything durable, live tree as it was read, exchange, names durable, old tree
as it was read. A late writer, found by the last look, gets its tree back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from migrator.engine import exchange, files, listing
from migrator.engine.exchange import Place
from migrator.engine.listing import Entry
from migrator.engine.workers import Jobs
from migrator.errors import CareNeeded, TryAgain


class BothWritten(CareNeeded):
    """Somebody wrote into both trees during the exchange: a person compares them. Nothing was deleted."""

    def __init__(self, old: Path, new: Path, late: list[str], also: list[str]) -> None:
        super().__init__(
            f"both trees were written to during the exchange: old {listing.some(late)}; new {listing.some(also)}",
            where=f"old: {old}, new: {new}",
            hint=f"stop all writers; compare {old} with {new}",
        )
        self.old, self.new = old, new


def run(
    place: Place,
    new: Path,
    live: Sequence[Entry],
    finished: Callable[[], Sequence[Entry]],
    *,
    link: str = "",
    jobs: Jobs = None,
    after: Callable[[], object] | None = None,
) -> Path:
    """Switch the root to `new` and return where the displaced tree lies.

    `live` is the listing of the tree that is there, `finished` gives that of the new one as it was proven, where it is
    needed; `after` runs when the switch has happened, and its failure undoes the switch. Raises TryAgain where somebody
    wrote meanwhile, CareNeeded where somebody wrote into both trees.
    """
    files.sync_file_system(new)
    by_times = exchange.folders_tell(place.real)
    listing.require_unchanged(place.real, live, jobs, by_times=by_times)
    old_link = place.root.readlink() if place.linked else None
    times = live[0].mtime_ns, new.stat().st_mtime_ns
    displaced = exchange.switch(place, new, link)
    try:
        _keep_times(displaced, place.real, times)
        exchange.sync_switch(place, displaced)
        late = listing.differences(displaced, live, jobs, by_times=by_times)
        if late:
            _late_writer(place, displaced, finished(), late)
        if after:
            after()
    except CareNeeded:
        raise
    except BaseException as error:
        try:
            exchange.switch(place, displaced, str(old_link) if old_link else "")
            _keep_times(place.real, new, times)
        except (OSError, MemoryError) as second:
            raise CareNeeded(
                f"the trees are exchanged and could not be exchanged back ({second}) after a failure: {error}",
                where=f"live: {place.root}, the tree from before: {displaced}",
                hint="migrator status says how it stands; the next writing command completes the record",
            ) from error
        raise
    return displaced


def _keep_times(old: Path, new: Path, times: tuple[int, int]) -> None:
    """Both tops as they were: their own time is the one thing that the exchange may touch."""
    exchange.keep_time(old, times[0])
    exchange.keep_time(new, times[1])


def _late_writer(place: Place, displaced: Path, finished: Sequence[Entry], late: list[str]) -> None:
    """Raise TryAgain, so that the switch is undone, or CareNeeded where the new tree was written to as well."""
    also = listing.differences(place.real, finished)
    if also:
        raise BothWritten(displaced, place.real, late, also)
    raise TryAgain(
        f"somebody wrote into the old tree during the exchange: {listing.some(late)}; it is back in its place",
        where=place.root,
        hint="stop the pipeline (or let it take the lock), then repeat the command",
    )
