"""Messages made to break a parser: no error, nothing out of bounds, valid IMAP, time in proportion."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.wire.header import FIELDS_MAX, HEADER_EXAMINED_MAX
from bulkhead.wire.mime import DEPTH_MAX, PARTS_MAX
from bulkhead.wire.summary import LISTED_MAX, Summary, section_range, summarize

MULTI = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"


def nested_multiparts(depth: int) -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=x%dx\r\n\r\n--x%dx\r\n" % (level, level) for level in range(depth)
    )


def nested_messages(depth: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"Subject: core\r\n\r\ntext\r\n"


HOSTILE = {
    "nothing": b"",
    "one line end": b"\r\n",
    "one LF": b"\n",
    "one CR": b"\r",
    "NULs": b"\0" * 100,
    "no header": b"\r\nonly a body\r\n",
    "no body": b"Subject: x\r\n\r\n",
    "no separator": b"Subject: x\r\nFrom: a@b\r\n",
    "no line end": b"Subject: x",
    "no header at all": b"just some text\r\nand more\r\n",
    "lines without colon": b"Subject: x\r\nnonsense\r\nFrom: a@b\r\n\r\nbody",
    "bare names": b"Subject\r\nFrom\r\n\r\nbody",
    "empty name": b": value\r\n\r\nbody",
    "name with spaces": b"Subject  : x\r\nMy Header: y\r\n\r\nbody",
    "begins with a fold": b" folded\r\nSubject: x\r\n\r\nbody",
    "mbox line": b"From a@b Sun Nov 22 00:00:07 2026\r\nSubject: x\r\n\r\nbody",
    "8-bit header": b"Subject: \xe5\xa4\xaa\xff\xfe\r\nFrom: \xe5 <a@\xff>\r\n\r\nbody",
    "NUL in header": b"Subject: a\0b\r\nFrom: \0 <a\0@b>\r\nTo: \0\r\nContent-Type: te\0xt/pl\0ain; a=\0\r\n\r\nbody",
    "bare CR in header": b"Subject: a\rb\rFrom: x\r\nTo: a\r@b\r\n\r\nbody",
    "bare LF": b"Subject: a\nFrom: a@b\n folded@c\n\nbody\n",
    "mixed line ends": b"Subject: a\r\nFrom: a@b\n\r\nbody\n",
    "long field": b"Subject: " + b"x" * 100_000 + b"\r\nFrom: a@b\r\n\r\nbody",
    "quotes": b'Subject: "\\"\r\nFrom: "a\\\r\nTo: "\\"" <"\\\\"@b>\r\n\r\n',
    "no subtype": b"Content-Type: text\r\n\r\nbody",
    "empty type": b"Content-Type:\r\n\r\nbody",
    "type of semicolons": b'Content-Type: text/plain;;;; ; =x; a; b=; "c"=d; e="\r\n\r\nbody',
    "8-bit type": b"Content-Type: t\xffxt/pl\xffin; n\xff=\xff\r\n\r\nbody",
    "two types": b"Content-Type: text/html\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b--",
    "multipart without boundary": b"Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
    "empty boundary": b'Content-Type: multipart/mixed; boundary=""\r\n\r\n--\r\n\r\nx\r\n----\r\n',
    "multipart without parts": MULTI + b"nothing here\r\n",
    "multipart without body": MULTI,
    "multipart header only": MULTI[:-4],
    "only the end boundary": MULTI + b"--b--\r\n",
    "no end boundary": MULTI + b"--b\r\n\r\none\r\n--b\r\n\r\ntwo",
    "boundary cut off": MULTI + b"--b",
    "empty parts": MULTI + b"--b\r\n--b\r\n--b\r\n--b--",
    "boundary is a prefix": MULTI
    + b"--b\r\n\r\none\r\n--bb\r\nstill one\r\n--b--x\r\nstill\r\n--b-- \t\r\nepilogue\r\n--b\r\n",
    "inner boundary like the outer": MULTI + b"--b\r\n" + MULTI + b"--b\r\n\r\nx\r\n--b--\r\n--b--\r\n",
    "inner multipart never closed": MULTI
    + b"--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n\r\nx\r\n--b--\r\n",
    "part without header": MULTI + b"--b\r\nno blank line\r\n--b--\r\n",
    "attached message of nothing": MULTI + b"--b\r\nContent-Type: message/rfc822\r\n\r\n--b--\r\n",
    "message/rfc822 without body": b"Content-Type: message/rfc822\r\n\r\n",
    "multiparts too deep": nested_multiparts(DEPTH_MAX + 30),
    "messages too deep": nested_messages(DEPTH_MAX + 30),
    "too many parts": MULTI + b"--b\r\n\r\n" * (PARTS_MAX + 500),
    "too many fields": b"X: y\r\n" * (FIELDS_MAX + 500) + b"Subject: late\r\n\r\n",
    "header too long": (b"X: " + b"y" * 900 + b"\r\n") * 400 + b"Subject: late\r\n\r\nbody",
    "group unclosed": b"To: a: b: c, d@e; ;;; <\r\n\r\n",
    "digest of nothing": b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n\r\n--b--",
    "date of nothing": b"Date: \r\nDate: x\r\n\r\n",
    "escaped end": b'Content-Type: text/plain; name="a\\',
}


def imap_value(data: bytes, at: int) -> int:
    """Where the IMAP value at `at` ends. Fails unless it is NIL, a number, a string or a list of values."""
    if data.startswith(b"(", at):
        at += 1
        while not data.startswith(b")", at):
            at = imap_value(data, at)
            if data.startswith(b" ", at):
                at += 1
                assert not data.startswith((b" ", b")"), at)
        return at + 1
    if data.startswith(b'"', at):
        end = data.index(b'"', at + 1)
        inside = data[at + 1 : end]
        assert inside.isascii() and not set(inside) & set(b"\0\r\n\\")
        return end + 1
    if data.startswith(b"{", at):
        end = data.index(b"}\r\n", at)
        size = int(data[at + 1 : end])
        assert len(data) >= end + 3 + size and b"\0" not in data[end + 3 : end + 3 + size]
        return end + 3 + size
    if data.startswith(b"NIL", at):
        return at + 3
    end = at
    while data[end : end + 1].isdigit():
        end += 1
    assert end > at, data[at : at + 30]
    return end


def check(message: bytes) -> Summary:
    summary = summarize(message)
    assert summary.size == len(message)
    assert 0 <= summary.header_size <= summary.size
    for rendered in (summary.envelope, summary.body, summary.bodystructure):
        assert rendered.startswith(b"(") and imap_value(rendered, 0) == len(rendered)
    assert summary.sections
    assert len({part.number for part in summary.sections}) == len(summary.sections)
    for part in summary.sections:
        assert 0 <= part.mime <= part.body <= part.end <= summary.size
        assert part.text == -1 or part.body <= part.text <= part.end
        assert section_range(summary, part.number) == (part.body, part.end)
    assert len(summary.fields) <= LISTED_MAX + 2
    assert Summary.decode(summary.encode()) == summary
    return summary


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_message_has_a_sound_summary(name: str) -> None:
    check(HOSTILE[name])


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_message_cut_anywhere_has_a_sound_summary(name: str) -> None:
    message = HOSTILE[name]
    for end in range(0, min(len(message), 300), 3):
        check(message[:end])


def text_of(message: bytes, section: str) -> bytes | None:
    found = section_range(summarize(message), section)
    return None if found is None else message[slice(*found)]


def test_boundary_that_is_only_a_prefix_does_not_end_a_part() -> None:
    message = HOSTILE["boundary is a prefix"]
    assert text_of(message, "1") == b"one\r\n--bb\r\nstill one\r\n--b--x\r\nstill"
    assert text_of(message, "2") is None


def test_missing_end_boundary_leaves_the_rest_to_the_last_part() -> None:
    assert text_of(HOSTILE["no end boundary"], "1") == b"one"
    assert text_of(HOSTILE["no end boundary"], "2") == b"two"


def test_outer_boundary_ends_an_inner_multipart() -> None:
    message = HOSTILE["inner multipart never closed"]
    assert text_of(message, "1.1") == b"x"
    assert text_of(message, "2") is None


@pytest.mark.parametrize("name", ["multipart without boundary", "multipart without parts", "empty boundary"])
def test_multipart_without_parts_shows_its_body_as_one_text(name: str) -> None:
    message = HOSTILE[name]
    assert text_of(message, "1") == message.partition(b"\r\n\r\n")[2]
    assert summarize(message).body.startswith(b'(("text" "plain"')


def test_parts_beyond_the_limit_stay_in_the_last_one() -> None:
    summary = summarize(HOSTILE["too many parts"])
    assert len(summary.sections) == PARTS_MAX
    assert summary.sections[-1].end == summary.size


def test_part_at_the_depth_limit_is_a_leaf() -> None:
    for make in (nested_multiparts, nested_messages):
        assert b"octet-stream" not in summarize(make(DEPTH_MAX)).body
        assert b"octet-stream" in summarize(make(DEPTH_MAX + 1)).body


def test_field_beyond_the_limits_is_not_looked_at_but_stays_in_the_header() -> None:
    for name in ("too many fields", "header too long"):
        message = HOSTILE[name]
        summary = summarize(message)
        assert b"late" not in summary.envelope
        assert b"late" in message[: summary.header_size]
    assert b"last" in summarize(b"X: y\r\n" * (FIELDS_MAX - 1) + b"Subject: last\r\n\r\n").envelope
    filler = b"X: " + b"y" * (HEADER_EXAMINED_MAX - 5 - 17) + b"\r\n"
    assert b"last" in summarize(filler + b"Subject: last\r\n\r\n").envelope


def test_eight_bit_quotes_and_cr_become_literals_and_nul_is_dropped() -> None:
    summary = summarize(b'Subject: say "x"\r\nDate: \xff\r\nMessage-ID: a\rb\0\r\n\r\n')
    assert summary.envelope.startswith(b'({1}\r\n\xff {7}\r\nsay "x" NIL')
    assert summary.envelope.endswith(b'NIL "ab")')


def test_empty_field_is_an_empty_string_and_a_missing_one_nil() -> None:
    assert summarize(b"Subject:\r\n\r\n").envelope == b'(NIL "" NIL NIL NIL NIL NIL NIL NIL NIL)'


def test_author_fields_that_repeat_are_all_shown() -> None:
    envelope = summarize(b"From: a@b\r\nFrom: c@d\r\nSubject: 1\r\nSubject: 2\r\n\r\n").envelope
    assert envelope.startswith(b'(NIL "1" ((NIL NIL "a" "b")(NIL NIL "c" "d")) ')


def test_empty_sender_and_reply_to_default_to_from() -> None:
    envelope = summarize(b"From: a@b\r\nSender: \r\nReply-To: ,\r\n\r\n").envelope
    assert envelope == b'(NIL NIL ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL)'


PIECES = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"--b",
    b"--b--",
    b"--bb",
    b"Content-Type: multipart/mixed; boundary=b",
    b" ",
    b"\0",
    b"Content-Type: multipart/digest; boundary=bb",
    b"Content-Type: message/rfc822",
    b"From: ",
    b"a@b",
    b'"',
    b"\\",
    b"(",
    b")",
    b"<",
    b">",
    b",",
    b";",
    b":",
    b"Subject: x",
    b"To:",
    b"\xff",
    b"text",
    b"Content-Disposition: a; b=",
    b"=",
]


@given(st.binary(max_size=400))
def test_random_octets_have_a_sound_summary(message: bytes) -> None:
    check(message)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_random_pieces_of_messages_have_a_sound_summary(pieces: list[bytes]) -> None:
    check(b"".join(pieces))


def best_time(message: bytes) -> float:
    times = []
    for _ in range(2):
        before = time.process_time()
        summarize(message)
        times.append(time.process_time() - before)
    return min(times)


def attached(field: bytes) -> Callable[[int], bytes]:
    """Many attached messages whose header is hostile: each header may be long."""
    header = b"Content-Type: message/rfc822\r\n\r\nFrom: " + field * (60_000 // len(field)) + b"\r\n\r\n"
    return lambda size: MULTI + (b"--b\r\n" + header) * (size // len(header))


GROWING: dict[str, Callable[[int], bytes]] = {
    "open comments": lambda size: b"From: " + b"(" * size,
    "open comments in words": lambda size: b"From: " + b"a(b" * (size // 3),
    "quotes": lambda size: b"From: " + b'"' * size,
    "angles": lambda size: b"From: " + b"<a@" * (size // 3),
    "routes": lambda size: b"From: <" + b"@a," * (size // 3),
    "commas": lambda size: b"To: " + b"," * size,
    "groups": lambda size: b"To: " + b"a:" * (size // 2),
    "semicolons": lambda size: b"Content-Type: a/b" + b";" * size,
    "parameters": lambda size: b"Content-Type: a/b" + b"; x " * (size // 4),
    "parameter spaces": lambda size: b"Content-Type: a/b;" + b" " * size,
    "fields": lambda size: b"a:\r\n" * (size // 4),
    "folds": lambda size: b"Subject: x" + b"\r\n " * (size // 3),
    "line ends": lambda size: b"\n" * size,
    "boundaries": lambda size: MULTI + b"--b\r\n" * (size // 5),
    "false boundaries": lambda size: MULTI + b"--bx\r\n" * (size // 6),
    "boundary spaces": lambda size: MULTI + b"--b" + b" " * size,
    "near boundaries": lambda size: b"Content-Type: multipart/mixed; boundary=" + b"-" * 60 + b"\r\n\r\n" + b"-" * size,
    "deep false boundaries": lambda size: nested_same_prefix() + (b"--aaaa" + b"b" * 60 + b"\r\n") * (size // 68),
    "attached comments": attached(b"("),
    "attached addresses": attached(b"a,"),
    "encoded words": lambda size: b"From: " + b"=?a?q?" * (size // 6),
}


def nested_same_prefix() -> bytes:
    return b"".join(
        b"Content-Type: multipart/mixed; boundary=aaaa%s\r\n\r\n--aaaa%s\r\n" % (b"b" * level, b"b" * level)
        for level in range(DEPTH_MAX, 0, -1)
    )


@pytest.mark.parametrize("name", GROWING)
def test_time_grows_no_faster_than_the_message(name: str) -> None:
    small, large = best_time(GROWING[name](2_500_000)), best_time(GROWING[name](10_000_000))
    assert large < 4 * small * 2 + 0.2, f"{small:.3f} s, four times as much {large:.3f} s"
    assert large < 3


@pytest.mark.parametrize("name", GROWING)
def test_summary_does_not_outgrow_its_limits(name: str) -> None:
    assert len(summarize(GROWING[name](4_000_000)).encode()) < 8 * 1024 * 1024
