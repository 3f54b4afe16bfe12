"""What reads messages: structure, summary, headers, addresses, dates, charsets, transfer encodings, bounces."""

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

from tests.fuzz.harness import Harness, Pieces, nothing

from bulkhead.identifiers import parse_address, parse_domain
from bulkhead.wire.address_list import ADDRESSES_MAX, parse_address_list
from bulkhead.wire.charset import decode
from bulkhead.wire.dsn import Action, RecipientReport, Report, compose_notification
from bulkhead.wire.encoded_word import decode_words
from bulkhead.wire.header import field_block, header_end, scan_fields, unfold
from bulkhead.wire.imap.sort import base_subject
from bulkhead.wire.imap.thread import Node, Threaded, by_references, by_subject, message_ids, references_of, render
from bulkhead.wire.internet_date import message_date, parse_date
from bulkhead.wire.mime import DEPTH_MAX, PARTS_MAX, Part, scan
from bulkhead.wire.pop3_responses import MessageRenderer, TopCut
from bulkhead.wire.preview import PREVIEW_CHARACTERS, preview
from bulkhead.wire.smtp_codes import Reply
from bulkhead.wire.summary import Summary, section_range, summarize
from bulkhead.wire.transfer_encoding import Base64, QuotedPrintable

_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
_SECTIONS = ("HEADER", "TEXT", "1", "1.MIME", "2", "1.1", "1.HEADER", "2.TEXT", "9.9.9")


def mime(data: bytes) -> None:
    """Every message has a structure whose parts lie inside it and inside each other, within the limits."""
    left = [(scan(data), 0, len(data), 0)]
    count = 0
    while left:
        part, start, end, depth = left.pop()
        count += 1
        assert start <= part.start <= part.end <= end
        assert depth <= 2 * DEPTH_MAX
        left += [(child, part.start, part.end, depth + 1) for child in _children(part)]
    assert count <= 2 * PARTS_MAX + 1


def _children(part: Part) -> list[Part]:
    found: list[Part] = []
    for name in part.__struct_fields__:
        value = getattr(part, name)
        found += [value] if isinstance(value, Part) else []
        found += [child for child in value if isinstance(child, Part)] if isinstance(value, tuple | list) else []
    return found


def summary(data: bytes) -> None:
    """A summary is read as it was written, and its sections lie inside the message."""
    made = summarize(data)
    assert Summary.decode(made.encode()) == made
    for section in _SECTIONS:
        found = section_range(made, section)
        assert found is None or 0 <= found[0] <= found[1] <= len(data)


def header(data: bytes) -> None:
    """Fields lie in the header; a block of chosen fields and its complement together are the header's fields."""
    end = header_end(data, 0, len(data))
    assert 0 <= end <= len(data)
    for field in scan_fields(data, 0, len(data)):
        unfold(bytes(field[1]) if isinstance(field[1], bytes) else b"")
    names = (b"subject", b"from")
    chosen, rest = field_block(data, names), field_block(data, names, exclude=True)
    assert len(chosen) + len(rest) <= 2 * len(data) + 8
    unfold(data)


def address_list(data: bytes) -> None:
    """Addresses, at most so many as are kept."""
    assert len(parse_address_list(data)) <= ADDRESSES_MAX


def date(data: bytes) -> None:
    """A date that is read can be written and is read as the same."""
    found = parse_date(data)
    if found is not None:
        assert parse_date(message_date(*found)) == found


def text(data: bytes) -> None:
    """Text of every label: no error, no more of it than octets allow; the label is the first line."""
    label, _, octets = data.partition(b"\n")
    for name in (label.decode("latin-1"), "", "iso-2022-jp", "shift_jis", "euc-jp", "utf-7", "utf-16", "gb18030"):
        assert len(decode(octets, name)) <= 2 * len(octets) + 2
    words = decode_words(octets, label.decode("latin-1"))
    assert len(words) <= 3 * len(octets) + 8
    base_subject(words[:2000])
    references_of(octets, label)
    message_ids(octets)


def base64(pieces: Pieces) -> Any:
    """The octets of a base64 body."""
    decoder = Base64()
    return b"".join([*map(decoder.feed, pieces), decoder.finish()])


def preview_text(data: bytes) -> None:
    """One short line of whatever a part begins with; encoding, charset and type are the first line."""
    label, _, body = data.partition(b"\n")
    encoding, charset, media = ([*label.decode("latin-1").split(" "), "", "", ""])[:3]
    for whole in (True, False):
        made = preview(body, encoding, charset, media, whole=whole)
        assert len(made) <= PREVIEW_CHARACTERS and "\n" not in made and "\r" not in made


def quoted_printable(pieces: Pieces) -> Any:
    """The octets of a quoted-printable body."""
    decoder = QuotedPrintable()
    return b"".join([*map(decoder.feed, pieces), decoder.finish()])


def thread(data: bytes) -> None:
    """Every message is in exactly one place of its threads, and no thread is a circle; a line is one message."""
    fields = [[*line.split(b"\t"), b"", b""][:3] for line in data.split(b"\n")]
    messages = [
        Threaded(at + 1, subject.decode("latin-1"), at % 3 == 0, len(subject), (message_ids(own) or [b""])[0],
                 references_of(references, b""))
        for at, (own, references, subject) in enumerate(fields)
    ]  # fmt: skip
    for make in (by_subject, by_references):
        roots = _result(make(messages))
        found: list[int] = []
        left = list(roots)
        while left:
            node = left.pop()
            found += [node.at] if node.at >= 0 else []
            left += node.children
            assert len(found) <= len(messages)
        assert sorted(found) == list(range(len(messages)))
        line = b"".join(render(roots, [message.number for message in messages]))
        assert line.count(b"(") == line.count(b")")


def _result(steps: Generator[None, None, list[Node]]) -> list[Node]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return list(end.value)


def pop3_body(pieces: Pieces) -> Any:
    """What RETR sends is undone by what RFC 1939 section 3 says, and ends where it says."""
    renderer = MessageRenderer()
    sent = b"".join([*map(renderer.render, pieces), renderer.finish()])
    assert sent.endswith(b".\r\n") and b"\r\n.\r\n" not in b"\r\n" + sent[:-3]
    undone = sent[:-3].removeprefix(b".") if sent.startswith(b".") and len(sent) > 3 else sent[:-3]
    undone = undone.replace(b"\n.", b"\n")
    data = b"".join(pieces)
    assert undone[: len(data)] == data and undone[len(data) :] in (b"", b"\n", b"\r\n")
    cut = TopCut(3)
    return sent, b"".join(map(cut.cut, pieces))


def bounce(data: bytes) -> None:
    """Whatever the other server said and whatever the header holds: a message of ASCII lines that ends in CRLF."""
    words, _, original = data.partition(b"\n")
    said = Reply(550, "5.1.1", (words.decode("latin-1"),))
    address = parse_address("a@stnet.example")
    recipient = RecipientReport(address, "5.1.1", words.decode("latin-1"), said, parse_domain("mx.kddi.example"))
    report = Report(Action.FAILED, parse_domain("mx.stnet.example"), address, (recipient,), _MOMENT, original)
    made = compose_notification(report, date=_MOMENT, message_id="x@stnet.example", boundary="0123456789abcdef").text
    bare = made.replace(b"\r\n", b"")
    assert b"\r" not in bare and b"\n" not in bare and b"\0" not in bare
    assert made.endswith(b"\r\n") and max(map(len, made.split(b"\r\n"))) <= 998


MESSAGES = (
    Harness("mime", mime),
    Harness("summary", summary),
    Harness("header", header),
    Harness("address-list", address_list),
    Harness("date", date),
    Harness("text", text),
    Harness("base64", nothing, base64),
    Harness("quoted-printable", nothing, quoted_printable),
    Harness("thread", thread),
    Harness("preview", preview_text),
    Harness("pop3-body", nothing, pop3_body),
    Harness("bounce", bounce),
)
