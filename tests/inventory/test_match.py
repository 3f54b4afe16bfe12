"""A record concerns what is installed, or does not, or nothing tells: versions in the order of PEP 440."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.inventory.records import record

from bulkhead.inventory.components import Component
from bulkhead.inventory.match import Verdict, matches
from bulkhead.inventory.osv import parse_record


def component(version: str, name: str = "h11", kind: str = "package") -> Component:
    return Component(name, version, kind, "MIT", "", used=("console",))


def verdict(version: str, data: bytes, name: str = "h11") -> Verdict | None:
    """Of the record about the component; None where it does not name it."""
    found = [match.verdict for match in matches([parse_record(data)], [component(version, name)])]
    return found[0] if found else None


KEYS = ("introduced", "fixed", "last_affected", "limit")
FIXED = ({"introduced": "1.0"}, {"fixed": "1.4"})
LAST = ({"introduced": "0"}, {"last_affected": "1.4"})
TWICE = ({"introduced": "2.0"}, {"fixed": "2.1"}, {"introduced": "0"}, {"fixed": "1.2"})  # in any order
LIMIT = ({"introduced": "1.0"}, {"limit": "1.5"})


@pytest.mark.parametrize(
    ("events", "concerned", "clean"),
    [
        (FIXED, ("1.0", "1.3.9", "1.4rc1", "1.4.dev1"), ("0.9", "1.0rc1", "1.4", "1.4.post1", "1!1.0")),
        (LAST, ("0.0.1", "1.4", "1.4.0"), ("1.4.1", "1.4.post1", "2")),
        (TWICE, ("0.1", "1.1", "2.0", "2.0.5"), ("1.2", "1.9", "2.1")),
        (LIMIT, ("1.0", "1.4.9"), ("0.9", "1.5", "2.0")),
        (({"introduced": "1.0"}, {"limit": "*"}), ("1.0", "9"), ("0.9",)),
        (({"introduced": "0"},), ("0", "0.0.1", "99"), ()),
    ],
)
def test_a_range_is_evaluated_as_the_schema_says(
    events: tuple[dict[str, str], ...], concerned: tuple[str, ...], clean: tuple[str, ...]
) -> None:
    data = record(events=events)
    assert {version: verdict(version, data) for version in concerned} == dict.fromkeys(concerned, Verdict.CONCERNED)
    assert {version: verdict(version, data) for version in clean} == dict.fromkeys(clean, Verdict.CLEAN)


def test_a_listed_version_is_meant_however_it_is_written() -> None:
    document = json.loads(record())
    document["affected"][0] |= {"ranges": [], "versions": ["1.0.0", "V1.1-rc.1"]}
    data = json.dumps(document).encode()
    assert [verdict(version, data) for version in ("1.0", "1.1rc1", "1.1")] == [
        Verdict.CONCERNED, Verdict.CONCERNED, Verdict.CLEAN,
    ]  # fmt: skip


def test_commits_alone_and_versions_that_have_no_order_are_unsure_and_never_clean() -> None:
    assert verdict("1.0", record(kind="GIT", events=({"introduced": "0"}, {"fixed": "abcdef"}))) is Verdict.UNSURE
    assert verdict("1.0", record(events=({"introduced": "0"}, {"fixed": "next week"}))) is Verdict.UNSURE
    assert verdict("no version", record()) is Verdict.UNSURE
    assert verdict("", record()) is Verdict.UNSURE


def test_a_package_is_named_in_any_spelling_and_by_its_url_and_in_no_other_ecosystem() -> None:
    assert verdict("1.0", record(package="PyNaCl"), "pynacl") is Verdict.CONCERNED
    assert verdict("1.0", record(package="typing_extensions"), "typing-extensions") is Verdict.CONCERNED
    assert verdict("1.0", record(package="h2")) is None
    document = json.loads(record())
    document["affected"][0]["package"] = {"ecosystem": "npm", "name": "h11"}
    assert verdict("1.0", json.dumps(document).encode()) is None
    document["affected"][0]["package"] = {"purl": "pkg:generic/openssl"}
    row = component("3.0.19", "openssl", "platform")
    (match,) = matches([parse_record(json.dumps(document).encode())], [row])
    assert match.verdict is Verdict.CONCERNED


def test_a_withdrawn_record_names_nothing() -> None:
    assert verdict("1.0", record(withdrawn="2026-10-03T00:00:00Z")) is None


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), st.text(max_size=12))), st.text(max_size=12))
def test_no_events_and_no_version_end_the_comparison(events: list[dict[str, str]], version: str) -> None:
    assert verdict(version, record(events=tuple(events))) in Verdict
