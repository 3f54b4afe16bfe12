"""A contract.toml is read whole or refused with every problem named; what it promises is measured as it says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.cli.contract_file import template_text
from bulkhead.contract.facts import ALARMS_MAX, FLAWS_MAX, Facts, decode_facts
from bulkhead.contract.measure import DAY, HOUR, NEVER, Standing, measure
from bulkhead.contract.terms import TERMS, parse_contract
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.ledger.event import EVENTS, Event

NOW = 1_800_000_000_000
SETTINGS = {"store.undelete_days": 14}


def _facts(*events: tuple[str, int, dict[str, int | bool | str]]) -> Facts:
    facts = Facts()
    for index, (kind, at, details) in enumerate(events):
        facts.learn(index, Event(EVENTS[kind], at, "cell", (), details))
    return facts


def _standing(text: str, facts: Facts, now: int = NOW) -> list[tuple[Standing, int]]:
    return [(one.standing, one.measured) for one in measure(parse_contract(text), facts, SETTINGS, now)]


def test_every_problem_of_a_contract_is_named_with_the_nearest_term() -> None:
    text = "schema = 2\n[backup]\nhuors = 3\nhours = 0\n[notice]\nhours = true\n"
    with pytest.raises(ConfigError) as raised:
        parse_contract(text)
    said = raised.value.public
    assert "schema = 1" in said and "did you mean backup.hours" in said
    assert "backup.hours: must be an integer, 1 to 8760" in said and "notice.hours: must be" in said


@pytest.mark.parametrize("text", ["schema = 1", "schema = 1\nhours = 3", "[", "schema = 1\n" + "#" * 17_000])
def test_what_promises_nothing_or_is_no_contract_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_contract(text)


@given(st.text(max_size=200))
def test_no_text_ends_the_reader_otherwise(text: str) -> None:
    try:
        parse_contract(text)
    except ConfigError:
        pass


def test_every_term_can_be_promised_and_is_measured_or_says_why_not() -> None:
    sections: dict[str, list[str]] = {}
    for term in TERMS.values():
        section, _, key = term.name.rpartition(".")
        sections.setdefault(section, []).append(f"{key} = {term.minimum}")
    text = "schema = 1\n" + "\n".join(f"[{name}]\n" + "\n".join(rows) for name, rows in sections.items())
    found = measure(parse_contract(text), Facts(), SETTINGS, NOW)
    assert [one.promise.term.name for one in found] == list(TERMS)
    assert all(one.why for one in found if one.standing is not Standing.KEPT)


def test_a_backup_a_second_too_old_breaks_the_promise_and_none_at_all_does_too() -> None:
    text = "schema = 1\n[backup]\nhours = 26\n"
    assert _standing(text, _facts(("BackupMade", NOW - 26 * HOUR, {}))) == [(Standing.KEPT, 26)]
    assert _standing(text, _facts(("BackupMade", NOW - 26 * HOUR - 1000, {}))) == [(Standing.BROKEN, 27)]
    assert _standing(text, _facts()) == [(Standing.BROKEN, NEVER)]


def test_an_alarm_waits_for_the_notice_that_names_it_and_for_no_other() -> None:
    text = "schema = 1\n[notice]\nhours = 24\n"
    alarm = ("CanaryUsed", NOW - 30 * HOUR, {"copy": "live", "password_right": True})
    assert _standing(text, _facts(alarm)) == [(Standing.BROKEN, 30)]
    assert _standing(text, _facts(alarm, ("NoticeGiven", NOW, {"entry": 7, "text": ""}))) == [(Standing.BROKEN, 30)]
    assert _standing(text, _facts(alarm, ("NoticeGiven", NOW, {"entry": 0, "text": ""}))) == [(Standing.KEPT, 0)]
    wrong = ("CanaryUsed", NOW - 30 * HOUR, {"copy": "live", "password_right": False})
    assert _standing(text, _facts(wrong)) == [(Standing.KEPT, 0)]


def test_more_alarms_than_are_followed_are_counted_and_never_forgotten_silently() -> None:
    facts = _facts(*(("EdgeViolation", NOW - DAY, {}) for _ in range(ALARMS_MAX + 3)))
    (one,) = measure(parse_contract("schema = 1\n[notice]\nhours = 1\n"), facts, SETTINGS, NOW)
    assert (one.standing, one.measured) == (Standing.BROKEN, 24) and one.why.startswith("3 more alarms")


def test_a_drill_over_budget_is_measured_and_an_alarm() -> None:
    text = "schema = 1\n[blast_radius]\nover = 0\ndrill_days = 7\n[notice]\nhours = 1\n"
    facts = _facts(("DrillRun", NOW - DAY, {"over": 2, "unproven": 0}))
    assert _standing(text, facts) == [(Standing.BROKEN, 24), (Standing.BROKEN, 2), (Standing.KEPT, 1)]


def test_the_older_of_both_keys_counts_and_without_a_rotation_the_first_day() -> None:
    text = "schema = 1\n[keys]\nrotation_days = 90\n"
    began = ("TenantCreated", NOW - 100 * DAY, {})
    assert _standing(text, _facts(began)) == [(Standing.BROKEN, 100)]
    one = ("KeyRotationVerified", NOW - DAY, {"key": "auth"})
    assert _standing(text, _facts(began, one)) == [(Standing.BROKEN, 100)]
    both = ("KeyRotationVerified", NOW - 2 * DAY, {"key": "ring"})
    assert _standing(text, _facts(began, one, both)) == [(Standing.KEPT, 2)]


def test_a_floor_is_kept_from_its_number_upwards() -> None:
    assert _standing("schema = 1\n[retention]\nundelete_days = 14\n", Facts()) == [(Standing.KEPT, 14)]
    assert _standing("schema = 1\n[retention]\nundelete_days = 15\n", Facts()) == [(Standing.BROKEN, 14)]


def test_what_cannot_be_measured_is_never_called_kept() -> None:
    assert _standing("schema = 1\n[patch]\ndays = 7\n", Facts()) == [(Standing.UNMEASURED, NEVER)]


def _opened(
    advisory: str, published: int, severity: str, at: int = NOW
) -> tuple[str, int, dict[str, int | bool | str]]:
    return (
        "AdvisoryOpened",
        at,
        {"advisory": advisory, "component": "h11", "severity": severity, "published": published},
    )


PATCH = "schema = 1\n[patch]\ndays = 30\nhigh_days = 14\ncritical_days = 7\n"
COMPARED = ("ComponentsChecked", NOW - DAY, {"records": 5, "newest": NOW - 3 * DAY, "unsure": 0, "left": 0})
CLOSED = ("AdvisoryClosed", NOW, {"advisory": "A-2", "component": "h11", "why": "version 2 runs"})


def test_the_oldest_open_advisory_of_each_severity_is_the_patch_age() -> None:
    opened = (_opened("A-1", NOW - 20 * DAY, "low"), _opened("A-2", NOW - 15 * DAY, "high"))
    found = measure(parse_contract(PATCH), _facts(COMPARED, *opened), SETTINGS, NOW)
    assert [(one.measured, one.standing, one.entry) for one in found] == [
        (20, Standing.KEPT, 1), (15, Standing.BROKEN, 2), (0, Standing.KEPT, 0),
    ]  # fmt: skip
    assert found[1].why == "A-2 h11"
    assert [measured for _, measured in _standing(PATCH, _facts(COMPARED, *opened, CLOSED))] == [20, 0, 0]


def test_an_advisory_of_unknown_severity_counts_as_critical() -> None:
    facts = _facts(COMPARED, _opened("A-1", NOW - 8 * DAY, "unknown"))
    assert [measured for _, measured in _standing(PATCH, facts)] == [8, 8, 8]


def test_a_later_date_makes_no_open_advisory_younger_and_none_of_a_time_to_come_does() -> None:
    first = _opened("A-1", NOW - 20 * DAY, "high", NOW - 2 * DAY)
    assert _standing(PATCH, _facts(COMPARED, first, _opened("A-1", NOW, "low")))[0] == (Standing.KEPT, 20)
    assert _standing(PATCH, _facts(COMPARED, _opened("A-1", NOW + DAY, "high", NOW - 2 * DAY)))[0][1] == 2


def test_no_advisory_is_open_only_where_components_were_compared_with_some() -> None:
    assert _standing(PATCH, Facts()) == [(Standing.UNMEASURED, NEVER)] * 3
    nothing = ("ComponentsChecked", NOW, {"records": 0, "newest": 0, "unsure": 0, "left": 0})
    assert _standing(PATCH, _facts(nothing)) == [(Standing.UNMEASURED, NEVER)] * 3
    assert _standing(PATCH, _facts(COMPARED)) == [(Standing.KEPT, 0)] * 3


def test_comparisons_grow_old_and_so_does_what_they_were_made_with() -> None:
    text = "schema = 1\n[patch]\ncheck_days = 2\nfeed_days = 2\n"
    assert _standing(text, _facts(COMPARED)) == [(Standing.KEPT, 1), (Standing.BROKEN, 3)]
    assert _standing(text, Facts()) == [(Standing.BROKEN, NEVER)] * 2


def test_more_open_advisories_than_are_followed_are_counted_and_fit_what_is_kept() -> None:
    many = [_opened(f"{number:064}", NOW, "low") for number in range(FLAWS_MAX + 3)]
    facts = _facts(COMPARED, *many)
    (one, *_) = measure(parse_contract(PATCH), facts, SETTINGS, NOW)
    assert one.why.endswith("; 3 more are open")
    assert len(facts.encode()) < 32 * 1024 and decode_facts(facts.encode()) == facts


def test_facts_of_an_older_measurement_are_read_on() -> None:
    facts = decode_facts(b'[3,1700000000000,{"BackupMade":[2,1700000000000,{}]},[],0]')
    assert (facts.read, facts.flaws) == (3, {})


def test_the_template_promises_nothing_until_something_is_taken_out_of_its_comments() -> None:
    with pytest.raises(ConfigError, match="promises nothing"):
        parse_contract(template_text())
    lines = template_text().splitlines()
    opened = [
        line[2:] if line.startswith("# [") or (" = " in line[:30] and line.startswith("# ")) else line for line in lines
    ]
    assert [promise.term.name for promise in parse_contract("\n".join(opened))] == list(TERMS)


def test_facts_are_read_as_they_were_kept_and_nothing_else_is() -> None:
    facts = _facts(("BackupMade", NOW, {}), ("EdgeViolation", NOW, {}))
    assert decode_facts(facts.encode()).encode() == facts.encode()
    with pytest.raises(IntegrityError):
        decode_facts(b'{"read":1}')
