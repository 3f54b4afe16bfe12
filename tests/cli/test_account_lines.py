"""Lines of an import."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.cli.account_lines import LINE_MAX, PASSWORD_MAX, numbered_lines, parse_line
from bulkhead.errors import PeerError


def test_both_forms_give_the_same_account() -> None:
    one = parse_line(b"taro@kddi.example,a, comma and spaces ")
    other = parse_line(json.dumps({"address": "taro@kddi.example", "password": "a, comma and spaces "}).encode())
    assert one == other
    assert one.password == b"a, comma and spaces "


def test_a_quota_stands_in_json_only() -> None:
    line = json.dumps({"address": "a@b.example", "password": "x" * 12, "quota_bytes": 5}).encode()
    assert parse_line(line).quota_bytes == 5


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"no comma", "no comma"),
        (b"no-address,password", "address"),
        (b"a@b.example,", "password"),
        (b"\xff\xfe@b.example,x", "UTF-8"),
        (b'{"address": "a@b.example"}', "needs address"),
        (b'{"address": "a@b.example", "password": "x", "admin": true}', "unknown key"),
        (b'{"address": "a@b.example", "password": "x", "quota_bytes": true}', "quota_bytes"),
        (b'{"address": "a@b.example", "password": "x", "quota_bytes": 0}', "quota_bytes"),
        (b"{", "JSON"),
        (b"{" * 4000, "JSON"),
        (b"a@b.example," + b"p" * (PASSWORD_MAX + 1), "octets"),
        (b"a@b.example," + b"p" * LINE_MAX, "longer"),
    ],
)
def test_a_wrong_line_is_refused_by_name_of_its_fault(line: bytes, why: str) -> None:
    with pytest.raises(PeerError, match=why):
        parse_line(line)


def test_a_refusal_shows_no_password() -> None:
    for line in (b"no-address,hunter2hunter2", b'{"address": 1, "password": "hunter2hunter2"}', b"hunter2hunter2"):
        with pytest.raises(PeerError) as refusal:
            parse_line(line)
        assert "hunter2" not in refusal.value.public + refusal.value.detail


@given(st.binary(max_size=300))
def test_random_octets_give_an_account_or_a_refusal(line: bytes) -> None:
    try:
        assert 0 < len(parse_line(line).password) <= PASSWORD_MAX
    except PeerError:
        pass


def test_blank_lines_are_counted_and_left_out() -> None:
    assert list(numbered_lines(io.BytesIO(b"a\r\n\n  \nb"))) == [(1, b"a"), (4, b"b")]
