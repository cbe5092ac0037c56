"""`migrator new NAME`: the next numbered step, and its test. Never overwrites."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrator.cli.screen import json_option, plain, print_json, symbol, wants_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from migrator.cli.settings import Settings
    from migrator.engine.steps import Step

_LONGEST = 60  # a name, not a sentence; the sentence goes into the docstring

STEP = '''\
"""{title}: say in one line what is different afterwards.

Reads    which files and fields it looks at.
Changes  what it writes; mentions of a name that changes follow by themselves.
Refuses  what it cannot decide: a Problem, never a guess.
"""

from collections.abc import Iterator

from migrator import Change, Inventory


def changes(store: Inventory) -> Iterator[Change]:
    """Yield Edit, Rename, Relink, Renumber, Add or Problem for what changes; silence means unchanged.

    For example, for every draft without a replicate:

        for gen in store.generations("draft"):
            if gen.replicate is None:
                yield Edit(gen, set={{"replicate": 1}})

    Open no file and ask no clock. On a store that is as it should be, yield nothing.
    """
    yield from ()
'''

TEST = '''\
"""What step {number} makes of a tiny store: before -> after, and nothing the second time."""

import json
from pathlib import Path
from typing import Any

from migrator import Inventory
from migrator.engine.steps import discover
from migrator.store.changes import fold

MIGRATIONS = Path(__file__).resolve().parent.parent / {folder!r}
STEP = next(step for step in discover(MIGRATIONS) if step.number == "{number}")

# folder -> its metadata.json
BEFORE: dict[str, dict[str, Any]] = {{
    "gens/draft/d_4py995ydm8lggqs": {{
        "stage": "draft",
        "gen_id": "d_4py995ydm8lggqs",
        "template_id": "creative-synthesis-v2",
        "combo_id": "combo_v1_0a1b2c3d4e5f",
        "llm_model_id": "gemini_25_pro",
        "replicate": 1,
    }},
}}
AFTER: dict[str, dict[str, Any]] = BEFORE  # nothing changes yet: write down what the step should make of it


def made(root: Path, store: dict[str, dict[str, Any]]) -> Inventory:
    """The store on disk, read."""
    for path, metadata in store.items():
        (root / path).mkdir(parents=True)
        (root / path / "metadata.json").write_text(json.dumps(metadata, indent=2, ensure_ascii=False))
    return Inventory.read(root)


def test_before_becomes_after(tmp_path: Path) -> None:
    """Exactly what is written down above, and no problem."""
    store = made(tmp_path, BEFORE)
    after, _ = fold(store, STEP.changes(store))
    assert {{gen.path: dict(gen.metadata) for gen in after.gens.values()}} == AFTER
    assert list(after.problems) == []


def test_a_finished_store_stays_as_it_is(tmp_path: Path) -> None:
    """The step finds nothing to do in what it has made."""
    assert list(STEP.changes(made(tmp_path, AFTER))) == []
'''


@click.command(short_help="Write the next numbered step and its test.")
@click.argument("name")
@json_option
@click.pass_obj
def command(settings: Settings, name: str) -> None:
    """Write migrations/NNNN_NAME.py with the next free number, and a test that runs at once.

    The step yields nothing until you write what it should yield.
    """
    from migrator.engine import steps

    folder = _folder(settings)
    known = steps.discover(folder)
    number, slug = _number(len(known) + 1), _slug(name)
    _require_new(slug, known, folder)
    step, test = folder / f"{number}_{slug}.py", folder.parent / "tests" / f"test_{number}_{slug}.py"
    title = slug.replace("_", " ").capitalize()
    _write(test, TEST.format(number=number, folder=folder.name))
    _write(step, STEP.format(title=title))
    if wants_json():
        print_json({"number": number, "name": slug, "step": str(step), "test": str(test)})
        return
    click.echo(f"{symbol('new')} {plain(step)}\n{symbol('new')} {plain(test)}")
    click.echo("\nNext: say in its docstring what it does, fill BEFORE and AFTER of the test, write changes(store).")
    click.echo(f"  pytest {plain(os.path.relpath(test))}")
    click.echo("  migrator --env staging plan")


def _folder(settings: Settings) -> Path:
    """The project's own folder of steps; never the one that comes with the package."""
    from migrator.errors import UsageError

    given = settings.flags.get("migrations")
    if given:
        return Path(os.path.abspath(given))
    if settings.path is None:
        raise UsageError(
            "this is no project: there is no migrator.toml here or above",
            where=Path.cwd(),
            hint="migrator init",
        )
    folder = Path(os.path.normpath(settings.path.parent / settings.file.get("migrations", "migrations")))
    if not folder.is_dir():
        raise UsageError(
            "the project has no folder of steps", where=folder, hint=f"migrator init {settings.path.parent}"
        )
    return folder


def _number(number: int) -> str:
    from migrator.errors import MigratorError

    if number > 9999:
        raise MigratorError("there are 9999 steps already, and numbers have four digits")
    return f"{number:04}"


def _slug(name: str) -> str:
    """A name as it stands in a file's name: lower-case ASCII letters, digits, underscores."""
    from migrator.errors import UsageError

    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", ascii_name.lower()).strip("_")
    slug = re.sub(r"^[0-9]{4}_", "", slug)  # the number is ours to give
    if not slug or len(slug) > _LONGEST:
        why = "has no letter or digit" if not slug else f"is longer than {_LONGEST} characters"
        raise UsageError(f"the name {name!r} {why}", hint="migrator new add_language")
    return slug


def _require_new(slug: str, known: Sequence[Step], folder: Path) -> None:
    from migrator.errors import MigratorError

    twin = next((step for step in known if step.name == slug), None)
    if twin is not None:
        raise MigratorError(f"there is a step of that name: {twin}", where=folder, hint="choose another name")


def _write(path: Path, text: str) -> None:
    from migrator.engine import files
    from migrator.errors import MigratorError

    try:
        files.make_dirs(path.parent)
        files.write_new(path, text.encode())
    except FileExistsError:
        raise MigratorError("a file is in the way", where=path, hint="move it, then repeat the command") from None
    except OSError as error:
        raise MigratorError(f"a file cannot be written: {error.strerror}", where=error.filename or path) from None
