"""`migrator new NAME`: the next numbered step, its golden pair and its test. Never overwrites."""

from __future__ import annotations

import json
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
"""What step {number} makes of its golden pair: tests/golden/{name}/before -> after, and nothing the second time."""

from collections.abc import Callable


def test_before_becomes_after(golden: Callable[[str], None]) -> None:
    """Byte for byte; `golden` comes with migrator (docs/writing-a-migration.md)."""
    golden("{name}")
'''

# both sides of the golden pair to start with: a draft and its essay, as they are after 0004
PAIR: dict[str, dict[str, object]] = {
    "gens/draft/d_4py995ydm8lggqs/metadata.json": {
        "stage": "draft",
        "gen_id": "d_4py995ydm8lggqs",
        "template_id": "creative-synthesis-v2",
        "combo_id": "combo_v1_0a1b2c3d4e5f",
        "llm_model_id": "gemini_25_pro",
        "replicate": 1,
    },
    "gens/essay/e_4nyhf2w3mpgelz3h/metadata.json": {
        "stage": "essay",
        "gen_id": "e_4nyhf2w3mpgelz3h",
        "template_id": "parsed-from-links-v1",
        "parent_gen_id": "d_4py995ydm8lggqs",
        "replicate": 1,
    },
}


@click.command(short_help="Write the next numbered step, its golden pair and its test.")
@click.argument("name")
@json_option
@click.pass_obj
def command(settings: Settings, name: str) -> None:
    """Write migrations/NNNN_NAME.py with the next free number, a golden pair and a test that runs at once.

    The step yields nothing, and both sides of the pair are equal, until you write what should be different.
    """
    from migrator.engine import steps

    folder = _folder(settings)
    known = steps.discover(folder)
    number, slug = _number(len(known) + 1), _slug(name)
    _require_new(slug, known, folder)
    step, test = folder / f"{number}_{slug}.py", folder.parent / "tests" / f"test_{number}_{slug}.py"
    title = slug.replace("_", " ").capitalize()
    pair = test.parent / "golden" / step.stem
    _write(test, TEST.format(number=number, name=step.stem))
    for side in ("before", "after"):
        for path, metadata in PAIR.items():
            _write(pair / side / path, json.dumps(metadata, indent=2))
    _write(step, STEP.format(title=title))
    if wants_json():
        print_json({"number": number, "name": slug, "step": str(step), "test": str(test), "golden": str(pair)})
        return
    for made in (step, pair / "before", pair / "after", test):
        click.echo(f"{symbol('new')} {plain(made)}")
    click.echo("\nNext: say in its docstring what it does, change before/ and after/ by hand, write changes(store).")
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
