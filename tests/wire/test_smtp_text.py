"""The text of a message: where it ends, what is refused, what is kept."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.smtp_peer import peer_in_data

from bulkhead.wire.smtp_codes import Limits
from bulkhead.wire.smtp_events import DataChunk, DataEnd, DataRefused
from bulkhead.wire.smtp_text import Fault, TextReader, TextWriter

SMUGGLED = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<victim@kddi.example>\r\nDATA\r\nsmuggled"
ENDINGS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\n.\r",
    b"\r.\r",
    b"\r.\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\x00.\r\n",
    b"\r\n.\x00\r\n",
    b"\r\n.\r\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\r\n.\n",
    b"\n\n.\n\n",
    b"\r\n.\x00\n",
    b"\x00\n.\n",
]
MESSAGE = b"Subject: x\r\n\r\n..dot\r\n...\r\nline\r\n"
UNSTUFFED = b"Subject: x\r\n\r\n.dot\r\n..\r\nline\r\n"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_malformed_ending_neither_ends_data_nor_lets_a_command_run(ending):
    peer = peer_in_data()
    before = len(peer.events)
    assert peer.say(b"Subject: x\r\n\r\ntext" + ending + SMUGGLED) == b""
    answer = peer.say(b"\r\n.\r\nNOOP\r\n")
    assert answer.startswith(b"554 5.6.0 ")
    assert answer.count(b"\r\n") == 1
    assert peer.receiver.closed
    assert peer.messages == []
    assert {type(event) for event in peer.events[before:]} <= {DataChunk, DataRefused}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_malformed_ending_is_refused_however_its_bytes_are_split(ending):
    stream = b"Subject: x\r\n\r\ntext" + ending + SMUGGLED + b"\r\n.\r\nNOOP\r\n"
    for cut in range(1, len(stream)):
        peer = peer_in_data()
        answer = peer.say_split(stream, [cut])
        assert answer.startswith(b"554 5.6.0 ")
        assert answer.count(b"\r\n") == 1
        assert peer.messages == []


def test_a_message_arrives_whole_however_its_bytes_are_split():
    stream = MESSAGE + b".\r\nMAIL FROM:<>\r\n"
    for first in range(len(stream)):
        for second in range(first, len(stream), 3):
            peer = peer_in_data()
            peer.say_split(stream, [first, second])
            assert peer.messages == [UNSTUFFED]
            assert peer.receiver.phase.value == "sender"


def test_an_empty_message_ends_at_its_first_line():
    peer = peer_in_data()
    assert peer.say(b".\r\n").startswith(b"250 2.6.0 ")
    assert peer.messages == [b""]


def read_in_pieces(stream: bytes, cuts: list[int], limits: Limits) -> tuple[bytes, Fault | None, bool, int, bytes]:
    reader = TextReader(message_bytes=limits.message_bytes, text_line=limits.text_line)
    inbox, text = bytearray(), b""
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for a, b in itertools.pairwise(edges):
        inbox += stream[a:b]
        if not reader.ended:
            text += reader.read(inbox)
    if reader.fault is not None:
        text = b""
    return text, reader.fault, reader.ended, reader.size if reader.ended else 0, bytes(inbox) if reader.ended else b""


PIECES = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\0", b"a", b"bc", b"\r\n", b"\r\n.", b"\r\n.\r\n", b"x" * 9, b"x" * 18])
)


@given(PIECES, st.lists(st.integers(0, 200), max_size=8))
def test_text_and_fault_do_not_depend_on_how_bytes_are_split(pieces, cuts):
    limits = Limits(message_bytes=40, text_line=20)
    stream = b"".join(pieces) + b"\r\n.\r\nREST"
    whole = read_in_pieces(stream, [], limits)
    assert read_in_pieces(stream, cuts, limits) == whole
    assert read_in_pieces(stream, list(range(len(stream))), limits) == whole
    assert whole[2]


@given(PIECES)
def test_only_the_first_crlf_dot_crlf_ends_a_message(pieces):
    stream = b"".join(pieces) + b"\r\n.\r\nREST"
    rest = read_in_pieces(stream, [], Limits())[4]
    assert rest == (b"\r\n" + stream).split(b"\r\n.\r\n", 1)[1]


@pytest.mark.parametrize(("size", "accepted"), [(100, True), (101, False)])
def test_a_message_of_the_limit_is_accepted_and_one_octet_more_is_not(size, accepted):
    peer = peer_in_data(limits=Limits(message_bytes=100))
    stuffed = b"..\r\n" + b"x" * (size - 5) + b"\r\n.\r\n"  # the transparency dot does not count
    answer = peer.say_split(stuffed, [1, 5, 50])
    assert answer.startswith(b"250 2.6.0 " if accepted else b"552 5.3.4 ")
    assert peer.say(b"MAIL FROM:<>\r\n").startswith(b"250 ")


def test_a_message_past_the_limit_is_not_kept_and_the_session_goes_on():
    peer = peer_in_data(limits=Limits(message_bytes=1000, discard_bytes=100_000))
    for _ in range(900):
        assert peer.say(b"x" * 98 + b"\r\n") == b""
        assert len(peer.receiver._inbox) <= 4
    assert peer.say(b".\r\n").startswith(b"552 5.3.4 ")
    assert not peer.receiver.closed


def test_a_message_far_past_the_limit_ends_the_session():
    peer = peer_in_data(limits=Limits(message_bytes=1000, discard_bytes=10_000))
    answers = b"".join(peer.say(b"x" * 98 + b"\r\n") for _ in range(200))
    assert answers.startswith(b"552 5.3.4 ")
    assert peer.receiver.closed
    assert peer.failure is not None


@pytest.mark.parametrize("dot", [b"", b"."])
@pytest.mark.parametrize(("length", "accepted"), [(998, True), (999, False)])
def test_a_text_line_of_1000_octets_is_accepted_and_one_of_1001_is_not(length, accepted, dot):
    line = (dot + b"." + b"x" * (length - 1)) if dot else b"x" * length
    for cut in (1, 500, 999, 1000, 1001, 1002):
        peer = peer_in_data()
        answer = peer.say_split(line + b"\r\n.\r\n", [cut])
        assert answer.startswith(b"250 2.6.0 " if accepted else b"554 5.6.0 ")
        assert not peer.receiver.closed


def test_a_line_without_end_is_not_kept():
    peer = peer_in_data()
    for _ in range(100):
        peer.say(b"x" * 1000)
        assert len(peer.receiver._inbox) <= 1001
    assert peer.say(b"\r\n.\r\n").startswith(b"554 5.6.0 ")


@given(st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"\r\n.", b"text"])), st.integers(1, 5))
def test_what_the_writer_sends_the_reader_gets_back(pieces, step):
    message = b"".join(pieces)
    writer = TextWriter()
    wire = b"".join(writer.write(message[at : at + step]) for at in range(0, len(message), step)) + writer.end()
    text, fault, ended, _, rest = read_in_pieces(wire, [], Limits())
    assert (fault, ended, rest) == (None, True, b"")
    assert text == (message if not message or message.endswith(b"\r\n") else message + b"\r\n")


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n"])), st.integers(1, 5))
def test_the_writer_never_sends_a_lone_cr_or_lf_nor_an_early_end(pieces, step):
    message = b"".join(pieces)
    writer = TextWriter()
    wire = b"".join(writer.write(message[at : at + step]) for at in range(0, len(message), step)) + writer.end()
    _, fault, ended, _, rest = read_in_pieces(wire, [], Limits())
    assert (fault, ended, rest) == (None, True, b"")


def test_events_of_a_message_are_chunks_then_its_end():
    peer = peer_in_data()
    peer.say(b"a\r\n")
    peer.say(b"b\r\n.\r\n")
    assert peer.events[-3:] == [DataChunk(b"a\r\n"), DataChunk(b"b\r\n"), DataEnd(6)]
