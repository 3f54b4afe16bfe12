"""store is compromised: it hands out what it likes for what a session asks, and takes back what it had confirmed."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import structs

from bulkhead.boundary.edge import Answer, Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_store as s
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_keyring import ArrivedKey, OpenArrived, OpenPages, OpenSlots, SlottedKey
from bulkhead.drill.bare_cell import BareCell, Person, letter
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_access import EVERY_UID
from bulkhead.errors import Error, Refused
from bulkhead.identifiers import AccountId, EmailId, MailboxId
from bulkhead.records.message import open_body, open_header, open_summary, seal_head
from bulkhead.records.page import Page

PARTS = (s.Part.SUMMARY, s.Part.HEADER, s.Part.BODY)


@dataclass(frozen=True, slots=True)
class Held:
    """One message as store holds it: its row and its three sealed parts."""

    row: s.MessageRow
    parts: tuple[bytes, bytes, bytes]

    def with_part(self, number: int, data: bytes) -> "Held":
        """With another part."""
        parts = [*self.parts[:number], data, *self.parts[number + 1 :]]
        return Held(self.row, (parts[0], parts[1], parts[2]))


@dataclass(slots=True)
class HostileStore:
    """In store's place, with one message to show."""

    shown: Held
    sealed: dict[bytes, bytes] = field(default_factory=dict)


def _list(hostile: HostileStore, _: Channel, __: s.ListMailboxes, ___: object) -> s.MailboxPage:
    return s.MailboxPage((s.MailboxRow(MailboxId(bytes(16)), s.Role.INBOX, b"", 1, 9, 1, 0, 0, 0, 1, 1),))


def _read_part(hostile: HostileStore, _: Channel, request: s.ReadPart, __: object) -> Answer:
    if request.part not in PARTS:
        raise Refused("no such part", code="no-such-message")
    data = hostile.shown.parts[request.part - 1]
    return Answer(s.PartSent(len(data)), iter([data]))


_HANDLERS: Mapping[Any, Any] = {
    s.GrantSessions: lambda *_: Done(), s.RevokeSessions: lambda *_: Done(), s.ListMailboxes: _list,
    s.ReadRows: lambda hostile, *_: s.MessageRows((hostile.shown.row,), False), s.ReadPart: _read_part,
}  # fmt: skip


async def hold(worker: Exchange, handle: bytes) -> list[Held]:
    """Everything in INBOX, as honest store gives it."""
    store = worker.to("store")
    inbox = (await store.call(s.ListMailboxes(handle))).rows[0].mailbox
    held = []
    for row in (await store.call(s.ReadRows(handle, inbox, EVERY_UID))).rows:
        parts = []
        for part in PARTS:
            _, reader = await store.open(s.ReadPart(handle, row.email, part))
            parts.append(await reader.read_all())
        held.append(Held(row, (parts[0], parts[1], parts[2])))
    return held


async def read(worker: Exchange, handle: bytes, account: AccountId) -> bytes:
    """The one message that store shows, in clear, opened as access opens it. Raises Error where a part does not."""
    (held,) = await hold(worker, handle)
    email = EmailId(held.row.email)
    opened = await worker.to("keyring").call(OpenArrived(handle, (ArrivedKey(email, held.row.sealed_key),)))
    if opened.keys[0] is None:
        raise Refused("the box does not open", code="does-not-open")
    key = opened.keys[0].key
    open_summary(key, account, email, held.parts[0])
    return open_header(key, account, email, held.parts[1]) + open_body(key, account, email, held.parts[2])


async def _reads(worker: Exchange, handle: bytes, account: AccountId) -> bytes:
    try:
        return await read(worker, handle, account)
    except Error:
        return b""


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def forgeries(one: Held, two: Held, foreign: Held) -> list[Held]:
    """One of the victim's messages altered or mixed with another, of hers and of somebody else's."""
    made = [
        one.with_part(part, _flip(one.parts[part], at)) for part in range(3) for at in (0, 9, len(one.parts[part]) - 1)
    ]
    made += [one.with_part(2, one.parts[2][:-1]), one.with_part(2, one.parts[2][:7]), one.with_part(1, b"")]
    for other in (two, foreign):
        made += [one.with_part(part, other.parts[part]) for part in range(3)]
        made.append(Held(structs.replace(one.row, sealed_key=other.row.sealed_key), one.parts))
        made.append(Held(structs.replace(one.row, email=other.row.email), one.parts))
        made.append(Held(structs.replace(one.row, email=other.row.email), other.parts))
        made.append(Held(structs.replace(one.row, sealed_key=other.row.sealed_key), other.parts))
    made += [foreign, Held(one.row, (one.parts[1], one.parts[0], one.parts[2]))]
    return made


async def forge(cell: BareCell) -> Finding:
    """Parts altered, cut, swapped between messages and accounts; boxes and ids swapped; shown to an honest session."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    await cell.deliver(victim, letter("one"), letter("two"))
    await cell.deliver(mallory, letter("three"))
    worker = cell.worker("access")
    handle = (await cell.log_in(worker, victim))[1].handle
    foreign = (await hold(worker, (await cell.log_in(worker, mallory))[1].handle))[0]
    one, two = await hold(worker, handle)
    opened = await worker.to("keyring").call(OpenArrived(handle, (ArrivedKey(one.row.email, one.row.sealed_key),)))
    hostile = HostileStore(one)
    exchange = await cell.replace("store", hostile, _HANDLERS)
    cell.join(worker, exchange)
    control = b"Subject: one" in await _reads(worker, handle, victim.account)
    reached = 0
    cases = forgeries(one, two, foreign)
    for hostile.shown in cases:
        reached += bool(await _reads(worker, handle, victim.account))
    key = opened.keys[0].key if opened.keys[0] is not None else b""
    made = seal_head(key, victim.account, EmailId(one.row.email), b"", b"Subject: forged\r\n\r\n")[1]
    hostile.shown = one.with_part(1, made)  # one who has the message's key makes a header that opens
    control = control and b"forged" in await _reads(worker, handle, victim.account)
    return Finding(reached, len(cases), control)


async def swap_slots(cell: BareCell) -> Finding:
    """Slots and pages of another message, another account, another version, handed to an honest session."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    await cell.deliver(victim, letter("one"), letter("two"))
    await cell.deliver(mallory, letter("three"))
    worker = cell.worker("access")
    sessions = {p.account: (await cell.log_in(worker, p))[1].handle for p in (victim, mallory)}
    keyring = worker.to("keyring")

    async def slots(person: Person) -> list[tuple[EmailId, bytes]]:
        held = await hold(worker, sessions[person.account])
        items = tuple(ArrivedKey(one.row.email, one.row.sealed_key) for one in held)
        keys = (await keyring.call(OpenArrived(sessions[person.account], items))).keys
        return [(one.row.email, key.slot) for one, key in zip(held, keys, strict=True) if key is not None]

    (one, slot_one), (two, slot_two) = await slots(victim)
    ((three, slot_three),) = await slots(mallory)
    handle = sessions[victim.account]
    wrong = [(one, slot_two), (two, slot_one), (one, slot_three), (three, slot_three), (three, slot_one)]
    reached = 0
    for email, slot in [*wrong, (one, slot_one[:-1]), (one, b"")]:
        reached += (await keyring.call(OpenSlots(handle, (SlottedKey(email, slot),)))).keys[0] is not None
    control = (await keyring.call(OpenSlots(handle, (SlottedKey(one, slot_one),)))).keys[0] is not None
    own = (await keyring.call(OpenPages(handle, (1, 2)))).keys
    theirs = (await keyring.call(OpenPages(sessions[mallory.account], (1,)))).keys
    page = Page((b"summary",))
    record = page.seal(own[0], 1, victim.account, 1, 1)
    opens: list[Callable[[], Page]] = [
        lambda: Page.open(own[0], victim.account, 1, 1, page.seal(theirs[0], 1, mallory.account, 1, 1)),
        lambda: Page.open(own[0], victim.account, 1, 2, record),
        lambda: Page.open(own[1], victim.account, 2, 1, record),
        lambda: Page.open(own[0], victim.account, 1, 1, page.seal(own[1], 1, victim.account, 2, 1)),
        lambda: Page.open(theirs[0], mallory.account, 1, 1, record),
        lambda: Page.open(own[0], victim.account, 1, 1, _flip(record, len(record) - 1)),
    ]
    for attempt in opens:
        try:
            reached += bool(attempt())
        except Error:
            pass
    control = control and Page.open(own[0], victim.account, 1, 1, record) == page
    return Finding(reached, len(wrong) + 2 + len(opens), control)


async def roll_back(cell: BareCell) -> Finding:
    """Residue: yesterday's files again. What a client that remembers UIDNEXT and MODSEQ sees of it, and the server."""
    person = await cell.add_person()
    await cell.deliver(person, letter("old"))
    await cell.stop("store")
    copy = cell.root / "yesterday"
    shutil.copytree(cell.root / "store", copy)
    await cell.start("store")
    await cell.deliver(person, letter("new"))
    before = await _inbox(cell, person)
    await cell.stop("store")
    os.chdir(cell.root)
    shutil.rmtree(cell.root / "store")
    shutil.copytree(copy, cell.root / "store")
    await cell.start("store")
    after = await _inbox(cell, person)
    seen = after.uid_next < before.uid_next and after.modseq < before.modseq
    problems = (await cell.ask("cli", "store", s.CheckStore(deep=True))).problems
    reached = before.messages - after.messages
    note = (
        f"UIDNEXT {before.uid_next} to {after.uid_next}, MODSEQ {before.modseq} to {after.modseq}: a client that "
        f"keeps them {'can tell' if seen else 'cannot tell'}; fsck finds {len(problems)} problems"
    )
    return Finding(reached, 1, before.messages == 2 and seen, note)


async def _inbox(cell: BareCell, person: Person) -> s.MailboxRow:
    worker = cell.worker("access")
    _, session = await cell.log_in(worker, person)
    return (await worker.to("store").call(s.ListMailboxes(session.handle))).rows[0]


ACTS = (
    SemanticAct(
        "store-forges", "store", (Column.MAIL_ALTERED, Column.STORED_MAIL),
        "parts altered, cut and swapped, boxes and ids swapped, of one account and of two",
        "an honest session opens what was not sent", "whoever has the message's key", forge,
    ),
    SemanticAct(
        "store-swaps-slots", "store", (Column.MAIL_ALTERED, Column.KEYS),
        "slots and pages of other messages, accounts and versions", "one opens", "each in its own place", swap_slots,
    ),
    SemanticAct(
        "store-rolls-back", "store", (Column.MAIL_DESTROYED,), "the files of an earlier day", "a message is gone",
        "it was there before, and the counters went down", roll_back, 1,
        "store can withhold, destroy and roll back: clients that keep UIDNEXT and MODSEQ see it, backups bound it",
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)
