import poplib
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import CommandOutOfOrder, LineTooLong, PeerError
from bulkhead.wire import pop3
from bulkhead.wire import pop3_responses as r
from bulkhead.wire.pop3 import COMMANDS, ContinuationLine, Event, Pop3Receiver, Rejected, State


def drive(receiver: Pop3Receiver, pieces: list[bytes]) -> list[Event | str]:
    """Events of all pieces; the text of a PeerError ends the list."""
    events: list[Event | str] = []
    try:
        for piece in pieces:
            receiver.receive_data(piece)
            while (event := receiver.next_event()) is not None:
                events.append(event)
                if isinstance(event, pop3.Auth) and event.mechanism and event.initial_response is None:
                    receiver.expect_line()
                if isinstance(event, pop3.Pass):
                    receiver.state = State.TRANSACTION
    except PeerError as error:
        events.append(f"-ERR {error.public}")
    return events


def one(raw: bytes, state: State = State.TRANSACTION) -> Event | str:
    (event,) = drive(Pop3Receiver(state=state), [raw])
    return event


SESSION = (
    b"CAPA\r\nAUTH\r\nAUTH plain\r\nAGEAYg==\r\nUSER alice\r\nNOPE\r\nPASS  two words \r\nSTAT\r\nLIST\r\nlist 2\r\n"
    b"UIDL\r\nUIDL 1\r\nTOP 1 0\r\nRETR 3\r\nNOOP\n" + b"x" * 300 + b"\r\nDELE 2\r\nRSET\r\nQUIT\r\n"
)


def test_a_session_gives_each_command() -> None:
    events = drive(Pop3Receiver(), [SESSION])
    assert events[:7] == [
        pop3.Capa(),
        pop3.Auth(None, None),
        pop3.Auth("PLAIN", None),
        ContinuationLine(b"AGEAYg=="),
        pop3.User("alice"),
        Rejected("no such command"),
        pop3.Pass(b" two words "),
    ]
    assert events[7:14] == [
        pop3.Stat(),
        pop3.ListSizes(None),
        pop3.ListSizes(2),
        pop3.Uidl(None),
        pop3.Uidl(1),
        pop3.Top(1, 0),
        pop3.Retr(3),
    ]
    assert [type(event) for event in events[14:16]] == [Rejected, Rejected]
    assert events[16:] == [pop3.Dele(2), pop3.Rset(), pop3.Quit()]


def test_events_do_not_depend_on_how_bytes_are_split() -> None:
    whole = drive(Pop3Receiver(), [SESSION])
    assert drive(Pop3Receiver(), [bytes((octet,)) for octet in SESSION]) == whole
    for at in range(len(SESSION)):
        assert drive(Pop3Receiver(), [SESSION[:at], SESSION[at:]]) == whole


@given(st.lists(st.binary(max_size=300), max_size=10), st.sampled_from(list(State)))
def test_random_bytes_give_events_or_a_peer_error(pieces: list[bytes], state: State) -> None:
    whole = drive(Pop3Receiver(state=state), [b"".join(pieces)])
    assert drive(Pop3Receiver(state=state), pieces) == whole


def test_secrets_are_not_in_repr() -> None:
    assert "hunter2" not in repr(one(b"PASS hunter2\r\n", State.AUTHORIZATION))
    assert "aHVudGVy" not in repr(one(b"AUTH PLAIN aHVudGVy\r\n", State.AUTHORIZATION))
    assert "hunter2" not in repr(ContinuationLine(b"hunter2"))
    assert "hunter2" not in repr(one(b"PASS hunter2\r\n"))


def test_a_line_of_255_octets_is_taken_and_one_more_is_refused() -> None:
    assert one(b"USER ".ljust(253, b"x") + b"\r\n", State.AUTHORIZATION) == pop3.User("x" * 248)
    assert isinstance(one(b"USER ".ljust(254, b"x") + b"\r\n", State.AUTHORIZATION), Rejected)


def test_a_line_of_8_kib_is_dropped_and_a_longer_one_ends_the_session() -> None:
    assert isinstance(one(b"x" * (8 * 1024 - 2) + b"\r\n"), Rejected)
    receiver = Pop3Receiver()
    receiver.receive_data(b"x" * (8 * 1024 - 1))
    assert receiver.next_event() is None
    receiver.receive_data(b"x")
    with pytest.raises(LineTooLong):
        receiver.next_event()


def test_five_bad_commands_before_login_are_answered_and_one_more_ends_the_session() -> None:
    assert len(drive(Pop3Receiver(), [b"X\r\nCAPA\r\n" * 5])) == 10
    assert drive(Pop3Receiver(), [b"X\r\nCAPA\r\n" * 6])[-1] == "-ERR too many bad commands"


def test_bad_commands_after_login_count_only_in_a_row() -> None:
    assert len(drive(Pop3Receiver(state=State.TRANSACTION), [b"X\r\n" * 20 + b"NOOP\r\n" + b"X\r\n" * 20])) == 41
    assert drive(Pop3Receiver(state=State.TRANSACTION), [b"X\r\n" * 21])[-1] == "-ERR too many bad commands"


@pytest.mark.parametrize("name", sorted(COMMANDS))
@pytest.mark.parametrize("state", list(State))
def test_a_command_outside_its_states_is_refused(name: bytes, state: State) -> None:
    event = one(name + b"\r\n", state)
    refused = isinstance(event, Rejected) and "not allowed" in event.text
    assert refused is (state not in COMMANDS[name].states)


@pytest.mark.parametrize(
    "line",
    [b"RETR", b"RETR 0", b"RETR x", b"RETR 1 2", b"RETR  1", b"RETR 2147483648", b"RETR -1", b"TOP 1", b"TOP 1 -1",
     b"LIST x", b"STAT 1", b"DELE", b"", b" NOOP", b"NOOP\x00", b"RETR \xb2"],
)  # fmt: skip
def test_what_is_not_the_grammar_is_refused(line: bytes) -> None:
    assert isinstance(one(line + b"\r\n"), Rejected)


@pytest.mark.parametrize(
    "line", [b"USER", b"USER \xff", b"USER \x01", b"PASS", b"PASS ", b"AUTH (", b"AUTH PLAIN !", b"AUTH PLAIN "]
)
def test_what_is_no_login_is_refused(line: bytes) -> None:
    assert isinstance(one(line + b"\r\n", State.AUTHORIZATION), Rejected)


def test_an_empty_initial_response_is_an_equals_sign() -> None:
    assert one(b"AUTH PLAIN =\r\n", State.AUTHORIZATION) == pop3.Auth("PLAIN", b"=")


@pytest.mark.parametrize("command", [b"USER alice", b"PASS secret", b"AUTH PLAIN AGEAYg==", b"AUTH"])
def test_no_login_is_taken_before_tls(command: bytes) -> None:
    receiver = Pop3Receiver(secure=False)
    receiver.receive_data(command + b"\r\nSTLS\r\n")
    assert receiver.next_event() == Rejected("begin TLS with STLS before the login")
    assert receiver.next_event() == pop3.Stls()
    receiver.start_tls()
    receiver.receive_data(command + b"\r\nSTLS\r\n")
    assert not isinstance(receiver.next_event(), Rejected)
    assert isinstance(receiver.next_event(), Rejected)


def test_utf8_is_taken_before_the_login_alone() -> None:
    assert one(b"UTF8\r\n", State.AUTHORIZATION) == pop3.Utf8()
    assert isinstance(one(b"UTF8\r\n"), Rejected)
    assert isinstance(one(b"UTF8 USER\r\n", State.AUTHORIZATION), Rejected)


def test_stls_is_known_only_in_clear_and_nothing_may_follow_it() -> None:
    assert isinstance(one(b"STLS\r\n", State.AUTHORIZATION), Rejected)
    receiver = Pop3Receiver(secure=False)
    receiver.receive_data(b"STLS\r\nCAPA\r\n")
    assert receiver.next_event() == pop3.Stls()
    with pytest.raises(CommandOutOfOrder):
        receiver.start_tls()


def render(message: bytes, at: int) -> bytes:
    renderer = r.MessageRenderer()
    return renderer.render(message[:at]) + renderer.render(message[at:]) + renderer.finish()


def read_lines(sent: bytes) -> tuple[list[bytes], bytes]:
    """What poplib takes for the message, and what it leaves for the next response."""
    client = poplib.POP3.__new__(poplib.POP3)
    client.file = BytesIO(b"+OK\r\n" + sent)
    client._debugging = 0
    _, lines, _ = client._getlongresp()
    return lines, client.file.read()


@given(st.lists(st.sampled_from([b".", b"\r\n", b"\n", b"x", b"..", b"\r\n.\r\n"])).map(b"".join))
def test_a_message_ends_only_at_its_end_however_it_is_split(message: bytes) -> None:
    whole = render(message, 0)
    lines, left = read_lines(whole + b"+OK next\r\n")
    assert left == b"+OK next\r\n"
    assert b"".join(lines).replace(b".", b"").count(b"x") == message.count(b"x")
    for at in range(len(message) + 1):
        assert render(message, at) == whole


@given(st.lists(st.sampled_from([b"", b".", b"..", b"x", b".x"]), min_size=1))
def test_lines_come_back_as_they_were(lines: list[bytes]) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    assert read_lines(render(message, len(message) // 2))[0] == lines


def test_a_message_without_a_last_line_end_gets_one() -> None:
    assert render(b"a", 1) == b"a\r\n.\r\n"
    assert render(b"a\r", 1) == b"a\r\n.\r\n"
    assert render(b"", 0) == b".\r\n"


@given(st.binary(max_size=30).map(lambda body: body.replace(b"a", b"\n")), st.integers(0, 8), st.integers(0, 30))
def test_top_gives_the_first_lines_however_the_body_is_split(body: bytes, count: int, at: int) -> None:
    cut = r.TopCut(count)
    expected = b"".join(line + b"\n" for line in body.split(b"\n")[:count])
    assert cut.cut(body[:at]) + cut.cut(body[at:]) == (expected if count <= body.count(b"\n") else body)


def test_responses_are_single_lines_of_512_octets() -> None:
    assert r.ok() == b"+OK\r\n"
    assert r.err("in use", r.Code.IN_USE) == b"-ERR [IN-USE] in use\r\n"
    assert r.challenge() == b"+ \r\n"
    assert len(r.ok("x" * 506)) == 512
    for text in ("x" * 507, "a\r\nb"):
        with pytest.raises(ValueError, match="one line"):
            r.ok(text)


def test_lists_end_with_a_dot_and_hold_none() -> None:
    assert r.multi_line(r.ok(), [b"1 120", b"2 200"]) == b"+OK\r\n1 120\r\n2 200\r\n.\r\n"
    with pytest.raises(ValueError, match="dot"):
        r.multi_line(r.ok(), [b".x"])


def test_capabilities_differ_by_state() -> None:
    both = {b"TOP", b"UIDL", b"PIPELINING", b"RESP-CODES", b"AUTH-RESP-CODE", b"EXPIRE NEVER"}
    both.add(b"IMPLEMENTATION Bulkhead")
    login = {b"USER", b"SASL PLAIN LOGIN"}
    assert set(r.capability_lines(State.AUTHORIZATION)) == both | login | {b"UTF8"}
    assert set(r.capability_lines(State.AUTHORIZATION, secure=False)) == both | {b"UTF8", b"STLS"}
    assert set(r.capability_lines(State.TRANSACTION)) == both
