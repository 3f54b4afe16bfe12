"""The projection equals the rows, whatever happened."""

import asyncio
import random

import pytest
from tests.store.world import copy_for

from bulkhead.boundary.messages import to_store
from bulkhead.store import columns as columns_module
from bulkhead.store.changes import AddedRow, MailboxChange
from bulkhead.store.columns import MailboxColumns


def rows_of(state, mailbox):
    return state.database.read(
        "SELECT m.uid, m.flags, e.size, e.date, m.modseq, e.email FROM message m JOIN email e ON e.seq = m.email"
        " JOIN mailbox b ON b.seq = m.mailbox WHERE b.mailbox = ? ORDER BY m.uid",
        (mailbox,),
    )


async def compare(world, client, mailboxes):
    state = world.store.state
    for mailbox in mailboxes:
        shown = [(uid, *row) for uid, row in (await client.columns(mailbox)).items()]
        stored = [(uid, flags & (2**64 - 1), *rest) for uid, flags, *rest in rows_of(state, mailbox)]
        assert shown == stored
        seq = state.database.first("SELECT seq FROM mailbox WHERE mailbox = ?", (mailbox,))[0]
        cached = state.columns._cached[seq]
        row = await client.row(mailbox)
        assert (cached.uid_next, cached.modseq) == (row.uid_next, row.modseq)


async def act(rng, world, client, mailboxes):
    mailbox, other = rng.choice(mailboxes), rng.choice(mailboxes)
    first = rng.randint(1, 60)
    uids = tuple(
        (start, start + rng.randint(0, 3)) for start in sorted(rng.sample(range(1, 90), rng.randint(1, 4)))
    ) if rng.random() < 0.7 else ((first, first + 20),)  # fmt: skip
    deed = rng.random()
    if deed < 0.4:
        await client.append(mailbox, copy_for(client.account, rng.randint(1, 999)), flags=rng.randrange(32))
    elif deed < 0.5:
        await world.deliver(*(copy_for(client.account) for _ in range(rng.randint(1, 3))))
    elif deed < 0.7:
        await client.change_open(to_store.StoreFlags, mailbox, uids, rng.randrange(3), rng.randrange(32))
    elif deed < 0.8:
        await client.change_open(to_store.Expunge, mailbox, uids, rng.random() < 0.5)
    elif deed < 0.95:
        await client.change_open(to_store.CopyMessages, mailbox, uids, other, rng.random() < 0.5)
    elif len(mailboxes) > 1 and mailbox != client.inbox and rng.random() < 0.3:
        await client.change(to_store.DeleteMailbox, mailbox)
        mailboxes.remove(mailbox)
    else:
        mailboxes.append(await client.create())


@pytest.mark.parametrize("seed", range(6))
def test_columns_equal_rows_after_any_sequence_of_operations(run, monkeypatch, seed):
    rng = random.Random(seed)
    monkeypatch.setattr(columns_module, "INLINE_MAX", rng.choice([0, 5, 1000]))
    monkeypatch.setattr(columns_module, "CHANGE_MAX", rng.choice([3, 4096]))
    monkeypatch.setattr(columns_module, "CACHE_BYTES", rng.choice([5000, 1 << 20]))
    monkeypatch.setattr(columns_module, "RECENT_MAX", rng.choice([2, 512]))

    async def scenario(world):
        client = await world.session(await world.account())
        mailboxes = [client.inbox, await client.create()]
        for _ in range(25):
            await asyncio.gather(*(act(rng, world, client, mailboxes) for _ in range(1)))
            for mailbox in mailboxes:
                if rng.random() < 0.5:
                    await compare(world, client, [mailbox])
        await asyncio.gather(
            *(act(rng, world, client, [client.inbox]) for _ in range(60)),
            *(client.columns(client.inbox) for _ in range(20)),
        )
        await compare(world, client, mailboxes)

    run(scenario)


@pytest.mark.parametrize("seed", range(4))
def test_changes_bring_an_old_view_to_the_new_one(run, monkeypatch, seed):
    rng = random.Random(100 + seed)
    monkeypatch.setattr(columns_module, "RECENT_MAX", rng.choice([2, 512]))

    async def scenario(world):
        client = await world.session(await world.account())
        view = {uid: row[0] for uid, row in (await client.columns()).items()}
        since = (await client.row(client.inbox)).modseq
        for _ in range(30):
            for _ in range(rng.randint(0, 4)):
                await act(rng, world, client, [client.inbox])
            reply, body = await client.open(to_store.ReadChanges, client.inbox, since)
            assert reply.complete
            gone, changed = reply.expunged, reply.changed
            words = [int.from_bytes(body[at : at + 4], "little") for at in range(0, 4 * (gone + changed), 4)]
            flags = [
                int.from_bytes(body[at : at + 8], "little")
                for at in range(4 * (gone + changed), 4 * (gone + changed) + 8 * changed, 8)
            ]
            for uid in words[:gone]:
                view.pop(uid, None)
            view |= dict(zip(words[gone:], flags, strict=True))
            since = reply.modseq
            assert view == {uid: row[0] for uid, row in (await client.columns()).items()}

    run(scenario)


def test_a_change_that_is_shown_already_is_not_applied_twice():
    columns = MailboxColumns(1, 3, 7, 7)
    columns.extend([(1, 0, 10, 0, 6, b"a" * 16), (2, 0, 10, 0, 7, b"b" * 16)])
    columns.apply(MailboxChange(1, 7, added=[AddedRow(2, 0, 10, 0, b"b" * 16)]))
    assert list(columns.uids) == [1, 2]
    columns.apply(MailboxChange(1, 8, expunged=[1], added=[AddedRow(3, -1, 10, 0, b"c" * 16)]))
    assert (list(columns.uids), bytes(columns.emails), columns.uid_next) == ([2, 3], b"b" * 16 + b"c" * 16, 4)
    count, (flags,) = columns.packed(to_store.Column.FLAGS, 3)
    assert (count, flags) == (1, b"\xff" * 8)
