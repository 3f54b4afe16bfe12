"""What a tenant's incident is told of a comparison: what closes, what waits for a start, what finds no place."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.inventory.records import record
from tests.inventory.test_match import component

from bulkhead.boundary.messages.to_incident import ADVISORIES_MAX, AdvisoryRow, ComponentState
from bulkhead.cli import contract
from bulkhead.cli.component_check import Comparison, advisory_standing, compare_here, request_of
from bulkhead.inventory.components import Component
from bulkhead.inventory.match import matches
from bulkhead.inventory.osv import parse_record
from bulkhead.inventory.shelf import Brought, bring

NOW = 1_800_000_000_000
BROUGHT = Brought(NOW, 9, NOW - 5, {"TEST-2026-1": NOW - 7})
FIXED = record(events=({"introduced": "0"}, {"fixed": "2.0"}))


def compared(version: str, *data: bytes, row: Component | None = None) -> Comparison:
    rows = (row or component(version),)
    records = [parse_record(one) for one in data]
    withdrawn = frozenset(one.id for one in records if one.withdrawn)
    return Comparison(rows, tuple(matches(records, rows)), BROUGHT, len(records), withdrawn)


def rows(comparison: Comparison, kept: tuple[AdvisoryRow, ...] = (), *waiting: str) -> list[tuple[str, str, str]]:
    """Advisory, version and why of what is told."""
    request = request_of(comparison, kept, frozenset(waiting), NOW)
    return [(one.advisory, one.version, one.why) for one in request.rows]


OPEN = request_of(compared("1.0", FIXED), (), frozenset(), NOW).rows


def test_what_concerns_a_component_that_a_compartment_loads_is_told_with_when_it_came() -> None:
    (row,) = OPEN
    assert (row.advisory, row.component, row.version, row.severity, row.came) == (
        "TEST-2026-1", "h11", "1.0", 0, NOW - 7,
    )  # fmt: skip
    assert row.compartments == "console"
    assert rows(compared("1.0", FIXED, row=replace(component("1.0"), used=()))) == []


def test_it_closes_when_a_version_without_it_was_started_and_not_when_it_was_only_installed() -> None:
    newer = compared("2.0", FIXED)
    assert rows(newer, OPEN, "h11") == [("TEST-2026-1", "1.0", "")]
    assert rows(newer, OPEN) == [("TEST-2026-1", "1.0", "version 2.0 runs")]


def test_what_was_installed_and_not_started_is_never_called_clean() -> None:
    newer = compared("2.0", FIXED)
    assert request_of(newer, (), frozenset({"h11"}), NOW).unsure == 1
    assert request_of(newer, (), frozenset(), NOW).unsure == 0


def test_it_closes_when_it_turns_out_to_be_none_whatever_runs() -> None:
    withdrawn = compared("1.0", record(withdrawn="2026-10-03T00:00:00Z"))
    assert rows(withdrawn, OPEN, "h11") == [("TEST-2026-1", "1.0", "withdrawn: it was none")]
    other = compared("1.0", record(events=({"introduced": "3"},)))
    assert rows(other, OPEN) == [("TEST-2026-1", "1.0", "a newer record leaves this version out")]
    gone = replace(component("1.0"), used=())
    assert rows(compared("1.0", FIXED, row=gone), OPEN) == [("TEST-2026-1", "1.0", "no compartment loads it")]


def test_of_more_than_a_hundred_the_worst_and_oldest_are_told_and_the_others_counted() -> None:
    word = {"severity": "LOW"}
    many = [record(f"LOW-{number}", database_specific=word) for number in range(ADVISORIES_MAX + 1)]
    worst = record("WORST", database_specific={"severity": "CRITICAL"})
    request = request_of(compared("1.0", *many, worst), (), frozenset(), NOW)
    assert (len(request.rows), request.left, request.rows[0].advisory) == (ADVISORIES_MAX, 2, "WORST")


def test_what_could_not_be_compared_is_counted_and_opens_nothing() -> None:
    request = request_of(compared("1.0", record(kind="GIT")), (), frozenset(), NOW)
    assert (request.rows, request.unsure) == ((), 1)


def test_doctor_says_how_old_the_oldest_is_and_calls_nothing_clean_that_was_not_compared() -> None:
    def standing(checked: int = NOW, unsure: int = 0, records: int = 5, *open_: AdvisoryRow) -> tuple[str, str]:
        return advisory_standing(ComponentState(checked, 9, bytes(32), records, NOW, unsure, 0, open_), NOW)[:2]

    assert standing(0)[0] == "unproven"
    assert standing()[0] == "ok" and standing(unsure=1)[0] == standing(records=0)[0] == "unproven"
    assert standing(NOW - 27 * 3_600_000)[0] == "warning"
    old = AdvisoryRow("A-1", "h11", "1", 2, NOW - 9 * 86_400_000, 0, bytes(32), "console", NOW - 5)
    assert standing(NOW, 0, 5, old) == ("warning", "1 open, the oldest A-1 in h11, 9 days")
    grave = AdvisoryRow("A-2", "h11", "1", 0, NOW, 0, bytes(32), "console", NOW - 5)
    assert standing(NOW, 0, 5, old, grave)[0] == "bad"


def test_a_damaged_record_stops_the_comparison_and_not_what_else_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "feed.json").write_bytes(FIXED)
    bring(tmp_path, [tmp_path / "feed.json"], (component("1.0"),), NOW)
    (tmp_path / "advisories/TEST-2026-1.json").write_bytes(b"{")
    assert contract._compare(tmp_path) is None
    assert "not compared" in capsys.readouterr().err


def test_where_nothing_was_brought_nothing_is_compared(tmp_path: Path) -> None:
    assert compare_here(tmp_path) is None


def test_the_message_holds_what_a_record_may_say_at_most() -> None:
    document = json.loads(record("X" * 64, "n" * 64))
    row = component("1" * 64, "n" * 64)
    (told,) = request_of(compared("", json.dumps(document).encode(), row=row), (), frozenset(), NOW).rows
    assert (len(told.advisory), len(told.component), len(told.version)) == (64, 64, 64)
