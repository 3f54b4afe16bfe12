"""DSN and SMTPUTF8 on the way out: what is passed on, what is told to the sender, what cannot be sent."""

from pathlib import Path

import pytest
from tests.courier.cell import TEXT
from tests.courier.test_courier import notice, run, statuses, world

from bulkhead.wire.smtp_codes import Reply
from bulkhead.wire.smtp_notify import Notify, Wish

SUCCESS = Wish(Notify.SUCCESS, "rfc822;Alias@kddi.example")
FAR = "a@far.example"


def test_wishes_go_to_a_server_that_knows_dsn_and_the_sender_is_not_told_twice(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.dsn = True
            await cell.send(FAR, "b@far.example", wishes=[SUCCESS, Wish(Notify.NEVER)], ret="HDRS", envid="id+2B1")
            await cell.until(lambda c: c.messages == 0)
            (mail,), (first, second) = one.mails, one.rcpts
            assert (mail.ret and mail.ret.value, mail.envid) == ("HDRS", "id+2B1")
            assert (first.wish, second.wish) == (SUCCESS, Wish(Notify.NEVER))
            assert cell.inbox == []

    run(test)


def test_a_sender_who_wishes_it_is_told_that_a_server_without_dsn_has_the_message(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            await cell.send(FAR, "b@far.example", wishes=[SUCCESS, Wish(Notify.FAILURE)], envid="id+2B1")
            await cell.until(lambda c: c.messages == 0)
            assert one.rcpts[0].wish == Wish()
            text = statuses(cell)
            assert "Action: relayed" in text and "Original-Recipient: rfc822; Alias@kddi.example" in text
            assert "Original-Envelope-Id: id+1" in text and "b@far.example" not in text
            assert notice(cell).get_payload()[2].get_content_type() == "text/rfc822-headers"

    run(test)


def test_delivery_into_a_mailbox_here_is_told_as_such(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, _, _):
            await cell.send("sender@kddi.example", wishes=[Wish(Notify.SUCCESS | Notify.FAILURE)])
            await cell.until(lambda c: c.messages == 0)
            assert [b"Action: delivered" in message for message in cell.inbox] == [False, True]

    run(test)


@pytest.mark.parametrize("notify", [Notify.NEVER, Notify.SUCCESS, Notify.DELAY])
def test_a_failure_that_nobody_wishes_to_hear_of_is_not_told(tmp_path: Path, notify: Notify) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.recipients[FAR] = Reply(550, "5.1.1", ("no",))
            await cell.send(FAR, wishes=[Wish(notify)])
            await cell.until(lambda c: c.failed == 1)
            assert cell.inbox == []

    run(test)


@pytest.mark.parametrize(("notify", "told"), [(Notify.FAILURE, 0), (Notify.DELAY, 1), (Notify.UNSAID, 1)])
def test_a_delay_is_told_to_those_who_wish_it_or_said_nothing(tmp_path: Path, notify: Notify, told: int) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.recipients[FAR] = two.recipients[FAR] = Reply(450, "4.2.0", ("later",))
            await cell.send(FAR, wishes=[Wish(notify)])
            await cell.attempted()
            await cell.retry(5 * 3600)
            assert [b"Action: delayed" in message for message in cell.inbox] == [True] * told

    run(test)


@pytest.mark.parametrize(("ret", "whole"), [("FULL", True), ("HDRS", False), ("", False)])
def test_a_failure_returns_the_whole_message_where_ret_says_so(tmp_path: Path, ret: str, whole: bool) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.message = Reply(554, "5.6.0", ("no",))
            await cell.send(FAR, ret=ret)
            await cell.until(lambda c: c.failed == 1)
            part = notice(cell).get_payload()[2]
            assert (part.get_content_type() == "message/rfc822") is whole
            assert (TEXT in cell.inbox[0]) is whole

    run(test)


def test_the_null_reverse_path_is_told_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, _, _):
            await cell.send(FAR, wishes=[SUCCESS], sender="")
            await cell.until(lambda c: c.messages == 0)
            assert cell.inbox == [] and cell.courier.dropped == 0

    run(test)


# --- SMTPUTF8 (RFC 6531) ---


def test_an_internationalized_message_goes_to_a_server_that_takes_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            text = "Subject: 件名\r\n\r\nx\r\n".encode()
            await cell.send("日本@far.example", text=text, utf8=True)
            await cell.until(lambda c: c.messages == 0)
            assert one.mails[0].utf8
            assert (one.taken[0].recipients, one.taken[0].text) == (("日本@far.example",), text)

    run(test)


def test_what_needs_smtputf8_is_returned_by_name_where_the_server_has_it_not(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.without = frozenset({"SMTPUTF8"})
            await cell.send("日本@far.example", FAR, utf8=True, wishes=[Wish(original="utf-8;日@kddi.example"), Wish()])
            counts = await cell.until(lambda c: c.messages == 0)
            assert (counts.delivered, counts.failed) == (1, 1)
            assert not one.mails[0].utf8
            message = cell.inbox[0]
            assert b"report-type=global-delivery-status" in message
            assert b"Content-Type: message/global-delivery-status\r\n" in message
            assert "Final-Recipient: utf-8; 日本@far.example\r\n".encode() in message
            assert "Original-Recipient: utf-8; 日@kddi.example\r\n".encode() in message
            assert b"Status: 5.6.7\r\n" in message

    run(test)


def test_a_utf8_header_needs_smtputf8_where_the_message_was_sent_with_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.without = frozenset({"SMTPUTF8"})
            text = "Subject: 件名\r\n\r\nx\r\n".encode()
            await cell.send(FAR, text=text, utf8=True)
            await cell.until(lambda c: c.failed == 1)
            await cell.send(FAR, text=text)  # as clients that never heard of it send 8-bit headers
            await cell.until(lambda c: c.delivered == 1)
            assert one.taken[0].text == text
            assert b"Content-Type: message/global-headers\r\n" in cell.inbox[0]

    run(test)
