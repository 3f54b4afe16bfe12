"""keyring is compromised: it answers auth and the gates as it likes, and tells store which sessions exist."""

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Done, Request
from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.boundary.messages.to_keyring import CheckCached, CheckHalf, EndSession, RedeemLogin, Release, Session
from bulkhead.boundary.messages.to_store import (
    CheckRoom,
    Expunge,
    Grant,
    GrantSessions,
    ListMailboxes,
    Part,
    ReadPart,
    ReadRows,
    Rights,
)
from bulkhead.drill.bare_cell import BareCell, Person, answer, letter, stamp, violates, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.errors import Error, IntegrityError
from bulkhead.identifiers import AccountId, EmailId, MailboxId
from bulkhead.keyring import grants
from bulkhead.records.halves import AuthHalf
from bulkhead.records.message import open_header
from bulkhead.store import handle_session

NO_MAILBOX = MailboxId(bytes(16))
EVERY_UID = ((1, 0xFFFFFFFF),)
HIGHEST_EPOCH = (1 << 63) - 1
GATES = (("access", Scope.IMAP), ("access", Scope.POP), ("submit", Scope.SUBMIT))


@dataclass(slots=True)
class HostileKeyring:
    """In keyring's place. releases: what it answers by account; everyone is let in, with handles that it makes.

    believed: the account that store is told a handle is for; None: nothing is told.
    """

    cell: BareCell
    releases: dict[bytes, bytes] = field(default_factory=dict)
    believed: bytes | None = None
    seen: list[CheckHalf | CheckCached] = field(default_factory=list)
    exchange: Exchange = field(init=False)

    async def take_over(self) -> None:
        """Be keyring from now on."""
        handlers: dict[type[Request[Any]], Any] = {
            CheckHalf: _check,
            CheckCached: _check,
            RedeemLogin: _redeem,
            EndSession: lambda *_: Done(),
        }
        self.exchange = await self.cell.replace("keyring", self, handlers)
        await answer(self.exchange, "store", GrantSessions((), True, 0))

    async def grant(self, account: bytes, channel: Channel, epoch: int = 0) -> bytes:
        """A handle that store serves for that account on that channel."""
        handle = secrets.token_bytes(16)
        name, worker, incarnation = channel.compartment, channel.worker, channel.incarnation
        expires = int(time.time() * 1000) + 3_600_000
        grant = Grant(handle, AccountId(account), Rights.ALL, name, worker, incarnation, expires)
        await answer(self.exchange, "store", GrantSessions((grant,), True, epoch))
        return handle


def _check(hostile: HostileKeyring, _: Channel, request: CheckHalf | CheckCached, __: object) -> Release:
    hostile.seen.append(request)
    return Release(hostile.releases.get(request.account, secrets.token_bytes(32)))


async def _redeem(hostile: HostileKeyring, channel: Channel, request: RedeemLogin, _: object) -> Session:
    account = hostile.believed or request.account
    handle = await hostile.grant(account, channel)
    return Session(handle, int(time.time() * 1000) + 3_600_000, bytes(32))


async def say_yes(cell: BareCell) -> Finding:
    """Yes to wrong passwords of accounts that have not logged in since: on IMAP, POP3 and submit, and decoys."""
    people = [await cell.add_person() for _ in range(2)]
    hostile = HostileKeyring(cell)
    await hostile.take_over()
    names = [*(person.address for person in people), f"nobody@{cell.domain}"]
    reached = tried = 0
    for name in names:
        for gate, scope in GATES:
            tried += 1
            reached += await cell.admits(gate, name, b"anything", scope)
    with weakened(AuthHalf, "check_release", lambda *_: None):  # auth compares no release
        control = await cell.admits("access", names[0], b"anything")
    return Finding(reached, tried, control and bool(hostile.seen))


async def wrong_release(cell: BareCell) -> Finding:
    """The release of another account, and of the victim's password before the last change."""
    victim, other = await cell.add_person(), await cell.add_person()
    releases: dict[bytes, bytes] = {}
    await _note_releases(cell, releases, victim, other)
    hostile = HostileKeyring(cell, {victim.account: releases[other.account]})
    await hostile.take_over()
    reached = tried = 0
    for release in (releases[other.account], bytes(32), releases[victim.account][::-1]):
        hostile.releases[victim.account] = release
        for gate, scope in GATES:
            tried += 1
            reached += await cell.admits(gate, victim.address, b"anything", scope)
    hostile.releases[victim.account] = releases[victim.account]
    control = await cell.admits("access", victim.address, b"anything")  # the right one: it has seen it
    return Finding(reached, tried, control)


async def _note_releases(cell: BareCell, releases: dict[bytes, bytes], *people: Person) -> None:
    logins = cell.keyring.logins
    check = logins.check

    async def noting(request: CheckHalf) -> Release:
        release: Release = await check(request)
        releases[request.account] = release.release
        return release

    with weakened(logins, "check", noting):
        for person in people:
            logins.forget(person.account)  # a cached login would not be checked
            await cell.log_in("access", person)


async def admit_the_seen(cell: BareCell) -> Finding:
    """Residue: whoever logged in since the compromise can be admitted again by anyone; others cannot."""
    seen, unseen = await cell.add_person(), await cell.add_person()
    releases: dict[bytes, bytes] = {}
    await _note_releases(cell, releases, seen)
    hostile = HostileKeyring(cell, releases)
    await hostile.take_over()
    reached = int(await cell.admits("access", seen.address, b"anything"))
    beyond = int(await cell.admits("access", unseen.address, b"anything"))
    return Finding(reached + beyond, 2, reached == 1, f"{beyond} of 1 that did not log in")


async def read_by_own_grants(cell: BareCell) -> Finding:
    """Grants for every account to itself and to others' channels: what keyring's own edge to store gives it."""
    victim = await cell.add_person()
    await cell.deliver(victim, letter())
    hostile = HostileKeyring(cell)
    await hostile.take_over()
    handle = await hostile.grant(victim.account, hostile.exchange.me)
    requests: list[Request[Any]] = [
        ListMailboxes(handle), ReadRows(handle, NO_MAILBOX, EVERY_UID), ReadPart(handle, EmailId(bytes(16)), Part.BODY),
        Expunge(stamp(), handle, NO_MAILBOX, EVERY_UID, False), CheckRoom(victim.account, 1),
    ]  # fmt: skip
    reached = 0
    for request in requests:
        reached += await violates(hostile.exchange, "store", request)
        cell.join(hostile.exchange, cell.exchanges["store"])
        await answer(hostile.exchange, "store", GrantSessions((), True, 0))
    worker = cell.worker("access")
    own = await hostile.grant(victim.account, worker.me)
    control = not isinstance(await answer(worker, "store", ListMailboxes(own)), str)  # a gate may ask by such a grant
    return Finding(reached, len(requests), control)


async def grant_a_stranger(cell: BareCell) -> Finding:
    """mallory logs in honestly and keyring has store take her session for the victim's: what she reads in clear."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    await cell.deliver(victim, letter("one"), letter("two"))
    own = (await cell.log_in("access", mallory))[1]
    email, sealed = await _first_header(cell, victim)
    releases: dict[bytes, bytes] = {}
    await _note_releases(cell, releases, mallory)
    keys = [secrets.token_bytes(32), own.metadata_key, bytes(32)]
    reached = sum(_opens(key, account, email, sealed) for key in keys for account in (victim.account, mallory.account))
    hostile = HostileKeyring(cell, releases, believed=victim.account)
    await hostile.take_over()
    _, session = await cell.log_in("access", mallory)
    boxes = await answer(cell.exchanges["access"], "store", ListMailboxes(session.handle))
    seen = 0 if isinstance(boxes, str) else sum(row.messages for row in boxes.rows)
    return Finding(reached, len(keys) * 2, seen > 0, f"{seen} of 2 rows (sizes, dates, flags) seen; none opens")


async def destroy_by_grant(cell: BareCell) -> Finding:
    """Residue: the same session deletes the victim's mail, because store knows sessions from keyring alone."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    await cell.deliver(victim, letter("one"), letter("two"))
    releases: dict[bytes, bytes] = {}
    await _note_releases(cell, releases, mallory)
    hostile = HostileKeyring(cell, releases, believed=victim.account)
    await hostile.take_over()
    _, session = await cell.log_in("access", mallory)
    access = cell.exchanges["access"]
    boxes = await answer(access, "store", ListMailboxes(session.handle))
    if isinstance(boxes, str):
        return Finding(0, 2, False, boxes)
    expunge = Expunge(stamp(), session.handle, boxes.rows[0].mailbox, EVERY_UID, deleted_only=False)
    try:
        done, reader = await access.to("store").open(expunge)
        reader.close()
        gone = done.expunged
    except Error:
        gone = 0
    return Finding(gone, 2, True, "a subscriber's own client does it; backups bound it")


async def _first_header(cell: BareCell, person: Person) -> tuple[EmailId, bytes]:
    access = cell.exchanges["access"]
    _, session = await cell.log_in("access", person)
    inbox = (await access.to("store").call(ListMailboxes(session.handle))).rows[0].mailbox
    row = (await access.to("store").call(ReadRows(session.handle, inbox, EVERY_UID))).rows[0]
    _, reader = await access.to("store").open(ReadPart(session.handle, row.email, Part.HEADER))
    return row.email, await reader.read_all()


def _opens(key: bytes, account: AccountId, email: EmailId, sealed: bytes) -> bool:
    try:
        return bool(open_header(key, account, email, sealed))
    except IntegrityError:
        return False


async def raise_the_epoch(cell: BareCell) -> Finding:
    """The highest epoch there is, so that no honest keyring's grant is ever taken again."""
    person = await cell.add_person()
    before = await cell.admits("access", person)
    hostile = HostileKeyring(cell)
    await hostile.take_over()
    reached = 0
    for epoch in (HIGHEST_EPOCH, (1 << 53) - 1, int(time.time() * 1000) + 86_400_000):
        reached += not isinstance(await answer(hostile.exchange, "store", GrantSessions((), True, epoch)), str)
    await cell.restart("keyring")
    after = await cell.admits("access", person)
    with weakened(handle_session, "EPOCH_AHEAD_MS", HIGHEST_EPOCH):  # store takes any epoch
        await _say_epoch(cell, (1 << 53) - 1)
    with weakened(grants, "GRANT_SECONDS", 0.5):
        control = not await cell.admits("access", person)
    return Finding(reached + (not after), 4, before and control, "a stop of the present minute is the most it can set")


async def _say_epoch(cell: BareCell, epoch: int) -> None:
    """A hostile keyring says this epoch and is replaced by the real one."""
    hostile = HostileKeyring(cell)
    await hostile.take_over()
    await answer(hostile.exchange, "store", GrantSessions((), True, epoch))
    await cell.restart("keyring")
    await asyncio.sleep(0)


_SEEN = "a login that keyring saw shows it the release; a forced reset (a change of password) ends it"

ACTS = (
    SemanticAct(
        "keyring-says-yes", "keyring", (Column.STORED_MAIL,), "yes to wrong passwords on IMAP, POP3 and submit",
        "a gate admits", "auth compares no release", say_yes,
    ),
    SemanticAct(
        "keyring-wrong-release", "keyring", (Column.STORED_MAIL,), "another account's release, zeros, reversed octets",
        "a gate admits", "the right release", wrong_release,
    ),
    SemanticAct(
        "keyring-admits-the-seen", "keyring", (Column.KEYS,),
        "admit one who logged in since, and one who did not",
        "a session without password", "the one who logged in is admitted", admit_the_seen, 1, _SEEN,
    ),
    SemanticAct(
        "keyring-reads-by-grant", "keyring", (Column.STORED_MAIL, Column.MAIL_DESTROYED),
        "grant itself a session and use it on its own edge", "store answers it", "a gate may use such a grant",
        read_by_own_grants,
    ),
    SemanticAct(
        "keyring-grants-a-stranger", "keyring", (Column.STORED_MAIL,),
        "have store take mallory's session for the victim's",
        "a message opens", "store serves her the victim's rows", grant_a_stranger,
    ),
    SemanticAct(
        "keyring-destroys-by-grant", "keyring", (Column.MAIL_DESTROYED,), "the same session expunges",
        "a message of the victim is gone", "its own mail", destroy_by_grant, 2,
        "store knows sessions from keyring alone: with a client of its own keyring deletes any mail; it reads none",
    ),
    SemanticAct(
        "keyring-raises-epoch", "keyring", (Column.AVAILABILITY,), "the highest epochs; then the real keyring again",
        "store takes it, or serves no session afterwards", "store takes any epoch", raise_the_epoch,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
