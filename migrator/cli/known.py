"""All that is known of one id, old or new, as values: what `migrator explain` says. Reads only."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from migrator.plan import Plan
    from migrator.site import Site
    from migrator.store.inventory import Inventory
    from migrator.store.records import Gen, Key

STAGE_NAMES = ("draft", "essay", "evaluation")  # as in store.layout, which --help must not import
_CLOSE = 5


# -- the past


@dataclass(frozen=True)
class Past:
    """What the runs of the live tree did to names; in the ledger's order."""

    steps: Mapping[str, list[str]]  # run id -> its steps
    names: Mapping[str, Mapping[Key, str]]  # run id -> (stage, old) -> new
    made: Mapping[str, frozenset[str]]  # run id -> drafts that it made
    today: Mapping[Key, str]  # (stage, any old name) -> the name of today

    @classmethod
    def read(cls, site: Site) -> Past:
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
class Known:
    """The live store, the past, and where need be what the pending steps would make of it."""

    site: Site
    past: Past
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
