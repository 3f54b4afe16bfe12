"""directory is compromised: it says where mail goes, who an address is, and who may send under it."""

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.boundary.messages.to_directory import (
    BindingRow,
    CheckSender,
    DropNotice,
    FindLogin,
    LoginAccount,
    NoticeKind,
    NoticePage,
    NoticeRow,
    Recipient,
    RecipientVerdict,
    ResolveRecipient,
    TakeNotices,
)
from bulkhead.courier import notices
from bulkhead.courier.attempt import Means
from bulkhead.courier.connection import client_context
from bulkhead.courier.links import HostSlots, Links
from bulkhead.courier.session import Manner
from bulkhead.drill.bare_cell import BareCell, Person, letter, weakened
from bulkhead.drill.in_bare_cell import Finding, SemanticAct, probes_of
from bulkhead.drill.semantic import Column
from bulkhead.errors import Error
from bulkhead.gate.delivery import Sealer, deliver
from bulkhead.gate.recipients import Domestic, find_recipients
from bulkhead.identifiers import TenantId, new_id, parse_address, parse_domain
from bulkhead.records.mailbox import Binding, VerifiedBinding, sign_binding
from bulkhead.records.seed import MailboxSeed, new_secret
from bulkhead.wire.summary import Summary


@dataclass(slots=True)
class HostileDirectory:
    """In directory's place: what it answers about an address, a login name and a sender."""

    bindings: dict[str, BindingRow] = field(default_factory=dict)
    logins: dict[str, bytes] = field(default_factory=dict)
    notices: list[NoticeRow] = field(default_factory=list)


def _resolve(hostile: HostileDirectory, _: Channel, request: ResolveRecipient, __: object) -> Recipient:
    binding = hostile.bindings.get(request.address)
    if binding is None:
        return Recipient(RecipientVerdict.NOT_OURS)
    return Recipient(RecipientVerdict.LOCAL, binding, 1 << 30)


def _find_login(hostile: HostileDirectory, _: Channel, request: FindLogin, __: object) -> LoginAccount:
    return LoginAccount(hostile.logins.get(request.login, new_id()))  # type: ignore[arg-type]  # ids it has seen


def _take_notices(hostile: HostileDirectory, *_: object) -> NoticePage:
    return NoticePage(tuple(hostile.notices[:1]))


async def _drop_notice(hostile: HostileDirectory, *_: object) -> Done:
    del hostile.notices[:1]
    return Done()


HANDLERS: Mapping[Any, Any] = {
    ResolveRecipient: _resolve, FindLogin: _find_login, CheckSender: lambda *_: Done(), TakeNotices: _take_notices,
    DropNotice: _drop_notice,
}  # fmt: skip
MARK = "pay at once or lose your mailbox"


async def arrives(cell: BareCell, gate: str, address: str, sealer: Sealer) -> bool:
    """Whether that gate takes mail for the address and store has it: as mx and submit do it."""
    exchange = cell.exchanges[gate]
    domestic = Domestic(exchange, sealer, parse_domain(f"mx.{cell.domain}"))
    try:
        reached = await find_recipients(domestic, parse_address(address), 100)
        if reached is None:
            return False
        await deliver(exchange, sealer, reached.bindings, letter(), int(time.time()), actor=gate)
    except (Error, ValueError):
        return False
    return True


def sealer_of(cell: BareCell) -> Sealer:
    return Sealer(cell.tenant, cell.settings["pinned"]["binding_key"])


def _swaps(cell: BareCell, victim: Person, other: Person) -> list[BindingRow]:
    """Bindings of the victim's account with a key of directory's own, each made in another way."""
    own = MailboxSeed(cell.tenant, victim.account, 1, new_secret())
    foreign = MailboxSeed(TenantId("other"), victim.account, 1, new_secret())
    key = Ed25519PrivateKey.generate()
    genuine = victim.binding.record
    real = Binding(genuine).verify(sealer_of(cell)._pinned, cell.tenant, victim.account).public_key.public_bytes_raw()
    return [
        BindingRow(victim.account, sign_binding(own, key, key_version=1).record),
        BindingRow(victim.account, sign_binding(foreign, key, key_version=1).record),
        BindingRow(victim.account, other.binding.record),
        BindingRow(victim.account, genuine.replace(real, own.message_public_key())),
        BindingRow(victim.account, genuine[:-1] + bytes([genuine[-1] ^ 1])),
        BindingRow(victim.account, genuine + b"\0"),
        BindingRow(other.account, genuine),
    ]


async def swap_key(cell: BareCell) -> Finding:
    """A public key of directory's own in place of the subscriber's: mx and submit must seal to none."""
    victim, other = await cell.add_person("victim"), await cell.add_person("other")
    hostile = HostileDirectory({victim.address: victim.binding})
    await cell.replace("directory", hostile, HANDLERS)
    genuine = await arrives(cell, "mx", victim.address, sealer_of(cell))
    reached = tried = 0
    for gate in ("mx", "submit"):
        for binding in _swaps(cell, victim, other):
            hostile.bindings[victim.address] = binding
            tried += 1
            reached += await arrives(cell, gate, victim.address, sealer_of(cell))
    swapped = MailboxSeed(cell.tenant, victim.account, 1, new_secret())
    believing = sealer_of(cell)
    public = swapped.message_private_key().public_key()

    def believe(_: BindingRow) -> VerifiedBinding:
        return VerifiedBinding(cell.tenant, victim.account, 1, public)

    with weakened(believing, "verify", believe):  # the gate checks no signature
        control = await arrives(cell, "mx", victim.address, believing)
    return Finding(reached, tried, genuine and control)


async def misdeliver(cell: BareCell) -> Finding:
    """Residue: a forward. New mail for the victim goes into another mailbox of the same cell; old mail does not."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    hostile = HostileDirectory({victim.address: mallory.binding})
    await cell.replace("directory", hostile, HANDLERS)
    reached = 0
    for gate in ("mx", "submit"):
        reached += await arrives(cell, gate, victim.address, sealer_of(cell))
    return Finding(reached, 2, reached > 0, "new mail only, into this cell or, by NOT_OURS, to the queue")


async def swap_account(cell: BareCell) -> Finding:
    """Another account's id under a login name: mallory's password for the victim's mailbox, and the other way."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    hostile = HostileDirectory(logins={victim.address: mallory.account, mallory.address: victim.account})
    await cell.replace("directory", hostile, HANDLERS)
    reached = tried = 0
    for gate, scope in (("access", Scope.IMAP), ("access", Scope.POP), ("submit", Scope.SUBMIT)):
        for name, password, target in (
            (mallory.address, mallory.password, victim.account),
            (victim.address, mallory.password, victim.account),
            (victim.address, victim.password, mallory.account),
        ):
            tried += 1
            try:
                account, _ = await cell.log_in(gate, name, password, scope)
            except Error:
                continue
            reached += account == target
    hostile.logins = {victim.address: victim.account}
    take = cell.keyring.logins.take
    hostile.logins[mallory.address] = mallory.account
    _, _ = await cell.log_in("access", mallory)

    def for_the_name(nonce: bytes, account: Any, scope: int, compartment: str) -> Any:
        return dataclasses.replace(take(nonce, mallory.account, scope, compartment), account=victim.account)

    with weakened(cell.keyring.logins, "take", for_the_name):  # an account that nobody's password stands for
        hostile.logins[mallory.address] = mallory.account
        control = await cell.admits("access", mallory)
    return Finding(reached, tried, control)


async def allow_sender(cell: BareCell) -> Finding:
    """Residue: it says that any account may send under any address."""
    victim, mallory = await cell.add_person("victim"), await cell.add_person("mallory")
    honest = await _may_send(cell, mallory, victim.address)
    await cell.replace("directory", HostileDirectory(), HANDLERS)
    return Finding(int(await _may_send(cell, mallory, victim.address)), 1, not honest)


async def _may_send(cell: BareCell, person: Person, address: str) -> bool:
    try:
        await cell.ask("submit", "directory", CheckSender(person.account, address))
    except Error:
        return False
    return True


class Overheard(Sealer):
    """Keeps what is to be sealed, which is only what goes to a binding that was believed."""

    def __init__(self, cell: BareCell) -> None:
        super().__init__(cell.tenant, cell.settings["pinned"]["binding_key"])
        self.heard: list[bytes] = []

    async def summarize(self, message: bytes) -> Summary:
        self.heard.append(message)
        return await super().summarize(message)


async def write_notices(cell: BareCell) -> Finding:
    """What courier tells subscribers is directory's word: a text of its own in each field, and keys of its own."""
    victim, other = await cell.add_person("victim"), await cell.add_person("other")
    hostile, sealer = HostileDirectory(), Overheard(cell)
    await cell.replace("directory", hostile, HANDLERS)
    manner = Manner(parse_domain(f"mx.{cell.domain}"), 0.3, client_context())
    means = Means(cell.worker("courier"), sealer, manner, 25, 0.3, asyncio.Semaphore(1), HostSlots(1), Links())
    teller = notices.NoticeTeller(lambda: means, time.time)
    now, numbers = int(time.time() * 1000), iter(range(1, 1000))

    async def told(
        about: str = "o***@x.example", address: str = victim.address, binding: BindingRow = victim.binding,
        kind: int = NoticeKind.FORWARD_SET,
    ) -> list[bytes]:  # fmt: skip
        sealer.heard.clear()
        hostile.notices = [NoticeRow(next(numbers), kind, about, now, address, binding)]
        try:
            await teller.tell()
        except (Error, ValueError):
            return []
        return list(sealer.heard)

    genuine = len(await told()) == 1
    lies = (f"a@x.example\r\n\r\n{MARK}", MARK, f"a@x.example, {MARK}", f"{MARK}@x.example", f'"\r\n{MARK}"@x.example')
    got = [await told(lie) for lie in lies] + [await told(MARK, kind=kind) for kind in (*NoticeKind, 200)]
    inner = (f"{victim.address}>\r\nSubject: {MARK}\r\nX: <a@x.example", f"{MARK} <{victim.address}>")
    got += [await told(address=address) for address in inner]
    reached = sum(MARK.encode() in message for messages in got for message in messages)
    swaps = _swaps(cell, victim, other)
    for binding in swaps:
        reached += len(await told(binding=binding))
    with weakened(notices, "_addresses", str):  # courier repeats what it is told
        control = any(MARK.encode() in message for message in await told(MARK))
    means.links.close()
    return Finding(reached, len(got) + len(swaps), genuine and control)


ACTS = (
    SemanticAct(
        "directory-swaps-key", "directory", (Column.MAIL_IN_TRANSIT,), "seven bindings with a key of its own",
        "mx or submit seals to it", "the gate checks no signature", swap_key,
    ),
    SemanticAct(
        "directory-forwards", "directory", (Column.MAIL_IN_TRANSIT,), "another subscriber's genuine binding",
        "new mail arrives in that mailbox", "the same mail by its own binding", misdeliver, 2,
        "directory decides where mail goes: new mail of an address can be misdelivered while it is compromised",
    ),
    SemanticAct(
        "directory-swaps-account", "directory", (Column.STORED_MAIL,), "another account's id under a login name",
        "a session of the account that the password is not of", "keyring hands out a session of another account",
        swap_account,
    ),
    SemanticAct(
        "directory-allows-sender", "directory", (Column.MAIL_ALTERED,), "yes to a sender's address of another account",
        "submit takes the transaction", "the real directory says no", allow_sender, 1,
        "submit has no other word for whose an address is; bounded by the cell's own domains",
    ),
    SemanticAct(
        "directory-writes-notices", "directory", (Column.MAIL_ALTERED,),
        "a text of its own in each field of a notice to a subscriber, seven bindings with a key of its own",
        "courier delivers the text, or to the key", "courier repeats what it is told", write_notices,
    ),
)  # fmt: skip
PROBES = probes_of(ACTS)
