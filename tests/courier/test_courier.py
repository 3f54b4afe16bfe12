"""courier end to end: real queue, real dialer, real SMTP servers on loopback."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.courier.cell import OWN, TEXT, Cell, opened
from tests.courier.mail_server import MailServer, server_context

from bulkhead.boundary.messages.to_queue import Outcome, ReportAttempt
from bulkhead.boundary.messages.to_resolver import MailHost, MailHosts, MailHostsVerdict
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.queue import handle
from bulkhead.wire.smtp_codes import Reply

ONE, TWO = "127.0.0.11", "127.0.0.12"
DAY = 86_400


@asynccontextmanager
async def world(folder: Path, **settings: Any) -> AsyncIterator[tuple[Cell, MailServer, MailServer]]:
    """A cell and two servers on one port; far.example leads to the first, then the second."""
    one, two = MailServer(), MailServer()
    port = await one.open(ONE)
    await two.open(TWO, port)
    async with opened(folder, port, **settings) as cell:
        cell.at("far.example", ONE, TWO)
        yield cell, one, two
    await one.close()
    await two.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(test(), 60)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as in the front image
        runner.run(within())


def notice(cell: Cell) -> Any:
    """The one notification in the sender's mailbox."""
    assert len(cell.inbox) == 1
    return email.message_from_bytes(cell.inbox[0], policy=email.policy.default)


def statuses(cell: Cell) -> str:
    return str(notice(cell).get_payload()[1].as_string())


def test_a_message_arrives_as_it_was_and_leaves_the_queue(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            await cell.send("a@far.example", "b@far.example")
            counts = await cell.until(lambda c: c.delivered == 2 and not c.messages)
            await cell.attempted()
            (taken,) = one.taken
            assert (taken.reverse_path, taken.recipients) == ("sender@kddi.example", ("a@far.example", "b@far.example"))
            assert (taken.text, taken.tls) == (TEXT, False)
            assert (two.connections, counts.messages, cell.queue.files(), cell.inbox) == (0, 0, [], [])

    run(test)


def test_a_large_message_arrives_whole(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            text = b"Subject: large\r\n\r\n" + b"".join(b".%064d\r\n" % line for line in range(60_000))
            await cell.send("a@far.example", text=text)
            await cell.until(lambda c: c.delivered == 1)
            assert one.taken[0].text == text

    run(test)


def test_starttls_is_used_where_offered_though_nobody_vouches_for_the_certificate(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.tls = server_context(tmp_path)
            await cell.send("a@far.example")
            await cell.until(lambda c: c.delivered == 1)
            assert one.taken[0].tls

    run(test)


def test_where_the_handshake_fails_the_same_host_is_tried_in_clear(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.tls, one.breaks_handshake = server_context(tmp_path), True
            await cell.send("a@far.example")
            await cell.until(lambda c: c.delivered == 1)
            assert (one.connections, one.taken[0].tls, two.connections) == (2, False, 0)

    run(test)


def test_what_a_server_says_in_clear_behind_starttls_is_not_believed(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.tls, one.injects = server_context(tmp_path), b"250 injected\r\n"
            await cell.send("a@far.example")
            await cell.until(lambda c: c.delivered == 1)
            assert (one.taken, len(two.taken)) == ([], 1)

    run(test)


def test_one_refused_recipient_of_two_is_bounced_and_the_other_delivered(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.recipients["b@far.example"] = Reply(550, "5.1.1", ("no such user here",))
            await cell.send("a@far.example", "b@far.example")
            counts = await cell.until(lambda c: c.messages == 0)
            assert (counts.delivered, counts.failed) == (1, 1)
            assert one.taken[0].recipients == ("a@far.example",)
            text = statuses(cell)
            assert "b@far.example" in text
            assert "a@far.example" not in text
            assert "Status: 5.1.1" in text
            assert "no such user here" in text
            assert cell.inbox[0].startswith(b"Return-Path: <>\r\n")
            assert notice(cell).get_payload()[2].get_payload().startswith("From: s@kddi.example")

    run(test)


def test_a_refusal_of_the_text_fails_every_recipient(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.message = Reply(554, "5.7.1", ("spam",))
            await cell.send("a@far.example", "b@far.example")
            assert (await cell.until(lambda c: c.messages == 0)).failed == 2
            assert two.connections == 0
            assert statuses(cell).count("Status: 5.7.1") == 2

    run(test)


def test_a_deferred_recipient_is_offered_to_the_second_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.recipients["a@far.example"] = Reply(450, "4.2.0", ("later",))
            await cell.send("a@far.example", "b@far.example")
            await cell.until(lambda c: c.delivered == 2)
            assert one.taken[0].recipients == ("b@far.example",)
            assert two.taken[0].recipients == ("a@far.example",)

    run(test)


def test_a_refused_connection_leads_to_the_second_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            await one.close()
            await cell.send("a@far.example")
            await cell.until(lambda c: c.delivered == 1)
            assert len(two.taken) == 1

    run(test)


def test_a_5yz_greeting_leads_to_the_second_host(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.greeting = Reply(554, "", ("go away",))
            await cell.send("a@far.example")
            await cell.until(lambda c: c.delivered == 1)
            assert len(two.taken) == 1

    run(test)


def test_a_5yz_greeting_of_one_host_does_not_fail_what_another_may_take_later(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.greeting = Reply(554, "", ("go away",))
            await two.close()
            await cell.send("a@far.example")
            await cell.attempted()
            assert ((await cell.counts()).messages, cell.inbox) == (1, [])

    run(test)


def test_a_4yz_is_tried_again_after_half_an_hour_and_then_delivered(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            cell.at("far.example", ONE)
            one.recipients["a@far.example"] = Reply(451, "4.7.1", ("greylisted",))
            await cell.send("a@far.example")
            await cell.attempted()
            assert (await cell.counts()).messages == 1
            del one.recipients["a@far.example"]
            cell.queue.clock += 1_799_000
            cell.courier.wake()
            await cell.attempted()
            assert one.taken == []
            cell.queue.clock += 200_000
            cell.courier.wake()
            await cell.until(lambda c: c.delivered == 1)
            assert (len(one.taken), cell.inbox) == (1, [])

    run(test)


def test_a_silent_server_holds_an_attempt_no_longer_than_reply_seconds(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.silent_after_greeting = True
            await cell.send("a@far.example")
            await cell.until(lambda c: c.delivered == 1, seconds=8)
            assert len(two.taken) == 1

    run(test)


def test_a_death_after_the_final_dot_is_unknown_and_gives_a_second_copy_that_is_counted(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.deaths = 1
            await cell.send("a@far.example")
            await cell.until(lambda c: c.unknown == 1)
            await cell.attempted()
            assert (len(one.taken), two.connections) == (1, 0)
            await cell.retry()
            counts = await cell.counts()
            assert (counts.delivered, counts.unknown, counts.messages, len(one.taken)) == (1, 1, 0, 2)

    run(test)


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (MailHostsVerdict.NO_SUCH_DOMAIN, "5.1.2"),
        (MailHostsVerdict.NULL_MX, "5.1.10"),
        (MailHostsVerdict.NO_ADDRESS, "5.4.4"),
    ],
)
def test_a_domain_that_takes_no_mail_is_bounced_at_once(tmp_path: Path, verdict: int, status: str) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, _, __):
            cell.hosts["far.example"] = MailHosts(verdict, (), 60)
            await cell.send("a@far.example")
            await cell.until(lambda c: c.failed == 1)
            assert f"Status: {status}" in statuses(cell)

    run(test)


def test_name_servers_that_do_not_answer_defer(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, _, __):
            cell.hosts["far.example"] = MailHosts(MailHostsVerdict.TEMPORARY, (), 60)
            await cell.send("a@far.example")
            await cell.attempted()
            assert ((await cell.counts()).messages, cell.inbox) == (1, [])

    run(test)


def test_an_mx_of_loopback_goes_nowhere_unless_its_network_is_allowed(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path, networks=()) as (cell, one, _):
            await cell.send("a@far.example")
            await cell.until(lambda c: c.failed == 1)
            assert (one.connections, "Status: 5.4.4" in statuses(cell)) == (0, True)

    run(test)


def test_a_domain_whose_first_host_is_this_one_is_a_loop(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            hosts = (MailHost(10, OWN, (ONE,)), MailHost(20, "mx1.far.example", (TWO,)))
            cell.hosts["far.example"] = MailHosts(MailHostsVerdict.FOUND, hosts, 60)
            await cell.send("a@far.example")
            await cell.until(lambda c: c.failed == 1)
            assert (one.connections, "Status: 5.4.6" in statuses(cell)) == (0, True)

    run(test)


@pytest.mark.parametrize(("received", "delivered"), [(50, 1), (51, 0)])
def test_fifty_hops_are_delivered_and_fifty_one_are_a_loop(tmp_path: Path, received: int, delivered: int) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, _, __):
            await cell.send("a@far.example", text=b"Received: from x\r\n by y\r\n" * received + TEXT)
            counts = await cell.until(lambda c: c.messages == 0)
            assert counts.delivered == delivered
            assert len(cell.inbox) == 1 - delivered

    run(test)


def test_mail_for_a_domain_that_became_ours_is_delivered_here(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            await cell.send("sender@kddi.example", "nobody@kddi.example", "a@far.example")
            counts = await cell.until(lambda c: c.messages == 0)
            assert (counts.delivered, counts.failed, len(one.taken)) == (2, 1, 1)
            mine, bounce = sorted(cell.inbox, key=lambda text: b"multipart/report" in text)
            assert mine == b"Return-Path: <sender@kddi.example>\r\n" + TEXT
            assert b"5.1.1" in bounce

    run(test)


def test_domains_of_one_message_do_not_wait_for_each_other(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.silent_after_greeting = True
            cell.at("far.example", ONE)
            cell.at("near.example", TWO)
            await cell.send("a@far.example", "b@near.example")
            for _ in range(1000):  # seconds; the silent one is given minutes
                await asyncio.sleep(0.01)
                if two.taken:
                    break
            assert two.taken
            await cell.until(lambda c: c.delivered == 1)

    run(test)


def test_expired_mail_is_bounced_with_the_last_reason_and_gone(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            cell.at("far.example", ONE)
            one.message = Reply(452, "4.2.2", ("mailbox full",))
            await cell.send("a@far.example")
            await cell.attempted()
            await cell.retry(after_seconds=DAY)
            assert "Action: delayed" in statuses(cell)
            await cell.retry(after_seconds=DAY)
            assert len(cell.inbox) == 1  # one delay notice, however often it is tried
            cell.inbox.clear()
            await cell.retry(after_seconds=3 * DAY)
            assert ((await cell.counts()).messages, (await cell.counts()).failed) == (0, 1)
            text = statuses(cell)
            assert "Action: failed" in text
            assert "Status: 4.4.7" in text
            assert "mailbox full" in text

    run(test)


def test_a_sender_who_is_nobody_here_gets_nothing_and_the_queue_is_emptied(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.message = Reply(554, "5.7.1", ("spam",))
            await cell.send("a@far.example", sender="someone@elsewhere.example")
            await cell.until(lambda c: c.failed == 1 and c.messages == 0)
            assert (cell.deliveries, cell.courier.dropped) == (0, 1)

    run(test)


def test_the_notification_is_durable_before_the_failure_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.message = Reply(554, "5.7.1", ("spam",))
            at_report: list[int] = []

            async def look(*arguments: Any) -> Any:
                at_report.append(len(cell.inbox))
                return await handle.report_attempt(*arguments)

            queue = cell.queue.exchange
            queue.serve(cell.queue.service.queue, {**handle.HANDLERS, ReportAttempt: look})
            await cell.send("a@far.example")
            await cell.until(lambda c: c.failed == 1)
            assert at_report == [1]

    run(test)


def test_while_the_sender_cannot_be_told_the_failure_is_not_reported(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.message = Reply(554, "5.7.1", ("spam",))
            cell.store_failures = [Refused("mailbox full", code="over-quota")]
            await cell.send("a@far.example")
            await cell.attempted()
            counts = await cell.counts()
            assert (counts.messages, counts.failed, cell.inbox) == (1, 0, [])
            await cell.retry()
            assert ((await cell.counts()).failed, len(cell.inbox)) == (1, 1)

    run(test)


def test_a_report_that_is_lost_and_repeated_notifies_once_and_counts_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.message = Reply(554, "5.7.1", ("spam",))
            lost = 0

            async def lose_two(*arguments: Any) -> Any:
                nonlocal lost
                attempted = await handle.report_attempt(*arguments)
                lost += 1
                if lost <= 2:
                    raise TemporaryFailure("lost on the way", code="edge-ended")
                return attempted

            cell.queue.exchange.serve(cell.queue.service.queue, {**handle.HANDLERS, ReportAttempt: lose_two})
            await cell.send("a@far.example")
            await cell.until(lambda c: c.failed == 1)
            await cell.attempted()
            assert (len(one.taken), len(cell.inbox), (await cell.counts()).failed) == (0, 1, 1)
            assert lost == 3

    run(test)


def test_an_attempt_repeated_because_courier_died_before_its_report_notifies_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.message = Reply(554, "5.7.1", ("spam",))
            reached = asyncio.Event()

            async def never(*_: Any) -> Any:
                reached.set()
                await asyncio.sleep(3600)

            queue = cell.queue.exchange
            queue.serve(cell.queue.service.queue, {**handle.HANDLERS, ReportAttempt: never})
            await cell.send("a@far.example")
            await reached.wait()
            assert len(cell.inbox) == 1
            for task in cell.courier._active.values():  # killed
                task.cancel()
            cell.courier._loop_task.cancel()
            cell.queue.service.queue.depart(cell.exchange.me)
            queue.serve(cell.queue.service.queue, handle.HANDLERS)
            cell.courier = cell.start_courier()
            await cell.until(lambda c: c.failed == 1)
            assert (cell.deliveries, len(cell.inbox)) == (2, 1)

    run(test)


def test_a_queue_killed_during_an_attempt_gets_its_report_and_no_second_copy_is_made(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.silent_after_greeting = True
            cell.at("far.example", ONE, TWO)
            await cell.send("a@far.example")
            while not one.connections:
                await asyncio.sleep(0.01)
            cell.queue.kill()
            cell.queue.open()
            cell.courier.wake()
            counts = await cell.until(lambda c: c.messages == 0)
            assert (counts.delivered, one.connections) == (1, 1)

    run(test)


def test_a_message_that_does_not_open_is_kept(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            cell.keyring_failures = [IntegrityError("KEY_BOX record: does not open")]
            await cell.send("a@far.example")
            await cell.attempted()
            assert ((await cell.counts()).messages, one.connections, cell.inbox) == (1, 0, [])
            await cell.retry()
            assert len(one.taken) == 1

    run(test)


def test_many_messages_go_out_and_no_descriptor_stays(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            await cell.send("a@far.example")
            await cell.until(lambda c: c.delivered == 1)
            await asyncio.sleep(0.1)
            before = len(list(Path("/proc/self/fd").iterdir()))
            await asyncio.gather(*(cell.send(f"a{number}@far.example") for number in range(60)))
            await cell.until(lambda c: c.delivered == 61)
            assert len(one.taken) == 61
            await cell.until(lambda _: len(list(Path("/proc/self/fd").iterdir())) <= before + 2)

    run(test)


def test_the_log_has_ids_and_no_address(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.recipients["b@far.example"] = Reply(550, "5.1.1", ("no b@far.example here",))
            await cell.send("a@far.example", "b@far.example")
            await cell.until(lambda c: c.messages == 0)
            await cell.attempted()

    run(test)
    lines = [record.getMessage() for record in caplog.records if record.name == "bulkhead.courier"]
    assert sum("1 delivered, 1 failed" in line and "que_" in line for line in lines) == 1
    assert not any("@" in line or "example" in line for line in lines)


def test_outcomes_on_the_edge_are_those_of_the_session() -> None:
    from bulkhead.courier.trip import _REPORTED
    from bulkhead.wire.smtp_outcome import Outcome as Wire

    assert {wire.name: code for wire, code in _REPORTED.items()} == {
        name: code for name, code in vars(Outcome).items() if name.isupper()
    }
    assert set(_REPORTED) == set(Wire)


@pytest.mark.parametrize(
    "lie",
    [
        "UPDATE recipient SET address = 'thief@far.example' WHERE number = 1",
        "UPDATE recipient SET number = 2 WHERE number = 1",
        "UPDATE recipient SET address = 'a@far.example' WHERE number = 1",
        "UPDATE message SET reverse_path = 'thief@far.example'",
        "UPDATE message SET reverse_path = ''",
    ],
)
def test_a_queue_that_names_another_envelope_than_was_submitted_has_nothing_sent(tmp_path: Path, lie: str) -> None:
    """queue holds no key, but courier would open a message for it: so the envelope is sealed with the message."""

    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            await cell.courier.stop()
            queue_id = await cell.send("a@far.example", "b@far.example")
            database = cell.queue.service.queue.database

            async def set_to(statement: str) -> None:
                await database.write(lambda connection: connection.execute(statement).rowcount)

            await set_to(lie)
            cell.courier = cell.start_courier()
            for _ in range(5000):
                await asyncio.sleep(0.01)
                if database.first("SELECT attempts FROM message WHERE queue_id = ?", (queue_id,))[0]:
                    break
            await cell.attempted()
            counts = await cell.counts()
            assert (one.connections, two.connections, cell.inbox) == (0, 0, [])
            assert (counts.delivered, counts.recipients) == (0, 2)

    run(test)
