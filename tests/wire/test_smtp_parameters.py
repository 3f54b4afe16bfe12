"""SMTPUTF8, DSN and LIMITS: what MAIL and RCPT take, and what EHLO promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.smtp_peer import Peer

from bulkhead.errors import PeerError
from bulkhead.identifiers import parse_address
from bulkhead.wire.smtp_codes import Limits
from bulkhead.wire.smtp_events import MailFrom, RcptTo
from bulkhead.wire.smtp_notify import (
    Notify,
    Return,
    Wish,
    check_envid,
    check_original,
    original_recipient,
    parse_notify,
    seven_bit,
    xtext,
)

NAME = "日本@kddi.example"


def greeted(**settings: object) -> Peer:
    peer = Peer(**settings)  # type: ignore[arg-type]
    peer.say(b"EHLO client.example\r\n")
    return peer


def keywords(peer: Peer) -> list[str]:
    return [line[4:] for line in peer.say(b"EHLO client.example\r\n").decode().splitlines()][1:]


# --- SMTPUTF8 (RFC 6531) ---


def test_a_utf8_address_is_taken_with_the_parameter_and_refused_without():
    peer = greeted()
    assert peer.say(f"MAIL FROM:<{NAME}>\r\n".encode()).startswith(b"553 5.6.7 ")
    assert peer.say(f"MAIL FROM:<{NAME}> BODY=8BITMIME SMTPUTF8\r\n".encode()).startswith(b"250 ")
    assert peer.say(f"RCPT TO:<{NAME}>\r\n".encode()).startswith(b"250 ")
    mail, rcpt = (event for event in peer.events if isinstance(event, MailFrom | RcptTo))
    assert isinstance(mail, MailFrom) and mail.utf8 and mail.reverse_path == parse_address(NAME)
    assert isinstance(rcpt, RcptTo) and rcpt.address == parse_address(NAME)


def test_the_parameter_holds_for_one_transaction():
    peer = greeted()
    peer.say(b"MAIL FROM:<> SMTPUTF8\r\nRSET\r\nMAIL FROM:<>\r\n")
    assert peer.say(f"RCPT TO:<{NAME}>\r\n".encode()).startswith(b"553 5.6.7 ")


def test_a_domain_of_u_labels_is_its_a_labels():
    peer = greeted()
    peer.say(b"MAIL FROM:<> SMTPUTF8\r\n" + "RCPT TO:<a@例え.テスト>\r\n".encode())
    event = peer.events[-1]
    assert isinstance(event, RcptTo) and event.address is not None
    assert event.address.domain == "xn--r8jz45g.xn--zckzah"


def test_names_that_differ_only_in_composition_reach_one_mailbox():
    assert parse_address("e\u0301@kddi.example").key == parse_address("\u00c9@kddi.example").key


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"MAIL FROM:<a@b.example> SMTPUTF8=1", b"501 "),
        (b"MAIL FROM:<\xff@b.example> SMTPUTF8", b"553 5.6.7"),
        (b"NOOP \xe6\x97\xa5", b"500 "),
        (b"EHLO \xe6\x97\xa5.example", b"500 "),
        ("VRFY 日".encode(), b"553 5.6.7"),
        ("VRFY 日 SMTPUTF8".encode(), b"252 "),
        ("MAIL FROM:<a\u3000b@b.example> SMTPUTF8".encode(), b"500 "),
    ],
)
def test_utf8_elsewhere_or_malformed_is_refused(line, answer):
    assert greeted().say(line + b"\r\n").startswith(answer)


# --- LIMITS (RFC 9422) ---


def test_the_limits_told_are_those_that_hold():
    peer = greeted(limits=Limits(recipients=100, transactions=2))
    assert "LIMITS MAILMAX=2 RCPTMAX=100" in keywords(peer)
    for _ in range(2):
        assert peer.say(b"MAIL FROM:<a@b.example>\r\nRSET\r\n").count(b"250 ") == 2
    assert peer.say(b"MAIL FROM:<a@b.example>\r\n").startswith(b"421 ")
    assert peer.receiver.closed
    many = greeted(limits=Limits(recipients=101, recipients_promised=101))
    assert "LIMITS RCPTMAX=101" in keywords(many)
    many.say(b"MAIL FROM:<a@b.example>\r\n")
    answers = many.say(b"RCPT TO:<c@d.example>\r\n" * 102).splitlines()
    assert [line[:3] for line in answers] == [b"250"] * 101 + [b"452"]


# --- DSN (RFC 3461) ---


def test_dsn_parameters_are_taken_where_dsn_is_offered_and_nowhere_else():
    assert "DSN" not in keywords(greeted()) and "DSN" in keywords(greeted(dsn=True))
    assert greeted().say(b"MAIL FROM:<a@b.example> RET=HDRS\r\n").startswith(b"555 ")
    plain = greeted()
    plain.say(b"MAIL FROM:<a@b.example>\r\n")
    assert plain.say(b"RCPT TO:<c@d.example> NOTIFY=NEVER\r\n").startswith(b"555 ")
    peer = greeted(dsn=True)
    peer.say(b"MAIL FROM:<a@b.example> RET=full ENVID=QQ+2B314\r\n")
    peer.say(b"RCPT TO:<c@d.example> NOTIFY=success,DELAY ORCPT=rfc822;Bob+2Bx@example.com\r\n")
    mail, rcpt = (event for event in peer.events if isinstance(event, MailFrom | RcptTo))
    assert isinstance(mail, MailFrom) and (mail.ret, mail.envid) == (Return.FULL, "QQ+2B314")
    assert isinstance(rcpt, RcptTo)
    assert rcpt.wish == Wish(Notify.SUCCESS | Notify.DELAY, "rfc822;Bob+2Bx@example.com")


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<a@b.example> RET=BODY",
        b"MAIL FROM:<a@b.example> RET",
        b"MAIL FROM:<a@b.example> ENVID=",
        b"MAIL FROM:<a@b.example> ENVID=a+2",
        b"MAIL FROM:<a@b.example> ENVID=a+0A",
        b"MAIL FROM:<a@b.example> ENVID=" + b"x" * 101,
        b"MAIL FROM:<a@b.example> ENVID=a ENVID=b",
    ],
)
def test_malformed_parameters_of_mail_are_refused(line):
    assert greeted(dsn=True).say(line + b"\r\n").startswith(b"501 5.5.4")


@pytest.mark.parametrize(
    "parameter",
    [
        "NOTIFY=", "NOTIFY=NEVER,SUCCESS", "NOTIFY=SOMETIMES", "NOTIFY=SUCCESS,", "NOTIFY=DELAY,DELAY",
        "ORCPT=a@b.example", "ORCPT=;a", "ORCPT=rfc822;", "ORCPT=rfc822;a+zz", "ORCPT=rfc822;a+0D+0A",
        "ORCPT=utf-8;日@b.example",
        "ORCPT=utf-8;a\\x{D800}", "ORCPT=utf-8;a\\x{0A}", "ORCPT=utf-8;a\\b", "ORCPT=rfc822;" + "x" * 494,
    ],
)  # fmt: skip
def test_malformed_parameters_of_rcpt_are_refused(parameter):
    peer = greeted(dsn=True)
    peer.say(b"MAIL FROM:<a@b.example>\r\n")
    assert peer.say(f"RCPT TO:<c@d.example> {parameter}\r\n".encode())[:3] in (b"501", b"553")


def test_an_original_recipient_in_utf8_reads_the_same_in_both_forms():
    raw, embedded = "utf-8;日@b.example", "utf-8;\\x{65E5}@b.example"
    assert check_original(raw, utf8=True) == raw and check_original(embedded, utf8=False) == embedded
    assert original_recipient(raw) == original_recipient(embedded) == ("utf-8", "日@b.example")
    assert seven_bit(raw) == embedded


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("", {Notify.FAILURE, Notify.DELAY}),
        ("NEVER", set()),
        ("SUCCESS", {Notify.SUCCESS}),
        ("FAILURE,DELAY,SUCCESS", {Notify.FAILURE, Notify.DELAY, Notify.SUCCESS}),
    ],
)
def test_what_is_told_follows_the_wish(said, wanted):
    notify = parse_notify(said) if said else Notify.UNSAID
    assert {event for event in (Notify.SUCCESS, Notify.FAILURE, Notify.DELAY) if notify.wants(event)} == wanted
    assert not notify.render() or parse_notify(notify.render()) is notify or parse_notify(notify.render()) == notify


@given(st.text(max_size=520), st.booleans())
def test_any_text_is_an_original_recipient_or_a_peer_error(text, utf8):
    for check in (check_envid, parse_notify, lambda value: check_original(value, utf8=utf8)):
        try:
            check(text)
        except PeerError:
            continue
    try:
        kept = check_original(f"utf-8;{text}", utf8=True)
    except PeerError:
        return
    kind, address = original_recipient(kept)
    assert kind == "utf-8" and address and seven_bit(kept).isascii()


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30))
def test_xtext_says_what_was_written(text):
    encoded = "".join(c if c not in "+= " else f"+{ord(c):02X}" for c in text)
    assert xtext(encoded) == text and check_envid(encoded) == encoded
