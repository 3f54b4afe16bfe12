"""Three sessions of one account change it in every way at once, in small slices, while segments are compacted.

Every answer is durable and true: after each life of the store its own deep check passes, cached columns are what the
rows say, and every message that is there has the octets that it came with.
"""

import asyncio
import os
import random
import struct

import pytest
from tests.store.world import Channel, Client, World, copy_for, payload, running

from bulkhead.boundary.messages import to_store
from bulkhead.errors import Refused
from bulkhead.identifiers import new_id
from bulkhead.store import columns, handle_message, handle_read, rows, sweep
from bulkhead.store.compaction import Policy

ALL = ((1, 0xFFFFFFFF),)
EAGER = Policy(dead_percent=1, bytes_per_second=1 << 30, dead_bytes_min=1, period=3600)
LOSES_A_RACE = {"no-such-mailbox", "page-changed", "in-use", "not-locked", "is-inbox"}


class Storm:
    """One account: its mailboxes, and every message that was ever handed over."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.account = b""
        self.boxes: list[bytes] = []
        self.known: dict[bytes, to_store.Copy] = {}

    def copy(self) -> to_store.Copy:
        copy = copy_for(self.account, sealed=(40, 60, self.random.choice([10, 500, 5000])))
        self.known[copy.email] = copy
        return copy

    def some(self, uids: list[int]) -> tuple[tuple[int, int], ...]:
        chosen = self.random.sample(uids, min(len(uids), 5))
        return tuple((uid, uid + self.random.randint(0, 3)) for uid in chosen)

    async def act(self, world: World, client: Client) -> None:
        box, target = self.random.choice(self.boxes), self.random.choice(self.boxes)
        uids = list(await client.columns(box))
        some = self.some(uids)
        match self.random.randrange(13):
            case 0:
                await world.deliver(self.copy())
            case 1:
                await client.append(box, self.copy(), self.random.choice([0, 1, 8]))
            case 2:
                copies = tuple(self.copy() for _ in range(self.random.randint(1, 5)))
                body = b"".join(map(payload, copies))
                await client.change(to_store.AppendMessages, box, copies, (8,) * len(copies), body=body)
            case 3 | 4 if some:
                move = self.random.random() < 0.6
                await client.change_open(to_store.CopyMessages, box, ALL if move else some, target, move)
            case 5 if some:
                mode, since = self.random.randrange(3), self.random.choice([0, 0, 5])
                await client.change_open(to_store.StoreFlags, box, ALL, mode, self.random.choice([1, 8, 9]), since)
            case 6:
                await client.change_open(to_store.Expunge, box, some)
            case 7:
                mailbox = new_id()
                await client.change(to_store.RenameInbox, mailbox, b"sealed name", new_id())
                self.boxes.append(mailbox)
            case 8:
                await client.ask(to_store.LockMaildrop)
                runs = b"".join(struct.pack("<II", *run) for run in some)
                await client.change(to_store.UpdateMaildrop, client.inbox, body=runs)
                await client.ask(to_store.UnlockMaildrop)
            case 9:
                await self.file(client, box)
            case 10:
                for page in (await client.ask(to_store.ListSparsePages)).pages:
                    made = (page.page, page.version + 1, page.version, page.live)
                    await client.change(to_store.RewritePage, *made, body=os.urandom(100))
            case 11 if len(self.boxes) > 3 and box in self.boxes and box != client.inbox:
                self.boxes.remove(box)
                await client.change(to_store.DeleteMailbox, box)
            case _:
                await world.store.state.compactor.look()

    async def file(self, client: Client, box: bytes) -> None:
        plan = await client.ask(to_store.PlanFiling)
        found = (await client.ask(to_store.ReadRows, box, ALL)).rows
        arrived = list({row.email for row in found if row.page == 0})[:6]
        fresh = not plan.newest.page or plan.newest.used > 12
        page, used, version = plan.newest.page, plan.newest.used, plan.newest.version
        if fresh:
            page, used, version = plan.next_page, 0, 0
        entries = tuple(to_store.FiledEntry(email, used + at, b"slot") for at, email in enumerate(arrived))
        if entries:
            made = (page, version + 1, version, used + len(entries), entries)
            await client.change(to_store.FileMessages, *made, body=os.urandom(200))

    async def run(self, world: World, client: Client) -> None:
        for _ in range(40):
            try:
                await self.act(world, client)
            except Refused as refused:
                assert refused.code in LOSES_A_RACE

    async def check(self, world: World, client: Client) -> None:
        assert (await world.check()).problems == ()
        assert world.violations == []
        for box in self.boxes:
            followed = await client.columns(box)
            world.store.state.columns._cached.clear()
            assert await client.columns(box) == followed
            for email in {row[4] for row in followed.values()}:
                _, octets = await client.open(to_store.ReadMessages, (email,))
                assert octets == payload(self.known[email])[40:]


@pytest.mark.parametrize("seed", range(3))
def test_whatever_sessions_do_at_once_adds_up_through_lives_of_the_store(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name, value in (
        (rows, "SLICE", 3), (rows, "LOG_MAX", 20), (sweep, "SLICE", 3), (sweep, "STEP_SLICES", 2),
        (sweep, "STEP_ROWS", 6), (sweep, "CHANGE_MAX", 8), (handle_message, "STEP_ROWS", 6),
        (handle_message, "CHANGE_MAX", 8), (columns, "CHANGE_MAX", 8), (columns, "RECENT_MAX", 4),
        (columns, "RECENT_UIDS_MAX", 10), (columns, "INLINE_MAX", 5), (handle_read, "INLINE_MAX", 5),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)

    async def main() -> None:
        storm = Storm(seed)
        for _ in range(3):
            async with running(segment_bytes=1 << 14, policy=EAGER) as world:
                storm.account = storm.account or await world.account()
                clients = [await world.session(storm.account, Channel("access", worker, 1)) for worker in range(3)]
                storm.boxes = [row.mailbox for row in (await clients[0].ask(to_store.ListMailboxes)).rows]
                await asyncio.gather(*(storm.run(world, client) for client in clients))
                await storm.check(world, clients[0])

    asyncio.run(main())
