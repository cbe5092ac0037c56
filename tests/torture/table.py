"""All kinds of sweeps, in the order of docs/reliability.md."""

from __future__ import annotations

from tests.torture import below, bugs, crash, damage, disks, errors, inputs, machine, powercut, together

KINDS = (
    crash.IN_PROCESS,
    crash.BY_SIGNAL,
    crash.WORKERS,
    below.BELOW,
    crash.TORN,
    crash.AGAIN,
    machine.COMMANDS,
    errors.ERRORS,
    powercut.MODELLED,
    disks.CUTS,
    disks.NO_ROOM,
    together.WRITERS,
    together.LOCKS,
    together.RUNNERS,
    together.READERS,
    together.ORPHANS,
    inputs.HOSTILE,
    inputs.GENERATED,
    damage.DAMAGES,
    bugs.DELIBERATE,
)
