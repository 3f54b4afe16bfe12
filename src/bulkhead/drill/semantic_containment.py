"""A surface is stopped for some accounts, and a compromised gate works round the stop by what it held.

The command line stages the set and stops; access and submit are hostile from then on.
"""

import hashlib
import secrets
from collections.abc import Iterable
from typing import Any

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages import to_auth, to_keyring, to_queue, to_store
from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.messages.to_auth import Authenticate, Scope
from bulkhead.boundary.messages.to_keyring import RedeemLogin
from bulkhead.boundary.messages.to_queue import ReadQueued, TakeWork
from bulkhead.boundary.messages.to_store import CreateMailbox, ListMailboxes
from bulkhead.drill.bare_cell import SOURCE, BareCell, Person, answer, letter, stamp
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.officers import now_ms
from bulkhead.drill.semantic import Column
from bulkhead.errors import Error
from bulkhead.identifiers import MailboxId, QueueId, new_id, parse_address

GUARDS: dict[str, Any] = {"keyring": to_keyring, "auth": to_auth, "queue": to_queue, "store": to_store}
FAR = "friend@far.example"


async def stop(cell: BareCell, surfaces: int, people: Iterable[Person]) -> None:
    """Stop these surfaces for these people, at every guard."""
    ids = b"".join(sorted(person.account for person in people))
    digest, console = hashlib.sha256(ids).digest(), cell.exchanges["cli"]
    for name, module in GUARDS.items():
        await console.to(name).call(module.StageAccounts(stamp(), digest), ids)
        await console.to(name).call(module.StopSurfaces(stamp(), now_ms(), surfaces, digest, 0, "drill"))


async def _nonce(cell: BareCell, gate: Exchange, person: Person, scope: int) -> bytes | None:
    """A login that waits to be redeemed."""
    nonce = secrets.token_bytes(16)
    request = Authenticate(person.account, bytes(bytearray(person.password)), scope, SOURCE, nonce)
    return None if isinstance(await answer(gate, "auth", request), str) else nonce


async def _redeems(gate: Exchange, person: Person, nonce: bytes | None, scope: int) -> bool:
    if nonce is None:
        return False
    return not isinstance(await answer(gate, "keyring", RedeemLogin(nonce, person.account, scope)), str)


async def pass_login_stop(cell: BareCell) -> Finding:
    """POP3 and submission are stopped for one person: a cached login, a login that waits, a handle from before."""
    person, other = await cell.add_person(), await cell.add_person()
    access, submit = cell.exchanges["access"], cell.exchanges["submit"]
    cases = ((access, Scope.POP), (submit, Scope.SUBMIT))
    control = True
    for gate, scope in cases:  # twice: the second is cached
        for _ in range(2):
            control &= await _redeems(gate, person, await _nonce(cell, gate, person, scope), scope)
    pop = await _nonce(cell, access, person, Scope.POP)
    live = await access.to("keyring").call(RedeemLogin(pop or b"", person.account, Scope.POP))
    control &= not isinstance(await answer(access, "store", ListMailboxes(live.handle)), str)
    waiting = [(gate, scope, await _nonce(cell, gate, person, scope)) for gate, scope in cases]
    control &= all(nonce is not None for _, _, nonce in waiting)
    await stop(cell, Surface.POP | Surface.SUBMIT, [person])
    reached = sum([await _redeems(gate, person, nonce, scope) for gate, scope, nonce in waiting])
    for gate, scope in cases:
        for _ in range(2):
            reached += await _redeems(gate, person, await _nonce(cell, gate, person, scope), scope)
        mixed = await _nonce(cell, gate, other, scope)  # another's login, for this account
        reached += await _redeems(gate, person, mixed, scope)
    imap = await _nonce(cell, access, person, Scope.IMAP)
    reached += await _redeems(access, person, imap, Scope.POP)
    reached += not isinstance(await answer(access, "store", ListMailboxes(live.handle)), str)
    for gate, scope in cases:
        control &= await _redeems(gate, other, await _nonce(cell, gate, other, scope), scope)
    control &= await _redeems(access, person, await _nonce(cell, access, person, Scope.IMAP), Scope.IMAP)
    return Finding(reached, 10, control)


async def pass_reset(cell: BareCell) -> Finding:
    """A main password has to be replaced: logins cached, waiting and anew by it, a handle, a change by it."""
    person, other = await cell.add_person(), await cell.add_person()
    access = cell.exchanges["access"]
    control = True
    for one in (person, other):  # twice: the second is cached
        for _ in range(2):
            control &= await _redeems(access, one, await _nonce(cell, access, one, Scope.POP), Scope.POP)
    live = await access.to("keyring").call(
        RedeemLogin(await _nonce(cell, access, person, Scope.POP) or b"", person.account, Scope.POP)
    )
    control &= not isinstance(await answer(access, "store", ListMailboxes(live.handle)), str)
    waiting = await _nonce(cell, access, person, Scope.POP)
    await stop(cell, Surface.RESET_MAIN, [person])
    reached = int(await _redeems(access, person, waiting, Scope.POP))
    for _ in range(2):
        reached += await _redeems(access, person, await _nonce(cell, access, person, Scope.POP), Scope.POP)
    reached += not isinstance(await answer(access, "store", ListMailboxes(live.handle)), str)
    for one in (person, other):
        change = to_auth.ChangePassword(stamp(), one.account, bytes(bytearray(one.password)), b"an attacker's own one")
        changed = not isinstance(await answer(cell.exchanges["cli"], "auth", change), str)
        if one is person:
            reached += changed
        else:
            control &= changed
    return Finding(reached, 5, control)


async def pass_outbound_stop(cell: BareCell) -> Finding:
    """Outbound is stopped for one person: submit puts more into the queue, courier takes and reads it all the same."""
    person, other = await cell.add_person(), await cell.add_person()
    submit, courier, sealer = cell.exchanges["submit"], cell.exchanges["courier"], cell.outbound()

    async def send(sender: Person) -> None:
        to = [parse_address(FAR)]
        await sealer.enqueue(submit, parse_address(sender.address), to, letter(), account=sender.account)

    await send(person)
    (before,) = (await courier.to("queue").call(TakeWork(16))).items

    async def reads(queue_id: QueueId) -> bool:
        try:
            _, reader = await courier.to("queue").open(ReadQueued(queue_id))
        except Error:
            return False
        return bool(await reader.read_all())

    control = await reads(before.queue_id)
    await send(person)
    await stop(cell, Surface.OUTBOUND, [person])
    await send(person)
    await send(other)
    reached = int(await reads(before.queue_id))
    taken = [work for _ in range(3) for work in (await courier.to("queue").call(TakeWork(16))).items]
    reached += sum(work.reverse_path == person.address for work in taken)
    rows = await cell.ask("cli", "queue", to_queue.ListQueue())
    for row in rows.rows:
        if row.reverse_path == person.address:
            reached += await reads(row.queue_id)
    control &= sum(work.reverse_path == other.address for work in taken) == 1 and len(rows.rows) == 4
    return Finding(reached, 4, control)


async def pass_freeze(cell: BareCell) -> Finding:
    """A person is frozen: a session changes the mailbox, and mail is put into it, by every gate that delivers."""
    person, other = await cell.add_person(), await cell.add_person()
    access = cell.exchanges["access"]
    handles = {}
    for one in (person, other):
        nonce = await _nonce(cell, access, one, Scope.IMAP)
        handles[one.address] = (
            await access.to("keyring").call(RedeemLogin(nonce or b"", one.account, Scope.IMAP))
        ).handle
    await stop(cell, Surface.FREEZE, [person])

    async def changes(one: Person) -> bool:
        request = CreateMailbox(stamp(), handles[one.address], MailboxId(new_id()), b"name", secrets.token_bytes(16))
        return not isinstance(await answer(access, "store", request), str)

    async def delivers(one: Person, gate: str) -> bool:
        try:
            await cell.deliver(one, letter(), gate=gate)
        except Error:
            return False
        return True

    reached = int(await changes(person)) + sum([await delivers(person, gate) for gate in ("mx", "submit", "courier")])
    control = await changes(other) and await delivers(other, "mx")
    control &= not isinstance(await answer(access, "store", ListMailboxes(handles[person.address])), str)
    return Finding(reached, 4, control)


ACTS = (
    SemanticAct(
        "stop-passed-by-login", "access", (Column.STORED_MAIL,),
        "logins past a stop of surfaces: cached, waiting, under another's nonce, by a handle of before",
        "one is served", "the same for another person, and by a surface that is open", pass_login_stop,
    ),
    SemanticAct(
        "reset-passed", "access", (Column.STORED_MAIL,),
        "a main password that has to be replaced: cached, waiting, by a handle of before, and to change itself",
        "one is served", "the same for another person", pass_reset,
    ),
    SemanticAct(
        "stop-passed-by-sending", "submit", (Column.NETWORK,),
        "mail of a person whose outbound mail is stopped, put into the queue before and after, taken by courier",
        "courier gets its text", "the same of another person", pass_outbound_stop,
    ),
    SemanticAct(
        "freeze-passed", "access", (Column.MAIL_ALTERED,),
        "changes by a session, and deliveries by mx, submit and courier, to a mailbox that is frozen",
        "one is taken", "the same to another mailbox; reading", pass_freeze,
    ),
)  # fmt: skip

PROBES = probes_of(ACTS)
