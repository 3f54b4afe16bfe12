"""Lines of a cell's log: whatever is written, each is one line, one object, without an address."""

import asyncio
import json
import logging
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.supervisor.cell_log import CellLog, PlainFormatter
from bulkhead.supervisor.log_lines import LEVELS, MASK, json_line, masked, text_line

NOW = 1_700_000_000.1234
KEYS = ["time", "tenant", "image", "compartment", "worker", "level", "severity", "message", "fields"]


def test_a_compartments_line_is_taken_apart() -> None:
    document = json.loads(json_line("kddi", "vault", b"auth/3 WARNING 2 limits < ValueError < rows.py:7", NOW))
    assert document == {
        "time": "2023-11-14T22:13:20.123Z", "tenant": "kddi", "image": "vault", "compartment": "auth", "worker": 3,
        "level": "warning", "severity": 4, "message": "2 limits", "fields": {"fault": ["ValueError", "rows.py:7"]},
    }  # fmt: skip
    assert list(document) == KEYS


def test_a_line_of_nobody_is_kept_whole_and_gets_no_name() -> None:
    document = json.loads(json_line("kddi", "front", b"Fatal Python error: auth/0 ERROR x", NOW))
    assert document["compartment"] is None and document["worker"] is None
    assert (document["level"], document["severity"]) == ("notice", 5)
    assert document["message"] == "Fatal Python error: auth/0 ERROR x"


@given(st.binary(max_size=300))
def test_any_octets_make_one_line_and_one_object_of_the_supervisors_tenant_and_image(line: bytes) -> None:
    for text in (json_line("kddi", "vault", line, NOW), text_line("vault", line, NOW)):
        assert text.endswith("\n") and text[:-1].isprintable()
    document = json.loads(json_line("kddi", "vault", line, NOW))
    assert list(document) == KEYS and (document["tenant"], document["image"]) == ("kddi", "vault")


@given(st.text(max_size=100))
def test_a_message_cannot_name_a_key_of_its_own(text: str) -> None:
    hostile = f'mx/0 ERROR {text}","tenant":"stnet","severity":0,"x":"'
    document = json.loads(json_line("kddi", "front", hostile.encode("utf-8", "replace"), NOW))
    assert list(document) == KEYS and document["tenant"] == "kddi" and document["severity"] in (3, 5)


@pytest.mark.parametrize("address", ["taro@kddi.example", "a.b+c@x", "太郎@例え.example", "x" * 64 + "@kddi.example"])
@pytest.mark.parametrize("around", ["no account has the address {}", "<{}>: refused", "'{}'", "to={},next"])
def test_an_address_is_masked_in_either_form(address: str, around: str) -> None:
    line = b"mx/0 ERROR " + around.format(address).encode()
    for text in (json_line("kddi", "front", line, NOW), text_line("front", line, NOW)):
        assert MASK in text and "@" not in text and "taro" not in text


@given(st.text(alphabet="ab@ <>.", max_size=400))
def test_masking_leaves_no_at_between_two_parts(text: str) -> None:
    assert not re.search(r"[ab.]@[ab.]", masked(text))


def test_levels_are_those_of_rfc_5424() -> None:
    assert LEVELS == {"CRITICAL": 2, "ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}


def test_what_a_child_writes_is_what_is_read(tmp_path: Path) -> None:
    record = logging.LogRecord("x", logging.ERROR, "f.py", 1, "of %s", ("a@b\nmx/1 ERROR forged",), None)
    line = PlainFormatter("auth/0").format(record)

    async def write() -> None:
        log = CellLog(tmp_path / "log", "kddi", json=True)
        end = log.pipe("vault")
        os.write(end, line.encode() + b"\n")
        await asyncio.sleep(0.05)
        log.json = False
        os.write(end, b"auth/0 INFO plain\n")
        await asyncio.sleep(0.05)
        os.close(end)
        log.close()

    asyncio.run(write())
    first, second = (tmp_path / "log").read_text().splitlines()
    document = json.loads(first)
    assert (document["compartment"], document["message"]) == ("auth", rf"of {MASK} ERROR forged"), document
    assert second.endswith(" vault auth/0 INFO plain")
