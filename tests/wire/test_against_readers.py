"""The summary against other readers: the standard library's MIME parser, and an IMAP client's response parser."""

from email import message_from_bytes
from email.message import Message
from email.utils import getaddresses

import pytest
from imapclient.response_parser import parse_fetch_response

from bulkhead.demo.corpus import messages
from bulkhead.wire.address_list import parse_address_list
from bulkhead.wire.header import scan_fields, unfold
from bulkhead.wire.search_text import part_octets
from bulkhead.wire.summary import Summary, section_range, summarize

# Where the standard library reads a malformed message in its own way.
DIFFERS = (b"Content-Type: multipart/mixed\r\n", b"this line has no colon", b"boundary=cut\r\n")


def corpus() -> list[bytes]:
    return list(messages(7, 120, "taro@kddi.example", ["hanako@nifty.example", "foo..bar@biglobe.example"]))


def leaves(message: Message, prefix: str = "") -> dict[str, Message]:
    """Section numbers and leaves of a message as the standard library reads it."""
    if message.get_content_maintype() == "multipart":
        parts = [part for part in message.get_payload() if isinstance(part, Message)]
    else:
        parts = [message]
    found: dict[str, Message] = {}
    for index, part in enumerate(parts, 1):
        number = f"{prefix}{index}"
        if part.get_content_type() == "message/rfc822":
            inner = part.get_payload(0)
            assert isinstance(inner, Message)
            found |= leaves(inner, f"{number}.")
        elif part.get_content_maintype() == "multipart":
            found |= leaves(part, f"{number}.")
        else:
            found[number] = part
    return found


def test_leaves_are_those_of_the_standard_library() -> None:
    compared = 0
    for message in corpus():
        if any(mark in message for mark in DIFFERS):
            continue
        summary = summarize(message)
        theirs = leaves(message_from_bytes(message))
        ours = {
            part.number: part for part in summary.sections if part.text < 0 and not part.media.startswith("multipart/")
        }
        assert list(ours) == list(theirs)
        for number, part in ours.items():
            start, end = section_range(summary, number) or (0, 0)
            assert part.media == theirs[number].get_content_type()
            assert part_octets(message[start:end], part.encoding) == theirs[number].get_payload(decode=True)
            compared += 1
    assert compared > 150


def test_addresses_are_those_of_the_standard_library() -> None:
    for message in corpus():
        for name, _, value, end in scan_fields(message, 0, summarize(message).header_size):
            if name in (b"from", b"to"):
                text = unfold(message[value:end])
                ours = [(name or b"", local + b"@" + domain) for name, _, local, domain in parse_address_list(text)]
                assert ours == [(name.encode(), address.encode()) for name, address in getaddresses([text.decode()])]


def fetch_response(summary: Summary) -> list[object]:
    """A FETCH response as imaplib hands it on: each literal in a pair with what stands before it."""
    rest = b"1 (ENVELOPE %s BODY %s BODYSTRUCTURE %s)" % (summary.envelope, summary.body, summary.bodystructure)
    response: list[object] = []
    while True:
        head, mark, tail = rest.partition(b"}\r\n")
        if not mark:
            return [*response, rest]
        size = int(head.rpartition(b"{")[2])
        response.append((head + b"}", tail[:size]))
        rest = tail[size:]


@pytest.mark.parametrize("extra", [b"", b'Subject: a "quoted" \xff word\r\n\r\n', b"To: G: a@b;\r\n\r\n"])
def test_a_client_reads_what_is_rendered(extra: bytes) -> None:
    for message in [extra] if extra else corpus():
        summary = summarize(message)
        row = parse_fetch_response(fetch_response(summary))[1]
        envelope = row[b"ENVELOPE"]
        subject = next((unfold(message[v:e]) for n, _, v, e in scan_fields(message, 0, 9999) if n == b"subject"), None)
        assert envelope.subject == subject
        assert row[b"BODYSTRUCTURE"].is_multipart == (summary.sections[-1].number != "1" or summary.body[1:2] == b"(")


def test_a_client_reads_sender_and_recipients() -> None:
    row = parse_fetch_response(fetch_response(summarize(corpus()[0])))[1]
    assert [str(address) for address in row[b"ENVELOPE"].to] == ["hanako@nifty.example", "foo..bar@biglobe.example"]
    assert row[b"ENVELOPE"].sender[0].mailbox == b"taro"
