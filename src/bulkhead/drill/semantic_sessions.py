"""Sessions and grants past what they were made for: another scope, after their time, of an epoch that is over."""

import asyncio
import secrets
import time

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.boundary.messages.to_keyring import RedeemLogin, StopTenantSessions
from bulkhead.boundary.messages.to_store import Grant, GrantSessions, ListMailboxes, RevokeSessions, Rights
from bulkhead.drill.bare_cell import BareCell, answer, letter, stamp, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.drill.semantic_access import acts_by, begin, given
from bulkhead.drill.semantic_auth import HostileAuth
from bulkhead.drill.semantic_keyring import HostileKeyring

SESSION_SECONDS = 0.5


async def widen_scope(cell: BareCell) -> Finding:
    """A nonce checked for one kind of session is redeemed for another, by each gate."""
    person = await cell.add_person()
    hostile = HostileAuth(cell)
    known = await hostile.learn(person)
    await hostile.take_over()
    access, submit = cell.exchanges["access"], cell.exchanges["submit"]

    async def redeems(gate: Exchange, checked: int, redeemed: int) -> bool:
        nonce = secrets.token_bytes(16)
        if isinstance(await hostile.check(person.account, known, nonce, checked), str):
            return False
        return not isinstance(await answer(gate, "keyring", RedeemLogin(nonce, person.account, redeemed)), str)

    cases = (
        (submit, Scope.IMAP, Scope.SUBMIT), (submit, Scope.IMAP, Scope.IMAP), (submit, Scope.POP, Scope.SUBMIT),
        (access, Scope.SUBMIT, Scope.IMAP), (access, Scope.SUBMIT, Scope.POP), (access, Scope.IMAP, Scope.POP),
        (access, Scope.SUBMIT, Scope.SUBMIT), (submit, Scope.SUBMIT, Scope.IMAP),
    )  # fmt: skip
    reached = sum([await redeems(*case) for case in cases])
    control = await redeems(access, Scope.IMAP, Scope.IMAP) and await redeems(submit, Scope.SUBMIT, Scope.SUBMIT)
    return Finding(reached, len(cases), control)


async def outlast_expiry(cell: BareCell) -> Finding:
    """A handle on its own channel after its time: nobody has ended it."""
    victim = await cell.add_person()
    await cell.deliver(victim, letter())
    worker = cell.worker("access")
    live = await begin(cell, worker, victim)  # the first login of a run takes longer than this session lasts
    keyring = cell.keyring
    with weakened(keyring, "session_seconds", SESSION_SECONDS):
        live = await begin(cell, worker, victim)
        acts = acts_by(live.handle, live)
        control = await given(worker, acts[:2]) == 2
        await asyncio.sleep(SESSION_SECONDS)
    return Finding(await given(worker, acts_by(live.handle, live)), len(acts), control)


async def grant_of_an_old_epoch(cell: BareCell) -> Finding:
    """A keyring as it was before a stop, out of an old copy: what it grants and revokes with the epoch of then."""
    person = await cell.add_person()
    await cell.log_in("access", person)
    epoch = int(time.time() * 1000)
    await cell.ask("cli", "keyring", StopTenantSessions(stamp(), epoch, True, False, "drill"))
    hostile = HostileKeyring(cell)
    await hostile.take_over()
    worker, reached = cell.worker("access"), 0

    async def served(told: int) -> bool:
        handle, me = secrets.token_bytes(16), worker.me
        expires = int(time.time() * 1000) + 60_000
        grant = Grant(
            handle, person.account, Rights.ALL, me.compartment, me.worker, me.incarnation, expires
        )  # fmt: skip
        await answer(hostile.exchange, "store", GrantSessions((grant,), True, told))
        return not isinstance(await answer(worker, "store", ListMailboxes(handle)), str)

    control = await served(epoch)
    for told in (0, epoch - 1, epoch - 86_400_000):
        reached += await served(told)
        reached += not isinstance(await answer(hostile.exchange, "store", RevokeSessions((), True, told)), str)
    return Finding(reached, 6, control)


ACTS = (
    SemanticAct(
        "auth-widens-scope", "auth", (Column.STORED_MAIL,), "redeem a login for a scope that it was not checked for",
        "submit gets a session that opens mail, or access one from a password for sending",
        "the scope that was checked", widen_scope,
    ),
    SemanticAct(
        "access-outlasts-expiry", "access", (Column.STORED_MAIL, Column.MAIL_DESTROYED),
        "ten acts with an own handle after its time", "one is served", "the same acts within its time", outlast_expiry,
    ),
    SemanticAct(
        "keyring-old-epoch", "keyring", (Column.STORED_MAIL, Column.AVAILABILITY),
        "grants and revocations with epochs before a stop", "store serves or obeys one", "the present epoch",
        grant_of_an_old_epoch,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)
