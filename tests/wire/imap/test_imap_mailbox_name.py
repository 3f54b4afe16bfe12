import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.imap.grammar import CommandError, Condition
from bulkhead.wire.imap.mailbox_name import (
    ListPattern,
    decode_utf7,
    encode_utf7,
    parse_list_pattern,
    parse_mailbox_name,
)

NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@given(NAMES)
def test_a_name_comes_back_from_modified_utf7(name: str) -> None:
    octets = encode_utf7(name)
    assert octets.isascii()
    assert decode_utf7(octets) == name


@given(st.binary(max_size=30))
def test_octets_that_decode_are_the_only_form_of_their_name(octets: bytes) -> None:
    try:
        name = decode_utf7(octets)
    except CommandError:
        return
    assert encode_utf7(name) == octets


def test_the_examples_of_the_standard() -> None:
    assert decode_utf7(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-") == "~peter/mail/台北/日本語"
    assert decode_utf7(b"Entw&APw-rfe &- mehr") == "Entwürfe & mehr"


@pytest.mark.parametrize(
    "octets",
    [
        b"&",  # open shift
        b"&AGE-",  # an ASCII letter shifted
        b"&ZeV-",  # loose bits at the end
        b"&Jjo-!&Jjo",  # open at the end
        b"&U,BTFw-&ZeVnLIqe-",  # a needless end and start
        b"&2AA-",  # half a surrogate pair
        b"\xe5\x8f\xb0",
        b"a\x00b",
        b"&U/BTFw-",
    ],
)
def test_what_is_not_strict_utf7_is_refused(octets: bytes) -> None:
    with pytest.raises(CommandError):
        decode_utf7(octets)


@pytest.mark.parametrize("octets", [b"inbox", b"INBOX", b"iNbOx"])
def test_inbox_is_one_mailbox_in_any_case(octets: bytes) -> None:
    assert parse_mailbox_name(octets) == "INBOX"
    assert parse_mailbox_name(octets + b"/Old") == "INBOX/Old"
    assert parse_mailbox_name(b"x/" + octets) == "x/" + octets.decode()


def test_a_name_of_1000_octets_is_taken_and_one_more_is_not() -> None:
    assert len(parse_mailbox_name(b"a" * 1000)) == 1000
    with pytest.raises(CommandError):
        parse_mailbox_name(b"a" * 1001)
    with pytest.raises(CommandError):
        parse_list_pattern(b"a" * 1001)


def test_20_levels_are_taken_and_one_more_is_not() -> None:
    assert parse_mailbox_name(b"/".join([b"a"] * 20)).count("/") == 19
    with pytest.raises(CommandError) as caught:
        parse_mailbox_name(b"/".join([b"a"] * 21))
    assert (caught.value.condition, caught.value.response_code) == (Condition.NO, b"CANNOT")


@pytest.mark.parametrize("octets", [b"", b"/", b"/a", b"a//b", b"a/", b"a&AAo-b"])
def test_empty_levels_and_controls_are_refused(octets: bytes) -> None:
    with pytest.raises(CommandError):
        parse_mailbox_name(octets)


def test_create_drops_one_trailing_delimiter_and_refuses_wildcards() -> None:
    assert parse_mailbox_name(b"a/b/", creating=True) == "a/b"
    for octets in (b"a//", b"/", b"a%", b"*"):
        with pytest.raises(CommandError):
            parse_mailbox_name(octets, creating=True)


def test_utf8_names_are_read_only_where_enabled() -> None:
    assert parse_mailbox_name("日本語".encode(), utf8=True) == "日本語"
    assert parse_mailbox_name(b"a&b", utf8=True) == "a&b"
    with pytest.raises(CommandError):
        parse_mailbox_name(b"\xff", utf8=True)


@given(st.text("ab/%*", max_size=10), st.text("ab/", max_size=10))
def test_a_pattern_matches_what_its_expression_matches(pattern: str, name: str) -> None:
    words = {"*": ".*", "%": "[^/]*"}
    expression = "".join(words.get(character, re.escape(character)) for character in pattern)
    assert ListPattern(pattern).matches(name) is (re.fullmatch(expression, name) is not None)


@pytest.mark.parametrize("pattern", ["inbox", "InBoX", "in%", "inbox/%", "*X/old"])
def test_inbox_matches_in_any_case(pattern: str) -> None:
    compiled = ListPattern(pattern)
    assert any(compiled.matches(name) for name in ("INBOX", "INBOX/old"))
    assert not ListPattern("inbox").matches("INBOXES")
    assert not ListPattern("work").matches("WORK")


def test_a_hostile_pattern_matches_in_linear_time() -> None:
    compiled = ListPattern("*a%b*%" * 160 + "x")
    started = time.perf_counter()
    for _ in range(20):
        assert not compiled.matches("ab" * 500)
    assert time.perf_counter() - started < 1.0  # 20 names of the greatest length; a backtracking matcher never ends
