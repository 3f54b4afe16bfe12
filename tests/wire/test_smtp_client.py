"""The sender: outcomes per recipient, against the receiver and against servers that misbehave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.smtp_peer import Peer

from bulkhead.errors import BareNewline, LineTooLong, PeerError
from bulkhead.identifiers import parse_address, parse_domain
from bulkhead.wire.smtp_client import SmtpSender
from bulkhead.wire.smtp_client_events import (
    Awaited,
    Ready,
    SenderEvent,
    SessionEnded,
    TextWanted,
    TlsPolicy,
    TlsWanted,
    TransactionEnded,
)
from bulkhead.wire.smtp_codes import Limits, Reply
from bulkhead.wire.smtp_outcome import Envelope, Outcome
from bulkhead.wire.smtp_reply import LINE_MAX, LINES_MAX, ReplyReader
from bulkhead.wire.smtp_states import Phase

NAME = parse_domain("courier.stnet.example")
TEXT = b"Subject: x\r\n\r\n.dot\r\nlast"
PIPELINING = b"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250 8BITMIME\r\n"
PLAIN_EHLO = b"250-mx\r\n250 8BITMIME\r\n"


def envelope(
    *recipients: str, size: int = 10, sender: str | None = "a@stnet.example", eight_bit: bool = False
) -> Envelope:
    addresses = tuple(parse_address(text) for text in recipients or ("b@kddi.example",))
    return Envelope(None if sender is None else parse_address(sender), addresses, size, eight_bit)


def events_of(sender: SmtpSender, data: bytes = b"") -> list[SenderEvent]:
    sender.receive_data(data)
    events = []
    while (event := sender.next_event()) is not None:
        events.append(event)
    return events


def ready_sender(ehlo: bytes = PIPELINING, **settings: object) -> SmtpSender:
    sender = SmtpSender(NAME, **settings)
    assert events_of(sender, b"220 mx\r\n") == []
    assert sender.data_to_send() == b"EHLO courier.stnet.example\r\n"
    assert isinstance(events_of(sender, ehlo)[-1], Ready)
    return sender


def outcomes(events: list[SenderEvent]) -> list[Outcome]:
    (ended,) = [event for event in events if isinstance(event, TransactionEnded)]
    return [result.outcome for result in ended.results]


def converse(sender: SmtpSender, peer: Peer, envelopes: list[Envelope], piece: int = 7) -> list[SenderEvent]:
    """Run sender and receiver against each other until neither has anything to say."""
    waiting, events = list(envelopes), []
    peer.receiver = type(peer.receiver)(peer.receiver.session.hostname, peer.receiver.role, tls_offered=True)
    peer.receiver.greet()
    to_client = peer.receiver.data_to_send()
    while True:
        for event in events_of(sender, to_client):
            events.append(event)
            if isinstance(event, TlsWanted):
                sender.tls_established()
                peer.receiver.tls_established()
            elif isinstance(event, TextWanted):
                for at in range(0, len(TEXT), piece):
                    sender.text(TEXT[at : at + piece])
                sender.end_text()
            elif isinstance(event, Ready | TransactionEnded):
                sender.send(waiting.pop(0)) if waiting else sender.quit()
        to_server = sender.data_to_send()
        if not to_server:
            return events
        to_client = peer.say(to_server)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100])
def test_sender_and_receiver_exchange_messages_over_starttls(piece):
    peer = Peer()
    events = converse(
        SmtpSender(NAME), peer, [envelope(), envelope("c@kddi.example", "foo..bar@kddi.example", sender=None)], piece
    )
    assert peer.messages == [TEXT + b"\r\n"] * 2
    assert peer.receiver.closed
    assert peer.receiver.session.tls_active
    ended = [event for event in events if isinstance(event, TransactionEnded)]
    assert [[result.outcome for result in event.results] for event in ended] == [
        [Outcome.DELIVERED],
        [Outcome.DELIVERED] * 2,
    ]
    assert [result.status for result in ended[1].results] == ["2.6.0"] * 2
    assert isinstance(events[-1], SessionEnded)
    assert events[-1].outcome is None


def test_a_group_leaves_at_once_where_pipelining_is_offered():
    sender = ready_sender()
    sender.send(envelope("b@kddi.example", "c@kddi.example", eight_bit=True))
    assert sender.data_to_send() == (
        b"MAIL FROM:<a@stnet.example> SIZE=10 BODY=8BITMIME\r\n"
        b"RCPT TO:<b@kddi.example>\r\nRCPT TO:<c@kddi.example>\r\nDATA\r\n"
    )


def test_commands_leave_one_by_one_where_it_is_not():
    sender = ready_sender(PLAIN_EHLO)
    sender.send(envelope("b@kddi.example", sender=None))
    for command in (b"MAIL FROM:<>\r\n", b"RCPT TO:<b@kddi.example>\r\n", b"DATA\r\n"):
        assert sender.data_to_send() == command
        events_of(sender, b"250 ok\r\n" if command != b"DATA\r\n" else b"")


@pytest.mark.parametrize("ehlo", [PIPELINING, PLAIN_EHLO])
def test_every_recipient_gets_its_own_outcome(ehlo):
    sender = ready_sender(ehlo)
    sender.send(envelope("ok@k.example", "later@k.example", "never@k.example"))
    replies = b"250 ok\r\n", b"250 ok\r\n", b"450 4.2.1 busy\r\n", b"550 5.1.1 no such\r\n", b"354 go\r\n"
    events = [event for reply in replies for event in events_of(sender, reply)]
    assert events == [TextWanted()]
    sender.text(b"x")
    sender.end_text()
    (ended,) = events_of(sender, b"250 2.6.0 queued as 1\r\n")
    assert [result.outcome for result in ended.results] == [Outcome.DELIVERED, Outcome.DEFERRED, Outcome.FAILED]
    assert [result.status for result in ended.results] == ["2.6.0", "4.2.1", "5.1.1"]
    assert ended.results[2].reply == Reply(550, "5.1.1", ("no such",))


def test_a_refused_sender_fails_all_and_an_accepted_data_is_then_left_empty():
    sender = ready_sender()
    sender.send(envelope("b@k.example", "c@k.example"))
    sender.data_to_send()
    assert events_of(sender, b"550 5.7.1 no\r\n503 x\r\n503 x\r\n354 go\r\n") == []
    assert sender.data_to_send() == b".\r\n"
    assert outcomes(events_of(sender, b"554 no recipients\r\n")) == [Outcome.FAILED] * 2


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        (b"450 later\r\n", Outcome.DEFERRED),
        (b"550 no\r\n", Outcome.FAILED),
        (b"250 ok\r\n552 too many\r\n", Outcome.DEFERRED),
        (b"250 ok\r\n552 5.2.2 full\r\n", Outcome.FAILED),
        (b"250 ok\r\n250 ok\r\n451 later\r\n", Outcome.DEFERRED),
        (b"250 ok\r\n250 ok\r\n554 no\r\n", Outcome.FAILED),
        (b"250 ok\r\n250 ok\r\n250 what\r\n", Outcome.DEFERRED),
    ],
)
def test_a_refusal_before_the_text_decides_and_the_next_transaction_resets(replies, outcome):
    sender = ready_sender(PLAIN_EHLO)
    sender.send(envelope())
    assert outcomes([event for line in replies.splitlines(keepends=True) for event in events_of(sender, line)]) == [
        outcome
    ]
    sender.data_to_send()
    sender.send(envelope())
    assert sender.data_to_send() == b"RSET\r\n"


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [(b"451 4.3.0 x\r\n", Outcome.DEFERRED), (b"554 x\r\n", Outcome.FAILED), (b"421 x\r\n", Outcome.DEFERRED)],
)
def test_the_reply_to_the_final_dot_decides(reply, outcome):
    sender = in_text()
    sender.end_text()
    assert outcomes(events_of(sender, reply)) == [outcome]


def in_text() -> SmtpSender:
    sender = ready_sender()
    sender.send(envelope())
    assert events_of(sender, b"250 ok\r\n250 ok\r\n354 go\r\n") == [TextWanted()]
    sender.data_to_send()
    return sender


def test_a_connection_lost_before_the_final_dot_defers():
    sender = in_text()
    sender.text(b"x")
    sender.connection_lost()
    events = events_of(sender)
    assert outcomes(events) == [Outcome.DEFERRED]
    assert events[-1] == SessionEnded(Outcome.DEFERRED, None, "connection lost")


@pytest.mark.parametrize("last", [None, b"nonsense\r\n", b"25", b"250 bare\n"])
def test_a_connection_lost_after_the_final_dot_leaves_the_outcome_unknown(last):
    sender = in_text()
    sender.end_text()
    assert sender.patience == 600
    events = events_of(sender, last or b"")
    sender.connection_lost()
    assert outcomes(events + events_of(sender)) == [Outcome.UNKNOWN]


def test_ehlo_falls_back_to_helo():
    sender = SmtpSender(NAME)
    events_of(sender, b"220 old\r\n")
    sender.data_to_send()
    events_of(sender, b"502 what\r\n")
    assert sender.data_to_send() == b"HELO courier.stnet.example\r\n"
    assert events_of(sender, b"250 hi\r\n") == [Ready({})]


@pytest.mark.parametrize(
    ("replies", "outcome"),
    [
        (b"554 go away\r\n", Outcome.FAILED),
        (b"421 busy\r\n", Outcome.DEFERRED),
        (b"220 x\r\n450 x\r\n", Outcome.DEFERRED),
        (b"220 x\r\n550 x\r\n550 x\r\n", Outcome.FAILED),
        (b"HTTP/1.1 400 Bad Request\r\n", Outcome.DEFERRED),
        (b"220 x\r\n250 x\r\n250 unasked\r\n", Outcome.DEFERRED),
    ],
)
def test_a_session_that_cannot_begin_says_what_that_means_for_mail(replies, outcome):
    (ended,) = [event for event in events_of(SmtpSender(NAME), replies) if isinstance(event, SessionEnded)]
    assert ended.outcome is outcome


def test_required_tls_never_sends_an_envelope_in_clear():
    for replies in (b"220 x\r\n250 x\r\n", b"220 x\r\n502 x\r\n", b"220 x\r\n250-x\r\n250 STARTTLS\r\n454 later\r\n"):
        sender = SmtpSender(NAME, tls=TlsPolicy.REQUIRED)
        events = events_of(sender, replies)
        assert isinstance(events[-1], SessionEnded)
        with pytest.raises(ValueError):
            sender.send(envelope())


def test_what_a_server_says_during_the_handshake_is_never_taken_for_a_reply_inside_tls():
    sender = SmtpSender(NAME)
    assert events_of(sender, b"220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n") == [TlsWanted()]
    sender.receive_data(b"250 evil\r\n")
    sender.tls_established()
    (ended,) = events_of(sender)
    assert isinstance(ended, SessionEnded)
    assert not sender.tls_active


def test_opportunistic_tls_goes_on_in_clear_when_refused():
    events = events_of(SmtpSender(NAME), b"220 x\r\n250-x\r\n250 STARTTLS\r\n454 later\r\n")
    assert isinstance(events[-1], Ready)


@pytest.mark.parametrize("cut", [0, 3, 18])
def test_replies_injected_behind_starttls_end_the_session(cut):
    sender = SmtpSender(NAME)
    injected = b"250-evil\r\n250 OK\r\n"
    events = events_of(sender, b"220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n" + injected[:cut])
    assert (TlsWanted() in events) is (cut == 0)
    events += events_of(sender, injected[cut:])
    assert isinstance(events[-1], SessionEnded)
    sender.tls_established()
    assert b"MAIL" not in sender.data_to_send()


@pytest.mark.parametrize(
    ("given", "status"),
    [({"size": 1001}, "5.3.4"), ({"sender": "日本@k.example"}, "5.6.7")],
)
def test_what_the_server_cannot_take_is_failed_without_asking_it(given, status):
    sender = ready_sender()
    sender.send(envelope(**given))
    assert sender.data_to_send() == b""
    (ended,) = events_of(sender)
    assert [(result.outcome, result.status) for result in ended.results] == [(Outcome.FAILED, status)]
    sender.send(envelope())


def test_8_bit_text_is_not_sent_to_a_server_without_8bitmime():
    sender = ready_sender(b"250 mx\r\n")
    sender.send(envelope(eight_bit=True))
    assert outcomes(events_of(sender)) == [Outcome.FAILED]


def test_quit_ends_the_session_without_an_outcome_even_when_the_server_just_hangs_up():
    for answer in (b"221 bye\r\n", b""):
        sender = ready_sender()
        sender.quit()
        assert sender.data_to_send() == b"QUIT\r\n"
        events = events_of(sender, answer)
        sender.connection_lost()
        events += events_of(sender)
        assert [event.outcome for event in events if isinstance(event, SessionEnded)] == [None]


def test_calls_out_of_turn_are_our_bug():
    sender = SmtpSender(NAME)
    for call in (lambda: sender.send(envelope()), lambda: sender.text(b"x"), sender.end_text, sender.tls_established):
        with pytest.raises(ValueError):
            call()


def test_every_awaited_reply_has_the_patience_of_the_standard():
    assert {awaited.words: awaited.seconds for awaited in Awaited}["DATA"] == 120
    assert SmtpSender(NAME).patience == 300


# --- replies ---


def read(data: bytes) -> Reply | None:
    return ReplyReader().read(bytearray(data))


def test_a_reply_of_several_lines_is_read_with_its_status():
    assert read(b"550-5.1.1 no\r\n550-5.1.1\r\n550 5.1.1 such\r\n") == Reply(550, "5.1.1", ("no", "", "such"))
    assert read(b"250\r\n") == Reply(250, "", ("",))
    assert read(b"250 5.1.1 x\r\n") == Reply(250, "", ("5.1.1 x",))
    assert read(b"550 \x1b[31m\xe6\r\n") == Reply(550, "", ("?[31m?",))


@pytest.mark.parametrize(
    "data", [b"250x\r\n", b"25\r\n", b"650 x\r\n", b"190 x\r\n", b"250-a\r\n251 b\r\n", b"\r\n", b"280 x\r\n"]
)
def test_what_is_no_reply_is_refused(data):
    with pytest.raises(PeerError):
        read(data)


@pytest.mark.parametrize("data", [b"250 x\n", b"250 a\rb\r\n", b"250 x\r\r\n"])
def test_a_reply_with_a_bare_newline_is_refused(data):
    with pytest.raises(BareNewline):
        read(data)


def test_a_reply_line_of_2000_octets_is_read_and_one_more_is_not():
    assert read(b"250 " + b"x" * (LINE_MAX - 6) + b"\r\n") is not None
    for data in (b"250 " + b"x" * (LINE_MAX - 5) + b"\r\n", b"x" * LINE_MAX):
        with pytest.raises(LineTooLong):
            read(data)


def test_a_reply_of_100_lines_is_read_and_one_more_is_not():
    assert read(b"250-x\r\n" * (LINES_MAX - 1) + b"250 x\r\n") is not None
    with pytest.raises(PeerError):
        read(b"250-x\r\n" * LINES_MAX)


@given(
    st.lists(
        st.sampled_from([b"250 ok\r\n", b"250-a\r\n", b"354 go\r\n", b"220 x\r\n", b"421 x\r\n", b"550 5.1.1 x\r\n"])
        | st.binary()
    )
)
def test_no_server_makes_the_sender_raise_and_every_recipient_gets_an_outcome(pieces):
    sender, results = SmtpSender(NAME, tls=TlsPolicy.NEVER), None
    for piece in pieces:
        for event in events_of(sender, piece):
            if isinstance(event, Ready):
                sender.send(envelope("b@k.example", "c@k.example"))
            elif isinstance(event, TextWanted):
                sender.end_text()
            elif isinstance(event, TransactionEnded):
                results = event.results
    started = sender._transaction is not None or results is not None
    sender.connection_lost()
    for event in events_of(sender):
        if isinstance(event, TransactionEnded):
            results = event.results
    assert sender.ended
    assert not started or len(results or ()) == 2


@given(st.lists(st.integers(0, 400), max_size=6))
def test_outcomes_do_not_depend_on_how_replies_are_split(cuts):
    stream = PIPELINING + b"250 ok\r\n450-4.2.1 a\r\n450 4.2.1 b\r\n550 c\r\n354 go\r\n"
    sender = SmtpSender(NAME)
    events = events_of(sender, b"220 x\r\n")
    edges = [0, *sorted(cut % len(stream) for cut in cuts), len(PIPELINING), len(stream)]
    for a, b in zip(sorted(edges), sorted(edges)[1:], strict=False):
        for event in events_of(sender, stream[a:b]):
            events.append(event)
            if isinstance(event, Ready):
                sender.send(envelope("b@k.example", "c@k.example"))
    (ended,) = [event for event in events if isinstance(event, TransactionEnded)] or [None]
    sender.data_to_send()
    if ended is None:
        ended = events_of(sender, b"554 none\r\n")[0]
    assert [result.outcome for result in ended.results] == [Outcome.DEFERRED, Outcome.FAILED]


def test_a_receiver_that_refuses_a_lone_newline_never_sees_one_from_the_sender():
    peer = Peer(limits=Limits())
    sender = SmtpSender(NAME, tls=TlsPolicy.NEVER)
    events_of(sender, b"220 x\r\n")
    sender.data_to_send()
    events_of(sender, peer.say(b"EHLO c.example\r\n"))
    sender.send(envelope())
    events_of(sender, peer.say(sender.data_to_send()))
    sender.text(b"a\nb\rc\n.\nMAIL FROM:<evil@k.example>\n")
    sender.end_text()
    assert outcomes(events_of(sender, peer.say(sender.data_to_send()))) == [Outcome.DELIVERED]
    assert peer.messages == [b"a\r\nb\r\nc\r\n.\r\nMAIL FROM:<evil@k.example>\r\n"]
    assert peer.receiver.phase is Phase.READY
