"""Forwards at queue: directory's statement alone says to whom, once, within its time and within the numbers."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from tests.queue.queue_host import QueueHost, body_of

from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.to_queue import (
    CountQueue,
    DestroyQueued,
    EnqueueForward,
    StopOutbound,
    TakeWork,
)
from bulkhead.errors import Refused
from bulkhead.identifiers import AccountId, QueueId, TenantId, new_id
from bulkhead.queue.forwards import GOOD_MS_MAX
from bulkhead.records.forward import Forward, public_key, signing_key

KEY, KDDI = bytes(range(32)), TenantId("kddi")
SIGNING, PINNED = signing_key(KEY, KDDI), base64.b64encode(public_key(KEY, KDDI)).decode()
NOW, HOUR = 1_800_000_000_000, 3_600_000
SIZE = 500


def forward(**changes: Any) -> Forward:
    """What directory would say now."""
    said = Forward(KDDI, AccountId(b"a" * 16), QueueId(new_id()), "x@far.example", "fwd-r@kddi.example", NOW + HOUR)
    return Forward(**{name: changes.get(name, getattr(said, name)) for name in Forward.__slots__})


def request(said: Forward, statement: bytes = b"", request_id: bytes | None = None) -> EnqueueForward:
    stamp = Stamp.fresh("mx", request_id=request_id)  # type: ignore[arg-type]  # 16 octets
    return EnqueueForward(stamp, statement or said.sign(SIGNING), b"box", SIZE, 100, SIZE - 100)


def run(folder: Path, test: Callable[[QueueHost], Awaitable[None]], **section: Any) -> None:
    async def within() -> None:
        host = QueueHost(folder, **{"forward_key": PINNED, **section}).open()
        try:
            await test(host)
        finally:
            await host.close()

    asyncio.run(within())


async def put(host: QueueHost, asked: EnqueueForward, peer: str = "mx", octets: int = SIZE) -> str:
    """`done`, or the refusal's code."""
    try:
        reply = await host.ask(asked, peer, body_of(b"q" * 16, octets))
    except Refused as refused:
        return refused.code
    assert reply == Done()
    return "done"


async def lent(host: QueueHost) -> list[tuple[str, str]]:
    works = (await host.ask(TakeWork(16))).items
    return [(work.reverse_path, recipient.address) for work in works for recipient in work.recipients]


@pytest.mark.parametrize("peer", ["mx", "submit"])
def test_a_statement_sends_its_message_to_its_target_under_its_return_path(tmp_path: Path, peer: str) -> None:
    async def test(host: QueueHost) -> None:
        said = forward()
        assert await put(host, request(said), peer) == "done"
        assert await lent(host) == [("fwd-r@kddi.example", "x@far.example")]
        assert host.files() == [said.id.hex()]

    run(tmp_path, test)


def test_what_directory_did_not_say_now_and_here_sends_nothing(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        said = forward()
        genuine = said.sign(SIGNING)
        foreign = forward(tenant=TenantId("jcom"))
        hostile = {
            "nothing": request(said, b"?"),
            "another target": request(said, genuine.replace(b"x@far", b"y@far")),
            "another return path": request(said, genuine.replace(b"fwd-r", b"fwd-s")),
            "another account": request(said, genuine.replace(b"a" * 16, b"b" * 16)),
            "an own key": request(said, said.sign(signing_key(bytes(32), KDDI))),
            "another tenant's key": request(foreign, foreign.sign(signing_key(KEY, TenantId("jcom")))),
            "another tenant, our key": request(foreign),
            "cut": request(said, genuine[:-1]),
            "longer": request(said, genuine + b"\0"),
        }
        found = {name: await put(host, asked) for name, asked in hostile.items()}
        assert found == dict.fromkeys(hostile, "no-statement")
        for name, expires in {"over": NOW, "long over": NOW - HOUR, "too long": NOW + GOOD_MS_MAX + 1}.items():
            assert await put(host, request(forward(expires=expires))) == "expired", name
        assert (await host.ask(CountQueue(), "cli")).messages == 0
        assert host.files() == []

    run(tmp_path, test)


def test_without_a_pinned_key_nothing_is_believed(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        assert await put(host, request(forward())) == "no-statement"

    run(tmp_path, test, forward_key="")


def test_one_statement_sends_one_message_also_after_a_kill(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        said = forward()
        assert await put(host, request(said)) == "done"
        assert await put(host, request(said)) == "used"
        at_once = [forward() for _ in range(3)]
        found = await asyncio.gather(*(put(host, request(again)) for again in (*at_once, *at_once)))
        assert sorted(found) == ["done"] * 3 + ["used"] * 3
        host.kill()
        host.open()
        assert await put(host, request(said)) == "used"
        assert (await host.check()).problems == ()
        assert (await host.ask(CountQueue(), "cli")).messages == 4

    run(tmp_path, test)


def test_a_retry_of_the_same_request_is_answered_also_after_a_kill(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        said, ident = forward(), new_id()
        assert await put(host, request(said, request_id=ident)) == "done"
        host.kill()
        host.open()
        assert await put(host, request(said, request_id=ident)) == "done"
        assert (await host.ask(CountQueue(), "cli")).messages == 1

    run(tmp_path, test)


def test_what_came_cut_short_uses_up_no_statement(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        said = forward()
        assert await put(host, request(said), octets=SIZE - 1) == "bad-size"
        assert await put(host, request(said)) == "done"

    run(tmp_path, test)


def test_an_account_and_a_tenant_send_on_so_many_a_day_and_what_they_send_themselves_is_apart(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        one, two, three = (AccountId(letter * 16) for letter in (b"1", b"2", b"3"))
        found = [await put(host, request(forward(account=account))) for account in (one, one, one, two, two, three)]
        assert found == ["done", "done", "sent-too-much", "done", "sent-too-much", "sent-too-much"]
        own = await host.enqueue("b@far.example")
        assert own
        host.clock += 25 * HOUR
        assert await put(host, request(forward(account=one, expires=host.clock + HOUR))) == "done"

    run(tmp_path, test, forwards_per_account_day=2, forwards_per_tenant_day=3)


def test_used_statements_are_kept_as_long_as_they_are_good_and_no_longer(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        await put(host, request(forward()))
        host.clock += HOUR + 1
        await put(host, request(forward(expires=host.clock + HOUR)))
        (kept,) = host.service.queue.database.first("SELECT count(*) FROM forward_used")
        assert kept == 1

    run(tmp_path, test)


def test_a_cancelled_account_has_nothing_queued_and_its_statements_send_nothing(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        mine, other, later = forward(), forward(account=AccountId(b"o" * 16)), forward()
        for said in (mine, other):
            assert await put(host, request(said)) == "done"
        gone = DestroyQueued(Stamp.fresh("cli"), mine.account, "someone@kddi.example")
        assert (await host.ask(gone, "cli")).messages == 1
        assert host.files() == [other.id.hex()]
        assert await put(host, request(later)) == "no-statement"
        assert await put(host, request(forward(account=AccountId(b"o" * 16)))) == "done"
        spent = {bytes(row[0]) for row in host.service.queue.database.read("SELECT account FROM spent")}
        assert all(mine.account not in row for row in spent)
        host.clock += GOOD_MS_MAX + 1
        await host.ask(DestroyQueued(Stamp.fresh("cli"), AccountId(b"p" * 16), ""), "cli")
        kept = [bytes(row[0]) for row in host.service.queue.database.read("SELECT account FROM forward_cancelled")]
        assert kept == [b"p" * 16]

    run(tmp_path, test)


def test_stopped_outbound_mail_keeps_forwards_in_the_queue(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        await host.ask(StopOutbound(Stamp.fresh("cli"), 1, "test"), "cli")
        assert await put(host, request(forward())) == "done"
        assert await lent(host) == []
        assert host.service.queue.outbound.stopped

    run(tmp_path, test)


def test_what_a_gate_says_besides_counts_for_nothing(tmp_path: Path) -> None:
    async def test(host: QueueHost) -> None:
        said = forward()
        asked = structs.replace(request(said), stamp=Stamp.fresh("somebody else"))
        assert await put(host, asked) == "done"
        assert host.service.queue.database.first("SELECT account FROM message") == (said.account,)

    run(tmp_path, test)
