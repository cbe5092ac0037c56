"""Run all sweeps and print a table: `python -m tests.torture [NAME ...]`. Exit 1 on a violation or on too few runs.

`--share K` takes each K-th point of what the whole takes, `--minutes N` begins no job after that. Both are for CI:
there slowness is no failure, and what was left out stands in the table.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.torture import disks
from tests.torture.kinds import Job, Kind, Tally, work
from tests.torture.table import KINDS

SHOWN = 20


def line(*cells: object) -> str:
    """One line of the table."""
    return "{:<26}{:>9}{:>9}{:>9}{:>12}{:>10}".format(*cells)


def fault(kind: Kind, tally: Tally, share: int) -> str:
    """Why a kind has proven too little, or nothing; a thinned one is asked for no number, only for runs."""
    if tally.skipped and tally.runs == 0:
        return "had to be tried on this machine" if kind.mandatory and disks.is_able() else ""
    if not tally.skipped and not tally.left_out and tally.runs < (kind.target if share == 1 else 1):
        return "too few"
    return ""


def remarks(tally: Tally, share: int) -> list[str]:
    """What is not the whole of it."""
    found = [f"1 of {share} points"] if share > 1 else []
    found += [f"skipped: {tally.skipped}"] if tally.skipped else []
    return found + ([f"{tally.left_out} jobs left out for time"] if tally.left_out else [])


def main(words: Sequence[str]) -> int:
    """Run the kinds whose name contains one of the names (all where none is given)."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names of kinds")
    parser.add_argument("--share", type=int, default=1, help="each so-manieth point")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no job after that")
    wanted = parser.parse_args(words)
    kinds = [kind for kind in KINDS if not wanted.names or any(name in kind.name for name in wanted.names)]
    started = time.monotonic()

    def run(job: Job, stride: int) -> Tally:
        late = time.monotonic() - started > wanted.minutes * 60
        return Tally(left_out=1) if late else work(job, stride)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        pending = [(kind, [pool.submit(run, job, kind.stride * wanted.share) for job in kind.jobs]) for kind in kinds]
        print(line("kind", "points", "runs", "target", "violations", "seconds"), flush=True)
        bad = False
        for kind, futures in pending:
            tally = sum((future.result() for future in futures), Tally())
            wrong = fault(kind, tally, wanted.share)
            bad = bad or bool(wrong) or bool(tally.violations)
            cells = (tally.points, tally.runs, kind.target, len(tally.violations), f"{tally.seconds:.0f}")
            print(line(kind.name, *cells), "; ".join([wrong, *remarks(tally, wanted.share)]).strip("; "), flush=True)
            for violation in tally.violations[:SHOWN]:
                print(f"  ! {violation}", flush=True)
            if kind.mandatory and not wrong and tally.runs == 0:
                print(f"  !! NOT TRIED HERE: {kind.name}. Nothing in this run says that it holds.", flush=True)
    print(f"{time.monotonic() - started:.0f} s in all, on {len(os.sched_getaffinity(0))} cores")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
