"""`migrator explain ID`: all that is known of one id, old or new. Reads only."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from migrator.cli.screen import (
    escape,
    json_option,
    mark,
    plain,
    print_json,
    say_error,
    show,
    symbol,
    table,
    wants_json,
)
from migrator.cli.settings import complete_ids
from migrator.report.text import many

if TYPE_CHECKING:
    from migrator.cli.settings import Settings
    from migrator.plan import Plan
    from migrator.site import Site
    from migrator.store.inventory import Inventory
    from migrator.store.records import Gen, Key

STAGE_NAMES = ("draft", "essay", "evaluation")  # as in store.layout, which --help must not import
_CLOSE = 5


@click.command(short_help="One id, old or new: signature, lineage, runs.")
@click.argument("gen_id", metavar="ID", shell_complete=complete_ids)
@click.option("--stage", type=click.Choice(STAGE_NAMES), help="Where one name stands for two generations.")
@json_option
@click.pass_context
def command(ctx: click.Context, gen_id: str, stage: str | None) -> None:
    """Explain an id of today, of the past, or one that the pending steps would make.

    Shows the signature, the canonical text, the way from there to the id, the lineage up to the draft, the
    children, the names it bore, the runs that touched it, and where it lies. Exit 1: no such name.
    """
    settings: Settings = ctx.obj
    site = settings.site()
    site.place.require()
    past = _Past.read(site)
    view = _View(site, past)
    found = view.find(gen_id, stage)
    if wants_json():
        print_json(
            {
                "asked": gen_id,
                "found": bool(found),
                "generations": [view.facts(store, gen) for store, gen in found],
                "close": [] if found else view.close(gen_id),
            }
        )
    elif found:
        _print(site, gen_id, [view.facts(store, gen) for store, gen in found])
    else:
        _print_unknown(site, gen_id, view.close(gen_id))
    ctx.exit(0 if found else 1)


# -- the past


@dataclass(frozen=True)
class _Past:
    """What the runs of the live tree did to names; in the ledger's order."""

    steps: Mapping[str, list[str]]  # run id -> its steps
    names: Mapping[str, Mapping[Key, str]]  # run id -> (stage, old) -> new
    made: Mapping[str, frozenset[str]]  # run id -> drafts that it made
    today: Mapping[Key, str]  # (stage, any old name) -> the name of today

    @classmethod
    def read(cls, site: Site) -> _Past:
        """The past of the live tree, from its own ledger and mappings."""
        from migrator.store import mappings
        from migrator.store.layout import run_mappings

        root = site.place.real
        steps: dict[str, list[str]] = {}
        for entry in site.ledger():
            steps.setdefault(entry.run_id, []).append(f"{entry.number} {entry.name}")
        names = {run_id: mappings.read_mapping(root / run_mappings(run_id) / mappings.MAPPING) for run_id in steps}
        made = {run_id: _made(root / run_mappings(run_id) / mappings.SYNTHETIC) for run_id in steps}
        return cls(steps, names, made, mappings.compose(names.values()))

    def of(self, key: Key) -> list[dict[str, Any]]:
        """What each run did to the generation that bears this name today, the oldest run first."""
        stage, name = key
        history = []
        for run_id in reversed(list(self.steps)):
            olds = [old for (s, old), new in self.names[run_id].items() if s == stage and new == name]
            if not olds:
                if stage == "draft" and name in self.made[run_id]:
                    history.append(self._entry(run_id, "made", None, name))
                break
            history.append(self._entry(run_id, "renamed" if olds[0] != name else "kept its name", olds[0], name))
            name = olds[0]
        return history[::-1]

    def _entry(self, run_id: str, what: str, old: str | None, new: str) -> dict[str, Any]:
        return {"run_id": run_id, "steps": self.steps[run_id], "what": what, "old": old, "new": new}


def _made(path: Path) -> frozenset[str]:
    """The drafts that a run made, from its synthetic_drafts.csv; none where that cannot be read."""
    import csv

    try:
        with path.open(newline="", encoding="utf-8") as file:
            return frozenset(row["draft_gen_id"] for row in csv.DictReader(file) if row["how"] == "made")
    except (OSError, KeyError, ValueError, csv.Error):
        return frozenset()


# -- what is found


@dataclass
class _View:
    """The live store, the past, and where need be what the pending steps would make of it."""

    site: Site
    past: _Past
    _plan: list[Plan | None] = field(default_factory=list)
    _store: list[Inventory] = field(default_factory=list)

    @property
    def store(self) -> Inventory:
        """The live store, read once."""
        from migrator.store.inventory import Inventory

        if not self._store:
            self._store.append(Inventory.read(self.site.place.real, self.site.scheme))
        return self._store[0]

    @property
    def plan(self) -> Plan | None:
        """The plan of the pending steps, or None where there are none or they cannot be planned."""
        from migrator import runner
        from migrator.errors import MigratorError

        if not self._plan:
            try:
                self._plan.append(runner.read_plan(self.site))
            except MigratorError:
                self._plan.append(None)
        return self._plan[0]

    def find(self, name: str, stage: str | None) -> list[tuple[Inventory, Gen]]:
        """The generations that a name means, with all that share a bare id; today's names first."""
        stages = (stage,) if stage else STAGE_NAMES
        for store in (self.store, self.plan.after if self._unknown(name, stages) and self.plan else None):
            if store is None:
                continue
            keys: dict[Key, None] = {}
            for one in stages:
                if store.get(one, name):
                    keys[one, name] = None
                elif (one, name) in self.past.today:
                    keys[one, self.past.today[one, name]] = None
                keys |= dict.fromkeys(key for key in store.gens if key[0] == one and _is_suffixed(key[1], name))
            found = [store.gens[key] for key in keys if key in store.gens]
            if found:
                return [(store, gen) for gen in found]
        return []

    def _unknown(self, name: str, stages: Iterable[str]) -> bool:
        return not any((stage, name) in self.store.gens or (stage, name) in self.past.today for stage in stages)

    def close(self, name: str) -> list[str]:
        """Ids that the name may have been meant for: beginnings first, then what looks alike."""
        known = sorted({gen_id for _, gen_id in (*self.store.gens, *self.past.today)})
        begun = [gen_id for gen_id in known if len(name) >= 4 and gen_id.startswith(name)]
        return list(dict.fromkeys([*begun, *difflib.get_close_matches(name, known, _CLOSE)]))[:_CLOSE]

    def facts(self, store: Inventory, gen: Gen) -> dict[str, Any]:
        """All about one generation, ready for JSON."""
        from migrator.store import checks

        planned = store is not self.store
        problems = [*(p for p in store.problems if (p.stage, p.gen_id) == gen.key), *checks.judge(store, gen)]
        return {
            "stage": gen.stage,
            "gen_id": gen.gen_id,
            "exists": not planned,
            "path": gen.path if not planned else f"gens/{gen.stage}/{gen.origin}" if gen.origin else None,
            **_way(store, gen),
            "becomes": None if planned else self._becomes(gen),
            "lineage": _lineage(store, gen),
            "children": sum(other.parent_key == gen.key for other in store.gens.values()),
            "cohorts": _cohorts(store, gen),
            "origin_cohort_id": gen.origin_cohort,
            "old_names": self._old_names(gen, planned),
            "runs": self.past.of((gen.stage, gen.origin if planned else gen.gen_id)),
            "problems": [{"kind": p.kind, "message": p.message} for p in dict.fromkeys(problems)],
        }

    def _becomes(self, gen: Gen) -> dict[str, Any] | None:
        """The id that the pending steps give it and the way there, or None where its id is right or stays."""
        from migrator.store import checks

        if not checks.judge(self.store, gen) or self.plan is None:
            return None
        after = self.plan.after
        new = next(
            (n for n in after.gens.values() if (n.stage, n.origin) == gen.key and n.gen_id != gen.gen_id),
            None,
        )
        return {"gen_id": new.gen_id, **_way(after, new)} if new else None

    def _old_names(self, gen: Gen, planned: bool) -> list[str]:
        today = gen.origin if planned else gen.gen_id
        olds = [old for (s, old), new in self.past.today.items() if (s, new) == (gen.stage, today) and old != today]
        return sorted({*olds, *([today] if planned and today else [])})


def _is_suffixed(gen_id: str, bare: str) -> bool:
    """Whether an id is the bare one with a collision's suffix."""
    tail = gen_id.removeprefix(bare + "-")
    return tail != gen_id and tail.isascii() and tail.isdigit()


def _way(store: Inventory, gen: Gen) -> dict[str, Any]:
    """The signature and every step from there to the id; nulls where a field is missing."""
    from migrator.store import ids

    fields = {**gen.signature_fields(), "replicate": gen.replicate}
    try:
        signature = gen.signature()
    except ids.SignatureError:
        nothing = dict.fromkeys(("canonical", "digest", "number", "base36", "computed_id", "suffix"))
        return {"signature": fields, **nothing, "right": False}
    text = ids.canonical(gen.stage, signature)
    digest = hashlib.blake2b(text.encode(), digest_size=store.scheme.digest_size)
    bare = ids.compute_gen_id(gen.stage, signature, store.scheme)
    right = ids.is_right_id(gen.gen_id, gen.stage, signature, store.scheme)
    return {
        "signature": dict(zip(fields, signature, strict=True)),
        "canonical": text,
        "digest": digest.hexdigest(),
        "number": str(int.from_bytes(digest.digest(), "big")),  # above 53 bits: a text, so that no reader rounds it
        "base36": store.scheme.digest(text),
        "computed_id": bare,
        "suffix": gen.gen_id.removeprefix(bare) if right else None,
        "right": right,
    }


def _lineage(store: Inventory, gen: Gen) -> list[dict[str, Any]]:
    """From the generation up to its draft; a parent that is missing ends it."""
    line: list[dict[str, Any]] = []
    current: Gen | None = gen
    while current is not None:
        line.append(
            {
                "stage": current.stage,
                "gen_id": current.gen_id,
                "template": current.template,
                "model": current.model,
            }
            | {"replicate": current.replicate, "missing": False}
        )
        key, current = current.parent_key, store.parent(current)
        if key and current is None:
            line.append({"stage": key[0], "gen_id": key[1], "missing": True})
    return line


def _cohorts(store: Inventory, gen: Gen) -> list[str]:
    return [
        cohort
        for cohort, _, members in store.cohorts()
        if any((row["stage"].strip(), row["gen_id"].strip()) == gen.key for _, row in members.records())
    ]


# -- saying it


def _print(site: Site, asked: str, found: Sequence[dict[str, Any]]) -> None:
    env = f"{escape(site.env)}  " if site.env else ""
    show(f"[bold]migrator explain[/]  {env}[dim]{escape(site.place.root)}[/]")
    if len(found) > 1:
        computed = {facts["computed_id"] for facts in found}
        collide = len(computed) == 1 and None not in computed
        why = "share this id: their signatures collide" if collide else f"are meant by this name; {_by_stage(found)}"
        show(f"\n[yellow]{len(found)} generations[/] {escape(why)}")
        _print_beside(found)
    for facts in found:
        _print_one(asked, facts)


def _by_stage(found: Sequence[dict[str, Any]]) -> str:
    return "--stage " + ", --stage ".join(dict.fromkeys(facts["stage"] for facts in found)) + " tells them apart"


def _print_beside(found: Sequence[dict[str, Any]]) -> None:
    """The signatures of several generations, one column each, with a mark where they differ."""
    rows = table("", *(escape(f"{facts['stage']} {facts['gen_id']}") for facts in found))
    for name in dict.fromkeys(name for facts in found for name in facts["signature"]):
        values = [_shown(facts["signature"].get(name)) for facts in found]
        differs = len(set(values)) > 1
        rows.add_row(f"[dim]{escape(name)}[/]", *(f"[yellow]{value}[/]" if differs else value for value in values))
    rows.add_row("[dim]canonical[/]", *(_shown(facts["canonical"]) for facts in found))
    show(rows)


def _print_one(asked: str, facts: dict[str, Any]) -> None:
    show(f"\n[bold]{facts['stage']} {escape(facts['gen_id'])}[/]{_remark(asked, facts)}")
    rows = table("", "")
    rows.add_row("[dim]lies in[/]", _shown(facts["path"]))
    for name, value in facts["signature"].items():
        rows.add_row(f"[dim]{escape(name)}[/]", _shown(value))
    show(rows)
    _print_way(facts)
    _print_family(facts)
    _print_past(facts)
    for problem in facts["problems"]:
        show(f"{mark('bad')} {escape(problem['kind'])}: {escape(problem['message'])}")


def _remark(asked: str, facts: dict[str, Any]) -> str:
    if not facts["exists"]:
        origin = facts["path"].rpartition("/")[2] if facts["path"] else None
        return f"  would be the id of {escape(origin)}" if origin else "  would be made by the pending steps"
    if facts["gen_id"] != asked and asked in facts["old_names"]:
        return f"  was called {escape(asked)}"
    return f"  will be {escape(facts['becomes']['gen_id'])} after the pending steps" if facts["becomes"] else ""


def _print_way(facts: dict[str, Any]) -> None:
    then = "[dim], after the pending steps[/]" if facts["becomes"] else ""
    show(f"\n[bold]From signature to id[/]{then}")
    facts = facts["becomes"] or facts
    if facts["canonical"] is None:
        show(f"{mark('bad')} a field is missing or invalid: there is no canonical text")
        return
    rows = table("", "", "")
    rows.add_row("[dim]canonical[/]", escape(facts["canonical"]), "[dim]UTF-8[/]")
    rows.add_row("[dim]digest[/]", facts["digest"], f"[dim]BLAKE2b, {len(facts['digest']) // 2} bytes[/]")
    rows.add_row("[dim]number[/]", facts["number"], "[dim]big-endian[/]")
    rows.add_row("[dim]base 36[/]", facts["base36"], "[dim]without padding[/]")
    suffix = f"with the suffix {facts['suffix']} of a collision" if facts["suffix"] else "is its id"
    verdict = f"{mark('done')} {suffix}" if facts["right"] else f"{mark('bad')} not the name it bears"
    rows.add_row("[dim]id[/]", escape(facts["computed_id"]), verdict)
    show(rows)


def _print_family(facts: dict[str, Any]) -> None:
    show("\n[bold]Lineage[/]")
    rows = table("", "", "", "", "")
    for number, one in enumerate(reversed(facts["lineage"])):
        name = escape(one["gen_id"])
        if one["missing"]:
            rows.add_row("  " * number + one["stage"], name, f"{mark('bad')} not in the store", "", "")
        else:
            cells = (
                _shown(one["template"]),
                _shown(one["model"]) if one["model"] else "",
                f"#{_shown(one['replicate'])}",
            )
            rows.add_row(
                "  " * number + one["stage"],
                f"[bold]{name}[/]" if one is facts["lineage"][0] else name,
                *cells,
            )
    show(rows)
    below = {"draft": "essay", "essay": "evaluation"}.get(facts["stage"])
    if below:
        show(f"{many(facts['children'], below)} below it")
    if facts["cohorts"]:
        show(f"[dim]cohorts[/]  {escape(', '.join(facts['cohorts']))}")


def _print_past(facts: dict[str, Any]) -> None:
    if not facts["runs"]:
        return
    show("\n[bold]Runs[/]")
    rows = table("", "", "", "")
    for run in facts["runs"]:
        names = (
            escape(run["new"]) if run["old"] is None else f"{escape(run['old'])} {symbol('to')} {escape(run['new'])}"
        )
        numbers = ", ".join(step.partition(" ")[0] for step in run["steps"])
        rows.add_row(escape(run["run_id"]), f"[dim]{escape(numbers)}[/]", run["what"], names)
    show(rows)


def _shown(value: object) -> str:
    return "[dim]missing[/]" if value is None else escape(value)


def _print_unknown(site: Site, asked: str, close: Sequence[str]) -> None:
    hint = f"migrator explain {close[0]}" if close else "ids are the names of the folders in gens/<stage>/"
    say_error(f"nothing in the store bears or ever bore the name {asked!r}", str(site.place.root), hint)
    for name in close[1:]:
        click.echo(f"        migrator explain {plain(name)}", err=True)
