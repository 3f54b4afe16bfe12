"""How much an account may send out of the cell: by the hour and the day, across restarts."""

import asyncio
from pathlib import Path

import pytest
from tests.queue.queue_host import QueueHost

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_queue import CheckQueue, CountQueue, Enqueue
from bulkhead.errors import Refused
from bulkhead.identifiers import AccountId, QueueId, new_id
from bulkhead.queue.spending import HOUR

ONE, TWO = AccountId(new_id()), AccountId(new_id())


async def send(host: QueueHost, account: AccountId | None, recipients: int = 1) -> Enqueue:
    addresses = tuple(f"r{number}@far.example" for number in range(recipients))
    request = Enqueue(
        Stamp.fresh("submit"), QueueId(new_id()), "s@kddi.example", addresses, b"b" * 87, 1, 2, 3, account
    )
    await host.ask(request, "submit", b"12345")
    return request


async def refused(host: QueueHost, account: AccountId, recipients: int = 1) -> None:
    with pytest.raises(Refused) as caught:
        await send(host, account, recipients)
    assert caught.value.code == "sent-too-much"


def run(folder: Path, test: object, **section: int) -> None:
    async def within() -> None:
        host = QueueHost(folder, **section).open()
        host.clock = 1_800_000_000_000 // HOUR * HOUR
        try:
            await test(host)  # type: ignore[operator]
        finally:
            await host.close()

    asyncio.run(within())


def test_messages_of_an_hour_are_counted_for_each_account_alone(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        await send(host, ONE), await send(host, ONE)
        await refused(host, ONE)
        await send(host, TWO)
        await send(host, None)
        assert (await host.ask(CountQueue(), "cli")).messages == 4

    run(tmp_path, test, messages_per_account_hour=2)


def test_the_hour_slides(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        for _ in range(4):
            await send(host, ONE)
        host.clock += HOUR
        await refused(host, ONE)
        host.clock += HOUR // 2
        await send(host, ONE), await send(host, ONE)
        await refused(host, ONE)
        host.clock += HOUR
        await send(host, ONE)

    run(tmp_path, test, messages_per_account_hour=4)


@pytest.mark.parametrize("limit", ["recipients_per_account_hour", "recipients_per_account_day"])
def test_recipients_are_counted_and_a_message_over_the_limit_is_refused_whole(tmp_path: Path, limit: str) -> None:
    async def test(host: QueueHost) -> None:
        await send(host, ONE, 7)
        await refused(host, ONE, 4)
        await send(host, ONE, 3)
        await refused(host, ONE)
        host.clock += 25 * HOUR
        await send(host, ONE, 10)

    run(tmp_path, test, **{limit: 10})


def test_what_was_sent_is_known_after_a_kill_and_a_repeated_request_counts_once(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        request = await send(host, ONE)
        await host.ask(request, "submit", b"12345")
        host.kill()
        host.open()
        await host.ask(request, "submit", b"12345")
        await send(host, ONE)
        await refused(host, ONE)

    run(tmp_path, test, messages_per_account_hour=2)


def test_what_is_refused_as_others_of_the_account_came_first_leaves_no_file(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        outcomes = await asyncio.gather(*(send(host, ONE) for _ in range(8)), return_exceptions=True)
        assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 7
        report = await host.ask(CheckQueue(), "cli")
        assert (report.messages, report.problems) == (1, ())

    run(tmp_path, test, messages_per_account_hour=1)
