"""One stage as Dagster assets: a gate, then prompt, raw and parsed around the user's functions.

The gate looks which files are there and starts the line where they end. Each of the three steps takes either the step
before it or the gate: where neither gives anything, Dagster skips it, and so the whole line when parsed.txt is there.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from migrator.pipeline.access import PAYLOAD, Access, Found
from migrator.pipeline.resource import RESOURCE, Store, told
from migrator.pipeline.work import Reply, Task, Work
from migrator.store.codec import dumps
from migrator.store.ids import SignatureError, canonical
from migrator.store.layout import (
    PARENT_STAGE,
    PARSED_METADATA,
    PARSED_TEXT,
    PROMPT_TEXT,
    RAW_METADATA,
    RAW_TEXT,
    STAGES,
)
from migrator.store.records import Gen

LINE = ("prompt", "raw", "parsed")  # the assets of a stage, in the order of PAYLOAD
PARTITION_SETS = {stage: f"{stage}_gens" for stage in STAGES}
PARTITIONS = {stage: dg.DynamicPartitionsDefinition(name=name) for stage, name in PARTITION_SETS.items()}
REGISTERED = "register_partitions"  # the asset that the drafts follow
_COPY = "copy"


def asset_key(stage: str, part: str) -> dg.AssetKey:
    """The key of an asset of a stage: draft_prompt, ..., evaluation_parsed."""
    return dg.AssetKey(f"{stage}_{part}")


def begin_at(present: list[str]) -> int | None:
    """Where the line starts, given the payload files that are there: after the last of them; None when it is done."""
    done = max((PAYLOAD.index(name) for name in present), default=-1) + 1
    return done if done < len(LINE) else None


def stage_assets(
    stage: str, work: Work, *, automation_condition: dg.AutomationCondition[Any] | None = None
) -> dg.AssetsDefinition:
    """The assets `<stage>_prompt`, `<stage>_raw` and `<stage>_parsed`, one partition a generation.

    They are made together, and only what is missing. They need the resource `migrator` (a Store).
    """
    gate, steps = _gate(stage), [_step(stage, part, work) for part in LINE]
    keys = {part: asset_key(stage, part) for part in LINE}
    before = asset_key(PARENT_STAGE[stage], "parsed") if stage in PARENT_STAGE else dg.AssetKey(REGISTERED)

    def compose(after: Any) -> dict[str, Any]:
        starts = gate.alias("gate")(after)
        made: list[Any] = []
        for part, step in zip(LINE, steps, strict=True):
            start = getattr(starts, part)
            made.append(step.alias(part)([made[-1], start] if made else start))
        return dict(zip(LINE, made, strict=True))

    graph = dg.graph(
        name=stage,
        ins={"after": dg.GraphIn()},
        out={part: dg.GraphOut() for part in LINE},
        description=f"Makes what is missing of one {stage}.",
    )(compose)
    return dg.AssetsDefinition.from_graph(
        graph,
        keys_by_input_name={"after": before},
        keys_by_output_name=keys,
        internal_asset_deps={"prompt": {before}, "raw": {keys["prompt"]}, "parsed": {keys["raw"]}},
        partitions_def=PARTITIONS[stage],
        partition_mappings={"after": dg.AllPartitionMapping()},
        group_name=stage,
        descriptions_by_output_name={part: f"{name} of one {stage}" for part, name in zip(LINE, PAYLOAD, strict=True)},
        automation_conditions_by_output_name=dict.fromkeys(LINE, automation_condition)
        if automation_condition
        else None,
    )


def _gate(stage: str) -> dg.OpDefinition:
    @dg.op(
        name=f"{stage}_gate",
        ins={"after": dg.In(dg.Nothing)},
        out={part: dg.Out(dg.Nothing, is_required=False) for part in LINE},
        required_resource_keys={RESOURCE},
        description=f"Looks which files of the {stage} are there; starts the work where they end, or skips it.",
    )
    def gate(context: dg.OpExecutionContext) -> Iterator[Any]:
        with told():
            access = _store(context).access(_who(context, stage, "gate"))
            found = access.find((stage, context.partition_key))
            present = access.present(found)
        start = begin_at(present)
        todo = "nothing to do" if start is None else f"starts with {LINE[start]}"
        metadata = _facts(context, found.gen) | {"present": ", ".join(present) or "none", "decision": todo}
        yield dg.AssetObservation(asset_key(stage, "parsed"), partition=context.partition_key, metadata=metadata)
        context.log.info(f"{found.gen.path}: {', '.join(present) or 'no payload'}; {todo}")
        yield from _unrecorded(context, stage, len(LINE) if start is None else start, metadata)
        if start is not None:
            yield dg.Output(None, LINE[start])

    return gate


def _unrecorded(
    context: dg.OpExecutionContext, stage: str, done: int, metadata: Mapping[str, Any]
) -> Iterator[dg.AssetMaterialization]:
    """Tell Dagster of files that it never saw made, once: else it would ask for them again at every tick."""
    for part in LINE[:done]:
        key, partition = asset_key(stage, part), context.partition_key
        wanted = dg.AssetRecordsFilter(key, asset_partitions=[partition])
        if not context.instance.fetch_materializations(wanted, limit=1).records:
            yield dg.AssetMaterialization(key, partition=partition, metadata={**metadata, "found": True})


def _step(stage: str, part: str, work: Work) -> dg.OpDefinition:
    make = {"prompt": _prompt, "raw": _raw, "parsed": _parsed}[part]

    @dg.op(
        name=f"{stage}_{part}",
        ins={"start": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        required_resource_keys={RESOURCE},
        description=f"Makes {PAYLOAD[LINE.index(part)]} of one {stage}.",
    )
    def step(context: dg.OpExecutionContext) -> Iterator[Any]:
        with told():
            access = _store(context).access(_who(context, stage, part))
            found = access.find((stage, context.partition_key))
            gen, more = make(context.run_id, access, found, work)
        yield dg.Output(None, metadata=_facts(context, gen) | more)

    return step


def _store(context: dg.OpExecutionContext) -> Store:
    store = getattr(context.resources, RESOURCE)
    assert isinstance(store, Store)
    return store


def _who(context: dg.OpExecutionContext, stage: str, part: str) -> str:
    return f"{stage}_{part} of {context.partition_key}, Dagster run {context.run_id}"


def _facts(context: dg.OpExecutionContext, gen: Gen) -> dict[str, Any]:
    """What every event of a step says."""
    try:
        signature = canonical(gen.stage, gen.signature())
    except SignatureError as error:
        signature = error.message
    facts = {"gen_id": gen.gen_id, "signature": signature, "run_id": context.run_id, "path": gen.path}
    return facts | ({"cohort": str(gen.origin_cohort)} if gen.origin_cohort else {})


# -- the three steps: each writes one payload file, the file beside it first


def _source(access: Access, found: Found) -> str | None:
    return access.text(found, found.forebears[0], PARSED_TEXT) if found.forebears else None


def _prompt(run_id: str, access: Access, found: Found, work: Work) -> tuple[Gen, dict[str, Any]]:
    source = _source(access, found)
    text = _copied(found, source)
    if text is None:
        text = work.prompt(Task.of(found.gen, found.forebears, source))
    gen = access.put(found, lambda gen: {PROMPT_TEXT: text.encode()})
    return gen, {"characters": len(text)}


def _raw(run_id: str, access: Access, found: Found, work: Work) -> tuple[Gen, dict[str, Any]]:
    source = _source(access, found)
    text = _copied(found, source)
    task = Task.of(found.gen, found.forebears, source)
    began = time.monotonic()
    if text is None:
        answer = work.model(task, access.text(found, found.gen, PROMPT_TEXT))
        reply, mode = answer if isinstance(answer, Reply) else Reply(answer), "prompt"
    else:
        reply, mode = Reply(text, finish_reason=_COPY), _COPY
    seconds = round(time.monotonic() - began, 3)

    def content(gen: Gen) -> dict[str, bytes]:
        document = {
            **_head(gen, "raw", run_id, mode),
            **({"llm_model_id": task.model} if mode != _COPY else {}),
            "duration_s": seconds,
            "finish_reason": reply.finish_reason,
            "truncated": reply.truncated,
            **({"usage": dict(reply.usage)} if reply.usage is not None else {}),
            "raw_length": len(reply.text),
            "raw_lines": len(reply.text.splitlines()),
            "raw_path": f"{gen.path}/{RAW_TEXT}",
            "raw_metadata_path": f"{gen.path}/{RAW_METADATA}",
        }
        return {RAW_METADATA: dumps(document), RAW_TEXT: reply.text.encode()}

    gen = access.put(found, content)
    return gen, {"characters": len(reply.text), "seconds": seconds, "model_called": mode != _COPY}


def _parsed(run_id: str, access: Access, found: Found, work: Work) -> tuple[Gen, dict[str, Any]]:
    source = _source(access, found)
    text, error = _copied(found, source), None
    mode = "prompt" if text is None else _COPY
    if text is None:
        raw = access.text(found, found.gen, RAW_TEXT)
        try:
            text = work.parse(Task.of(found.gen, found.forebears, source), raw)
        except ValueError as unusable:
            error = str(unusable)

    def content(gen: Gen) -> dict[str, bytes]:
        document = {
            **_head(gen, "parsed", run_id, mode),
            "parser_name": work.parser_name if mode != _COPY else "identity",
            "success": error is None,
            "error": error,
            "parsed_path": f"{gen.path}/{PARSED_TEXT}" if error is None else None,
            "parsed_metadata_path": f"{gen.path}/{PARSED_METADATA}",
        }
        return {PARSED_METADATA: dumps(document)} | ({PARSED_TEXT: text.encode()} if text is not None else {})

    gen = access.put(found, content)
    if text is None:
        raise dg.Failure(
            f"the answer in {gen.path}/{RAW_TEXT} cannot be parsed: {error}",
            metadata={"gen_id": gen.gen_id, "parser": work.parser_name},
            allow_retries=False,  # the same answer and the same parser: repair one of them first
        )
    return gen, {"characters": len(text)}


def _copied(found: Found, source: str | None) -> str | None:
    """The text of a generation that is its parent's text, or None where a model makes it."""
    return source if found.generator == _COPY else None


def _head(gen: Gen, part: str, run_id: str, mode: str) -> dict[str, Any]:
    """What both side files begin with."""
    return {
        "stage": gen.stage,
        "gen_id": gen.gen_id,
        "function": f"{gen.stage}_{part}",
        "mode": _COPY if mode == _COPY else "llm",
        "input_mode": mode,
        **({"parent_gen_id": gen.parent} if gen.parent is not None else {}),
        "replicate": gen.replicate,
        "run_id": run_id,
    }
