"""The receiver's commands: order, limits, refusals, STARTTLS, AUTH."""

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.smtp_peer import HOSTNAME, Peer, peer_in_data

from bulkhead.identifiers import parse_address
from bulkhead.wire import smtp_codes as codes
from bulkhead.wire.smtp import SmtpReceiver
from bulkhead.wire.smtp_codes import Limits, Reply, Status, reply
from bulkhead.wire.smtp_events import (
    AuthLine,
    AuthStart,
    Body,
    CommandRefused,
    DataChunk,
    Greeted,
    MailFrom,
    Quit,
    RcptTo,
    StartTls,
)
from bulkhead.wire.smtp_session import COMMANDS
from bulkhead.wire.smtp_states import TRANSITIONS, Phase, Role, Step, state_diagram

SUBMISSION = {"role": Role.SUBMISSION, "tls_offered": True, "mechanisms": ("PLAIN", "LOGIN")}


def greeted_peer(**settings: object) -> Peer:
    peer = Peer(**settings)
    assert peer.say(b"EHLO client.example\r\n").startswith(b"250")
    return peer


# --- replies ---


def test_a_reply_renders_its_lines_with_code_and_status():
    assert (
        reply(550, Status.NO_SUCH_MAILBOX, "No such", "mailbox").render()
        == b"550-5.1.1 No such\r\n550 5.1.1 mailbox\r\n"
    )
    assert reply(220, "", "").render() == b"220 \r\n"


@given(st.lists(st.text(max_size=1200), min_size=1, max_size=3), st.sampled_from(["", "5.7.1"]))
def test_a_reply_never_has_a_line_over_512_octets_nor_text_that_ends_a_line(lines, status):
    rendered = Reply(554, status, tuple(lines)).render()
    body = rendered.removesuffix(b"\r\n").split(b"\r\n")
    assert all(len(line) <= 510 and line.isascii() and b"\r" not in line and b"\n" not in line for line in body)
    assert [line[3:4] for line in body] == [b"-"] * (len(body) - 1) + [b" "]


@pytest.mark.parametrize(("code", "status"), [(250, "5.0.0"), (199, ""), (600, ""), (550, "5.1"), (550, "x")])
def test_a_reply_whose_code_and_status_differ_is_our_bug(code, status):
    with pytest.raises(ValueError):
        reply(code, status, "text")


# --- greeting and order ---


def test_ehlo_lists_the_extensions_and_helo_none():
    peer = Peer(tls_offered=True, mechanisms=("PLAIN",), limits=Limits(message_bytes=1234))
    assert peer.say(b"EHLO [192.0.2.1]\r\n") == (
        b"250-mx.kddi.example\r\n250-PIPELINING\r\n250-SIZE 1234\r\n"
        b"250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-CHUNKING\r\n250-SMTPUTF8\r\n"
        b"250-LIMITS RCPTMAX=100\r\n250 STARTTLS\r\n"
    )
    assert peer.say(b"helo client\r\n") == b"250 mx.kddi.example\r\n"
    assert peer.events == [Greeted("[192.0.2.1]", extended=True), Greeted("client", extended=False)]


@pytest.mark.parametrize("name", [b"", b"a b", b"<a>", b"x" * 256, b"[1.2.3.4", b"a\tb"])
def test_a_hello_without_a_host_name_is_refused(name):
    assert Peer().say(b"EHLO " + name + b"\r\n").startswith(b"50")


def test_a_client_that_speaks_before_the_greeting_is_sent_away():
    receiver = SmtpReceiver(HOSTNAME, Role.MX)
    receiver.receive_data(b"EHLO early.example\r\n")
    assert receiver.next_event() is None
    receiver.greet()
    assert receiver.data_to_send().startswith(b"554 5.5.0 ")
    assert receiver.closed


ORDER = {
    "greeted": b"",
    "ready": b"EHLO c.example\r\n",
    "sender": b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\n",
    "recipients": b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n",
}
LINES = {
    Step.HELLO: b"EHLO c.example\r\n",
    Step.MAIL: b"MAIL FROM:<a@b.example>\r\n",
    Step.RCPT: b"RCPT TO:<c@d.example>\r\n",
    Step.DATA: b"DATA\r\n",
    Step.RSET: b"RSET\r\n",
    Step.QUIT: b"QUIT\r\n",
}


@pytest.mark.parametrize("phase", ORDER)
@pytest.mark.parametrize("step", LINES)
def test_a_command_is_obeyed_in_the_phases_of_the_table_and_nowhere_else(phase, step):
    peer = Peer()
    peer.say(ORDER[phase])
    assert peer.receiver.phase.value == phase
    answer = peer.say(LINES[step])
    after = TRANSITIONS.get((Phase(phase), step))
    if after is None:
        assert answer.startswith((b"503 5.5.1 ", b"554 5.5.1 "))
        assert peer.receiver.phase.value == phase
    else:
        assert answer[:1] in b"23"
        assert peer.receiver.phase is after


def test_a_transaction_is_forgotten_by_ehlo_and_by_rset():
    for command in (b"EHLO c.example\r\n", b"RSET\r\n"):
        peer = Peer()
        peer.say(ORDER["recipients"])
        peer.say(command)
        assert peer.say(b"DATA\r\n").startswith(b"503 ")


def test_noop_help_and_vrfy_are_answered_and_tell_nothing():
    peer = Peer()
    answers = peer.say(b"NOOP x\r\nHELP\r\nVRFY root\r\nVRFY\r\nEXPN staff\r\n").split(b"\r\n")
    assert [line[:3] for line in answers[:-1]] == [b"250", b"214", b"252", b"501", b"502"]


def test_quit_closes_and_nothing_after_it_is_read():
    peer = Peer()
    assert peer.say(b"QUIT\r\nNOOP\r\n") == b"221 2.0.0 Bye\r\n"
    assert peer.events == [Quit()]
    assert peer.receiver.closed
    assert peer.say(b"NOOP\r\n") == b""


# --- MAIL and RCPT ---


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (b"MAIL FROM:<>", MailFrom(None)),
        (b"mail from: <a@b.example> ", MailFrom(parse_address("a@b.example"))),
        (b"MAIL FROM:<@x.example,@y.example:a@b.example>", MailFrom(parse_address("a@b.example"))),
        (
            b"MAIL FROM:<a@b.example> SIZE=10 BODY=8bitmime",
            MailFrom(parse_address("a@b.example"), 10, Body.EIGHT_BIT_MIME),
        ),
        (b"MAIL FROM:<a@b.example> AUTH=<>", MailFrom(parse_address("a@b.example"), auth="<>")),
        (b'MAIL FROM:<"a b>\\"c"@b.example>', MailFrom(parse_address('"a b>\\"c"@b.example'))),
        (b"MAIL FROM:<foo..bar@docomo.ne.jp>", MailFrom(parse_address("foo..bar@docomo.ne.jp"))),
        (b"MAIL FROM:<foo.@ezweb.ne.jp>", MailFrom(parse_address("foo.@ezweb.ne.jp"))),
    ],
)
def test_a_valid_mail_command_gives_its_sender(line, event):
    peer = greeted_peer()
    assert peer.say(line + b"\r\n").startswith(b"250 2.1.0 ")
    assert peer.events[-1] == event


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"MAIL", b"501 "),
        (b"MAIL FROM:", b"553 5.1.7"),
        (b"MAIL FROM:a@b.example", b"553 5.1.7"),
        (b"MAIL FROM:<a@b.example", b"553 5.1.7"),
        (b"MAIL FROM:<a@b.example>SIZE=1", b"553 5.1.7"),
        (b"MAIL FROM:<@x.example:>", b"553 5.1.7"),
        (b"MAIL FROM:<a@[192.0.2.1]>", b"553 5.1.7"),
        (b"MAIL FROM:<a@b.example> SIZE=1 SIZE=1", b"501 "),
        (b"MAIL FROM:<a@b.example> SIZE=x", b"501 "),
        (b"MAIL FROM:<a@b.example> SIZE=" + b"1" * 21, b"501 "),
        (b"MAIL FROM:<a@b.example> BODY=BINARYMIME", b"501 "),
        (b"MAIL FROM:<a@b.example> " + b" ".join(b"X%d" % n for n in range(17)), b"501 "),
        (b"MAIL FROM:<\xe6\x97\xa5@b.example>", b"553 5.6.7"),
        (b"RCPT TO:<>", b"503 "),
    ],
)
def test_a_malformed_mail_command_is_refused_and_starts_nothing(line, answer):
    peer = greeted_peer()
    assert peer.say(line + b"\r\n").startswith(answer)
    assert peer.receiver.phase is Phase.READY


@pytest.mark.parametrize(
    ("line", "address"),
    [
        (b"RCPT TO:<c@d.example>", "c@d.example"),
        (b"rcpt to:<@x.example:c@d.example>", "c@d.example"),
        (b'RCPT TO:<"foo..bar"@docomo.ne.jp>', "foo..bar@docomo.ne.jp"),
        (b"RCPT TO:<postMaster>", None),
    ],
)
def test_a_valid_recipient_is_given(line, address):
    peer = greeted_peer()
    peer.say(b"MAIL FROM:<>\r\n")
    assert peer.say(line + b"\r\n").startswith(b"250 2.1.5 ")
    assert peer.events[-1] == RcptTo(None if address is None else parse_address(address))


@pytest.mark.parametrize(
    "line", [b"RCPT TO:<>", b"RCPT TO:<c>", b"RCPT TO:<c@d.example> NOTIFY=NEVER", b"RCPT FROM:<c@d.example>"]
)
def test_a_malformed_recipient_is_refused(line):
    peer = greeted_peer()
    peer.say(b"MAIL FROM:<>\r\n")
    assert peer.say(line + b"\r\n")[:1] == b"5"
    assert peer.receiver.phase is Phase.SENDER


@pytest.mark.parametrize(("size", "answer"), [(1000, b"250 "), (1001, b"552 5.3.4 ")])
def test_an_announced_size_past_the_limit_is_refused_at_mail(size, answer):
    peer = greeted_peer(limits=Limits(message_bytes=1000))
    assert peer.say(b"MAIL FROM:<a@b.example> SIZE=%d\r\n" % size).startswith(answer)


# --- limits ---


@pytest.mark.parametrize(
    ("head", "limit"), [(b"NOOP ", 512), (b"MAIL FROM:<", 2048), (b"RCPT TO:<", 2048), (b"AUTH PLAIN ", 12288)]
)
def test_a_line_of_the_limit_is_read_and_one_octet_more_is_not(head, limit):
    for length, long in ((limit, False), (limit + 1, True)):
        line = head + b"x" * (length - len(head) - 2) + b"\r\n"
        for cuts in ([], [limit - 2], [limit - 1], [limit], [1, limit // 2], [length - 1]):
            peer = greeted_peer(mechanisms=("PLAIN",), tls_active=True)
            answer = peer.say_split(line, cuts)
            assert (b"too long" in answer) is long
            assert answer.count(b"\r\n") == 1
            assert peer.say(b"NOOP\r\n").startswith(b"250 ")


def test_a_line_without_end_is_not_kept_and_ends_the_session():
    peer = Peer()
    answer = b""
    for _ in range(100):
        answer += peer.say(b"x" * 1000)
        assert len(peer.receiver._inbox) < 512
    assert answer.startswith(b"500 5.5.2 ")
    assert answer.count(b"\r\n") == 1
    assert peer.receiver.closed


@pytest.mark.parametrize(
    "line", [b"NOOP\n", b"NO\rOP\r\n", b"NOOP\r\r\n", b"\n", b"EHLO a\nMAIL FROM:<>\r\n", b"x" * 600 + b"\n"]
)
def test_a_bare_newline_in_a_command_ends_the_session(line):
    peer = greeted_peer()
    answer = peer.say(line + b"NOOP\r\n")
    assert answer.startswith(b"500 5.5.2 ")
    assert answer.count(b"\r\n") == 1
    assert peer.receiver.closed
    assert peer.failure is not None


@pytest.mark.parametrize("line", [b"NO\0OP", b"NOOP \x1b", b"\xff\xfe", b"", b" NOOP"])
def test_a_command_that_is_not_printable_ascii_is_refused(line):
    peer = greeted_peer()
    assert peer.say(line + b"\r\n").startswith(b"500 5.5.2 ")
    assert not peer.receiver.closed


def test_the_recipient_past_the_limit_is_deferred_and_the_others_stay():
    peer = greeted_peer(limits=Limits(recipients=100))
    peer.say(b"MAIL FROM:<>\r\n")
    assert peer.say(b"RCPT TO:<c@d.example>\r\n" * 100).count(b"250 ") == 100
    assert peer.say(b"RCPT TO:<c@d.example>\r\n").startswith(b"452 4.5.3 ")
    assert peer.say(b"DATA\r\n").startswith(b"354 ")


def test_refused_recipients_past_the_limit_end_the_session():
    peer = greeted_peer(limits=Limits(recipients=1, refused_recipients=5))
    peer.say(b"MAIL FROM:<>\r\n")
    answers = peer.say(b"RCPT TO:<c@d.example>\r\n" * 10).split(b"\r\n")
    assert [line[:3] for line in answers[:-1]] == [b"250"] + [b"452"] * 5 + [b"421"]
    assert peer.receiver.closed


def test_bad_commands_past_the_limit_end_the_session():
    peer = Peer(limits=Limits(bad_commands=10))
    assert peer.say(b"FOO\r\n" * 10).count(b"500 ") == 10
    assert not peer.receiver.closed
    assert peer.say(b"FOO\r\nNOOP\r\n") == codes.TOO_MANY_ERRORS.render()
    assert peer.events[-1] == CommandRefused("FOO", codes.TOO_MANY_ERRORS)
    assert peer.receiver.closed


def test_idle_commands_past_the_limit_end_the_session_and_a_message_starts_the_count_anew():
    peer = peer_in_data(limits=Limits(idle_commands=5))
    peer.say(b"x\r\n.\r\n")
    assert peer.say(b"NOOP\r\n" * 5).count(b"250 ") == 5
    assert peer.say(b"RSET\r\n").startswith(b"421 ")
    assert peer.receiver.closed


def test_refused_senders_past_the_limit_end_the_session():
    receiver = greeted_peer(limits=Limits(idle_commands=5)).receiver  # EHLO was the first
    for _ in range(5):
        assert not receiver.closed
        receiver.receive_data(b"MAIL FROM:<a@b.example>\r\n")
        receiver.next_event()
        receiver.reject(reply(550, Status.NOT_AUTHORISED, "No"))
    assert receiver.closed
    assert receiver.data_to_send().count(b"550 ") == 4


def test_more_sent_ahead_than_the_limit_ends_the_session():
    receiver = SmtpReceiver(HOSTNAME, Role.MX, limits=Limits(inbox_bytes=1000))
    receiver.greet()
    receiver.receive_data(b"EHLO c.example\r\n")
    receiver.next_event()
    receiver.receive_data(b"NOOP\r\n" * 166)
    assert not receiver.closed
    receiver.receive_data(b"NOOP\r\n")
    assert receiver.closed
    receiver.accept_hello()  # the answer comes too late, and does nothing
    assert receiver.data_to_send().count(b"421 ") == 1


# --- pipelining ---


def test_replies_to_a_group_of_commands_come_in_order_however_bytes_are_split():
    group = b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<bad>\r\nNOOP\r\nDATA\r\n"
    for first in range(len(group)):
        for second in range(first, len(group), 5):
            peer = greeted_peer()
            answers = peer.say_split(group, [first, second]).split(b"\r\n")
            assert [line[:3] for line in answers[:-1]] == [b"250", b"250", b"553", b"250", b"354"]


def test_a_message_sent_before_354_is_refused_and_none_of_it_is_obeyed():
    peer = greeted_peer()
    answer = peer.say(b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nSubject: x\r\n\r\n.\r\nQUIT\r\n")
    assert answer.endswith(codes.SYNCHRONISATION.render())
    assert peer.receiver.closed
    assert peer.messages == []
    assert not any(isinstance(event, DataChunk) for event in peer.events)


def test_bytes_that_come_while_data_is_being_decided_are_refused():
    receiver = SmtpReceiver(HOSTNAME, Role.MX)
    peer = Peer()
    peer.receiver = receiver
    receiver.greet()
    peer.say(ORDER["recipients"])
    receiver.receive_data(b"DATA\r\n")
    receiver.next_event()
    receiver.receive_data(b"Subject: early\r\n")
    receiver.accept_data()
    assert receiver.data_to_send() == codes.SYNCHRONISATION.render()
    assert receiver.closed


def test_commands_may_follow_the_final_dot_at_once():
    peer = peer_in_data()
    answers = peer.say(b"x\r\n.\r\n" + b"MAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n").split(b"\r\n")
    assert [line[:3] for line in answers[:-1]] == [b"250", b"250", b"250", b"354"]


# --- STARTTLS ---


def test_what_is_sent_behind_starttls_in_clear_is_never_obeyed():
    for command in (b"EHLO evil.example\r\n", b"MAIL FROM:<>\r\n", b"x"):
        peer = greeted_peer(tls_offered=True)
        answer = peer.say(b"STARTTLS\r\n" + command)
        assert answer == codes.SYNCHRONISATION.render()
        assert peer.receiver.closed
        peer.receiver.tls_established()
        assert peer.say(b"") == b""
        assert not any(isinstance(event, StartTls) for event in peer.events)


def test_what_comes_in_clear_after_220_ends_the_session():
    peer = greeted_peer(tls_offered=True)
    assert peer.say(b"STARTTLS\r\n").startswith(b"220 2.0.0 ")
    assert peer.say(b"NOOP\r\n") == b""
    assert peer.failure is not None
    assert peer.receiver.closed


def test_after_the_handshake_everything_said_before_is_forgotten():
    peer = greeted_peer(tls_offered=True)
    peer.say(b"STARTTLS\r\n")
    peer.receiver.tls_established()
    assert peer.say(b"MAIL FROM:<>\r\n").startswith(b"503 ")
    assert b"STARTTLS" not in peer.say(b"EHLO c.example\r\n")
    assert peer.say(b"STARTTLS\r\n").startswith(b"503 ")


def test_starttls_is_not_implemented_where_it_is_not_offered():
    assert greeted_peer().say(b"STARTTLS\r\n").startswith(b"502 ")


def test_starttls_in_a_transaction_is_out_of_order():
    peer = greeted_peer(tls_offered=True)
    peer.say(b"MAIL FROM:<>\r\n")
    assert peer.say(b"STARTTLS\r\n").startswith(b"503 ")


# --- AUTH ---


def submission_peer(**limits: int) -> Peer:
    return greeted_peer(**SUBMISSION, tls_active=True, limits=Limits(**limits))


def test_submission_takes_no_mail_before_tls_and_authentication():
    peer = greeted_peer(**SUBMISSION)
    assert peer.say(b"MAIL FROM:<>\r\n").startswith(b"530 5.7.0 Issue STARTTLS")
    assert peer.say(b"AUTH PLAIN AAAA\r\n").startswith(b"538 5.7.11 ")
    peer.say(b"STARTTLS\r\n")
    peer.receiver.tls_established()
    assert b"AUTH PLAIN LOGIN" in peer.say(b"EHLO c.example\r\n")
    assert peer.say(b"MAIL FROM:<>\r\n").startswith(b"530 5.7.0 Auth")
    assert peer.say(b"AUTH PLAIN AAAA\r\n").startswith(b"235 2.7.0 ")
    assert peer.events[-1] == AuthStart("PLAIN", b"AAAA")
    assert peer.say(b"MAIL FROM:<>\r\n").startswith(b"250 ")


def test_an_mx_offers_no_authentication():
    assert greeted_peer().say(b"AUTH PLAIN AAAA\r\n").startswith(b"502 ")


def test_a_challenge_is_answered_by_one_line():
    receiver = submission_peer().receiver
    receiver.receive_data(b"AUTH login\r\n")
    assert receiver.next_event() == AuthStart("LOGIN", None)
    receiver.challenge(b"VXNlcm5hbWU6")
    assert receiver.data_to_send() == b"334 VXNlcm5hbWU6\r\n"
    receiver.receive_data(b"dXNlcg==\r\n")
    assert receiver.next_event() == AuthLine(b"dXNlcg==")
    receiver.reject(codes.AUTH_INVALID)
    assert receiver.data_to_send().startswith(b"535 5.7.8 ")
    assert receiver.phase is Phase.READY


def test_failed_authentications_past_the_limit_end_the_session():
    receiver = submission_peer(auth_failures=3).receiver
    for _ in range(3):
        assert not receiver.closed
        receiver.receive_data(b"AUTH PLAIN AAAA\r\n")
        receiver.next_event()
        receiver.reject(codes.AUTH_INVALID)
    assert receiver.closed
    assert receiver.data_to_send().endswith(codes.TOO_MANY_ERRORS.render())


@pytest.mark.parametrize(
    ("line", "answer"), [(b"AUTH CRAM-MD5", b"504 "), (b"AUTH", b"501 "), (b"AUTH PLAIN !", b"501 ")]
)
def test_an_auth_command_that_cannot_be_served_is_refused(line, answer):
    assert submission_peer().say(line + b"\r\n").startswith(answer)


def test_a_second_authentication_is_out_of_order():
    peer = submission_peer()
    peer.say(b"AUTH PLAIN AAAA\r\n")
    assert peer.say(b"AUTH PLAIN AAAA\r\n").startswith(b"503 ")


def test_what_follows_auth_before_its_reply_is_refused():
    peer = submission_peer()
    assert peer.say(b"AUTH PLAIN AAAA\r\nMAIL FROM:<>\r\n") == codes.SYNCHRONISATION.render()


def test_passwords_do_not_show_in_events():
    assert "c2VjcmV0" not in repr([AuthStart("PLAIN", b"c2VjcmV0"), AuthLine(b"c2VjcmV0")])


# --- answers, and anything at all ---


def test_an_answer_to_nothing_is_our_bug():
    receiver = greeted_peer().receiver
    for answer in (receiver.accept_mail, receiver.accept_data, receiver.accept_message, receiver.accept_tls):
        with pytest.raises(ValueError):
            answer()
    with pytest.raises(ValueError):
        receiver.reject(codes.OK)


def test_a_rejected_message_leaves_the_session_ready():
    receiver = peer_in_data().receiver
    receiver.receive_data(b"x\r\n.\r\n")
    receiver.next_event()
    receiver.next_event()
    receiver.reject(reply(451, Status.SYSTEM_BUSY, "Try again"))
    assert receiver.data_to_send() == b"451 4.3.0 Try again\r\n"
    assert receiver.phase is Phase.READY


def test_421_as_an_answer_ends_the_session():
    receiver = greeted_peer().receiver
    receiver.receive_data(b"MAIL FROM:<>\r\n")
    receiver.next_event()
    receiver.reject(codes.SHUTTING_DOWN)
    assert receiver.closed


WORDS = st.sampled_from(
    [verb.encode() for verb in COMMANDS]
    + [b" ", b"\r\n", b"\n", b"\r", b".", b"\0", b"FROM:<>", b"TO:<a@b.example>", b" SIZE=5", b" c.example", b" PLAIN"]
)


@given(st.lists(st.one_of(WORDS, st.binary(max_size=40)), max_size=40), st.booleans())
def test_random_bytes_raise_nothing_but_peer_errors(pieces, authenticated):
    peer = Peer(**SUBMISSION, tls_active=authenticated) if authenticated else Peer(tls_offered=True)
    for piece in pieces:
        for line in peer.say(piece).split(b"\r\n")[:-1]:
            assert line[:3].isdigit()
            assert len(line) <= 510


@given(st.lists(WORDS, max_size=40), st.lists(st.integers(0, 300), max_size=5))
def test_commands_give_the_same_replies_however_they_are_split(pieces, cuts):
    stream = b"".join(pieces).replace(b"DATA", b"NOOP").replace(b"STARTTLS", b"RSET")
    whole, split = Peer(), Peer()
    assert split.say_split(stream, [cut % (len(stream) + 1) for cut in cuts]) == whole.say(stream)
    assert split.events == whole.events


# --- the page ---

PAGE = (Path(__file__).parents[2] / "docs" / "smtp.md").read_text()


def test_the_page_has_the_diagram_of_the_table():
    assert f"```mermaid\n{state_diagram()}\n```" in PAGE


def test_the_page_has_every_limit_with_its_default():
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE))
    assert rows == {field.name: str(field.default) for field in dataclasses.fields(Limits)}


def test_the_limits_are_at_least_what_the_standard_asks():
    # RFC 5321 section 4.5.3.1, RFC 4954 section 4
    limits = Limits()
    assert (limits.command_line, limits.text_line, limits.auth_line) == (512, 1000, 12288)
    assert limits.recipients >= 100
    assert limits.parameter_line >= 512 + 500 + 26 + 17
    assert limits.message_bytes >= 65536
