"""mx is compromised: mail to other servers, with statements of its own, used, stale or foreign ones, and with real."""

import dataclasses
import time
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_directory import (
    AccountStatus,
    ResolveRecipient,
    Reverse,
    SetAccountStatus,
    SetForward,
    SetServices,
)
from bulkhead.boundary.messages.to_queue import DestroyQueued, Enqueue, EnqueueForward, ListQueue, TakeWork
from bulkhead.drill.bare_cell import BareCell, Person, answer, letter, stamp, violates, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.identifiers import AccountId, QueueId, TenantId, new_id
from bulkhead.records.forward import Forward, signing_key

TARGET, EVIL = "friend@far.example", "victim@attacked.example"
A_DAY = 3
HOUR_MS = 3_600_000
_OCTETS = 300


async def _forwarding(cell: BareCell) -> Person:
    """Somebody whose mail goes on to TARGET, as the tenant's staff has set it."""
    cell.services["directory"]._directory.reach.elsewhere.most = 2
    person = await cell.add_person("forwards")
    await cell.ask("cli", "directory", SetForward(stamp(), person.address, (TARGET,)))
    return person


async def _statement(cell: BareCell, person: Person) -> bytes:
    found = await cell.ask("mx", "directory", ResolveRecipient(person.address, Reverse.GIVEN))
    (statement,) = found.forwards
    return statement


def _request(statement: bytes) -> EnqueueForward:
    return EnqueueForward(stamp("mx"), statement, b"box", len(letter()), 100, _OCTETS - 100)


async def _taken(cell: BareCell, worker: Any, statement: bytes) -> bool:
    return await answer(worker, "queue", _request(statement), bytes(_OCTETS)) == Done()


async def send_elsewhere(cell: BareCell) -> Finding:
    """What no directory said for this message, this tenant and this hour; and what only submit and courier may ask."""
    person = await _forwarding(cell)
    worker = cell.worker("mx")
    directory = cell.services["directory"]._directory
    own, now = signing_key(directory.book.tombstone_key, cell.tenant), int(time.time() * 1000)
    used = await _statement(cell, person)
    control = await _taken(cell, worker, used)
    genuine = await _statement(cell, person)
    said = Forward.read(genuine)
    evil = dataclasses.replace(said, target=EVIL)
    foreign = dataclasses.replace(said, tenant=TenantId("other"), id=QueueId(new_id()))
    stale = dataclasses.replace(said, id=QueueId(new_id()), expires=now - 1)
    lasting = dataclasses.replace(said, id=QueueId(new_id()), expires=now + 24 * HOUR_MS)
    hostile = [
        used,  # it has sent its message
        evil.sign(Ed25519PrivateKey.generate()),
        evil.sign(own)[:-64] + genuine[-64:],
        genuine.replace(TARGET.encode(), EVIL.encode()[: len(TARGET)]),
        genuine.replace(person.account, new_id()),
        foreign.sign(signing_key(directory.book.tombstone_key, TenantId("other"))),
        foreign.sign(own),
        stale.sign(own),
        lasting.sign(own),
        genuine[:-1], genuine + b"\0", b"\0" * 200,
    ]  # fmt: skip
    reached = 0
    for statement in hostile:
        reached += await _taken(cell, worker, statement)
    plain = Enqueue(stamp("mx"), QueueId(new_id()), "", (EVIL,), b"box", 200, 100, _OCTETS - 100)
    others: list[Any] = [plain, TakeWork(16), ListQueue()]
    for asked in others:
        reached += await violates(cell.worker("mx"), "queue", asked)
    reached += await _after_the_end(cell)
    queued = {row.reverse_path for row in (await cell.ask("cli", "queue", ListQueue())).rows}
    control = control and len(queued) == 1 and all(path.startswith("fwd-") for path in queued)
    with weakened(Forward, "verify", lambda text, *_: Forward.read(text)):  # queue checks no signature
        control = control and await _taken(cell, worker, evil.sign(Ed25519PrivateKey.generate()))
    return Finding(reached, len(hostile) + len(others) + 3, control)


async def _after_the_end(cell: BareCell) -> int:
    """Of an account that may not send, of one that was cancelled, and after the tenant closed forwards: 3 attempts."""
    barred, cancelled, worker = await _forwarding(cell), await _forwarding(cell), cell.worker("mx")
    asked = ResolveRecipient(barred.address, Reverse.GIVEN)
    await cell.ask("cli", "directory", SetServices(stamp(), barred.address, 4, "drill"))
    reached = len((await cell.ask("mx", "directory", asked)).forwards)
    kept = await _statement(cell, cancelled)
    await cell.ask("cli", "queue", DestroyQueued(stamp(), AccountId(cancelled.account), cancelled.address))
    await cell.ask("cli", "directory", SetAccountStatus(stamp(), cancelled.address, AccountStatus.CANCELLED, "drill"))
    reached += await _taken(cell, worker, kept)
    cell.services["directory"]._directory.reach.elsewhere.most = 0
    await cell.ask("cli", "directory", SetServices(stamp(), barred.address, 0, "drill"))
    return reached + len((await cell.ask("mx", "directory", asked)).forwards)


async def use_forwards(cell: BareCell) -> Finding:
    """Residue: mail that nobody sent, to the target of a forward, as often as an account's number allows."""
    person = await _forwarding(cell)
    queue, worker = cell.services["queue"].queue, cell.worker("mx")
    queue.forwards = dataclasses.replace(queue.forwards, per_account=A_DAY)
    reached = tried = 0
    for _ in range(2 * A_DAY):
        tried += 1
        reached += await _taken(cell, worker, await _statement(cell, person))
    waiting = (await cell.ask("courier", "queue", TakeWork(16))).items
    to = {recipient.address for work in waiting for recipient in work.recipients}
    queue.forwards = dataclasses.replace(queue.forwards, per_account=0)
    beyond = await _taken(cell, worker, await _statement(cell, person))
    return Finding(reached, tried, beyond and to == {TARGET})


ACTS = (
    SemanticAct(
        "mx-sends-elsewhere", "mx", (Column.NETWORK,),
        "statements of its own, used, stale, too lasting, changed, of another tenant and of accounts that ended; what "
        "submit and courier ask of queue",
        "queue takes a message for another server", "a real statement, and a queue that checks no signature",
        send_elsewhere,
    ),
    SemanticAct(
        "mx-uses-forwards", "mx", (Column.MAIL_ALTERED,), "mail of its own making to the target of a real forward",
        "queue takes it", "the same without a number", use_forwards, A_DAY,
        "what mx says came in cannot be known elsewhere; to targets that staff set alone, and so many a day",
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
