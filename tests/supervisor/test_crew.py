"""How many workers a gate has and which make way, decided without a process."""

from dataclasses import replace

import pytest

from bulkhead.boundary.processes import PROCESSES
from bulkhead.supervisor.crew import GATES, IDLE_SECONDS, Plan, Terms, plan, staffed
from bulkhead.supervisor.unit import Unit

ACCESS = PROCESSES["access"]
TERMS = Terms(2, 4, 100, 1000, 60, strict=False)
NOW = 500.0


def crew(count: int, state: str = "started") -> list[Unit]:
    units = [Unit(ACCESS, number, 4) for number in range(count)]
    for unit in units:
        unit.begin(1, NOW - 1)
        unit.state = state
    return units


def nothing(units: list[Unit], terms: Terms = TERMS, now: float = NOW) -> bool:
    return plan(units, terms, now) == Plan(0, ())


def test_the_gates_are_those_that_accept_connections() -> None:
    assert [gate.name for gate in GATES] == ["mx", "submit", "access", "console"]


@pytest.mark.parametrize("state", ["started", "forking", "locked", "stopped"])
def test_nothing_is_to_be_done_while_enough_accept_or_will(state: str) -> None:
    assert nothing(crew(2, state))


def test_a_full_worker_has_another_forked_and_stays() -> None:
    units = crew(2)
    units[0].full = True
    assert plan(units, TERMS, NOW) == Plan(1, ())


def test_no_more_than_the_limit_are_forked_however_full_all_are() -> None:
    units = crew(3)
    for unit in units:
        unit.full = True
    assert plan(units, TERMS, NOW).forks == 1
    units = crew(4)
    for unit in units:
        unit.full = True
    assert nothing(units)


def test_a_worker_that_began_its_number_of_sessions_makes_way_once_a_fresh_one_has_started() -> None:
    units = crew(2)
    units[0].begun = 100
    assert plan(units, TERMS, NOW) == Plan(1, ())
    (fresh,) = crew(1, "forking")
    units.append(fresh)
    assert nothing(units)
    fresh.state = "started"
    assert plan(units, TERMS, NOW) == Plan(0, (units[0],))
    units[0].retiring = True
    assert nothing(units)


def test_a_worker_that_is_full_and_due_need_not_wait_for_the_fresh_one() -> None:
    units = crew(2)
    units[0].begun, units[0].full = 100, True
    assert plan(units, TERMS, NOW) == Plan(1, (units[0],))


def test_aged_workers_make_way_one_after_the_other() -> None:
    units = crew(2)
    for unit in units:
        unit.born = NOW - 1000
    assert plan(units, TERMS, NOW).forks == 1
    assert [unit.due for unit in units] == [True, False]
    units[0].retiring = True
    units += crew(1)
    assert plan(units, TERMS, NOW).forks == 1 and units[1].due


def test_workers_at_their_limit_still_make_way() -> None:
    terms = replace(TERMS, most=2)
    units = crew(2)
    units[0].begun = 100
    assert plan(units, terms, NOW).forks == 1


def test_one_that_lies_about_its_sessions_is_replaced_and_forks_no_more_than_that() -> None:
    units = crew(2)
    for unit in units:
        unit.begun, unit.full, unit.retiring, unit.due = 10**9, True, True, True
    assert plan(units, TERMS, NOW).forks == 2
    units = crew(TERMS.processes)
    for unit in units:
        unit.begun, unit.full = 10**9, True
    assert plan(units, TERMS, NOW).forks == 0


def test_a_worker_beyond_those_asked_for_leaves_after_a_minute_without_a_connection() -> None:
    units = crew(3)
    assert nothing(units, now=NOW)
    assert plan(units, TERMS, NOW + IDLE_SECONDS).retire == (units[2],)
    units[2].connections = 1
    assert plan(units, TERMS, NOW + IDLE_SECONDS).retire == (units[1],)
    units[1].connections = 1
    units[0].connections = 1
    assert nothing(units, now=NOW + IDLE_SECONDS)


def test_recycling_can_be_switched_off() -> None:
    units = crew(2)
    for unit in units:
        unit.born, unit.begun = NOW - 10**9, 10**9
    assert nothing(units, replace(TERMS, recycle_seconds=0, recycle_sessions=0))


def test_a_strict_workers_only_session_may_grow_as_old_as_a_worker() -> None:
    (unit,) = crew(1)
    assert replace(TERMS, strict=True).grace(unit, NOW) == 1000
    assert TERMS.grace(unit, NOW) == 60
    assert replace(TERMS, strict=True).grace(unit, NOW + 1000) == 60


def test_a_gate_is_staffed_when_as_many_as_asked_for_have_started_and_stay() -> None:
    units = crew(2)
    assert staffed(units, TERMS)
    units[0].full = True
    assert staffed(units, TERMS)
    units[0].retiring = True
    assert not staffed(units, TERMS)
