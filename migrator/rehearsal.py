"""What a run has rehearsed: the shape of the store that it met, and what of another store it has never seen.

Pure: a shape is counts of words, kept in run.json, so that it can be compared long after the store has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from migrator.plan import Plan

# part of a shape -> what one of its words is called: "evaluations have a key that …"
STAGES, KEYS, ERAS, COLUMNS, ISSUES = "stages", "keys", "eras", "columns", "issues"
Shape = Mapping[str, Mapping[str, int]]


def shape_of(plan: Plan) -> dict[str, dict[str, int]]:
    """Stages, keys of metadata.json, eras (sets of such keys), columns of membership tables, kinds of issues: counts.

    A word begins with its stage, where it has one: "essay template_id".
    """
    gens = plan.before.gens.values()
    eras: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for (stage, names), number in Counter((gen.stage, tuple(gen.metadata)) for gen in gens).items():
        eras[stage, tuple(sorted(names))] += number
    keys: Counter[str] = Counter()
    for (stage, names), number in eras.items():
        keys.update({f"{stage} {name}": number for name in names})
    columns = Counter(name for _, _, table in plan.before.cohorts() for name in table.columns)
    parts: dict[str, Counter[str]] = {
        STAGES: Counter(gen.stage for gen in gens),
        KEYS: keys,
        ERAS: Counter({f"{stage} {','.join(names)}": number for (stage, names), number in eras.items()}),
        COLUMNS: columns,
        ISSUES: Counter(problem.kind for problem in plan.problems),
    }
    return {name: dict(sorted(counts.items())) for name, counts in parts.items()}


def united(shapes: Iterable[Shape]) -> dict[str, dict[str, int]]:
    """What several runs have seen together; of each word the largest count."""
    total: dict[str, dict[str, int]] = {}
    for shape in shapes:
        for part, counts in shape.items():
            known = total.setdefault(part, {})
            known |= {word: max(number, known.get(word, 0)) for word, number in counts.items()}
    return total


def unrehearsed(now: Shape, seen: Shape) -> list[str]:
    """What this store has and the rehearsal had not, in sentences; an era only where all of its keys are known."""
    new = {part: {word: n for word, n in now[part].items() if word not in seen.get(part, {})} for part in now}
    found = [f"{_many(number, stage)}: it had none" for stage, number in new[STAGES].items()]
    strange = {word for word in new[KEYS] if word.partition(" ")[0] not in new[STAGES]}
    for word in sorted(strange):
        stage, _, key = word.partition(" ")
        found.append(f"the key {key!r} in the metadata.json of {_many(new[KEYS][word], stage)}")
    for word, number in new[ERAS].items():
        stage, _, names = word.partition(" ")
        keys = names.split(",")
        if stage not in new[STAGES] and not any(f"{stage} {key}" in strange for key in keys):
            found.append(f"an era: {_many(number, stage)} with just the keys {', '.join(keys)}")
    found += [f"the column {word!r} in {number:,} membership.csv" for word, number in new[COLUMNS].items()]
    found += [f"{_many(number, 'issue')} of the kind {word}" for word, number in new[ISSUES].items()]
    return found


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
