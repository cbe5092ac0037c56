"""The sensor asks for what can be made now, and says why it asks for nothing."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from migrator.engine.exchange import Place
from migrator.engine.lock import hold
from tests.pipeline.conftest import Line, axes, location


def tick(line: Line) -> tuple[list[tuple[str, str | None]], str | None, list[str]]:
    """(job, partition) of each request, the reason of a skip, and the run keys."""
    sensor = location().resolve_sensor_def("missing_work")
    context = dg.build_sensor_context(instance=line.instance, resources=line.resources, definitions=location())
    with dg.partition_loading_context(dynamic_partitions_store=line.instance):  # as the daemon does by its own means
        found = sensor.evaluate_tick(context)
    requests = found.run_requests or []
    keys = [str(request.run_key) for request in requests]
    return [(str(request.job_name), request.partition_key) for request in requests], found.skip_message, keys


def test_it_asks_in_the_order_of_the_stages(root: Path, line: Line) -> None:
    """A child is asked for when its parent has its text; in the end it says that nothing is missing."""
    axes(root)
    line.build("first")
    for stage, gen_id in line.registered():
        assert tick(line)[0] == [(f"make_{stage}", gen_id)]
        line.make(stage, gen_id)
    assert tick(line)[:2] == ([], "nothing is missing of 3 registered generations")


def test_it_says_why_it_asks_for_nothing(root: Path, line: Line) -> None:
    """Nothing registered; keys of another time; an upgrade under way; no such data root."""
    axes(root)
    assert tick(line)[1] == "no generation is registered: materialize register_partitions"
    line.register(("draft", "gone"))
    assert tick(line)[1] == (
        "nothing is missing of 0 registered generations; not in the store: 1 (migrator dagster sync)"
    )
    with hold(Place.at(root).state, "upgrade"):
        assert "(upgrade)" in str(tick(line)[1])
    os.rename(root, root.with_name("away"))
    assert "there is no such data root" in str(tick(line)[1])


def test_a_failure_is_not_repeated_for_ever(root: Path, line: Line) -> None:
    """Dagster starts one run for each key: it stays while the folder stays, and changes when a file came or went."""
    axes(root)
    line.build("first")
    (first,) = tick(line)[2]
    assert tick(line)[2] == [first]
    (root / "gens" / "draft" / line.registered()[0][1] / "prompt.txt").write_text("p")
    (second,) = tick(line)[2]
    assert second != first
