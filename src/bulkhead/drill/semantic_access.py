"""access is compromised: it uses handles of others, and goes at mail of who is not logged in there."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_store as s
from bulkhead.boundary.messages.fields import Request
from bulkhead.boundary.messages.to_keyring import (
    ArrivedKey,
    EndSession,
    OpenArrived,
    OpenedKeys,
    OpenPages,
    OpenSlots,
    PageKeys,
    SetHalfState,
    SlottedKey,
    StopTenantSessions,
)
from bulkhead.drill.bare_cell import BareCell, Person, answer, letter, stamp, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.errors import Error
from bulkhead.holder.account_states import AccountState
from bulkhead.identifiers import MailboxId, new_id
from bulkhead.store.grants import Grants
from bulkhead.store.grants import Session as Granted

EVERY_UID = ((1, 0xFFFFFFFF),)
SEEN, DELETED = 1, 8
PAGES = 1024


@dataclass(frozen=True, slots=True)
class Live:
    """A session of a worker, its INBOX and the first message's row."""

    worker: Exchange
    handle: bytes
    inbox: MailboxId
    row: s.MessageRow


async def begin(cell: BareCell, worker: Exchange, person: Person) -> Live:
    """Log in there and look into INBOX, which has a message."""
    _, session = await cell.log_in(worker, person)
    inbox = (await worker.to("store").call(s.ListMailboxes(session.handle))).rows[0].mailbox
    rows = await worker.to("store").call(s.ReadRows(session.handle, inbox, EVERY_UID))
    return Live(worker, session.handle, inbox, rows.rows[0])


async def gets(exchange: Exchange, compartment: str, request: Request[Any]) -> int:
    """How much an act gave: octets, rows or messages of the answer and its body; 0 where it was refused."""
    try:
        if request.reply_body_max:
            reply, reader = await exchange.to(compartment).open(request, timeout=10.0)
            body = await reader.read_all()
        else:
            reply, body = await exchange.to(compartment).call(request, timeout=10.0), b""
    except Error:
        return 0
    for name in ("keys", "rows", "sizes"):
        found = getattr(reply, name, None)
        if found is not None:
            return sum(bool(one) for one in found)
    return max(len(body), 1)


def acts_by(handle: bytes, live: Live) -> list[tuple[str, Request[Any]]]:
    """What a handle is good for: look, read, change, open keys."""
    row, box = live.row, live.inbox
    return [
        ("store", s.ListMailboxes(handle)),
        ("store", s.ReadRows(handle, box, EVERY_UID)),
        ("store", s.ReadColumns(handle, box, 63)),
        ("store", s.ReadPart(handle, row.email, s.Part.HEADER)),
        ("store", s.ReadParts(handle, s.Part.SUMMARY, (row.email,))),
        ("store", s.ReadMessages(handle, (row.email,))),
        ("store", s.ReadQuota(handle)),
        ("store", s.StoreFlags(stamp(), handle, box, EVERY_UID, s.FlagMode.ADD, SEEN)),
        ("keyring", OpenArrived(handle, (ArrivedKey(row.email, row.sealed_key),))),
        ("keyring", OpenPages(handle, (1,))),
    ]


async def given(exchange: Exchange, acts: Sequence[tuple[str, Request[Any]]]) -> int:
    """How many of them gave something."""
    return sum([await gets(exchange, whom, request) > 0 for whom, request in acts])


async def steal_handle(cell: BareCell) -> Finding:
    """A handle of another worker, known to the last bit: at store and at keyring."""
    victim = await cell.add_person()
    await cell.deliver(victim, letter())
    honest, thief = cell.worker("access"), cell.worker("access")
    live = await begin(cell, honest, victim)
    reached = await given(thief, acts_by(live.handle, live))
    await answer(thief, "keyring", EndSession(live.handle))  # nor can the thief end it
    control = await given(honest, acts_by(live.handle, live)) == len(acts_by(live.handle, live))

    def any_channel(grants: Grants, _: object, handle: bytes, __: int, ___: int) -> Granted:
        return grants._sessions[handle]

    with weakened(Grants, "check", any_channel):  # store does not look whose channel it is
        control = control and await gets(thief, "store", s.ReadRows(live.handle, live.inbox, EVERY_UID)) > 0
    return Finding(reached, len(acts_by(live.handle, live)), control)


async def outlive(cell: BareCell) -> Finding:
    """A handle after logout, after a stop with its epoch, after its account was suspended, after its channel died."""
    reached = tried = 0
    control = True
    for end in ("logout", "stop", "suspended", "channel"):
        victim = await cell.add_person()
        await cell.deliver(victim, letter())
        worker = cell.worker("access")
        live = await begin(cell, worker, victim)
        acts = acts_by(live.handle, live)
        control = control and await given(worker, acts) == len(acts)
        if end == "logout":
            await answer(worker, "keyring", EndSession(live.handle))
        elif end == "stop":
            order = StopTenantSessions(stamp(), int(time.time() * 1000), True, False, "drill")
            await cell.ask("cli", "keyring", order)
        elif end == "suspended":
            await cell.ask("cli", "keyring", SetHalfState(stamp(), victim.account, AccountState.SUSPENDED))
        else:
            worker.close()
            worker = cell.worker("access")
        await settled(cell, live.handle)
        reached += await given(worker, acts_by(live.handle, live))
        tried += len(acts)
    return Finding(reached, tried, control)


async def settled(cell: BareCell, handle: bytes) -> None:
    """keyring's word of the end travels to store: within a second, measured in milliseconds."""
    for _ in range(200):
        if not cell.store.grants.is_live(handle, int(time.time() * 1000)):
            return
        await asyncio.sleep(0.005)


async def go_at_stranger(cell: BareCell) -> Finding:
    """An own live session, and everything one can ask with it that names the stranger's mailbox or message."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    await cell.deliver(victim, letter("one"), letter("two"))
    await cell.deliver(mallory, letter("mine"))
    theirs = await begin(cell, cell.worker("access"), victim)
    own = await begin(cell, cell.worker("access"), mallory)
    handle, box, row = own.handle, theirs.inbox, theirs.row
    copy = s.Copy(victim.account, new_id(), row.sealed_key, 1, 1, 1, 1, 0)  # type: ignore[arg-type]  # an id it drew
    entry = s.FiledEntry(row.email, 0, b"slot")
    acts: list[Request[Any]] = [
        s.Expunge(stamp(), handle, box, EVERY_UID, False),
        s.StoreFlags(stamp(), handle, box, EVERY_UID, s.FlagMode.ADD, DELETED),
        s.CopyMessages(stamp(), handle, box, EVERY_UID, own.inbox, True),
        s.CopyMessages(stamp(), handle, own.inbox, EVERY_UID, box, False),
        s.DeleteMailbox(stamp(), handle, box),
        s.RenameMailboxes(stamp(), handle, (s.NameChange(box, b"x", bytes(16)),)),
        s.ReadColumns(handle, box, 63),
        s.ReadChanges(handle, box, 0),
        s.ReadRows(handle, box, EVERY_UID),
        s.ReadPlaces(handle, box, EVERY_UID),
        s.ReadPart(handle, row.email, s.Part.SUMMARY),
        s.ReadPart(handle, row.email, s.Part.BODY),
        s.ReadParts(handle, s.Part.HEADER, (row.email,)),
        s.ReadMessages(handle, (row.email,)),
        s.ReadUidls(handle, box),
    ]
    bodied: list[tuple[Request[Any], bytes]] = [
        (s.AppendMessage(stamp(), handle, own.inbox, copy, 0), b"abc"),
        (s.AppendMessage(stamp(), handle, box, copy, 0), b"abc"),
        (s.UpdateMaildrop(stamp(), handle, box), bytes(8)),
    ]
    reached = sum([await gets(own.worker, "store", act) > 0 for act in acts])
    for request, body in bodied:
        reached += not isinstance(await answer(own.worker, "store", request, body), str)
    await answer(own.worker, "store", s.FileMessages(stamp(), handle, 1, 1, 0, 1, (entry,)), b"page")
    rows = await answer(theirs.worker, "store", s.ReadRows(theirs.handle, box, EVERY_UID))
    reached += isinstance(rows, str) or rows.rows[:1] != (row,) or len(rows.rows) != 2
    flags = s.StoreFlags(stamp(), handle, own.inbox, EVERY_UID, s.FlagMode.ADD, DELETED)
    control = await gets(own.worker, "store", flags) > 0
    control = control and await gets(own.worker, "store", s.Expunge(stamp(), handle, own.inbox, EVERY_UID)) > 0
    return Finding(reached, len(acts) + len(bodied) + 1, control)


async def open_foreign_keys(cell: BareCell) -> Finding:
    """Boxes and slots of a stranger under an own session, under their own and under own names."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    await cell.deliver(victim, letter())
    await cell.deliver(mallory, letter())
    theirs = await begin(cell, cell.worker("access"), victim)
    own = await begin(cell, cell.worker("access"), mallory)
    opened = await theirs.worker.to("keyring").call(
        OpenArrived(theirs.handle, (ArrivedKey(theirs.row.email, theirs.row.sealed_key),))
    )
    slot = opened.keys[0].slot if opened.keys[0] is not None else b""
    emails = (theirs.row.email, own.row.email)
    acts: list[Request[Any]] = [
        *(OpenArrived(own.handle, (ArrivedKey(email, theirs.row.sealed_key),)) for email in emails),
        *(OpenSlots(own.handle, (SlottedKey(email, slot),)) for email in emails),
        OpenArrived(own.handle, (ArrivedKey(theirs.row.email, own.row.sealed_key),)),
    ]
    reached = sum([await gets(own.worker, "keyring", act) > 0 for act in acts])
    mine = OpenArrived(own.handle, (ArrivedKey(own.row.email, own.row.sealed_key),))
    control = await gets(own.worker, "keyring", mine) > 0
    slots = OpenSlots(theirs.handle, (SlottedKey(theirs.row.email, slot),))
    return Finding(reached, len(acts), control and await gets(theirs.worker, "keyring", slots) > 0)


async def take_pages_uncounted(cell: BareCell) -> Finding:
    """Page keys by the thousand, of pages that do not exist too: every one must be in keyring's counts."""
    mallory = await cell.add_person()
    await cell.deliver(mallory, letter())
    own = await begin(cell, cell.worker("access"), mallory)
    before = cell.keyring.openings.opened.pages
    keys = await answer(own.worker, "keyring", OpenPages(own.handle, tuple(range(1, PAGES + 1))))
    given_out = len(keys.keys) if isinstance(keys, PageKeys) else 0
    counted = cell.keyring.openings.opened.pages - before
    many = (ArrivedKey(own.row.email, own.row.sealed_key),) * 256
    messages = cell.keyring.openings.opened.messages
    opened = await answer(own.worker, "keyring", OpenArrived(own.handle, many))
    boxes = len([key for key in opened.keys if key]) if isinstance(opened, OpenedKeys) else 0
    counted_boxes = cell.keyring.openings.opened.messages - messages
    reached = max(0, given_out - counted) + max(0, boxes - counted_boxes)
    note = f"{given_out} page keys (each counts as 256 messages) and {boxes} message keys given, all counted"
    return Finding(reached, given_out + boxes, given_out == PAGES and boxes == 256, note)


ACTS = (
    SemanticAct(
        "access-steals-handle", "access", (Column.STORED_MAIL, Column.MAIL_DESTROYED),
        "ten acts with a handle of another worker", "one is served",
        "the handle's own worker; store that asks no channel",
        steal_handle,
    ),
    SemanticAct(
        "access-outlives-session", "access", (Column.STORED_MAIL, Column.MAIL_DESTROYED),
        "ten acts after logout, after a stop, after suspension, after the channel's death", "one is served",
        "the same acts before the end", outlive,
    ),
    SemanticAct(
        "access-strangers-mail", "access", (Column.STORED_MAIL, Column.MAIL_ALTERED, Column.MAIL_DESTROYED),
        "read, reflag, move, file, append to and expunge a stranger's mailbox under an own session",
        "one gives or changes something", "its own mailbox", go_at_stranger,
    ),
    SemanticAct(
        "access-foreign-keys", "access", (Column.STORED_MAIL, Column.KEYS),
        "boxes and slots of a stranger under an own session", "a key comes back",
        "its own box; the stranger's own session", open_foreign_keys,
    ),
    SemanticAct(
        "access-uncounted-pages", "access", (Column.KEYS,), "1,024 page keys and 256 message keys at once",
        "a key that is not counted", "the keys come", take_pages_uncounted,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)
