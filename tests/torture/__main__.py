"""Run all sweeps and print a table: `python -m tests.torture [NAME ...]`. Exit 1 on a violation or on too few runs."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor

from tests.torture.kinds import Kind, Tally, work
from tests.torture.table import KINDS

SHOWN = 20


def line(*cells: object) -> str:
    """One line of the table."""
    return "{:<26}{:>9}{:>9}{:>9}{:>12}{:>10}".format(*cells)


def main(names: list[str]) -> int:
    """Run the kinds whose name contains one of the names (all where none is given)."""
    kinds = [kind for kind in KINDS if not names or any(name in kind.name for name in names)]
    started = time.monotonic()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        pending: list[tuple[Kind, list[Future[Tally]]]] = [
            (kind, [pool.submit(work, job, kind.stride) for job in kind.jobs]) for kind in kinds
        ]
        print(line("kind", "points", "runs", "target", "violations", "seconds"), flush=True)
        bad = False
        for kind, futures in pending:
            tally = sum((future.result() for future in futures), Tally())
            short = tally.runs < kind.target and not tally.skipped
            bad = bad or short or bool(tally.violations)
            cells = (tally.points, tally.runs, kind.target, len(tally.violations), f"{tally.seconds:.0f}")
            print(
                line(kind.name, *cells),
                "too few" if short else tally.skipped and f"skipped: {tally.skipped}",
                flush=True,
            )
            for violation in tally.violations[:SHOWN]:
                print(f"  ! {violation}", flush=True)
    print(f"{time.monotonic() - started:.0f} s in all, on {len(os.sched_getaffinity(0))} cores")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
