import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.charset import cut, decode
from bulkhead.wire.preview import PREVIEW_CHARACTERS, preview


@pytest.mark.parametrize(
    ("body", "encoding", "charset", "media", "text"),
    [
        (b"Hello\r\n\r\n  world \t!\r\n", "7bit", "", "text/plain", "Hello world !"),
        (b"", "7bit", "", "text/plain", ""),
        (b" \r\n\xe3\x80\x80\r\n", "8bit", "utf-8", "text/plain", ""),
        ("会議は\r\n10時から".encode("iso-2022-jp"), "7bit", "iso-2022-jp", "text/plain", "会議は 10時から"),
        (b"44GC44GE\r\n", "base64", "utf-8", "text/plain", "あい"),
        (b"caf=E9=\r\n!", "quoted-printable", "iso-8859-1", "text/plain", "café!"),
        (
            b"<html><head><title>no</title><style>p{x}</style></head><body><p>One &amp; two</p><br>three<!-- no -->",
            "7bit", "", "text/html", "One & two three",
        ),
        (b"a < b and <b>bold</b", "7bit", "", "text/html", "a < b and bold"),
        (b"<style>never closed", "7bit", "", "text/html", ""),
        (b"\x00\x1b[0mred", "7bit", "", "text/plain", "[0mred"),
        (b"<p>&#" + b"9" * 6000 + b"; after", "7bit", "", "text/html", "\ufffd after"),
        (b"&#" + b"0" * 6000 + b"65;&#x0000000042;", "7bit", "", "text/html", "\ufffdB"),
    ],
)  # fmt: skip
def test_a_preview_is_the_text_on_one_line(body: bytes, encoding: str, charset: str, media: str, text: str) -> None:
    assert preview(body, encoding, charset, media, whole=True) == text


def test_a_preview_has_200_characters_at_most() -> None:
    assert preview("あ".encode() * 1000, "8bit", "utf-8", "text/plain", whole=True) == "あ" * PREVIEW_CHARACTERS


@pytest.mark.parametrize("charset", ["utf-8", "shift_jis", "euc-jp", "iso-2022-jp", ""])
@pytest.mark.parametrize("size", range(40, 52))
def test_a_part_that_is_cut_anywhere_is_read_as_far_as_it_is_whole(charset: str, size: int) -> None:
    text = "会議のお知らせ。資料は添付します"
    octets = (text * 3).encode(charset or "utf-8")
    found = preview(octets[:size], "8bit", charset, "text/plain", whole=False)
    assert "\ufffd" not in found
    if charset != "iso-2022-jp":
        assert (text * 3).startswith(found) and len(found) >= 12


@pytest.mark.parametrize("charset", ["utf-8", "shift_jis", "euc-jp", "cp932", "gb18030", "big5", "euc-kr", ""])
def test_a_text_is_cut_between_characters_only(charset: str) -> None:
    text = "資料日本" * 4
    octets = text.encode(charset or "utf-8")
    for limit in range(1, len(octets)):
        at = cut(octets, limit, charset)
        assert 0 < at <= limit
        if at > 4:
            assert decode(octets[:at], charset or "utf-8") + decode(octets[at:], charset or "utf-8") == text


@given(
    st.binary(max_size=80), st.integers(1, 80), st.sampled_from(["", "utf-8", "iso-2022-jp", "cp932", "utf-16", "x"])
)
def test_a_cut_is_within_its_limit(data: bytes, limit: int, charset: str) -> None:
    if data:
        assert 0 < cut(data, limit, charset) <= max(limit, len(data))


@given(st.binary(max_size=200), st.sampled_from(["base64", "quoted-printable", "8bit"]), st.booleans(), st.booleans())
def test_no_octets_break_a_preview(body: bytes, encoding: str, html: bool, whole: bool) -> None:
    text = preview(body, encoding, "", "text/html" if html else "text/plain", whole=whole)
    assert len(text) <= PREVIEW_CHARACTERS and "\n" not in text
