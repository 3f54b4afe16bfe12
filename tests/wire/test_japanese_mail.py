"""The vectors of tests/vectors/japanese: mail with the labels, or without, that Japanese mailers send."""

import json
from pathlib import Path
from typing import Any

import pytest

from bulkhead.access.search_text import ReadText, find_in_small_body
from bulkhead.access.sort import OpenedFields
from bulkhead.wire.preview import preview
from bulkhead.wire.search_text import contains, fold
from bulkhead.wire.summary import Summary, summarize

VECTORS = Path(__file__).parents[1] / "vectors" / "japanese"
EXPECTED: dict[str, dict[str, Any]] = json.loads((VECTORS / "expected.json").read_text(encoding="utf-8"))


def read(name: str) -> tuple[bytes, Summary]:
    message = (VECTORS / f"{name}.eml").read_bytes()
    return message, summarize(message)


def test_every_file_has_its_expectations() -> None:
    assert {path.stem for path in VECTORS.glob("*.eml")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_subject_and_author_are_read(name: str) -> None:
    _, summary = read(name)
    fields = OpenedFields(summary, summary.fields, 0, summary.size)
    assert fields.subject() == EXPECTED[name]["subject"]
    assert fields.display_name(b"from") == EXPECTED[name].get("from", "sender@example.jp")


@pytest.mark.parametrize("name", EXPECTED)
def test_the_preview_is_the_text(name: str) -> None:
    message, summary = read(name)
    part = next(section for section in summary.sections if section.media == "text/plain")
    body = message[part.body : part.end]
    assert preview(body, part.encoding, part.charset, part.media, whole=True) == EXPECTED[name]["preview"]


@pytest.mark.parametrize("name", EXPECTED)
def test_text_is_found_and_other_text_is_not(name: str) -> None:
    message, summary = read(name)
    text = ReadText(bytes(16), summary)
    text.take_header(message[: summary.header_size])
    for needle in EXPECTED[name]["finds"] + EXPECTED[name]["misses"]:
        in_body = find_in_small_body(message[summary.header_size :], summary.header_size, summary, {fold(needle)})
        found = bool(in_body) or contains(text.header_text(), fold(needle))
        assert found is (needle in EXPECTED[name]["finds"]), needle


@pytest.mark.parametrize("name", [name for name, expected in EXPECTED.items() if "finds_from" in expected])
def test_an_author_is_found_by_the_address_that_envelope_tells(name: str) -> None:
    text = ReadText(bytes(16), read(name)[1])
    for needle in EXPECTED[name]["finds_from"]:
        assert any(contains(value, fold(needle)) for value in text.field(b"FROM") or ())


@pytest.mark.parametrize("name", EXPECTED)
def test_the_structure_is_told_as_it_was_written(name: str) -> None:
    _, summary = read(name)
    assert EXPECTED[name].get("envelope", "").encode() in summary.envelope
    assert EXPECTED[name].get("structure", "").encode() in summary.bodystructure
