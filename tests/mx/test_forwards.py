"""A forward to another server from end to end: mx, directory, queue, courier and dialer are real, and so is the server.

store, keyring and resolver answer by script.
"""

import asyncio
import base64
import email
import email.policy
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.courier import cell as courier_cell
from tests.courier.mail_server import MailServer, Taken
from tests.gate import cell as gate_cell
from tests.gate.cell import DOMAIN, TENANT, Client
from tests.queue.queue_host import fail, join

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.messages import to_directory as d
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_ledger import Appended, AppendEvents
from bulkhead.boundary.messages.to_queue import StopOutbound
from bulkhead.directory import process as directory_process
from bulkhead.directory.create import TOMBSTONE, create_keys
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.records.forward import public_key
from bulkhead.wire.smtp_codes import Reply

MESSAGE = b"From: a@elsewhere.example\r\nSubject: hello\r\n\r\nLine one\r\n.dotted\r\n\xe3\x81\x82 8-bit\r\n"
SENDER, USER, OTHER, FAR = "a@elsewhere.example", f"user@{DOMAIN}", f"other@{DOMAIN}", "friend@far.example"
SERVER = "127.0.0.13"
ROOT = bytes(range(32))


class Courier(courier_cell.Cell):
    """courier's world, with holders of others in place of the scripted ones."""

    def __init__(self, holders: dict[str, Exchange], *words: Any, **more: Any) -> None:
        super().__init__(*words, **more)
        self._holders = holders

    def neighbour(self, name: str, state: Any, handlers: Any) -> None:
        if name in self._holders:
            join(self._holders[name], self.exchange, 2)
        else:
            super().neighbour(name, state, handlers)


@dataclass(slots=True)
class World:
    """What the tests look at."""

    gate: gate_cell.Cell
    courier: Courier
    server: MailServer
    cli: Exchange
    directory: Any

    async def deliver(self, *recipients: str, sender: str = SENDER, message: bytes = MESSAGE) -> str:
        client = await Client.open(self.gate.ports["mx"])
        await client.expect("EHLO client.example", "250-")
        try:
            return await client.deliver(sender, recipients, message)
        finally:
            await client.close()

    async def forward(self, address: str, *targets: str, keep: bool = True) -> None:
        await self.cli.to("directory").call(d.SetForward(Stamp.fresh("test"), address, targets, keep))

    async def arrived(self, count: int) -> list[Taken]:
        """What the other server has, once it is so much and the queue is empty."""
        await self.courier.until(lambda counts: len(self.server.taken) >= count and not counts.messages)
        assert len(self.server.taken) == count
        return self.server.taken

    def inboxes(self) -> list[str]:
        return [address for address, _ in self.gate.messages()]


@asynccontextmanager
async def world(folder: Path, most: int = 5, **queue: int) -> AsyncIterator[World]:
    server = MailServer()
    port = await server.open(SERVER)
    keys = create_keys()
    (folder / "keys.sealed").write_bytes(keys.seal(TENANT, "directory", 1, ROOT))
    forward_key = base64.b64encode(public_key(keys.current(TOMBSTONE)[1], TENANT)).decode()
    async with gate_cell.running("mx", ["mx"]) as gate:
        gate.exchanges.pop("directory").close()
        exchange, ledger = (Exchange(Channel(name, 0, 9), fail) for name in ("directory", "ledger"))
        ledger.serve(None, {AppendEvents: lambda *_: Appended(0)})
        join(exchange, ledger, 9)
        section = {"default_quota_bytes": 1 << 30, "postmaster": "", "forwards_elsewhere_max": most}
        host = Host(exchange.me, TENANT, {"id": TENANT, "directory": section}, exchange, root_key=ROOT)
        directory = await directory_process.start(host)
        join(exchange, gate.gate, 9)
        cli = Exchange(Channel("cli", 0, 9), fail)
        join(exchange, cli, 9)
        (folder / "queue").mkdir()
        holders = {"directory": exchange, "store": gate.exchanges["store"]}
        courier = Courier(holders, folder / "queue", port, forward_key=forward_key, **queue)
        courier.queue.clock = int(time.time() * 1000)
        courier._binding_key, courier._queue_seed = gate.signing, gate.queue_seed
        courier.open()
        courier.at("far.example", SERVER)
        join(courier.queue.exchange, gate.gate, 9)
        await cli.to("directory").call(d.AddDomain(Stamp.fresh("test"), DOMAIN))
        for name in (USER, OTHER):
            binding = gate.add(name.partition("@")[0]).binding
            await cli.to("directory").call(d.AddAccount(Stamp.fresh("test"), name, binding, 0))
        try:
            yield World(gate, courier, server, cli, directory)
        finally:
            await courier.close()
            await directory.stop()
            for end in (exchange, ledger, cli):
                end.close()
            await server.close()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)

    def go(test: Callable[[World], Awaitable[None]], **words: Any) -> None:
        async def within() -> None:
            async with world(tmp_path, **words) as found:
                await asyncio.wait_for(test(found), 60)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(within())

    return go


Run = Callable[..., None]


def test_mail_arrives_at_the_other_server_and_in_the_mailbox(run: Run) -> None:
    async def test(world: World) -> None:
        await world.forward(USER, FAR)
        assert (await world.deliver(USER)).startswith("250 ")
        (taken,) = await world.arrived(1)
        local_part, _, domain = taken.reverse_path.partition("@")
        assert (taken.recipients, domain, local_part[:4]) == ((FAR,), DOMAIN, "fwd-")
        assert taken.text.startswith(f"Delivered-To: {USER}\r\nReceived: from client.example".encode())
        assert taken.text.endswith(MESSAGE)
        assert b"Return-Path" not in taken.text
        assert world.inboxes() == [USER]

    run(test)


def test_without_a_copy_it_is_there_alone_and_others_of_the_transaction_have_theirs(run: Run) -> None:
    async def test(world: World) -> None:
        await world.forward(USER, FAR, keep=False)
        assert (await world.deliver(USER, OTHER)).startswith("250 ")
        assert [taken.recipients for taken in await world.arrived(1)] == [(FAR,)]
        assert world.inboxes() == [OTHER]

    run(test)


def test_a_message_from_nobody_stays_from_nobody_and_leaves_a_copy(run: Run) -> None:
    async def test(world: World) -> None:
        await world.forward(USER, FAR, keep=False)
        assert (await world.deliver(USER, sender="")).startswith("250 ")
        assert [taken.reverse_path for taken in await world.arrived(1)] == [""]
        assert world.inboxes() == [USER]

    run(test)


def test_what_the_other_server_refuses_comes_back_whole_into_the_mailbox(run: Run) -> None:
    async def test(world: World) -> None:
        world.server.recipients[FAR] = Reply(550, "5.1.1", ("No such user",))
        await world.forward(USER, FAR, keep=False)
        assert (await world.deliver(USER)).startswith("250 ")
        await world.courier.until(lambda counts: counts.failed == 1 and not counts.messages)
        ((address, text),) = world.gate.messages()
        notice: Any = email.message_from_bytes(text, policy=email.policy.default)
        assert (address, notice["Return-Path"]) == (USER, "<>")
        assert "5.1.1" in notice.get_payload()[1].as_string()
        assert b"Line one" in text and b"Subject: hello" in text

    run(test)


def test_a_bounce_of_the_other_server_reaches_the_mailbox_and_goes_no_further(run: Run) -> None:
    async def test(world: World) -> None:
        await world.forward(USER, FAR, keep=False)
        await world.deliver(USER)
        (taken,) = await world.arrived(1)
        assert (await world.deliver(taken.reverse_path, sender="")).startswith("250 ")
        assert world.inboxes() == [USER]
        client = await Client.open(world.gate.ports["mx"])
        await client.expect("EHLO client.example", "250-")
        await client.expect("MAIL FROM:<spam@elsewhere.example>", "250 ")
        await client.expect(f"RCPT TO:<{taken.reverse_path}>", "550 5.1.1")
        await client.expect("RSET", "250 ")
        await client.expect("MAIL FROM:<>", "250 ")
        changed = taken.reverse_path.replace("@", "a@")[1:]
        await client.expect(f"RCPT TO:<f{changed}>", "550 5.1.1")
        assert (await world.courier.counts()).messages == 0

    run(test)


def test_mail_that_came_in_a_circle_stays(run: Run) -> None:
    async def test(world: World) -> None:
        await world.forward(USER, FAR, keep=False)
        await world.deliver(USER)
        (taken,) = await world.arrived(1)
        assert (await world.deliver(USER, message=taken.text)).startswith("250 ")
        long = b"".join(b"Delivered-To: u%d@far.example\r\n" % number for number in range(6))
        assert (await world.deliver(USER, message=long + MESSAGE)).startswith("250 ")
        assert world.inboxes() == [USER, USER]
        await world.arrived(1)

    run(test)


def test_what_is_over_the_number_stays_in_the_mailbox(run: Run) -> None:
    async def test(world: World) -> None:
        await world.forward(USER, FAR, keep=False)
        for _ in range(3):
            assert (await world.deliver(USER)).startswith("250 ")
        await world.arrived(2)
        assert world.inboxes() == [USER]

    run(test, forwards_per_account_day=2)


def test_while_queue_is_away_nothing_is_taken_and_a_retry_arrives_once(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.boundary.exchange.ATTACH_SECONDS", 0.2)

    async def test(world: World) -> None:
        await world.forward(USER, FAR)
        queue = world.courier.queue
        queue.kill()
        assert (await world.deliver(USER)).startswith("451 ")
        assert world.inboxes() == []
        queue.open()
        join(queue.exchange, world.gate.gate, queue.generation + 9)
        assert (await world.deliver(USER)).startswith("250 ")
        await world.arrived(1)
        assert world.inboxes() == [USER]

    run(test)


def test_what_was_said_250_to_is_sent_by_a_queue_that_was_killed_behind_it(run: Run) -> None:
    async def test(world: World) -> None:
        world.server.recipients[FAR] = Reply(450, "4.2.1", ("Come again",))
        await world.forward(USER, FAR, keep=False)
        assert (await world.deliver(USER)).startswith("250 ")
        await world.courier.attempted()
        world.courier.queue.kill()
        world.server.recipients.clear()
        world.courier.queue.open()
        await world.courier.retry(3600)
        (taken,) = await world.arrived(1)
        assert taken.text.endswith(MESSAGE)
        assert world.inboxes() == []

    run(test)


def test_while_outbound_mail_is_stopped_forwards_wait_in_the_queue(run: Run) -> None:
    async def test(world: World) -> None:
        await world.forward(USER, FAR)
        await world.courier.queue.ask(StopOutbound(Stamp.fresh("cli"), 1, "test"), "cli")
        assert (await world.deliver(USER)).startswith("250 ")
        assert (await world.courier.counts()).messages == 1
        assert (world.server.taken, world.inboxes()) == ([], [USER])

    run(test)


def test_with_a_store_that_is_away_the_forward_goes_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulkhead.gate.delivery.PATIENCE_STEP_SECONDS", 0.02)

    async def test(world: World) -> None:
        await world.forward(USER, FAR)
        world.gate.store_failure = TemporaryFailure("away")
        reply = asyncio.ensure_future(world.deliver(USER))
        await world.arrived(1)
        world.gate.store_failure = None
        assert (await reply).startswith("250 ")
        assert (len(world.server.taken), world.inboxes()) == (1, [USER])

    run(test)


def test_a_full_mailbox_refuses_before_anything_is_queued(run: Run) -> None:
    async def test(world: World) -> None:
        await world.forward(USER, FAR)
        client = await Client.open(world.gate.ports["mx"])
        await client.expect("EHLO client.example", "250-")
        await client.expect(f"MAIL FROM:<{SENDER}>", "250 ")
        await client.expect(f"RCPT TO:<{USER}>", "250 ")
        world.gate.full.add(world.gate.accounts[USER].id)
        await client.expect("DATA", "354 ")
        await client.send(MESSAGE + b".\r\n")
        assert (await client.reply())[0].startswith("552 5.2.2")
        assert (await world.courier.counts()).messages == 0
        assert world.server.taken == []

    run(test)


def test_closed_again_mail_stays_though_a_forward_is_set(run: Run) -> None:
    async def test(world: World) -> None:
        await world.forward(USER, FAR, keep=False)
        await world.directory.reload({"directory": {"default_quota_bytes": 1 << 30, "postmaster": ""}})
        assert (await world.deliver(USER)).startswith("250 ")
        assert world.inboxes() == [USER]
        with pytest.raises(Refused):
            await world.forward(USER, FAR)

    run(test)


@pytest.mark.parametrize("octets", [1, 70_000, 1_200_000])
def test_a_message_of_any_size_arrives_whole(run: Run, octets: int) -> None:
    async def test(world: World) -> None:
        body = (b"x" * 63 + b"\r\n") * (octets // 65 + 1)
        await world.forward(USER, FAR)
        assert (await world.deliver(USER, message=b"Subject: s\r\n\r\n" + body)).startswith("250 ")
        (taken,) = await world.arrived(1)
        assert taken.text.endswith(b"Subject: s\r\n\r\n" + body)
        assert world.gate.messages()[0][1].endswith(b"Subject: s\r\n\r\n" + body)

    run(test)
