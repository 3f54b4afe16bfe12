"""BDAT: chunks by size, held to the rules of DATA, never read as commands (RFC 3030)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.smtp_peer import Peer

from bulkhead.errors import PeerError
from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.smtp_codes import Limits
from bulkhead.wire.smtp_events import ChunkEnd, DataEnd
from bulkhead.wire.smtp_states import Phase

ENVELOPE = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@kddi.example>\r\n"
TEXT = b"Subject: x\r\n\r\nOne\r\n.\r\nMAIL FROM:<evil@example.com>\r\n..two\r\n"


def peer_with_recipient(**settings: object) -> Peer:
    peer = Peer(**settings)  # type: ignore[arg-type]
    peer.say(b"EHLO client.example\r\n" + ENVELOPE)
    return peer


def chunk(text: bytes, last: bool = False) -> bytes:
    return b"BDAT %d%s\r\n%s" % (len(text), b" LAST" if last else b"", text)


def codes_of(answer: bytes) -> list[bytes]:
    return [line[:3] for line in answer.split(b"\r\n")[:-1] if line[3:4] == b" "]


@given(st.lists(st.integers(0, len(TEXT)), max_size=4), st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_the_text_is_the_same_however_it_is_cut_into_chunks_and_pieces(parts, cuts, empty_last):
    edges = [0, *sorted(parts), len(TEXT)]
    chunks = [TEXT[a:b] for a, b in itertools.pairwise(edges)]
    said = b"".join(chunk(piece) for piece in chunks[:-1])
    said += chunk(chunks[-1]) + chunk(b"", True) if empty_last else chunk(chunks[-1], True)
    said = b"EHLO c.example\r\n" + ENVELOPE + said + b"NOOP\r\n"
    peer = Peer()
    answers = peer.say_split(said, [cut for cut in cuts if cut < len(said)])
    assert peer.messages == [TEXT]
    assert codes_of(answers) == [b"250"] * (3 + len(chunks) + empty_last + 1)


def test_the_message_is_accepted_only_with_the_last_chunk():
    peer = peer_with_recipient()
    assert peer.say(chunk(TEXT)).startswith(b"250 2.0.0 ")
    assert peer.messages == [] and isinstance(peer.events[-1], ChunkEnd)
    assert peer.receiver.phase is Phase.CHUNKS
    assert peer.say(b"BDAT 0 LAST\r\n").startswith(b"250 2.6.0 ")
    assert peer.messages == [TEXT] and isinstance(peer.events[-1], DataEnd)


@pytest.mark.parametrize("command", [b"DATA\r\n", b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<c@d.example>\r\n"])
def test_between_chunks_no_other_part_of_a_transaction_is_taken(command):
    peer = peer_with_recipient()
    peer.say(chunk(TEXT))
    assert peer.say(command).startswith(b"503 5.5.1 ")
    peer.say(b"BDAT 0 LAST\r\n")
    assert peer.messages == [TEXT]


@pytest.mark.parametrize("command", [b"RSET\r\n", b"EHLO c.example\r\n"])
def test_rset_and_ehlo_drop_the_chunks(command):
    peer = peer_with_recipient()
    peer.say(chunk(TEXT))
    assert peer.say(command).startswith(b"250")
    assert peer.receiver.phase is Phase.READY
    peer.say(ENVELOPE + chunk(b"x\r\n", True))
    assert peer.messages == [b"x\r\n"]


def test_a_chunk_is_never_read_as_commands_even_where_it_is_refused():
    hidden = b"RSET\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<b@kddi.example>\r\nDATA\r\n"
    for before, refusal in ((b"", b"503 5.5.1 "), (b"MAIL FROM:<a@example.com>\r\n", b"554 5.5.1 ")):
        peer = Peer()
        peer.say(b"EHLO c.example\r\n" + before)
        phase = peer.receiver.phase
        assert peer.say(chunk(hidden, True)[:40]) == b""
        answer = peer.say(chunk(hidden, True)[40:])
        assert answer.startswith(refusal) and answer.count(b"\r\n") == 1
        assert peer.receiver.phase is phase


@pytest.mark.parametrize("argument", [b"", b"x", b"-1", b"1 2", b"10 FIRST", b"1" * 21, b"0x10", b"10LAST"])
def test_a_bdat_without_a_size_ends_the_session_for_what_follows_cannot_be_read(argument):
    peer = peer_with_recipient()
    answer = peer.say(b"BDAT " + argument + b"\r\nRSET\r\nNOOP\r\n")
    assert answer.startswith(b"501 5.5.4 ") and answer.count(b"\r\n") == 1
    assert peer.receiver.closed and isinstance(peer.failure, PeerError)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b"one\ntwo\r\n", codes.MESSAGE_NEWLINE),
        (b"one\rtwo\r\n", codes.MESSAGE_NEWLINE),
        (b"one\r\n\r", codes.MESSAGE_NEWLINE),
        (b"\n", codes.MESSAGE_NEWLINE),
        (b"\0\r\n", codes.MESSAGE_NUL),
        (b"x" * 21 + b"\r\n", codes.MESSAGE_LINE_TOO_LONG),
        (b"a\r\n" * 34, codes.MESSAGE_TOO_BIG),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_are_held_to_the_rules_of_data_and_the_session_goes_on(text, answer, size):
    peer = peer_with_recipient(limits=Limits(text_line=20, message_bytes=100))
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    said = b"".join(chunk(piece, at == len(pieces) - 1) for at, piece in enumerate(pieces))
    answers = peer.say(said).split(b"\r\n")[:-1]
    assert answer.render().rstrip() in answers
    refused = answers.index(answer.render().rstrip())
    assert all(line.startswith(b"250 ") for line in answers[:refused])
    assert all(line.startswith(b"503 ") for line in answers[refused + 1 :])
    assert peer.messages == [] and not peer.receiver.closed
    peer.say(ENVELOPE + chunk(b"fine\r\n", True))
    assert peer.messages == [b"fine\r\n"]


def test_a_last_line_without_its_end_gets_one():
    peer = peer_with_recipient()
    peer.say(chunk(b"a\r\nlast"))
    peer.say(b"BDAT 0 LAST\r\n")
    peer.say(ENVELOPE + chunk(b"b", True))
    assert peer.messages == [b"a\r\nlast\r\n", b"b\r\n"]


def test_a_crlf_may_lie_across_two_chunks():
    peer = peer_with_recipient()
    peer.say(chunk(b"a\r") + chunk(b"\nb\r\n", True))
    assert peer.messages == [b"a\r\nb\r\n"]


def test_a_chunk_too_large_to_drop_ends_the_session_before_it_is_read():
    peer = peer_with_recipient()
    answer = peer.say(b"BDAT 99999999999999999999 LAST\r\n")
    assert answer.startswith(b"552 5.3.4 ") and peer.receiver.closed


def test_refused_chunks_are_counted_in_octets_and_by_number():
    peer = peer_with_recipient(limits=Limits(message_bytes=10, discard_bytes=1000, bad_commands=3))
    answers = b""
    for _ in range(20):
        answers += peer.say(chunk(b"x" * 20))
        if peer.receiver.closed:
            break
    assert peer.receiver.closed and answers.count(b"552 5.3.4 ") == 2
    idle = Peer(limits=Limits(bad_commands=3))
    idle.say(b"EHLO c.example\r\n")
    assert idle.say(b"BDAT 1\r\nx" * 4).endswith(codes.TOO_MANY_ERRORS.render())


def test_chunks_sent_ahead_of_a_refused_transaction_are_one_fault():
    peer = Peer(limits=Limits(bad_commands=1))
    peer.say(b"EHLO c.example\r\n" + b"MAIL FROM:<a@example.com>\r\n")
    answers = peer.say(chunk(b"a\r\n") * 5 + chunk(b"b\r\n", True) + b"RSET\r\n")
    assert codes_of(answers) == [b"554"] * 6 + [b"250"]
