"""Notifications and trace fields: their form, and that no fact from outside can break it."""

import email
import email.policy
import email.utils
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkhead.identifiers import parse_address, parse_domain
from bulkhead.wire.dsn import HEADER_MAX, Action, RecipientReport, Report, compose_notification
from bulkhead.wire.smtp_codes import Reply
from bulkhead.wire.trace import format_date, received_field, return_path_field, transmission_type

JST = timezone(timedelta(hours=9))
THEN = datetime(2026, 6, 1, 8, 5, 9, tzinfo=JST)
NOW = THEN + timedelta(hours=4)
MTA = parse_domain("courier.stnet.example")
HEADER = b"From: a@stnet.example\r\nSubject: hello\r\n\r\n"
BOUNDARY = "b0123456789abcdef"
GONE = RecipientReport(
    parse_address("foo..bar@kddi.example"),
    "5.1.1",
    "the server refused the recipient",
    Reply(550, "5.1.1", ("no such", "mailbox")),
    parse_domain("mx.kddi.example"),
    NOW,
)


def notification(action=Action.FAILED, recipients=(GONE,), header=HEADER, **facts):
    report = Report(action, MTA, parse_address("a@stnet.example"), tuple(recipients), THEN, header, **facts)
    return compose_notification(report, date=NOW, message_id="1@courier.stnet.example", boundary=BOUNDARY)


def parsed(text: bytes):
    return email.message_from_bytes(text, policy=email.policy.default)


def test_a_failure_is_a_report_of_three_parts_to_the_sender_from_nobody():
    notice = notification()
    message = parsed(notice.text)
    assert (notice.reverse_path, str(notice.recipient)) == (None, "a@stnet.example")
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["To"] == "a@stnet.example"
    assert message["Date"] == "Mon, 01 Jun 2026 12:05:09 +0900"
    kinds = [part.get_content_type() for part in message.iter_parts()]
    assert kinds == ["text/plain", "message/delivery-status", "text/rfc822-headers"]
    assert message.defects == []


def test_the_status_part_names_mta_recipient_and_diagnostic():
    text = notification(envelope_id="QQ314159").text
    status = text.split(b"Content-Type: message/delivery-status\r\n\r\n")[1].split(b"\r\n--")[0]
    assert status == (
        b"Reporting-MTA: dns; courier.stnet.example\r\n"
        b"Original-Envelope-Id: QQ314159\r\n"
        b"Arrival-Date: Mon, 1 Jun 2026 08:05:09 +0900\r\n"
        b"\r\n"
        b'Final-Recipient: rfc822; "foo..bar"@kddi.example\r\n'
        b"Action: failed\r\n"
        b"Status: 5.1.1\r\n"
        b"Remote-MTA: dns; mx.kddi.example\r\n"
        b"Diagnostic-Code: smtp; 550 5.1.1 no such mailbox\r\n"
        b"Last-Attempt-Date: Mon, 1 Jun 2026 12:05:09 +0900\r\n"
    )


def test_a_delay_says_until_when_it_is_tried():
    later = RecipientReport(parse_address("b@kddi.example"), "4.4.1", "connection refused")
    text = notification(Action.DELAYED, [later, later], retry_until=NOW).text
    assert text.count(b"Action: delayed\r\n") == 2
    assert text.count(b"Will-Retry-Until: Mon, 1 Jun 2026 12:05:09 +0900\r\n") == 2
    assert b"Diagnostic-Code: x-bulkhead; connection refused\r\n" in text


def test_the_explanation_is_in_english_and_japanese():
    explanation = next(parsed(notification().text).iter_parts()).get_content()
    assert "could not be delivered" in explanation
    assert "配信できませんでした" in explanation
    assert '<"foo..bar"@kddi.example>' in explanation


def test_only_the_header_of_the_original_comes_back():
    text = notification().text
    assert text.endswith(
        b"Content-Type: text/rfc822-headers\r\n\r\n"
        b"From: a@stnet.example\r\nSubject: hello\r\n\r\n--" + BOUNDARY.encode() + b"--\r\n"
    )


def test_a_long_header_comes_back_cut_at_a_line():
    header = b"".join(b"X-%06d: %s\r\n" % (n, b"v" * 60) for n in range(2000))
    text = notification(header=header).text
    assert len(text) < HEADER_MAX + 3000
    assert b"v\r\n\r\n--" in text


def test_an_8_bit_header_comes_back_quoted_printable():
    header = "Subject: 日本語\r\nX: =\r\n".encode()
    part = list(parsed(notification(header=header).text).iter_parts())[2]
    assert part["Content-Transfer-Encoding"] == "quoted-printable"
    assert part.get_payload(decode=True).replace(b"\r\n", b"\n") == header.replace(b"\r\n", b"\n")


def test_an_address_that_is_not_ascii_is_escaped():
    recipient = RecipientReport(parse_address("日@kddi.example"), "5.6.7", "needs SMTPUTF8")
    assert b"Final-Recipient: utf-8; \\x{65E5}@kddi.example\r\n" in notification(recipients=[recipient]).text


@given(st.binary(max_size=300), st.text(max_size=1500), st.lists(st.text(max_size=1500), min_size=1, max_size=3))
def test_nothing_from_outside_breaks_the_form(header, reason, lines):
    recipient = RecipientReport(GONE.address, "5.0.0", reason, Reply(550, "", tuple(lines)))
    text = notification(recipients=[recipient], header=header).text
    assert text.isascii()
    assert b"\0" not in text
    assert text.count(b"\r\n") == text.count(b"\r") == text.count(b"\n")
    assert all(len(line) <= 998 for line in text.split(b"\r\n"))
    assert text.count(b"--" + BOUNDARY.encode()) == 4
    assert text.split(b"\r\n\r\n")[0].count(b"\r\nTo:") == 1
    assert text.count(b"\r\nAction: ") == 1


@pytest.mark.parametrize("boundary", ["short", "x" * 71, 'quote"quote"quote"', "a b a b a b a b a b"])
def test_a_boundary_that_is_not_usable_is_our_bug(boundary):
    report = Report(Action.FAILED, MTA, GONE.address, (GONE,), THEN, HEADER)
    with pytest.raises(ValueError):
        compose_notification(report, date=NOW, message_id="1@x", boundary=boundary)


def test_a_report_about_nobody_or_without_status_is_our_bug():
    for recipients in ([], [RecipientReport(GONE.address, "", "x")]):
        with pytest.raises(ValueError):
            notification(recipients=recipients)


# --- trace fields ---


def received(**facts):
    given_facts = {
        "hello": "client.example",
        "client": IPv4Address("192.0.2.1"),
        "by": parse_domain("mx.kddi.example"),
        "transmission": "ESMTPS",
        "queue_id": "abc",
        "date": THEN,
    }
    return received_field(**(given_facts | facts))


def test_a_received_field_has_its_clauses_in_the_order_of_the_standard():
    name, recipient = parse_domain("host.example"), parse_address("b@kddi.example")
    assert received(client_name=name, cipher="TLS_AES_256_GCM_SHA384", recipient=recipient) == (
        b"Received: from client.example (host.example [192.0.2.1])\r\n"
        b"\tby mx.kddi.example with ESMTPS id abc tls TLS_AES_256_GCM_SHA384\r\n"
        b"\tfor <b@kddi.example>;\r\n"
        b"\tMon, 1 Jun 2026 08:05:09 +0900\r\n"
    )


def test_a_received_field_marks_ipv6_and_can_keep_the_client_to_itself():
    assert b"([IPv6:2001:db8::1])\r\n" in received(client=IPv6Address("2001:db8::1"))
    assert received(client=None).startswith(b"Received: from client.example\r\n")


@given(st.text(max_size=300), st.text(max_size=40))
def test_no_client_name_breaks_a_received_field(hello, queue_id):
    field = received(hello=hello, queue_id=queue_id)
    assert field.count(b"\r\n") == 3
    assert field.count(b"\n") == field.count(b"\r") == 3
    assert field.count(b";") == field.count(b"(") == 1


@pytest.mark.parametrize(
    ("extended", "tls", "authenticated", "keyword"),
    [
        (False, True, False, "SMTP"),
        (True, False, False, "ESMTP"),
        (True, True, False, "ESMTPS"),
        (True, False, True, "ESMTPA"),
        (True, True, True, "ESMTPSA"),
    ],
)
def test_the_transmission_type_tells_tls_and_authentication(extended, tls, authenticated, keyword):
    assert transmission_type(extended=extended, tls=tls, authenticated=authenticated) == keyword
    utf8 = keyword.replace("ESMTP", "UTF8SMTP")
    assert transmission_type(extended=extended, tls=tls, authenticated=authenticated, utf8=True) == utf8


def test_return_path_is_the_reverse_path():
    assert return_path_field(None) == b"Return-Path: <>\r\n"
    assert return_path_field(parse_address("foo..bar@kddi.example")) == b'Return-Path: <"foo..bar"@kddi.example>\r\n'


ZONES = st.sampled_from([UTC, JST, timezone(-timedelta(hours=3, minutes=30))])


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=ZONES))
@example(datetime(1970, 1, 1, microsecond=1, tzinfo=JST))  # before the epoch by the clock of UTC
@example(datetime(9999, 12, 31, 12, 0, 59, 999_999, tzinfo=UTC))  # more digits than a float of seconds has
def test_a_date_is_read_back_as_the_same_moment(moment):
    assert email.utils.parsedate_to_datetime(format_date(moment)) == moment.replace(microsecond=0)


def test_a_date_without_time_zone_is_our_bug():
    with pytest.raises(ValueError):
        format_date(THEN.replace(tzinfo=None))
