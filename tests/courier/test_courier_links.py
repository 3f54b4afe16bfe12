"""Sessions that carry one message after the other, and how many go to one host."""

import asyncio
from pathlib import Path

import pytest
from tests.courier.test_courier import ONE, run, world

from bulkhead.courier import links
from bulkhead.courier.links import HostSlots
from bulkhead.courier.route import is_private
from bulkhead.identifiers import DomainName
from bulkhead.wire.smtp_codes import Limits, Reply

FAR = DomainName("mx.far.example")


def test_messages_that_follow_each_other_go_over_one_session(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            for number in range(5):
                await cell.send(f"a{number}@far.example")
                await cell.until(lambda c, sent=number + 1: c.delivered == sent)  # type: ignore[misc]
            assert (one.connections, len(one.taken)) == (1, 5)

    run(test)


def test_a_session_whose_message_was_refused_carries_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            one.recipients["no@far.example"] = Reply(550, "5.1.1", ("no",))
            await cell.send("no@far.example")
            await cell.until(lambda c: c.failed == 1)
            await cell.send("a@far.example")
            await cell.until(lambda c: c.delivered == 1)
            assert (one.connections, len(one.taken)) == (1, 1)

    run(test)


@pytest.mark.parametrize("silently", [True, False])
def test_a_session_that_the_server_ended_meanwhile_costs_no_attempt(tmp_path: Path, silently: bool) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            await cell.send("a@far.example")
            await cell.until(lambda c: c.delivered == 1)
            if silently:
                one.hang_up()
                await asyncio.sleep(0.05)
            else:
                one.farewells = 1  # 421 in answer to MAIL, as servers do that were idle too long
            await cell.send("b@far.example")
            counts = await cell.until(lambda c: c.delivered == 2 and c.messages == 0)
            assert (counts.messages, counts.unknown, one.connections, two.connections) == (0, 0, 2, 0)

    run(test)


def test_a_session_is_left_after_so_many_messages_and_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        monkeypatch.setattr(links, "MESSAGES_MAX", 2)
        monkeypatch.setattr(links, "IDLE_SECONDS", 1.0)
        async with world(tmp_path) as (cell, one, _):
            for number in range(3):
                await cell.send(f"a{number}@far.example")
                await cell.until(lambda c, sent=number + 1: c.delivered == sent)  # type: ignore[misc]
            assert one.connections == 2
            await cell.until(lambda _: len(cell.courier._links) == 0)

    run(test)


def test_a_host_gets_no_more_sessions_than_its_slots_and_is_then_forgotten() -> None:
    async def test() -> None:
        slots, running, most = HostSlots(2), 0, 0

        async def one() -> None:
            nonlocal running, most
            async with slots.slot(FAR):
                running += 1
                most = max(most, running)
                await asyncio.sleep(0)
                running -= 1

        await asyncio.gather(*(one() for _ in range(10)))
        assert (most, len(slots)) == (2, 0)

    asyncio.run(test())


def test_an_mx_of_private_addresses_waits_for_the_operator(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, _, __):
            cell.at("near.example", "10.1.2.3")
            await cell.send("a@near.example")
            await cell.attempted()
            counts = await cell.counts()
            assert (counts.messages, counts.failed, cell.inbox) == (1, 0, [])
            cell.at("near.example", ONE)
            await cell.retry(3600)
            assert (await cell.counts()).delivered == 1

    run(test)


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("192.168.0.1", True),
        ("100.64.0.1", True),
        ("fd00::1", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("x", False),
    ],
)
def test_private_is_what_may_be_a_network_of_the_installation(address: str, private: bool) -> None:
    assert is_private(address) is private


def test_more_recipients_than_every_server_takes_go_in_transactions_of_a_hundred(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, two):
            one.limits = Limits(recipients=100)
            one.recipients["r7@far.example"] = Reply(550, "5.1.1", ("no",))
            await cell.send(*(f"r{number}@far.example" for number in range(250)))
            counts = await cell.until(lambda c: c.messages == 0)
            assert (counts.delivered, counts.failed, one.connections, two.connections) == (249, 1, 1, 0)
            assert [len(taken.recipients) for taken in one.taken] == [99, 100, 50]

    run(test)


def test_a_text_with_smtp_in_it_arrives_as_one_message(tmp_path: Path) -> None:
    async def test() -> None:
        async with world(tmp_path) as (cell, one, _):
            text = b"Subject: x\r\n\r\n.\r\nMAIL FROM:<evil@kddi.example>\r\nRCPT TO:<b@far.example>\r\nDATA\r\n..\r\n"
            await cell.send("a@far.example", text=text)
            await cell.until(lambda c: c.messages == 0)
            assert [(taken.recipients, taken.text) for taken in one.taken] == [(("a@far.example",), text)]

    run(test)
