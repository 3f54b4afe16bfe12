"""The summary of a message: renderings, sections, listed fields."""

import pytest

from bulkhead.errors import IntegrityError
from bulkhead.wire.header import field_block
from bulkhead.wire.summary import LISTED_MAX, Summary, section_range, summarize

# RFC 3501 section 8; its body is 3028 octets on 92 lines.
RFC_3501_HEADER = b"""Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r
From: Terry Gray <gray@cac.washington.edu>\r
Subject: IMAP4rev1 WG mtg summary and minutes\r
To: imap@cac.washington.edu\r
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r
Message-Id: <B27397-0100000@cac.washington.edu>\r
MIME-Version: 1.0\r
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r
\r
"""
RFC_3501_BODY = (b"x" * 31 + b"\r\n") * 91 + b"y" * 23 + b"\r\n"

NESTED = b"""From: a@b.example\r
Subject: outer\r
Content-Type: multipart/mixed; boundary="outer"\r
\r
preamble\r
--outer\r
Content-Type: multipart/alternative; boundary=inner\r
X-Part: 1\r
\r
--inner\r
\r
plain\r
--inner\r
Content-Type: text/html; charset=utf-8\r
\r
<p>html\r
--inner--\r
epilogue of inner\r
--outer\r
Content-Type: message/rfc822\r
Content-Description: attached\r
\r
From: "C" <c@d.example>\r
Subject: attached\r
Content-Type: multipart/mixed; boundary=deep\r
\r
--deep\r
\r
deep text\r
--deep\r
Content-Type: image/png; name="a b.png"\r
Content-Transfer-Encoding: base64\r
Content-ID: <i@d>\r
Content-Disposition: inline; filename="a b.png"\r
Content-Language: en, ja\r
Content-Location: http://d.example/a.png\r
Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r
\r
QUJD\r
--deep--\r
--outer\r
Content-Type: message/rfc822\r
\r
Subject: single\r
\r
one\r
two\r
\r
--outer--\r
epilogue\r
"""

DEEP = NESTED[NESTED.index(b'From: "C"') : NESTED.index(b"\r\n--outer\r\nContent-Type: message/rfc822\r\n\r\nSubject")]


def cut(message: bytes, section: str) -> bytes | None:
    found = section_range(summarize(message), section)
    return None if found is None else message[found[0] : found[1]]


def test_envelope_of_the_sample_message_is_rfc_3501s() -> None:
    assert len(RFC_3501_BODY) == 3028
    summary = summarize(RFC_3501_HEADER + RFC_3501_BODY)
    assert summary.envelope == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev1 WG mtg summary and minutes" '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
        b'"<B27397-0100000@cac.washington.edu>")'
    )
    assert summary.body == b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7bit" 3028 92)'
    assert summary.bodystructure == b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7bit" 3028 92 NIL NIL NIL NIL)'
    assert (summary.date, summary.date_offset) == (837595405, -420)
    assert summary.size == len(RFC_3501_HEADER) + 3028
    assert summary.header_size == len(RFC_3501_HEADER)


def test_structure_of_a_nested_message_is_rendered_with_every_extension_field() -> None:
    assert summarize(NESTED).bodystructure == (
        b'((("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 0 NIL NIL NIL NIL)'
        b'("text" "html" ("charset" "utf-8") NIL NIL "7bit" 7 0 NIL NIL NIL NIL)'
        b' "alternative" ("boundary" "inner") NIL NIL NIL)'
        b'("message" "rfc822" NIL NIL "attached" "7bit" %d'
        b' (NIL "attached" (("C" NIL "c" "d.example")) (("C" NIL "c" "d.example")) (("C" NIL "c" "d.example"))'
        b" NIL NIL NIL NIL NIL)"
        b' (("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 9 0 NIL NIL NIL NIL)'
        b'("image" "png" ("name" "a b.png") "<i@d>" NIL "base64" 4 "Q2hlY2sgSW50ZWdyaXR5IQ=="'
        b' ("inline" ("filename" "a b.png")) ("en" "ja") "http://d.example/a.png")'
        b' "mixed" ("boundary" "deep") NIL NIL NIL)'
        b" %d NIL NIL NIL NIL)"
        b'("message" "rfc822" NIL NIL NIL "7bit" 29 (NIL "single" NIL NIL NIL NIL NIL NIL NIL NIL)'
        b' ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2 NIL NIL NIL NIL) 4 NIL NIL NIL NIL)'
        b' "mixed" ("boundary" "outer") NIL NIL NIL)' % (len(DEEP), DEEP.count(b"\n"))
    )


def test_body_is_bodystructure_without_extension_fields() -> None:
    assert summarize(NESTED).body == (
        b'((("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 0)'
        b'("text" "html" ("charset" "utf-8") NIL NIL "7bit" 7 0) "alternative")'
        b'("message" "rfc822" NIL NIL "attached" "7bit" %d'
        b' (NIL "attached" (("C" NIL "c" "d.example")) (("C" NIL "c" "d.example")) (("C" NIL "c" "d.example"))'
        b" NIL NIL NIL NIL NIL)"
        b' (("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 9 0)'
        b'("image" "png" ("name" "a b.png") "<i@d>" NIL "base64" 4) "mixed") %d)'
        b'("message" "rfc822" NIL NIL NIL "7bit" 29 (NIL "single" NIL NIL NIL NIL NIL NIL NIL NIL)'
        b' ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 10 2) 4) "mixed")' % (len(DEEP), DEEP.count(b"\n"))
    )


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("", NESTED),
        ("HEADER", NESTED[: NESTED.index(b"preamble")]),
        ("TEXT", NESTED[NESTED.index(b"preamble") :]),
        ("1", NESTED[NESTED.index(b"--inner") : NESTED.index(b"\r\n--outer\r\nContent-Type: message")]),
        ("1.MIME", b"Content-Type: multipart/alternative; boundary=inner\r\nX-Part: 1\r\n\r\n"),
        ("1.1", b"plain"),
        ("1.1.MIME", b"\r\n"),
        ("1.2", b"<p>html"),
        ("1.2.mime", b"Content-Type: text/html; charset=utf-8\r\n\r\n"),
        ("2", DEEP),
        ("2.MIME", b"Content-Type: message/rfc822\r\nContent-Description: attached\r\n\r\n"),
        ("2.HEADER", DEEP[: DEEP.index(b"--deep")]),
        ("2.TEXT", DEEP[DEEP.index(b"--deep") :]),
        ("2.1", b"deep text"),
        ("2.2", b"QUJD"),
        ("3.1", b"one\r\ntwo\r\n"),
        ("3.1.MIME", b"Subject: single\r\n\r\n"),
        ("3.text", b"one\r\ntwo\r\n"),
        ("4", None),
        ("1.3", None),
        ("1.1.1", None),
        ("1.HEADER", None),
        ("1.TEXT", None),
        ("2.2.HEADER", None),
        ("0", None),
        ("01", None),
        ("HEADER.MIME", None),
        ("MIME", None),
        ("1.", None),
    ],
)
def test_section_names_exactly_its_octets(section: str, expected: bytes | None) -> None:
    assert cut(NESTED, section) == expected


def test_message_without_mime_has_one_part_that_is_its_text() -> None:
    message = b"Subject: x\r\n\r\nhello\r\n"
    assert cut(message, "1") == cut(message, "TEXT") == b"hello\r\n"
    assert cut(message, "1.MIME") == cut(message, "HEADER") == b"Subject: x\r\n\r\n"
    assert cut(message, "2") is cut(message, "1.1") is cut(message, "1.HEADER") is None


def test_message_that_is_itself_an_attached_message_has_part_1_with_header_and_text() -> None:
    message = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody\r\n"
    assert cut(message, "1") == b"Subject: in\r\n\r\nbody\r\n"
    assert cut(message, "1.HEADER") == b"Subject: in\r\n\r\n"
    assert cut(message, "1.TEXT") == cut(message, "1.1") == b"body\r\n"


def test_sections_say_how_a_leaf_is_encoded() -> None:
    leaf = next(part for part in summarize(NESTED).sections if part.number == "1.2")
    assert (leaf.media, leaf.encoding, leaf.charset) == ("text/html", "7bit", "utf-8")


def test_summary_is_read_back_from_its_bytes() -> None:
    summary = summarize(NESTED)
    assert Summary.decode(summary.encode()) == summary


@pytest.mark.parametrize("data", [b"", b"\x90", b"\xc1", b"garbage", summarize(NESTED).encode()[:-1]])
def test_other_bytes_are_no_summary(data: bytes) -> None:
    with pytest.raises(IntegrityError):
        Summary.decode(data)


def test_listed_fields_stand_as_they_came_and_answer_for_their_names() -> None:
    message = b"Received: r\r\nSubject: a\r\n  b\r\nX-Other: o\r\nfrom: x@y\r\n\r\n"
    summary = summarize(message)
    assert summary.fields == b"Subject: a\r\n  b\r\nfrom: x@y\r\n"
    assert summary.holds_fields([b"Subject", b"FROM", b"To"])
    assert not summary.holds_fields([b"Subject", b"Received"])
    assert field_block(summary.fields, [b"SUBJECT"]) == b"Subject: a\r\n  b\r\n\r\n"


def test_listed_field_that_does_not_fit_is_named_and_the_others_stay() -> None:
    to = b"To: " + b",\r\n ".join(b"someone%d@example" % n for n in range(1500)) + b"\r\n"
    summary = summarize(b"Subject: s\r\n" + to + b"From: x@y\r\nTo: z@y\r\n\r\n")
    assert summary.omitted == (b"to",)
    assert summary.fields == b"Subject: s\r\nFrom: x@y\r\n"
    assert not summary.holds_fields([b"To"])
    assert summary.holds_fields([b"From", b"Subject"])
    assert len(to) > LISTED_MAX


def test_fields_of_a_later_listing_are_not_answered_for() -> None:
    summary = Summary(0, 0, b"", b"", b"", (), b"", (), 99)
    assert not summary.holds_fields([b"Subject"])
