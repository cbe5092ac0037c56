"""Where the command line finds its folders: flag, else environment, else migrator.toml. Reads one file."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrator.errors import MigratorError, UsageError
from migrator.site import shipped_migrations

if TYPE_CHECKING:
    import click

    from migrator.engine.hooks import Hooks
    from migrator.site import Notify, Site

FILE = "migrator.toml"
_TOP = {"migrations": str, "backups": str, "mappings": str, "default_env": str, "hooks": dict, "env": dict}
_ENV = {"data_root": str, "proved_on": str, "confirm": str, "keep_snapshots": int}
_HOOKS = {"after": str, "failed": str, "timeout": int}
CONFIRM_BY_NAME = "type-name"
_MOST_IDS = 200  # that a shell offers at once


@dataclass(frozen=True)
class Env:
    """One section [env.NAME]; `data_root` is absolute."""

    name: str
    data_root: str = ""
    proved_on: str = ""
    confirm: str = ""
    keep_snapshots: int | None = None


@dataclass
class Settings:
    """The flags as given and what the file adds. Nothing is read before it is asked for."""

    flags: Mapping[str, str | None] = field(default_factory=dict)

    @cached_property
    def path(self) -> Path | None:
        """The nearest migrator.toml, from the current folder upwards."""
        here = Path.cwd()
        return next((folder / FILE for folder in (here, *here.parents) if (folder / FILE).is_file()), None)

    @cached_property
    def file(self) -> dict[str, Any]:
        """The file's content, proven: unknown keys and wrong types are errors."""
        if self.path is None:
            return {}
        try:
            content = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{FILE} cannot be read: {error}", where=self.path) from None
        self._prove(content, _TOP, "")
        self._prove(content.get("hooks", {}), _HOOKS, "hooks.")
        if content.get("hooks", {}).get("timeout", 1) < 1:
            raise UsageError("hooks.timeout must be at least 1 (seconds)", where=self.path)
        for name, section in content.get("env", {}).items():
            if not isinstance(section, dict):
                raise UsageError(f"env.{name} is not a section", where=self.path, hint=f"[env.{name}]")
            self._prove(section, _ENV, f"env.{name}.")
            if section.get("confirm", CONFIRM_BY_NAME) != CONFIRM_BY_NAME:
                raise UsageError(f'env.{name}.confirm can only be "{CONFIRM_BY_NAME}"', where=self.path)
            if section.get("proved_on", name) not in content["env"]:
                raise UsageError(f"env.{name}.proved_on names no section of the file", where=self.path)
        if content.get("default_env") is not None and content["default_env"] not in content.get("env", {}):
            raise UsageError("default_env names no section of the file", where=self.path)
        return content

    def _prove(self, section: Mapping[str, Any], known: Mapping[str, type], prefix: str) -> None:
        for key, value in section.items():
            if key not in known:
                close = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {prefix}{close[0]}?" if close else f"known keys: {', '.join(known)}"
                raise UsageError(f"unknown key {prefix}{key}", where=self.path, hint=hint)
            if not isinstance(value, known[key]) or isinstance(value, bool):
                raise UsageError(f"{prefix}{key} must be a {known[key].__name__}", where=self.path)

    def _under_file(self, path: str) -> str:
        """A path of the file, relative to it; `~` is not expanded."""
        assert self.path is not None
        return os.path.normpath(self.path.parent / path) if not path.endswith("/") else str(self.path.parent / path)

    def env(self, name: str) -> Env:
        """A section of the file, by name."""
        sections = self.file.get("env", {})
        if name not in sections:
            close = difflib.get_close_matches(name, sections, 1)
            known = f"did you mean {close[0]}?" if close else f"known: {', '.join(sections) or 'none'}"
            where = self.path or Path.cwd() / FILE
            raise UsageError(f"there is no section [env.{name}]", where=where, hint=known)
        section = dict(sections[name])
        if "data_root" in section:
            section["data_root"] = self._under_file(section["data_root"])
        return Env(name, **section)

    def root_of(self, name: str) -> str:
        """The data root of an env. Raises UsageError where its section names none."""
        root = self.env(name).data_root
        if not root:
            raise UsageError(f"env {name} has no data_root", where=self.path, hint=f"add data_root to [env.{name}]")
        return root

    @cached_property
    def chosen(self) -> Env:
        """The env that counts: --env, else default_env where no data root is given."""
        name = self.flags.get("env")
        if not name and not self.flags.get("data_root"):
            name = self.file.get("default_env")
        return self.env(name) if name else Env("")

    @cached_property
    def data_root(self) -> Path:
        """The data root. Raises UsageError where neither a flag nor an env names one."""
        given = self.flags.get("data_root") or self.chosen.data_root
        if not given:
            raise UsageError(
                "no data root is named",
                hint="migrator --help   (--data-root DIR names a store, --env NAME a section of migrator.toml)",
            )
        return Path(os.path.abspath(given))

    def data_roots(self) -> list[Path]:
        """The data root that is named, else those of all sections of the file; only those that are there."""
        if self.flags.get("data_root") or self.flags.get("env"):
            named = [self.data_root]
        else:
            sections = (self.env(name) for name in self.file.get("env", {}))
            named = [Path(section.data_root) for section in sections if section.data_root]
        return [root for root in named if root.is_dir()]

    def _folder(self, name: str) -> Path:
        given = self.flags.get(name)
        if given:
            return Path(os.path.abspath(given))
        if name in self.file:
            return Path(self._under_file(self.file[name]))
        return (self.path.parent if self.path and self._file_counts() else self.data_root.parent) / name

    def _file_counts(self) -> bool:
        """Whether the data root comes from the file; another one has its folders beside itself."""
        return not self.flags.get("data_root")

    @cached_property
    def migrations(self) -> Path:
        """The folder of steps: as named, else beside file or data root, else those of the package."""
        if self.flags.get("migrations") or "migrations" in self.file:
            return self._folder("migrations")
        beside = self._folder("migrations")
        return beside if beside.is_dir() else shipped_migrations()

    @cached_property
    def hooks(self) -> Hooks:
        """The hooks of the file, where the data root is the file's too: a scratch copy calls nobody."""
        from migrator.engine import hooks

        if self.path is None or not self._file_counts():
            return hooks.NO_HOOKS
        given = self.file.get("hooks", {})
        for name in (hooks.AFTER, hooks.FAILED):
            if name in given:
                hooks.words_of(name, given[name])
        return hooks.Hooks(**given, folder=self.path.parent, env=self.chosen.name)

    def site(self, notify: Notify | None = None, *, wait: float = 0) -> Site:
        """The data root with its folders, for the runner."""
        from migrator.engine.exchange import Place
        from migrator.site import Site

        proof = self.chosen.proved_on
        site = Site(
            place=Place.at(self.data_root),
            migrations=self.migrations,
            backups=self._folder("backups"),
            mappings=self._folder("mappings"),
            env=self.chosen.name,
            proved_on=Place.at(self.root_of(proof)) if proof else None,
            proved_on_name=proof,
            hooks=self.hooks,
            wait=wait,
        )
        return replace(site, notify=notify) if notify else site


# -- completion in the shell: what cannot be read completes to nothing


def complete_envs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of the file's sections."""
    return _completed(lambda: list(Settings(ctx.find_root().params).file.get("env", {})), incomplete)


def complete_runs(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Run ids of the data root, the newest first."""

    def runs() -> list[str]:
        return [run.run_id for run in reversed(Settings(ctx.find_root().params).site().runs())]

    return _completed(runs, incomplete)


def complete_cohorts(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of the data root's cohorts."""
    from migrator.cohorts.membership import cohort_ids

    return _completed(lambda: cohort_ids(Settings(ctx.find_root().params).site().place.real)[0], incomplete)


def complete_steps(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Numbers of the steps."""

    def steps() -> list[str]:
        from migrator.engine.steps import discover

        return [step.number for step in discover(Settings(ctx.find_root().params).migrations)]

    return _completed(steps, incomplete)


def complete_ids(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Ids of generations, those of today and those of the past; a few, where there are too many to choose from."""

    def ids() -> list[str]:
        from migrator.engine.ledger import runs
        from migrator.store.mappings import Names

        site = Settings(ctx.find_root().params).site()
        names = Names.read(site.place.real, runs(site.ledger()))
        known = {name for stage in names.existing.values() for name in stage} | {old for _, old in names.past}
        return sorted(name for name in known if name.startswith(incomplete) and name.isprintable())[:_MOST_IDS]

    return _completed(ids, incomplete)


def _completed(names: Callable[[], list[str]], incomplete: str) -> list[str]:
    try:
        return [name for name in names() if name.startswith(incomplete)]
    except (MigratorError, OSError):
        return []
