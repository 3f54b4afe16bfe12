"""What is there to reach in the range: canary files, processes, doors and listeners of every cell, from every twin."""

import time
from collections.abc import Callable, Mapping, Sequence

from bulkhead.boundary.processes import PROCESSES
from bulkhead.demo.booty import Goal, goals, planted
from bulkhead.drill import acts_reach
from bulkhead.drill.range import Range
from bulkhead.drill.rows import Chosen, Kind, Row, verdict_of
from bulkhead.drill.semantic import Column, Count

KINDS = ("file", "memory", "signal", "door", "listener", "datagram")
SUCCEEDED = "succeeded"
_HELD_BY = {
    "directory": Column.ADDRESSES,
    "auth": Column.VERIFIERS,
    "store": Column.STORED_MAIL,
    "queue": Column.MAIL_IN_TRANSIT,
}
_NETWORK = frozenset({"listener", "datagram"})


def strike_range(range_: Range, chosen: Chosen, say: Callable[[str], None]) -> list[Row]:
    """One row a compartment and kind of goal. The control is the same act unlocked, here."""
    wanted = [kind for kind in KINDS if chosen.wants_any(f"reach-{kind}", PROCESSES)]
    if not wanted:
        return []
    say("what lies and runs in all six cells")
    rows: list[Row] = []
    with planted(range_.directory, range_.tenants) as placed:
        every = goals(range_.directory, range_.endpoints, placed, range_.processes(), frozenset())
        for kind in wanted:
            some = [goal for goal in every if goal.kind == kind]
            control = [_reached(goal, acts_reach.attempt(goal.act, goal.arguments)) for goal in some]
            for compartment in PROCESSES:
                if chosen.wants(compartment, f"reach-{kind}"):
                    rows.append(_strike(range_, compartment, kind, some, control))
    return rows


def _strike(range_: Range, compartment: str, kind: str, some: Sequence[Goal], control: Sequence[bool]) -> Row:
    begin = time.monotonic()
    twin = range_.twin(compartment)
    found: dict[Column, Count] = {}
    locked = 0
    for goal, proven in zip(some, control, strict=True):
        reached = _reached(goal, twin.ask(f"reach.{goal.act}", **goal.arguments))
        locked += reached
        if proven or reached:
            column, names = _canaries(range_, goal)
            found[column] = found.get(column, Count(frozenset(), frozenset())) | Count(
                names if reached else frozenset(), names
            )
    shown = sum(control)
    why = "" if shown else "unlocked, none of them was reached either"
    note = f"{locked} of {len(some)} reached; unlocked {shown}"
    if compartment == "dialer" and kind in _NETWORK:
        note += "; connecting is its duty"
    seconds = time.monotonic() - begin
    name = f"reach-{kind}"
    return Row(name, compartment, Kind.REACH, verdict_of(found, why), found, control=why, note=note, seconds=seconds)


def _reached(goal: Goal, answer: Mapping[str, object]) -> bool:
    return answer["answer"] == SUCCEEDED and (goal.proof is None or goal.proof == answer.get("found"))


def _canaries(range_: Range, goal: Goal) -> tuple[Column, frozenset[str]]:
    """What reaching this goal would yield: the column, and the canaries by name."""
    if goal.kind in _NETWORK:
        return Column.NETWORK, frozenset({f"network/{goal.kind} of {goal.tenant} {goal.arguments.get('port')}"})
    if goal.tenant != range_.home:
        return Column.OTHER_TENANTS, frozenset({goal.tenant})
    if goal.kind == "signal":
        return Column.AVAILABILITY, frozenset({f"{goal.tenant}/{goal.compartment}"})
    column = _HELD_BY.get(goal.compartment, Column.KEYS)
    if column in {Column.ADDRESSES, Column.VERIFIERS}:
        return column, range_.addresses(goal.tenant)
    if column is Column.STORED_MAIL:
        return column, frozenset(letter.name for letter in range_.letters(goal.tenant))
    if column is Column.MAIL_IN_TRANSIT:
        return column, frozenset(letter.name for letter in range_.queued[goal.tenant])
    return column, frozenset({f"{goal.tenant}/{goal.compartment or 'door'}"})
