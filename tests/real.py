"""The real legacy store, where it lies beside the checkout (or MIGRATOR_REAL_STORE names its archive or its folder)."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "daydreaming-legacy-store.tar.xz"


def unpack(folder: Path) -> Path:
    """A fresh copy at folder/data; skips the test, visibly, where the store is absent."""
    source = Path(os.environ.get("MIGRATOR_REAL_STORE", ARCHIVE))
    if not source.exists():
        pytest.skip(f"the real store is absent: {source.name} is not beside the checkout")
    if source.is_dir():
        shutil.copytree(source, folder / "data", symlinks=True)
    else:
        with tarfile.open(source) as archive:
            archive.extractall(folder, filter="tar")
    return folder / "data"
