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
Dagster starts on http://127.0.0.1:{port} (Ctrl-C ends it). Then:

  1  Jobs, build_cohort, Materialize all.   A cohort is built: of its 24 members 21 are there already, 3 are new.
  2  Assets, evaluation_parsed, Materialize, "All partitions missing".   One run a generation.
  3  Runs, any of them.   Where the files were there, prompt, raw and parsed are skipped: no model was called.
     The observation of the gate says which files it found.
  4  Do it again, with all partitions: every run is all skips.

The model was called once for each line in {calls}.
The store is {root}; `migrator --data-root {root} status` knows it.
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
    print(WHAT_TO_CLICK.format(port=PORT, calls=calls, root=root), flush=True)
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
