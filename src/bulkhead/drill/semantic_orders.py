"""Orders that nobody gave: who carries them (a console, the command line, directory) forges, holds back, replays.

Executors verify orders themselves; so what carries is played by the edges of the command line, which reach them all.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from bulkhead.boundary.messages import to_auth, to_directory, to_keyring, to_queue, to_store
from bulkhead.boundary.messages.orders import OrderRow, SignedApproval
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys
from bulkhead.boundary.orders import EXECUTORS
from bulkhead.boundary.peers import PEERS
from bulkhead.drill.bare_cell import BareCell, Person, answer, stamp, violates, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.officers import People, now_ms, signed
from bulkhead.drill.semantic import Column
from bulkhead.holder import order_check
from bulkhead.holder.orders import DAY_MS, steady_ms
from bulkhead.identifiers import AccountId, new_id
from bulkhead.records.officer import Group
from bulkhead.records.order import Order, order_hash
from bulkhead.records.roster import Policy, Roster

MODULES: dict[str, ModuleType] = {
    "keyring": to_keyring, "auth": to_auth, "queue": to_queue, "directory": to_directory, "store": to_store,
}  # fmt: skip
PAUSE = 0.005  # seconds: an epoch is a time in ms


async def install(cell: BareCell, roster: Roster, groups: Sequence[Group] = tuple(Group)) -> list[Any]:
    """What each executor says to a roster."""
    data = roster.encode()
    signatures = cell.people.sign(data, groups)
    return [
        await answer(cell.exchanges["cli"], name, MODULES[name].InstallRoster(stamp(), data, signatures))
        for name in EXECUTORS
    ]


async def begin(cell: BareCell, policy: Policy | None = None) -> People:
    """The first roster is in force everywhere."""
    roster = cell.people.roster(policy or Policy())
    await install(cell, roster)
    cell.people.use(roster)
    return cell.people


async def _submit(
    cell: BareCell, name: str, order: Order | bytes, approvals: Sequence[SignedApproval]
) -> OrderRow | str:
    data = order if isinstance(order, bytes) else order.encode()
    return await answer(cell.exchanges["cli"], name, MODULES[name].SubmitOrder(stamp(), data, tuple(approvals)))


async def by(cell: BareCell, name: str, order: Order, *officers: str) -> OrderRow | str:
    return await _submit(cell, name, order, cell.people.by(order.encode(), *officers))


def _stopped(cell: BareCell) -> int:
    queue = cell.services["queue"].queue
    return int(cell.auth.stop.stopped) + int(cell.keyring.stop.stopped) + int(queue.outbound.stopped)


async def forge(cell: BareCell) -> Finding:
    """Every fault that an order may have; none is to take effect, also where directory says whose keys they are."""
    people, stranger, other = await begin(cell), People(str(cell.tenant)), People("kddi")
    stranger.version, stranger.hash = people.version, people.hash
    shown, tried, reached = people.order("end-sessions"), 0, 0
    for name, action in (("auth", "stop-logins"), ("keyring", "stop-logins"), ("queue", "stop-outbound")):
        order = people.order(action)
        data = order.encode()
        (right,), (forged,) = people.by(data, "ada"), stranger.by(data, "ada")
        (under_shown,) = people.by(shown.encode(), "ada")
        now = now_ms()
        tries: list[tuple[Order, Sequence[SignedApproval]]] = [
            (order, [forged]),
            (order, [SignedApproval("ada", right.key, forged.signature)]),
            (order, [under_shown]),  # the console shows order A, and submits B
            (order, [signed(people.passkeys["ada"].approve("ada", order_hash(shown.encode())))]),
            (order, [SignedApproval("sec", right.key, right.signature)]),
            (order, people.by(data, "ops")),
            (order, people.by(data, "sup")),
            (order, people.by(data, "eng")),
            (order, people.by(data, "bot")),
        ]
        for wrong in (
            replace(order, tenant=other.tenant), replace(order, executors=("store",)),
            replace(order, executors=tuple(sorted({*order.executors, "store"}))),
            replace(order, expires=now - 1), replace(order, issued=now + DAY_MS, expires=now + 2 * DAY_MS),
            replace(order, roster=0), replace(order, roster_hash=bytes(32)), people.order("lift-logins"),
            people.order("lift-outbound"), replace(order, action="anything"),
        ):  # fmt: skip
            tries.append((wrong, people.by(wrong.encode(), "ada")))
        tries.append((order, [SignedApproval("ada", right.key, bytes([right.signature[0] ^ 1]) + right.signature[1:])]))
        for attempt, approvals in tries:
            tried += 1
            reached += not isinstance(await _submit(cell, name, attempt, approvals), str)
    lifts = [people.order("lift-logins"), people.order("lift-logins")]
    for lift, officers in zip(lifts, (("ada", "ada/passkey"), ("ops", "ovi")), strict=True):
        tried += 1
        reached += not isinstance(await by(cell, "auth", lift, *officers), str)
    reached += _stopped(cell)
    order = people.order("stop-logins")
    with weakened(order_check, "check_quorum", lambda *_, **__: people.officers()[:1]):  # nobody looks at signatures
        control = not isinstance(await _submit(cell, "auth", order, stranger.by(order.encode(), "ada")), str)
    return Finding(reached, tried, control and _stopped(cell) == 1)


async def replay(cell: BareCell) -> Finding:
    """A stop sent again once it was lifted; a lift held back for the next stop; an order that was withdrawn."""
    people = await begin(cell)
    stop = people.order("stop-logins")
    held_back = people.order("lift-logins")
    await asyncio.sleep(PAUSE)
    taken = [await by(cell, name, stop, "ada") for name in ("keyring", "auth")]
    control = not any(isinstance(row, str) for row in taken) and _stopped(cell) == 2
    reached = sum([not isinstance(await by(cell, name, held_back, "ada", "sec"), str) for name in ("keyring", "auth")])
    await asyncio.sleep(PAUSE)
    lift = people.order("lift-logins")
    for name in ("keyring", "auth"):
        await by(cell, name, lift, "ada", "sec")
    control = control and _stopped(cell) == 0
    for name in ("keyring", "auth"):
        await by(cell, name, stop, "ada")  # answered as it was then
        again = replace(stop, reason="the same serial")
        reached += not isinstance(await by(cell, name, again, "ada"), str)
    reached += _stopped(cell)
    withdrawn = people.order("stop-outbound")
    await by(cell, "queue", people.order("withdraw", {"serial": withdrawn.serial.hex()}), "ops")
    reached += not isinstance(await by(cell, "queue", withdrawn, "ada"), str)
    return Finding(reached, 7, control and _stopped(cell) == 0)


def _cancel(people: People, person: Person) -> Order:
    return people.order("cancel-account", {"account": person.account.hex(), "address": person.address})


async def destroy_early(cell: BareCell) -> Finding:
    """What destroys: by one group, before its day, after it was withdrawn, for a day that has its number."""
    people = await begin(cell, Policy(daily={"cancel-account": 2}))
    kept, lost, third = [await cell.add_person() for _ in range(3)]
    reached = sum(
        [
            not isinstance(await by(cell, "keyring", _cancel(people, kept), *names), str)
            for names in (("ada",), ("ops", "ovi"))
        ]
    )
    first, second = _cancel(people, kept), _cancel(people, lost)
    for order in (first, second):
        for name in EXECUTORS:
            await by(cell, name, order, "ada", "sec")
    reached += not isinstance(await by(cell, "keyring", _cancel(people, third), "ada", "sec"), str)
    wrong = replace(_cancel(people, third), parameters={"account": third.account.hex(), "address": kept.address})
    reached += not isinstance(await by(cell, "directory", wrong, "ada", "sec"), str)
    withdraw = people.order("withdraw", {"serial": first.serial.hex()})
    for name in EXECUTORS:
        await by(cell, name, withdraw, "ops")
    ahead = DAY_MS - 60_000
    orders = _orders(cell)
    for one in orders:
        one._clock = lambda: now_ms() + ahead
        await one.run_due()
    reached += sum([not await cell.admits("access", person) for person in (kept, lost, third)])
    ahead = DAY_MS + 60_000
    for one in orders:
        await one.run_due()
    reached += sum([not await cell.admits("access", person) for person in (kept, lost, third)])  # a clock set forward
    began = steady_ms()
    for one in orders:
        one._steady = lambda: began + ahead
        await one.run_due()
    reached += sum([not await cell.admits("access", person) for person in (kept, third)])
    return Finding(reached, 12, not await cell.admits("access", lost))


def _orders(cell: BareCell) -> list[Any]:
    directory, queue = cell.services["directory"]._directory, cell.services["queue"].queue
    return [cell.keyring.orders, cell.auth.orders, queue.orders, directory.orders, cell.store.orders]


async def forge_rosters(cell: BareCell) -> Finding:
    """Rosters by one root, by another tenant's or a stranger's roots, older ones, forks and gaps."""
    people = await begin(cell)
    old = people.octets
    following = people.roster()
    stranger = People(str(cell.tenant))
    hostile = replace(following, officers=stranger.officers())
    tried = reached = 0
    tries: list[tuple[bytes, Any]] = [
        (hostile.encode(), stranger.sign(hostile.encode())),
        (hostile.encode(), people.sign(following.encode())),
        (following.encode(), people.sign(following.encode(), [Group.PARTNER])),
        (following.encode(), people.sign(following.encode(), [Group.OPERATOR])),
        (following.encode(), people.sign(following.encode(), [Group.PARTNER, Group.PARTNER])),
    ]
    for wrong in (
        replace(following, version=1), replace(following, version=3), replace(following, previous=bytes(32)),
        replace(following, tenant=People("kddi").tenant),
    ):  # fmt: skip
        tries.append((wrong.encode(), people.sign(wrong.encode())))
    for name in EXECUTORS:
        for data, signatures in tries:
            tried += 1
            request = MODULES[name].InstallRoster(stamp(), data, signatures)
            reached += not isinstance(await answer(cell.exchanges["cli"], name, request), str)
    control = not any(isinstance(state, str) for state in await install(cell, following))
    people.use(following)
    for name in EXECUTORS:
        tried += 1
        request = MODULES[name].InstallRoster(stamp(), old, people.sign(old))
        reached += not isinstance(await answer(cell.exchanges["cli"], name, request), str)
    return Finding(reached, tried, control)


async def carry_from_elsewhere(cell: BareCell) -> Finding:
    """A right order, brought by compartments that have an edge to an executor and no business with orders."""
    people = await begin(cell)
    tried = reached = 0
    for peering in PEERS:
        if peering.server not in EXECUTORS or "SubmitOrder" in peering.requests or peering.client not in _CARRIERS:
            continue
        order = people.order("stop-outbound" if peering.server == "queue" else "stop-logins")
        data = order.encode()
        request = MODULES[peering.server].SubmitOrder(stamp(), data, people.by(data, "ada"))
        tried += 1
        reached += await violates(cell.worker(peering.client), peering.server, request)
    reached += _stopped(cell)
    row = await by(cell, "auth", people.order("stop-logins"), "ada")
    return Finding(reached, tried, not isinstance(row, str) and _stopped(cell) == 1)


_CARRIERS = ("mx", "submit", "access", "courier", "incident")


async def bypass(cell: BareCell) -> Finding:
    """The command line without an order, where the roster's policy refuses it."""
    people = await begin(cell)
    person = await cell.add_person()
    strict = people.roster(Policy(local_refused=True))
    control = not isinstance(
        await answer(cell.exchanges["cli"], "auth", to_auth.RevokeCredentials(stamp(), 1, 1, "drill")), str
    )
    await install(cell, strict)
    people.use(strict)
    epoch, account = now_ms(), person.account
    requests: list[tuple[str, Any]] = [
        ("auth", to_auth.StopTenantLogins(stamp(), epoch, "drill")),
        ("auth", to_auth.LiftTenantStop(stamp(), epoch, "drill")),
        ("auth", to_auth.SetLoginState(stamp(), account, 3)),
        ("auth", to_auth.RevokeCredentials(stamp(), epoch, 3, "drill")),
        ("auth", to_auth.RotateKey(stamp(), True, 0)),
        ("keyring", to_keyring.StopTenantSessions(stamp(), epoch, True, True, "drill")),
        ("keyring", to_keyring.SetHalfState(stamp(), account, 3)),
        ("keyring", to_keyring.GrantRecovery(stamp(), account, bytes(16), b"", b"")),
        ("keyring", to_keyring.ExportKeys(stamp(), account)),
        ("keyring", to_keyring.RenewMailboxes(stamp(), "drill")),
        ("store", to_store.DestroyAccount(stamp(), account)),
        ("queue", to_queue.StopOutbound(stamp(), epoch, "drill")),
        ("directory", to_directory.SetAccountStatus(stamp(), person.address, 5, "drill")),
        ("directory", to_directory.AddAlias(stamp(), person.address, f"other@{cell.domain}")),
        ("directory", to_directory.SetForward(stamp(), person.address, ())),
        ("keyring", CreateMailboxKeys(stamp(), AccountId(new_id()))),
    ]
    refused = [await answer(cell.exchanges["cli"], name, request) for name, request in requests]
    reached = sum(code != "order-required" for code in refused)
    made = await answer(cell.exchanges["cli"], "keyring", CreateMailboxKeys(stamp(), AccountId(new_id()), False))
    return Finding(
        reached, len(requests), control and not isinstance(made, str) and await cell.admits("access", person)
    )


ACTS = (
    SemanticAct(
        "orders-forged", "directory", (Column.ORDERS,),
        "orders with every fault: forged, another's, shown as another, expired, of one group, by one officer twice",
        "an executor takes one", "the same where nobody looks at signatures", forge,
    ),
    SemanticAct(
        "orders-replayed", "directory", (Column.ORDERS,),
        "a stop again after its lift, a lift held back for the next stop, a serial used twice, one withdrawn",
        "an executor acts", "the same orders in their time", replay,
    ),
    SemanticAct(
        "orders-destroy-early", "directory", (Column.ORDERS, Column.MAIL_DESTROYED),
        "cancellations by one group, over the day's number, withdrawn, for another's address, and before their day",
        "an account is gone", "one that two officers signed, a day later", destroy_early,
    ),
    SemanticAct(
        "rosters-forged", "directory", (Column.ORDERS, Column.KEYS),
        "rosters by strangers, by one root, older, forked, of another tenant", "an executor takes one",
        "the next one by both roots", forge_rosters,
    ),
    SemanticAct(
        "orders-from-elsewhere", "incident", (Column.ORDERS,),
        "right orders, brought by gates, courier and incident on the edges that they have", "an executor takes one",
        "the same by the command line", carry_from_elsewhere,
    ),
    SemanticAct(
        "orders-bypassed", "directory", (Column.ORDERS,),
        "what needs an order, asked for by the command line where the policy refuses it", "it is done",
        "the same before that policy", bypass,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
