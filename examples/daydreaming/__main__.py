"""Makes a demo store, brings it up to date, and starts Dagster on it: `make example`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from migrator.demo import make_legacy_store

HERE = Path(__file__).resolve().parent
PORT = "3000"
WHAT_TO_CLICK = """
Dagster starts on http://127.0.0.1:{port} (Ctrl-C ends it). Then click:

  1  "Jobs", "build_cohort", "Materialize all".
     A cohort is built: of its 24 members 21 are there already, 3 are new.
  2  "Jobs", "make_draft", "Materialize all", "Missing", "Launch backfill".
     The same with "make_essay", then with "make_evaluation": one run a generation, a few seconds each.
  3  "Runs", "Show runs within backfills", "View" beside a run.
     Where the files were there, prompt, raw and parsed are skipped: no model was called. The observation of the
     gate says which files it found. Three evaluations were missing: they have been made.
  4  "Jobs", "make_evaluation", "Materialize all", "All", "Launch backfill".
     Every run is all skips.

The model was called once for each line in {calls}.
The store is {root}; `{migrator} --data-root {root} status` knows it.
"""


def main() -> None:
    """Make what is missing, say what to click, and become `dagster dev`."""
    folder = Path(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "example-store"))
    root, home, calls = folder / "data", folder / "dagster_home", folder / "calls.log"
    if not root.exists():
        make_legacy_store(root)
        command = [sys.executable, "-m", "migrator", "--data-root", str(root), "upgrade", "--yes"]
        subprocess.run(command, check=True, env={**os.environ, "DAGSTER_HOME": ""})
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n", encoding="utf-8")
    migrator = Path(sys.executable).with_name("migrator")
    print(WHAT_TO_CLICK.format(port=PORT, calls=calls, root=root, migrator=migrator), flush=True)
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "MIGRATOR_DATA_ROOT": str(root),
        "EXAMPLE_CALLS": str(calls),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    dagster = [sys.executable, "-m", "dagster", "dev", "-f", str(HERE / "pipeline.py"), "-h", "127.0.0.1", "-p", PORT]
    os.execve(sys.executable, dagster, environment)


if __name__ == "__main__":
    main()
