"""What SEARCH sees: decoded words, decoded bodies, folded comparison."""

import time
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.charset import decode
from bulkhead.wire.encoded_word import decode_base64, decode_words
from bulkhead.wire.search_text import contains, fold, header_text, part_octets


@pytest.mark.parametrize(
    ("value", "text"),
    [
        # RFC 2047 section 8
        (b" =?ISO-8859-1?Q?a?=", "a"),
        (b" =?ISO-8859-1?Q?a?= b", "a b"),
        (b" =?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        (b" =?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"),
        (b" =?ISO-8859-1?Q?a_b?=", "a b"),
        (b" =?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
        (b" =?utf-8?q?a?= =?iso-8859-1?q?=E9?=", "aé"),
        (b"Re: =?UTF-8?B?44GC?=", "Re: あ"),
        (b"=?iso-2022-jp?B?GyRCJCIbKEI=?=", "あ"),
        (b"=?iso-2022-jp*ja?B?GyRCJCIbKEI=?=", "あ"),
        (b"=?*ja?Q?a?=", "a"),
        (b"=?x-unknown?Q?a?=", "a"),
        (b"=?utf-8?B?broken", "=?utf-8?B?broken"),
        (b"=?utf-8?B?44GC?x", "=?utf-8?B?44GC?x"),
        (b'\x1b$B$"\x1b(B raw', "あ raw"),
        ("件名".encode(), "件名"),
        (b"", ""),
    ],
)
def test_header_is_read_as_text(value: bytes, text: str) -> None:
    assert header_text(value) == text


def test_character_split_between_two_words_is_joined() -> None:
    octets = "日本".encode()
    first, second = b64encode(octets[:4]), b64encode(octets[4:])
    assert decode_words(b"=?utf-8?B?%s?= =?utf-8?B?%s?=" % (first, second)) == "日本"


def test_base64_split_between_two_words_is_joined() -> None:
    whole = b64encode("日本語".encode())
    assert decode_words(b"=?utf-8?B?%s?= =?utf-8?B?%s?=" % (whole[:5], whole[5:])) == "日本語"


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (b"QUJD", b"ABC"),
        (b"QU JD\r\n", b"ABC"),
        (b"QUI", b"AB"),
        (b"QUI=QUI=", b"ABAB"),
        (b"Q", b""),
        (b"====", b""),
        (b"!!", b""),
    ],
)
def test_base64_is_read_however_it_is_broken(text: bytes, octets: bytes) -> None:
    assert decode_base64(text) == octets


def test_part_is_decoded_by_its_encoding_and_charset() -> None:
    assert decode(part_octets(b"44GC\r\n", "BASE64"), "utf-8") == "あ"
    assert decode(part_octets(b"caf=E9=\r\n!", "quoted-printable"), "iso-8859-1") == "café!"
    assert decode(part_octets(b"a=zz", "quoted-printable"), "") == "a=zz"
    assert decode(part_octets(b"as is", "x-unknown"), "nonsense") == "as is"


def test_comparison_folds_case_width_and_composition() -> None:
    assert contains("Meeting NOTES", fold("notes"))
    assert contains("ｶﾞｲﾄﾞ", fold("ガイド"))
    assert contains("ＡＢＣ", fold("abc"))
    assert contains("Straße", fold("STRASSE"))
    assert not contains("abc", fold("abd"))


def test_folding_does_not_depend_on_where_blocks_end() -> None:
    for before in range(250, 260):
        assert contains("x" * before + "ガイド", fold("ｶﾞｲﾄﾞ"))


@given(st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable", "7bit", ""]))
def test_random_octets_never_raise(data: bytes, encoding: str) -> None:
    assert isinstance(fold(decode(part_octets(data, encoding), "iso-2022-jp")), str)
    assert isinstance(header_text(data), str)


@given(
    st.lists(st.sampled_from([b"=?", b"utf-8", b"?B?", b"?q?", b"?=", b" ", b"=E3", b"44", b"\n", b"_", b"*", b"\xe3"]))
)
def test_broken_words_never_raise(pieces: list[bytes]) -> None:
    assert isinstance(header_text(b"".join(pieces)), str)


HOSTILE = {
    "combining marks": "\u0301\u0323" * 250_000,
    "words begun": "=?utf-8?q?" * 50_000,
    "escapes": "\x1b$B" * 150_000,
    "escapes lost": "$B" * 250_000,
    "escapes half lost": "$B(B" * 120_000,
    "padding": "=" * 500_000,
    "soft breaks": " =\r\n" * 120_000,
    "pieces of base64": "QQ==" * 120_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_half_a_megabyte_made_to_be_slow_is_not(name: str) -> None:
    data = HOSTILE[name].encode()
    before = time.process_time()
    for encoding in ("", "base64", "quoted-printable"):
        fold(decode(part_octets(data, encoding), "iso-2022-jp"))
    header_text(data)
    assert time.process_time() - before < 3
