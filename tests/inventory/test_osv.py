"""A record is read within its limits or refused with what is wrong; nothing that somebody brings ends otherwise."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inventory.records import record

from bulkhead.boundary.messages.to_incident import SEVERITIES
from bulkhead.errors import ConfigError
from bulkhead.inventory.osv import RECORD_MAX, Record, parse_record
from bulkhead.inventory.severity import Severity, base_score, severity_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def _read(data: bytes) -> Record | None:
    try:
        return parse_record(data)
    except ConfigError:
        return None


@given(st.binary(max_size=400))
def test_no_octets_end_the_reader_otherwise(data: bytes) -> None:
    _read(data)


@given(st.sampled_from(sorted(json.loads(record()))), JSON)
def test_no_value_in_the_place_of_another_ends_the_reader_otherwise(key: str, value: object) -> None:
    _read(json.dumps({**json.loads(record()), key: value}).encode())


@given(st.sampled_from(("package", "ranges", "versions", "severity")), JSON)
def test_no_value_inside_what_is_affected_ends_the_reader_otherwise(key: str, value: object) -> None:
    document = json.loads(record())
    document["affected"][0][key] = value
    _read(json.dumps(document).encode())


@given(st.data())
def test_a_record_cut_anywhere_is_refused(data: st.DataObject) -> None:
    whole = record()
    assert _read(whole[: data.draw(st.integers(0, len(whole) - 1))]) is None


@pytest.mark.parametrize("opening", ["[", '{"a":'])
@pytest.mark.parametrize("key", ["unknown", "affected", "database_specific"])
def test_what_is_nested_beyond_measure_is_refused(opening: str, key: str) -> None:
    text = record().decode()
    assert _read((text[:-1] + f', "{key}": ' + opening * 200_000).encode()) is None


def test_escaped_quotes_without_an_end_are_refused_at_once() -> None:
    assert _read(b'{"id": "' + b'\\"' * (RECORD_MAX // 2 - 8)) is None


def test_a_record_at_the_limit_is_read_and_one_octet_more_is_refused() -> None:
    room = RECORD_MAX - len(record(details=""))
    assert _read(record(details="x" * room)) is not None
    with pytest.raises(ConfigError, match="at most"):
        parse_record(record(details="x" * (room + 1)))


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a b", "a@b", "x" * 65, "-x", ".."])
def test_an_id_that_could_be_a_path_or_an_address_is_refused(name: str) -> None:
    assert _read(record(name)) is None


@pytest.mark.parametrize("when", ["yesterday", "0001-01-01T00:00:00+14:00", "10000-01-01T00:00:00Z", 5])
def test_a_time_outside_the_calendar_is_refused_or_is_1970(when: object) -> None:
    found = _read(record(modified=when))  # type: ignore[arg-type]  # hostile
    assert found is None or found.modified == 0


def test_what_is_read_is_what_was_written() -> None:
    found = parse_record(
        record(aliases=["CVE-2026-1", "bad id"], summary="a\x1b[2Jb", withdrawn="2026-10-03T00:00:00Z")
    )
    assert (found.id, found.aliases, found.summary, found.withdrawn) == ("TEST-2026-1", ("CVE-2026-1",), "a [2Jb", True)
    assert found.published == 1_790_812_800_000


@pytest.mark.parametrize(
    ("vector", "score"),
    [  # from the examples of the CVSS v3.1 document, and of the NVD
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
        ("CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H", 7.8),
        ("CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 6.8),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:N/A:N", 5.9),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
    ],
)
def test_the_base_score_is_that_of_the_standard(vector: str, score: float) -> None:
    assert base_score(vector) == score


@given(st.text(max_size=60))
def test_no_text_that_is_no_vector_has_a_score(text: str) -> None:
    assert base_score(text) is None


def test_a_score_goes_before_a_word_and_neither_is_unknown_which_counts_as_the_worst() -> None:
    low = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N"}]
    said = {"severity": "CRITICAL"}
    assert parse_record(record(severity=low, database_specific=said)).severity is Severity.LOW
    newer = [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"}]
    assert parse_record(record(severity=newer, database_specific=said)).severity is Severity.CRITICAL
    assert parse_record(record(database_specific={"severity": ["x"]})).severity is Severity.UNKNOWN
    assert Severity.UNKNOWN.counts_as is Severity.CRITICAL
    assert [severity_of(score) for score in (0.0, 3.9, 4.0, 6.9, 7.0, 8.9, 9.0)] == [1, 1, 2, 2, 3, 3, 4]


def test_severities_have_the_numbers_of_messages() -> None:
    assert tuple(severity.name.lower() for severity in Severity) == SEVERITIES
