import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.errors import CommandOutOfOrder, LineTooLong, PeerError
from bulkhead.wire.imap import commands as c
from bulkhead.wire.imap.command_table import CLEAR_COMMANDS, COMMANDS, State
from bulkhead.wire.imap.fetch import Attribute
from bulkhead.wire.imap.flags import Flags
from bulkhead.wire.imap.grammar import Condition
from bulkhead.wire.imap.limits import Limits
from bulkhead.wire.imap.receiver import (
    AppendBegun,
    AppendEnded,
    ContinuationLine,
    Event,
    ImapReceiver,
    LiteralChunk,
    NeedContinuation,
    Received,
    Rejected,
)

SMALL = Limits(
    line_before_login=64,
    line=96,
    literals_before_login=10,
    literals=20,
    append=40,
    drain_before_login=30,
    drain=60,
    chunk=7,
    bad_before_login=3,
    bad_in_row=4,
)


def drive(receiver: ImapReceiver, pieces: list[bytes], *, refuse: bool = False) -> list[Event | str]:
    """Events of all pieces, chunks of one message joined; the text of a PeerError ends the list."""
    events: list[Event | str] = []
    try:
        for piece in pieces:
            receiver.receive_data(piece)
            while (event := receiver.next_event()) is not None:
                if isinstance(event, LiteralChunk) and events and isinstance(events[-1], LiteralChunk):
                    event = LiteralChunk(events.pop().data + event.data)
                events.append(event)
                if isinstance(event, AppendBegun):
                    (receiver.refuse_append if refuse else receiver.accept_append)()
                if isinstance(event, Received):
                    if isinstance(event.command, c.Login):
                        receiver.state = State.AUTHENTICATED
                    if isinstance(event.command, c.Authenticate | c.Idle):
                        receiver.expect_line()
    except PeerError as error:
        events.append(f"BYE {error.public}")
    return events


def one(raw: bytes, state: State = State.SELECTED) -> Event | str:
    (event,) = drive(ImapReceiver(state=state), [raw])
    return event


SESSION = (
    b"a CAPABILITY\r\n"
    b"b AUTHENTICATE PLAIN\r\nAGEAYg==\r\n"
    b'c LOGIN {5}\r\nalice {6+}\r\nse\r\n"t\r\n'
    b'd APPEND {5+}\r\nINBOX (\\Seen $Fwd) " 1-Feb-1994 21:52:25 -0800" {11+}\r\nhello\r\n.\r\n9\r\n'
    b"e APPEND INBOX {3}\r\nabc\r\n"
    b"f APPEND INBOX {3}\r\nabc more\r\n"
    b"g APPEND INBOX {99999999999}\r\n"
    b"h APPEND INBOX (bad {4+}\r\nabcd {3+}\r\nabc\r\n"
    b"i IDLE\r\nDONE\r\n"
    b'm APPEND INBOX {3+}\r\nabc (\\Seen) " 1-Feb-1994 21:52:25 -0800" {2+}\r\nde {1}\r\nf\r\n'
    b"j NONSENSE {3+}\r\na\r\nb\r\n"
    b"\r\n"
    b"k NOOP\n"
    b"l LOGOUT\r\n"
)


def test_events_do_not_depend_on_how_bytes_are_split() -> None:
    whole = drive(ImapReceiver(), [SESSION])
    assert drive(ImapReceiver(), [SESSION[at : at + 1] for at in range(len(SESSION))]) == whole
    for at in range(len(SESSION)):
        assert drive(ImapReceiver(), [SESSION[:at], SESSION[at:]]) == whole


def test_a_session_gives_each_command_with_its_tag() -> None:
    events = drive(ImapReceiver(), [SESSION])
    assert events[0] == Received(b"a", c.Capability())
    assert events[1:3] == [Received(b"b", c.Authenticate("PLAIN", None)), ContinuationLine(b"AGEAYg==")]
    assert events[3:5] == [NeedContinuation(), Received(b"c", c.Login("alice", b'se\r\n"t'))]
    append = c.Append("INBOX", Flags(1, (b"$Fwd",)), 760168345, 11)
    assert events[5:8] == [AppendBegun(b"d", append), LiteralChunk(b"hello\r\n.\r\n9"), AppendEnded(b"d")]
    assert events[8:12] == [
        AppendBegun(b"e", c.Append("INBOX", Flags(), None, 3)),
        NeedContinuation(),
        LiteralChunk(b"abc"),
        AppendEnded(b"e"),
    ]
    rejected = [(event.tag, event.condition, event.response_code) for event in events if isinstance(event, Rejected)]
    assert rejected == [
        (b"f", Condition.BAD, b""),
        (b"g", Condition.NO, b"TOOBIG"),
        (b"h", Condition.BAD, b""),
        (b"j", Condition.BAD, b""),
        (b"*", Condition.BAD, b""),
        (b"k", Condition.BAD, b""),
    ]
    assert events[-1] == Received(b"l", c.Logout())
    multiple = events.index(AppendBegun(b"m", c.Append("INBOX", Flags(), None, 3)))
    assert events[multiple : multiple + 8] == [
        AppendBegun(b"m", c.Append("INBOX", Flags(), None, 3), first=True),
        LiteralChunk(b"abc"),
        AppendBegun(b"m", c.Append("INBOX", Flags(1), 760168345, 2), first=False),
        LiteralChunk(b"de"),
        AppendBegun(b"m", c.Append("INBOX", Flags(), None, 1), first=False),
        NeedContinuation(),
        LiteralChunk(b"f"),
        AppendEnded(b"m"),
    ]


@given(st.lists(st.binary(max_size=40), max_size=12), st.sampled_from(list(State)), st.booleans())
def test_random_bytes_give_events_or_a_peer_error(pieces: list[bytes], state: State, refuse: bool) -> None:
    drive(ImapReceiver(SMALL, state=state), pieces, refuse=refuse)


FRAGMENTS = [
    b"a ", b"APPEND ", b"INBOX ", b"{3}\r\n", b"{3+}\r\n", b"{9+}\r\n", b"abc", b"\r\n", b"\n", b"\r", b"(", b")", b'"',
    b"SEARCH ", b"NOT ", b"OR ", b"FETCH 1:* ", b"BODY[", b"]", b"<0.1>", b"UID ", b"LOGIN x ", b"LIST \"\" ", b"%*",
    b"\x00", b"\xff", b"STORE 1 +FLAGS ", b"\\Seen", b" ", b"1-Feb-1994", b"CHARSET ", b"{0+}\r\n", b"&", b"STATUS x (",
    b"ID (",
]  # fmt: skip


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(b"".join),
    st.integers(0, 60),
    st.sampled_from(list(State)),
    st.booleans(),
)
def test_likely_bytes_give_the_same_events_in_one_piece_and_in_two(
    raw: bytes, at: int, state: State, refuse: bool
) -> None:
    whole = drive(ImapReceiver(SMALL, state=state), [raw], refuse=refuse)
    assert drive(ImapReceiver(SMALL, state=state), [raw[:at], raw[at:]], refuse=refuse) == whole
    assert drive(ImapReceiver(SMALL, state=state), [bytes((octet,)) for octet in raw], refuse=refuse) == whole


def test_secrets_are_not_in_repr() -> None:
    assert "hunter2" not in repr(one(b"a LOGIN x hunter2\r\n", State.NOT_AUTHENTICATED))
    assert "aHVudGVy" not in repr(one(b"a AUTHENTICATE PLAIN aHVudGVy\r\n", State.NOT_AUTHENTICATED))
    assert "hunter2" not in repr(ContinuationLine(b"hunter2")) + repr(LiteralChunk(b"hunter2"))
    assert "hunter2" not in repr(one(b"a LOGIN x hunter2 more\r\n", State.NOT_AUTHENTICATED))


def test_a_line_of_36_kib_before_login_is_taken_and_one_more_octet_is_not() -> None:
    line = b"a LOGIN x ".ljust(36 * 1024 - 2, b"y") + b"\r\n"
    assert isinstance(one(line, State.NOT_AUTHENTICATED), Rejected)  # the password is over its own limit
    receiver = ImapReceiver()
    receiver.receive_data(line[:-2] + b"y\r\n")
    with pytest.raises(LineTooLong):
        receiver.next_event()


def test_a_line_without_an_end_is_refused_once_it_reaches_the_limit() -> None:
    receiver = ImapReceiver()
    receiver.receive_data(b"a" * (36 * 1024 - 1))
    assert receiver.next_event() is None
    receiver.receive_data(b"a")
    with pytest.raises(LineTooLong):
        receiver.next_event()


def test_a_line_of_64_kib_after_login_is_taken_and_one_more_octet_is_not() -> None:
    line = b"a FETCH ".ljust(64 * 1024 - 10, b"1") + b" (FLAGS)\r\n"
    assert isinstance(one(line), Rejected)
    receiver = ImapReceiver(state=State.SELECTED)
    receiver.receive_data(b"a" + line)
    with pytest.raises(LineTooLong):
        receiver.next_event()


def test_text_after_a_literal_counts_to_the_same_line_limit() -> None:
    receiver = ImapReceiver(SMALL)
    receiver.receive_data(b"a LOGIN {3+}\r\nabc " + b"y" * 64)
    with pytest.raises(LineTooLong):
        receiver.next_event()


def test_literals_before_login_have_4_kib_together() -> None:
    receiver = ImapReceiver()
    receiver.receive_data(b"a LOGIN {1000}\r\n" + b"x" * 1000 + b" {3096}\r\n")
    assert receiver.next_event() == NeedContinuation()
    assert receiver.next_event() == NeedContinuation()
    receiver = ImapReceiver()
    receiver.receive_data(b"a LOGIN {1000}\r\n" + b"x" * 1000 + b" {3097}\r\nb NOOP\r\n")
    assert receiver.next_event() == NeedContinuation()
    assert receiver.next_event() == Rejected(b"a", Condition.BAD, "literal too large", b"TOOBIG")
    assert receiver.next_event() == Received(b"b", c.Noop())


def test_a_refused_non_synchronizing_literal_is_dropped_and_sync_is_kept() -> None:
    events = drive(ImapReceiver(SMALL), [b"a LOGIN x {11+}\r\n\r\nb LOGOUT\r\r\nc NOOP\r\n"])
    assert events == [
        Rejected(b"a", Condition.BAD, "literal too large", b"TOOBIG"),
        Received(b"c", c.Noop()),
    ]


def test_dropping_ends_at_its_limit() -> None:
    assert drive(ImapReceiver(SMALL), [b"a LOGIN x {30+}\r\n"]) == []
    assert drive(ImapReceiver(SMALL), [b"a LOGIN x {31+}\r\n"]) == ["BYE literal too large"]
    assert drive(ImapReceiver(SMALL, state=State.SELECTED), [b"a APPEND x {60+}\r\n"]) == []
    assert drive(ImapReceiver(SMALL, state=State.SELECTED), [b"a APPEND x {61+}\r\n"]) == ["BYE literal too large"]


def test_an_append_at_the_limit_begins_and_one_more_octet_is_too_big() -> None:
    receiver = ImapReceiver(state=State.AUTHENTICATED)
    receiver.receive_data(b"a APPEND INBOX {67108864}\r\n")
    assert isinstance(receiver.next_event(), AppendBegun)
    rejected = one(b"a APPEND INBOX {67108865}\r\n")
    assert rejected == Rejected(b"a", Condition.NO, "message too large", b"TOOBIG")


def test_a_message_is_streamed_and_not_kept() -> None:
    receiver = ImapReceiver(state=State.SELECTED)
    receiver.receive_data(b"a APPEND INBOX {1000000+}\r\n")
    assert isinstance(receiver.next_event(), AppendBegun)
    receiver.accept_append()
    total = 0
    for _ in range(10):
        receiver.receive_data(b"x" * 100_000)
        while (event := receiver.next_event()) is not None:
            assert isinstance(event, LiteralChunk)
            assert len(event.data) <= 64 * 1024
            total += len(event.data)
        assert not receiver._inbox
        assert len(receiver._command) < 100
    assert total == 1_000_000


def test_a_refused_append_is_silent_and_sync_is_kept() -> None:
    for raw in (b"a APPEND x {5}\r\nb NOOP\r\n", b"a APPEND x {5+}\r\nA NO\n\r\nb NOOP\r\n"):
        events = drive(ImapReceiver(state=State.SELECTED), [raw], refuse=True)
        assert isinstance(events[0], AppendBegun)
        assert events[1:] == [Received(b"b", c.Noop())]


@pytest.mark.parametrize(
    ("after", "condition", "code"),
    [
        (b" (\\Seen)\r\n", Condition.BAD, b""), (b" more\r\n", Condition.BAD, b""), (b"{3}\r\n", Condition.BAD, b""),
        (b" (bad {3+}\r\nabc {2+}\r\nde\r\n", Condition.BAD, b""), (b" {3}x\r\n", Condition.BAD, b""),
        (b" {99999999}\r\n", Condition.NO, b"TOOBIG"), (b" \r\n", Condition.BAD, b""), (b"\n", Condition.BAD, b""),
    ],
)  # fmt: skip
def test_what_is_no_further_message_refuses_the_append_under_its_own_tag(
    after: bytes, condition: Condition, code: bytes
) -> None:
    events = drive(ImapReceiver(state=State.SELECTED), [b"x APPEND INBOX {1+}\r\na" + after + b"y NOOP\r\n"])
    assert events[:2] == [AppendBegun(b"x", c.Append("INBOX", Flags(), None, 1)), LiteralChunk(b"a")]
    rejected, after_it = events[2:]
    assert isinstance(rejected, Rejected)
    assert (rejected.tag, rejected.condition, rejected.response_code) == (b"x", condition, code)
    assert after_it == Received(b"y", c.Noop())


def test_a_later_message_that_is_refused_is_dropped_with_what_follows_it() -> None:
    receiver = ImapReceiver(state=State.SELECTED)
    receiver.receive_data(b"x APPEND INBOX {1+}\r\na {2+}\r\nbc {3+}\r\ndef\r\ny NOOP\r\n")
    assert isinstance(receiver.next_event(), AppendBegun)
    receiver.accept_append()
    assert receiver.next_event() == LiteralChunk(b"a")
    assert isinstance(receiver.next_event(), AppendBegun)
    receiver.refuse_append()
    assert receiver.next_event() == Received(b"y", c.Noop())


def test_messages_in_utf8_parentheses_follow_each_other() -> None:
    receiver = ImapReceiver(state=State.SELECTED)
    receiver.utf8_accept = True
    events = drive(receiver, [b"x APPEND INBOX UTF8 (~{1+}\r\na) {1+}\r\nb UTF8 (~{1+}\r\nc)\r\n"])
    assert [event.data for event in events if isinstance(event, LiteralChunk)] == [b"a", b"b", b"c"]
    assert events[-1] == AppendEnded(b"x")
    (*_, rejected) = drive(receiver, [b"y APPEND INBOX UTF8 (~{1+}\r\na {1+}\r\nb)\r\n"])
    assert isinstance(rejected, Rejected) and (rejected.tag, rejected.condition) == (b"y", Condition.BAD)


def test_an_append_has_256_messages_and_not_one_more() -> None:
    most = b"x APPEND INBOX" + b" {1+}\r\na" * 256
    assert drive(ImapReceiver(state=State.SELECTED), [most + b"\r\n"])[-1] == AppendEnded(b"x")
    events = drive(ImapReceiver(state=State.SELECTED), [most + b" {1+}\r\na\r\ny NOOP\r\n"])
    assert isinstance(events[-2], Rejected) and events[-2].response_code == b"LIMIT"
    assert events[-1] == Received(b"y", c.Noop())


def test_an_event_before_the_decision_on_append_is_our_bug() -> None:
    receiver = ImapReceiver(state=State.SELECTED)
    receiver.receive_data(b"a APPEND x {5}\r\n")
    receiver.next_event()
    with pytest.raises(ValueError, match="comes first"):
        receiver.next_event()


def test_append_without_a_literal_is_answered_bad() -> None:
    assert isinstance(one(b"a APPEND INBOX\r\n"), Rejected)
    assert isinstance(one(b"a APPEND INBOX foo\r\n"), Rejected)


def test_append_before_login_is_no_append() -> None:
    events = drive(ImapReceiver(SMALL), [b"a APPEND x {5+}\r\nabcde\r\n"])
    assert [type(event) for event in events] == [Rejected]


def test_literal_minus_takes_4096_octets_and_not_one_more() -> None:
    limits = Limits(literal_minus=True)
    receiver = ImapReceiver(limits, state=State.SELECTED)
    receiver.receive_data(b"a APPEND x {4096+}\r\n")
    assert isinstance(receiver.next_event(), AppendBegun)
    events = drive(
        ImapReceiver(limits, state=State.SELECTED), [b"a APPEND x {4097+}\r\n", b"x" * 4097, b"\r\nb NOOP\r\n"]
    )
    assert [type(event) for event in events] == [Rejected, Received]
    assert isinstance(events[0], Rejected) and events[0].response_code == b"TOOBIG"


def test_more_bad_commands_than_allowed_before_login_end_the_connection() -> None:
    events = drive(ImapReceiver(SMALL), [b"a X\r\n" * 4])
    assert events[3:] == ["BYE too many bad commands"]
    assert len(events) == 4


def test_bad_commands_after_login_count_only_in_a_row() -> None:
    raw = b"a X\r\n" * 4 + b"a NOOP\r\n" + b"a X\r\n" * 4
    assert len(drive(ImapReceiver(SMALL, state=State.SELECTED), [raw])) == 9
    assert drive(ImapReceiver(SMALL, state=State.SELECTED), [b"a X\r\n" * 5])[-1] == "BYE too many bad commands"


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("state", list(State))
def test_a_command_outside_its_states_is_answered_bad(name: bytes, state: State) -> None:
    event = one(b"t " + name + b"\r\n", state)
    refused = isinstance(event, Rejected) and "not allowed" in event.text
    assert refused is (state not in COMMANDS[name].states)


def test_a_tag_of_128_octets_is_taken_and_one_more_is_not() -> None:
    assert one(b"a" * 128 + b" NOOP\r\n") == Received(b"a" * 128, c.Noop())
    event = one(b"a" * 129 + b" NOOP\r\n")
    assert isinstance(event, Rejected)
    assert event.tag == b"*"


def test_starttls_is_known_only_where_it_is_joined_and_nothing_may_follow_it() -> None:
    assert isinstance(one(b"a STARTTLS\r\n", State.NOT_AUTHENTICATED), Rejected)
    receiver = ImapReceiver(commands=CLEAR_COMMANDS)
    receiver.receive_data(b"a STARTTLS\r\nb NOOP\r\n")
    assert receiver.next_event() == Received(b"a", c.StartTls())
    with pytest.raises(CommandOutOfOrder):
        receiver.start_tls()


def test_starttls_is_taken_once() -> None:
    receiver = ImapReceiver(commands=CLEAR_COMMANDS)
    receiver.receive_data(b"a STARTTLS\r\n")
    assert receiver.next_event() == Received(b"a", c.StartTls())
    receiver.start_tls()
    receiver.receive_data(b"b STARTTLS\r\n")
    assert isinstance(receiver.next_event(), Rejected)


def test_a_uid_fetch_always_asks_for_the_uid() -> None:
    event = one(b"A1 uid fetch 1:* (flags)\r\n")
    assert isinstance(event, Received)
    assert isinstance(event.command, c.Fetch)
    assert event.command.items == (Attribute.UID, Attribute.FLAGS)


def test_a_fetch_command_is_parsed_in_less_than_40_microseconds() -> None:
    receiver = ImapReceiver(state=State.SELECTED)
    spent = []
    for _ in range(20):
        started = time.perf_counter()
        for _ in range(50):
            receiver.receive_data(b"A1 UID FETCH 1:* (FLAGS)\r\n")
            assert receiver.next_event() is not None
        spent.append((time.perf_counter() - started) / 50)
    assert min(spent) < 40e-6


LATE_IMPORTS = """
import sys
from bulkhead.wire import internet_date
from bulkhead.wire.imap import mailbox_name, receiver, responses, search_plan
from bulkhead.wire.imap.command_table import State
before = set(sys.modules)
r = receiver.ImapReceiver(state=State.SELECTED)
for charset in SAMPLES:
    octets = SAMPLES[charset]
    r.receive_data(b"a SEARCH CHARSET %s SUBJECT {%d+}\\r\\n%s\\r\\n" % (charset.encode(), len(octets), octets))
    event = r.next_event()
    assert isinstance(event, receiver.Received), event
r.receive_data(b'b SELECT &ZeU-\\r\\nc APPEND x " 1-Feb-1994 21:52:25 -0800" {1}\\r\\n')
assert r.next_event().command.mailbox == "日"
r.next_event()
responses.mailbox("日本語")
internet_date.internal_date(0, 540)
print(sorted(set(sys.modules) - before))
"""


def test_nothing_is_imported_once_the_process_is_locked_down() -> None:
    samples = {charset: "会議".encode(charset) for charset in ("UTF-8", "ISO-2022-JP", "Shift_JIS", "EUC-JP")}
    program = f"SAMPLES = {samples!r}\n{LATE_IMPORTS}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


UTF8_APPENDS = (
    b'a APPEND "\xc3\xa9" (\\Seen) UTF8 (~{5+}\r\nab\0de)\r\n'
    b"b APPEND x UTF8 (~{3+}\r\nabc\r\n"
    b"c APPEND x UTF8 ({3+}\r\nabc)\r\n"
    b"d APPEND x ~{3+}\r\na\0c\r\n"
    b"e NOOP\r\n"
)


def utf8_receiver(*, accept: bool = True) -> ImapReceiver:
    receiver = ImapReceiver(SMALL, state=State.SELECTED)
    receiver.utf8_names = receiver.utf8_accept = accept
    return receiver


def test_an_append_of_utf8_ends_with_its_parenthesis_however_it_is_split() -> None:
    events = drive(utf8_receiver(), [UTF8_APPENDS])
    append = c.Append("\u00e9", Flags(1), None, 5, utf8=True)
    assert events[:3] == [AppendBegun(b"a", append), LiteralChunk(b"ab\0de"), AppendEnded(b"a")]
    answers = [(event.tag, type(event)) for event in events if isinstance(event, AppendEnded | Rejected | Received)]
    assert answers == [
        (b"a", AppendEnded), (b"b", Rejected), (b"c", Rejected), (b"d", AppendEnded), (b"e", Received),
    ]  # fmt: skip
    for at in range(len(UTF8_APPENDS)):
        assert drive(utf8_receiver(), [UTF8_APPENDS[:at], UTF8_APPENDS[at:]]) == events


def test_an_append_of_utf8_needs_it_enabled() -> None:
    events = drive(utf8_receiver(accept=False), [b"a APPEND x UTF8 (~{3+}\r\nabc)\r\nb NOOP\r\n"])
    assert isinstance(events[0], Rejected) and events[0].condition is Condition.BAD
    assert events[1:] == [Received(b"b", c.Noop())]


@pytest.mark.parametrize("keys", [b"CHARSET UTF-8 ALL", b"RETURN (ALL) CHARSET US-ASCII SUBJECT x"])
def test_a_charset_is_refused_once_all_text_is_utf8(keys: bytes) -> None:
    (event,) = drive(utf8_receiver(), [b"a SEARCH " + keys + b"\r\n"])
    assert isinstance(event, Rejected) and event.condition is Condition.BAD
    assert isinstance(drive(utf8_receiver(accept=False), [b"a SEARCH " + keys + b"\r\n"])[0], Received)


def test_what_comes_behind_a_command_can_be_taken_away() -> None:
    receiver = ImapReceiver(SMALL, state=State.SELECTED)
    receiver.receive_data(b"a COMPRESS DEFLATE\r\n\x00\xffb NOOP\r\n")
    assert receiver.next_event() == Received(b"a", c.Compress())
    assert receiver.take_rest() == b"\x00\xffb NOOP\r\n"
    assert receiver.next_event() is None
