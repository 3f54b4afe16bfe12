"""The life of an account, as steps through keyring, store, auth and directory, each of which may be repeated.

What widens reach ends at directory, which alone makes an account reachable; what narrows it begins at keyring, without
which nothing opens. Whoever cuts a command off finds the account closed, never half open.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from bulkhead.boundary.messages.to_auth import ChangePassword, Scope, SetLoginState, SetPassword
from bulkhead.boundary.messages.to_directory import (
    AccountRow,
    AccountStatus,
    AddAccount,
    ListOrders,
    Service,
    SetAccountStatus,
    ShowAccount,
)
from bulkhead.boundary.messages.to_keyring import CreateMailboxKeys, SetHalfState
from bulkhead.boundary.messages.to_queue import DestroyQueued
from bulkhead.boundary.messages.to_store import DestroyAccount, OpenAccount
from bulkhead.boundary.processes import OPERATOR_CONSOLE
from bulkhead.cli.pending import PendingAccount
from bulkhead.cli.recovery import RecoveryKeys, recover
from bulkhead.cli.road import Road, stamp
from bulkhead.directory.transitions import Status, check_transition
from bulkhead.errors import Refused
from bulkhead.holder.account_states import AccountState
from bulkhead.identifiers import AccountId, Address, new_id

PASSWORD_SECONDS = 120.0  # hashes wait for each other
PASSWORD_MAX = 1024  # octets

STATUS_NAMES = {
    AccountStatus.PROVISIONED: "provisioned",
    AccountStatus.ACTIVE: "active",
    AccountStatus.SUSPENDED: "suspended",
    AccountStatus.DORMANT: "dormant",
    AccountStatus.CANCELLED: "cancelled",
    AccountStatus.PURGED: "purged",
}


async def find_account(road: Road, address: Address) -> AccountRow | None:
    """The account of an address, or None."""
    try:
        return await road.ask("directory", ShowAccount(str(address)))
    except Refused as refusal:
        if refusal.code != "no-such-address":
            raise
        return None


@dataclass(frozen=True, slots=True)
class Made:
    """What an account is made as, where it matters. created: since when the subscriber has it, ms; 0 is now."""

    account: AccountId
    created: int = 0


@dataclass(frozen=True, slots=True)
class NewPassword:
    """A typed password; or what was imported, as SetPassword takes it."""

    octets: bytes = field(repr=False)
    scheme: str = ""
    salt: bytes = field(default=b"", repr=False)


async def add_account(
    road: Road,
    address: Address,
    password: NewPassword,
    quota_bytes: int,
    *,
    keep_note: bool = False,
    made: Made | None = None,
) -> AccountId:
    """Make an account with mailbox and password; finishes or clears away what an earlier try began.

    keep_note: the note of what was begun stays, and the caller clears it once it has noted the account itself; until
    then the same call again finds it made.
    Raises Refused: `no-such-domain`, `address-taken`, `tombstone`, `weak-password`.
    """
    pending = PendingAccount(road.layout, address)
    async with pending.alone():
        return await _add_alone(road, address, password, quota_bytes, pending, keep_note=keep_note, made=made)


async def _add_alone(
    road: Road, address: Address, password: NewPassword, quota_bytes: int, pending: PendingAccount, *,
    keep_note: bool, made: Made | None,
) -> AccountId:  # fmt: skip
    begun, known = pending.read(), await find_account(road, address)
    await require_local_power(road)
    if known is not None and known.account == begun:
        await _set_status(road, address, AccountStatus.ACTIVE, "first password")
        if not keep_note:
            pending.clear()
        return AccountId(known.account)
    if known is not None:
        taken = known.status < AccountStatus.CANCELLED
        raise Refused(
            f"{address} is taken" if taken else f"{address} belonged to a cancelled account and is never given again",
            code="address-taken" if taken else "tombstone",
        )
    if begun is not None:
        await _destroy(road, begun)
    made = made or Made(AccountId(new_id()))
    account = made.account
    pending.write(account)
    try:
        await _make(road, made, address, password, quota_bytes)
    except Refused:
        await _destroy(road, account)
        pending.clear()
        raise
    if not keep_note:
        pending.clear()
    return account


async def _make(road: Road, made: Made, address: Address, password: NewPassword, quota_bytes: int) -> None:
    account = made.account
    created = await road.ask("keyring", CreateMailboxKeys(stamp(), account))
    await road.ask("store", OpenAccount(stamp(), account, quota_bytes))
    await _set_password(road, account, password, created.token)
    await road.ask("directory", AddAccount(stamp(), str(address), created.binding, quota_bytes, made.created))
    await _set_status(road, address, AccountStatus.ACTIVE, "first password")


async def _set_password(road: Road, account: AccountId, password: NewPassword, token: bytes) -> None:
    request = SetPassword(
        stamp(PASSWORD_SECONDS), account, password.octets, token, Scope.ALL, password.scheme, password.salt
    )
    await road.ask("auth", request, timeout=PASSWORD_SECONDS)


async def _set_status(road: Road, address: Address, status: int, reason: str) -> AccountRow:
    return await road.ask("directory", SetAccountStatus(stamp(), str(address), status, reason))


async def destroy_steps(
    road: Road, account: AccountId, reverse_path: str = "", actor: str = OPERATOR_CONSOLE
) -> AsyncIterator[tuple[str, int]]:
    """Destroy both halves, the mail and what is queued: each compartment once it has, with what ended there.

    keyring goes first: without its half nothing opens, whatever fails later. Each step may be repeated.
    """
    ended = await road.ask("keyring", SetHalfState(stamp(actor=actor), account, AccountState.DESTROYED))
    yield "keyring", ended.sessions
    await road.ask("auth", SetLoginState(stamp(actor=actor), account, AccountState.DESTROYED))
    yield "auth", 0
    await road.ask("store", DestroyAccount(stamp(), account))
    yield "store", 0
    queued = await road.ask("queue", DestroyQueued(stamp(), account, reverse_path))
    yield "queue", queued.messages


async def _destroy(road: Road, account: AccountId, actor: str = OPERATOR_CONSOLE) -> None:
    async for _ in destroy_steps(road, account, actor=actor):
        pass


async def require_local_power(road: Road) -> None:
    """Raises Refused (`order-required`) where the roster in force leaves making accounts to signed files."""
    if (await road.ask("directory", ListOrders(limit=1))).roster.local_refused:
        raise Refused("accounts are made by a signed file here: bulkhead provision sign", code="order-required")


async def require_account(road: Road, address: Address) -> AccountRow:
    """The account of an address. Raises Refused (`no-such-address`)."""
    return await road.ask("directory", ShowAccount(str(address)))


async def close_account(road: Road, address: Address, status: int, reason: str) -> AccountRow:
    """Suspend an account or lay it up: its sessions end first, then nobody logs in, then nothing is delivered."""
    async with PendingAccount(road.layout, address).alone():  # two at once would leave the halves apart from the status
        return await _close_alone(road, address, status, reason)


async def _close_alone(road: Road, address: Address, status: int, reason: str) -> AccountRow:
    row = await require_account(road, address)
    if row.status != status:  # before anything is closed: what directory refuses is refused by all
        check_transition(Status(row.status), Status(status))
    await set_halves(road, AccountId(row.account), AccountState.SUSPENDED)
    return await _set_status(road, address, status, reason)


async def set_halves(road: Road, account: AccountId, state: int) -> None:
    """Both halves of an account's credentials: keyring, which ends sessions, first to close and last to open."""
    steps = (("keyring", SetHalfState), ("auth", SetLoginState))
    opens = state in (AccountState.OPEN, AccountState.SWITCHED_ON)
    for compartment, request in reversed(steps) if opens else steps:
        await road.ask(compartment, request(stamp(), account, state))


async def activate_account(road: Road, address: Address, reason: str) -> AccountRow:
    """Let an account work again; directory last."""
    async with PendingAccount(road.layout, address).alone():  # as above
        return await _activate_alone(road, address, reason)


async def _activate_alone(road: Road, address: Address, reason: str) -> AccountRow:
    row = await require_account(road, address)
    if row.status >= AccountStatus.CANCELLED:
        raise Refused(f"{address} is cancelled for ever; make another account", code="no-such-transition")
    if row.closed & Service.LOGIN:  # builds before kept that as a suspension, which is to end here
        await set_halves(road, AccountId(row.account), AccountState.SWITCHED_OFF)
    await set_halves(road, AccountId(row.account), AccountState.OPEN)  # a login that is switched off stays so
    return await _set_status(road, address, AccountStatus.ACTIVE, reason)


async def forget_address(road: Road, address: Address, reason: str) -> AccountRow:
    """Keep of a cancelled account's address only a keyed digest, by which it stays refused."""
    return await _set_status(road, address, AccountStatus.PURGED, reason)


async def release_address(road: Road, address: Address, reason: str) -> AccountRow:
    """The last step of a cancellation: the address reaches nothing any more, and nobody gets it again."""
    return await _set_status(road, address, AccountStatus.CANCELLED, reason)


async def withdraw_account(
    road: Road, address: Address, reason: str, *, made: AccountId | None = None, actor: str = OPERATOR_CONSOLE
) -> None:
    """Undo what add_account did, or began and did not end; nothing where there is nothing. May be repeated.

    made: the id that it was made under; an account of that address with another id is somebody's, and stays.
    """
    pending = PendingAccount(road.layout, address)
    async with pending.alone():
        begun, known = pending.read(), await find_account(road, address)
        if made is not None and made != (begun if known is None else known.account):
            return
        if known is not None and known.status < AccountStatus.CANCELLED:
            await _destroy(road, AccountId(known.account), actor)
            await release_address(road, address, reason)
        elif known is None and begun is not None:
            await _destroy(road, begun, actor)
        pending.clear()


async def reset_password(road: Road, address: Address, password: bytes, keys: RecoveryKeys) -> None:
    """Set a new password by recovery; mail and app passwords stay. Raises Refused on a cancelled account."""
    row = await require_account(road, address)
    if row.status >= AccountStatus.CANCELLED:
        raise Refused(f"{address} is cancelled: its keys are destroyed", code="no-such-account")
    token = await recover(road, AccountId(row.account), keys)
    await _set_password(road, AccountId(row.account), NewPassword(password), token)


async def change_password(road: Road, address: Address, old: bytes, new: bytes) -> None:
    """Set a new password by the one that is set. Raises Refused (`bad-credentials`, `weak-password`)."""
    row = await require_account(road, address)
    request = ChangePassword(stamp(PASSWORD_SECONDS), AccountId(row.account), old, new)
    await road.ask("auth", request, timeout=PASSWORD_SECONDS)
