"""The demonstration's mail: deterministic, sendable, and of every kind."""

from hashlib import sha256

from bulkhead.demo.compose import encode_iso2022jp
from bulkhead.demo.corpus import KINDS, messages
from bulkhead.wire.charset import decode
from bulkhead.wire.search_text import header_text, part_octets
from bulkhead.wire.summary import section_range, summarize

SENDER, RECIPIENTS = "taro@kddi.example", ["hanako@nifty.example", "foo..bar@biglobe.example"]


def corpus(seed: int = 1, count: int = 150) -> list[bytes]:
    return list(messages(seed, count, SENDER, RECIPIENTS))


def test_same_seed_gives_the_same_octets_and_another_seed_others() -> None:
    assert corpus() == corpus()
    assert not set(map(sha256_of, corpus())) & set(map(sha256_of, corpus(2)))


def sha256_of(message: bytes) -> bytes:
    return sha256(message).digest()


def test_every_line_ends_in_crlf_and_has_at_most_998_octets() -> None:
    longest = 0
    for message in corpus():
        assert message.endswith(b"\r\n") and b"\0" not in message
        lines = message[:-2].split(b"\r\n")
        assert not any(b"\r" in line or b"\n" in line for line in lines)
        longest = max(longest, *map(len, lines))
    assert longest == 998


def test_first_messages_are_one_of_each_kind() -> None:
    found = [part.media for message in corpus(3, len(KINDS)) for part in summarize(message).sections]
    for media in ("text/plain", "text/html", "application/pdf", "image/png", "message/rfc822"):
        assert media in found
    assert any("signature" in media for media in found)


def test_most_messages_are_small_and_some_are_not() -> None:
    sizes = sorted(map(len, corpus(1, 600)))
    assert sizes[len(sizes) // 2] < 8_000
    assert 100_000 < sizes[-1] < 1_000_000


def test_every_message_has_the_fields_that_mailers_write() -> None:
    for message in corpus():
        summary = summarize(message)
        assert summary.date is not None
        assert b'"taro" "kddi.example"' in summary.envelope
        assert b'"foo..bar" "biglobe.example"' in summary.envelope


def test_every_text_can_be_read() -> None:
    seen = ""
    for message in corpus():
        summary = summarize(message)
        for part in summary.sections:
            if part.media.startswith("text/"):
                start, end = section_range(summary, part.number) or (0, 0)
                text = decode(part_octets(message[start:end], part.encoding), part.charset)
                assert "\ufffd" not in text
                seen += text
        seen += header_text(message[: summary.header_size])
    for text in ("①", "ﾒｰﾙ", "№", "件名 テスト", "会議", "Thursday"):
        assert text in seen


def test_iso_2022_jp_is_read_back_as_it_was_written() -> None:
    text = "① ﾒｰﾙ №1 ㈱ 漢字かなカナ ABC ｶﾞ"
    assert decode(encode_iso2022jp(text), "iso-2022-jp") == text
    assert encode_iso2022jp(text).isascii()
