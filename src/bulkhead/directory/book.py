"""The directory's reads and changes. Reads run on committed rows; changes run within the writer's transaction."""

import base64
import hmac
import sqlite3
import struct
import time
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_directory import (
    AccountCounts,
    AccountRow,
    AddAccount,
    AddDomain,
    BindingRow,
    DomainRow,
    Recipient,
    RecipientVerdict,
    RenewBinding,
    SetAccountStatus,
    StatusCount,
    StatusPage,
)
from bulkhead.directory.transitions import LOGS_IN, RECEIVES, SENDS, Status, check_transition, parse_status
from bulkhead.errors import IntegrityError, PeerError, Refused
from bulkhead.holder import outbox
from bulkhead.holder.database import Database
from bulkhead.identifiers import ID_BYTES, AccountId, Address, TenantId, parse_address, parse_domain
from bulkhead.records.mailbox import Binding

PAGE_BYTES = 192 * 1024  # of rows in one reply; a message has at most 256 KiB
ROW_BYTES = 64  # of a row beside its text
POSTMASTER = "postmaster"
_STATUS = struct.Struct(">Q16sB")
T = TypeVar("T")

_BY_KEY = (
    "SELECT account.id, account.status, account.binding, account.quota, address.shown, account.created, account.number "
    "FROM address JOIN account ON account.number = address.account WHERE address.key = ?"
)
_NEAREST = (
    "SELECT account.id, account.status, address.key "
    "FROM address JOIN account ON account.number = address.account WHERE address.key >= ? "
    "ORDER BY address.key LIMIT 1"
)
_FIRST_RECEIVING = "SELECT id, status, binding, quota FROM account WHERE status IN (1, 2) ORDER BY number LIMIT 1"
_PAGE = (
    "SELECT account.id, address.shown, account.status, account.quota, account.created "
    "FROM address JOIN account ON account.number = address.account WHERE {} address.key > ? "
    "ORDER BY address.key LIMIT ?"
)
_PAGE_OF_ALL, _PAGE_OF_DOMAIN = _PAGE.format(""), _PAGE.format("address.domain = ? AND")


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


@dataclass(slots=True)
class DirectoryBook:
    """The tables, and the two keys. `postmaster`: an address, or empty for the tenant's first account.

    binding_key: base64 of the key under which a newer binding must be signed.
    """

    database: Database
    decoy_key: bytes = field(repr=False)
    tombstone_key: bytes = field(repr=False)
    default_quota: int
    postmaster: str = ""
    tenant: TenantId | None = None
    binding_key: str = ""

    # --- reads ---

    def resolve(self, text: str) -> Recipient:
        """Where mail for an address goes. An address that cannot be parsed reaches nobody."""
        try:
            address = parse_address(text)
        except PeerError:
            if text.lower() == POSTMASTER:  # alone: RFC 5321 section 4.5.1
                return self._to_postmaster()
            return Recipient(RecipientVerdict.NO_SUCH_ADDRESS)
        row = self.database.first(_BY_KEY, (address.key,))
        if row is not None:
            return _recipient(row)
        if self.database.first("SELECT 1 FROM domain WHERE name = ?", (address.domain,)) is None:
            return Recipient(RecipientVerdict.NOT_OURS)
        if address.local_part.lower() == POSTMASTER:
            return self._to_postmaster()
        return Recipient(RecipientVerdict.NO_SUCH_ADDRESS)

    def _to_postmaster(self) -> Recipient:
        """postmaster of every hosted domain is accepted (RFC 5321 section 4.5.1): the configured address, else the
        first account of the tenant that receives.
        """
        row = None
        if self.postmaster:
            row = self.database.first(_BY_KEY, (parse_address(self.postmaster).key,))
        if row is None or row[1] not in RECEIVES:
            row = self.database.first(_FIRST_RECEIVING)
        return Recipient(RecipientVerdict.NO_SUCH_ADDRESS) if row is None else _recipient(row)

    def find_login(self, login: str) -> AccountId:
        """The account that logs in under a name, or an id that no account has: the same work for either."""
        try:
            key = parse_address(login).key
        except PeerError:
            key = login.strip().casefold()
        decoy = hmac.digest(self.decoy_key, key.encode("utf-8", "surrogatepass"), "sha256")[:ID_BYTES]
        # The nearest row is read for either, so that an unknown name costs what a known one costs.
        account, status, found = self.database.first(_NEAREST, (key,)) or (decoy, Status.CANCELLED, "")
        return AccountId(account if found == key and status in LOGS_IN else decoy)

    def is_newer(self, binding: BindingRow) -> bool:
        """Whether keyring signed it for a newer mailbox key than this account's row has.

        Raises Refused (`bad-binding`). What a gate brings is believed no more than that: it cannot take an account's
        key away, nor bring an older one.
        """
        row = self.database.first("SELECT binding FROM account WHERE id = ?", (binding.account,))
        if row is None or row[0] is None or row[0] == binding.record or self.tenant is None:
            return False
        try:
            raw = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.binding_key, validate=True))
            new = Binding(binding.record).verify(raw, self.tenant, AccountId(binding.account))
            return new.generation > Binding(row[0]).generation
        except (IntegrityError, ValueError):
            raise Refused("the binding is not one that keyring signed for this account", code="bad-binding") from None

    def renew_binding(self, connection: sqlite3.Connection, request: RenewBinding) -> Done:
        """Where it is still newer than what the row has: another gate may have brought one meanwhile."""
        binding = request.binding
        row = connection.execute("SELECT binding FROM account WHERE id = ?", (binding.account,)).fetchone()
        known = Binding(row[0]).generation if row is not None and row[0] is not None else None
        if known is not None and Binding(binding.record).generation > known:
            values = (binding.record, now_ms(), binding.account)
            connection.execute("UPDATE account SET binding = ?, changed = ? WHERE id = ?", values)
        return Done()

    def check_sender(self, account: bytes, text: str) -> None:
        """Raises Refused (`not-owner`) unless the account owns the address and may send."""
        try:
            key = parse_address(text).key
        except PeerError:
            raise Refused("not an address of this account", code="not-owner") from None
        row = self.database.first(_BY_KEY, (key,))
        if row is None or row[0] != account or row[1] not in SENDS:
            raise Refused("not an address of this account", code="not-owner")

    def domains(self, after: str, limit: int) -> tuple[DomainRow, ...]:
        """Rows of one page."""
        rows = self.database.read(
            "SELECT name, accounts, created FROM domain WHERE name > ? ORDER BY name LIMIT ?", (after, limit)
        )
        return _fitting([DomainRow(*row) for row in rows], [len(row[0]) for row in rows])

    def accounts(self, domain: str, after: str, limit: int) -> tuple[AccountRow, ...]:
        """Rows of one page."""
        if domain:
            rows = self.database.read(_PAGE_OF_DOMAIN, (parse_domain(domain), _after(after), limit))
        else:
            rows = self.database.read(_PAGE_OF_ALL, (_after(after), limit))
        return _fitting([AccountRow(*row) for row in rows], [len(row[1].encode()) for row in rows])

    def statuses(self, after: int, limit: int) -> StatusPage:
        """Ids and statuses of up to `limit` accounts, in the order they were added."""
        page = "SELECT number, id, status FROM account WHERE number > ? ORDER BY number LIMIT ?"
        rows = self.database.read(page, (after, limit))
        return StatusPage(b"".join([_STATUS.pack(*row) for row in rows]))

    def show(self, text: str) -> AccountRow:
        """One account. Raises Refused (`no-such-address`)."""
        row = self.database.first(_BY_KEY, (parse_address(text).key,))
        if row is None:
            raise _unknown(text)
        return AccountRow(row[0], row[4], row[1], row[3], row[5])

    def counts(self) -> AccountCounts:
        """Accounts by status, addresses and domains, from the tallies."""
        rows = self.database.read("SELECT status, accounts FROM tally WHERE accounts > 0 ORDER BY status")
        (domains, addresses) = self.database.first("SELECT COUNT(*), COALESCE(SUM(accounts), 0) FROM domain")
        return AccountCounts(tuple(StatusCount(*row) for row in rows), addresses, domains)

    # --- changes, on the writer's connection ---

    def add_domain(self, connection: sqlite3.Connection, request: AddDomain) -> Done:
        """Host a domain; one that is hosted already stays as it is. Raises PeerError."""
        name = parse_domain(request.domain)
        added = connection.execute("INSERT OR IGNORE INTO domain (name, created) VALUES (?, ?)", (name, now_ms()))
        if added.rowcount:
            outbox.note(connection, "DomainAdded", request.stamp.actor, {"domain": name})
        return Done()

    def add_account(self, connection: sqlite3.Connection, request: AddAccount) -> Done:
        """Make an address reach an account; done already for the same pair. Raises PeerError and Refused."""
        address = parse_address(request.address)
        account = request.binding.account
        if connection.execute("SELECT 1 FROM domain WHERE name = ?", (address.domain,)).fetchone() is None:
            raise Refused(
                f"{address.domain} is not hosted here; first: bulkhead domain add TENANT {address.domain}",
                code="no-such-domain",
            )
        taken = connection.execute(_BY_KEY, (address.key,)).fetchone()
        if taken is not None and taken[0] == account and taken[1] < Status.CANCELLED:
            return Done()
        self._check_free(connection, address, None if taken is None else Status(taken[1]))
        if connection.execute("SELECT 1 FROM account WHERE id = ?", (account,)).fetchone() is not None:
            raise Refused("that account has another address", code="account-taken")
        now = now_ms()
        created, quota = min(request.created, now) or now, request.quota_bytes or self.default_quota
        number = connection.execute(
            "INSERT INTO account (id, status, binding, quota, created, changed) VALUES (?, ?, ?, ?, ?, ?)",
            (account, Status.PROVISIONED, request.binding.record, quota, created, created),
        ).lastrowid
        connection.execute(
            "INSERT INTO address VALUES (?, ?, ?, ?)", (address.key, str(address), address.domain, number)
        )
        connection.execute("UPDATE domain SET accounts = accounts + 1 WHERE name = ?", (address.domain,))
        _count(connection, Status.PROVISIONED, 1)
        outbox.note(connection, "AccountAdded", request.stamp.actor, {"domain": address.domain}, account)
        return Done()

    def set_status(self, connection: sqlite3.Connection, request: SetAccountStatus) -> AccountRow:
        """Move an account along TRANSITIONS; where it is there already, nothing happens. A purged account's row has no
        address. Raises Refused.
        """
        new = parse_status(request.status)
        key = parse_address(request.address).key
        row = connection.execute(_BY_KEY, (key,)).fetchone()
        if row is None:
            raise _unknown(request.address)
        account, old = row[0], Status(row[1])
        if "@" in request.reason:
            raise Refused("a reason goes into the ledger, which takes no address: leave out the @", code="bad-reason")
        result = AccountRow(account, row[4], new, row[3], row[5])
        if old is new:
            return result
        check_transition(old, new)
        self._move(connection, row[6], old, new)
        if new is Status.PURGED:
            result = AccountRow(account, "", new, row[3], row[5])
        details = {"from": old.name.lower(), "to": new.name.lower(), "reason": request.reason}
        outbox.note(connection, "AccountStatusChanged", request.stamp.actor, details, account)
        return result

    def replay_status(self, connection: sqlite3.Connection, account: bytes, new: Status) -> bool:
        """After a restore: the status that the ledger says an account came to; whether it was another one."""
        row = connection.execute("SELECT number, status FROM account WHERE id = ?", (account,)).fetchone()
        if row is None or row[1] == new or row[1] == Status.PURGED:
            return False
        self._move(connection, row[0], Status(row[1]), new)
        return True

    def _move(self, connection: sqlite3.Connection, number: int, old: Status, new: Status) -> None:
        connection.execute(
            "UPDATE account SET status = ?, changed = ?, binding = CASE WHEN ? THEN NULL ELSE binding END "
            "WHERE number = ?",
            (new, now_ms(), new >= Status.CANCELLED, number),
        )
        if new is Status.PURGED:
            self._bury(connection, number)
        _count(connection, old, -1)
        _count(connection, new, 1)

    def _check_free(self, connection: sqlite3.Connection, address: Address, owner: Status | None) -> None:
        """Raises Refused: `address-taken`, or `tombstone` where it once was another person's."""
        if owner is not None and owner < Status.CANCELLED:
            raise Refused(f"{address} is taken", code="address-taken")
        digest = self._digest(address.key)
        buried = connection.execute("SELECT 1 FROM tombstone WHERE digest = ?", (digest,)).fetchone()
        if owner is not None or buried is not None:
            raise Refused(f"{address} belonged to a cancelled account and is never given again", code="tombstone")

    def _bury(self, connection: sqlite3.Connection, account: int) -> None:
        """Keep only digests of a purged account's addresses."""
        for key, shown, domain in connection.execute(
            "SELECT key, shown, domain FROM address WHERE account = ?", (account,)
        ).fetchall():
            connection.execute("INSERT OR IGNORE INTO tombstone VALUES (?, ?)", (self._digest(key), now_ms()))
            connection.execute("DELETE FROM address WHERE key = ?", (key,))
            # Answers kept for retries name the address too; what they answered is idempotent without them.
            connection.execute("DELETE FROM receipt WHERE instr(reply, ?) > 0", (shown.encode(),))
            connection.execute("UPDATE domain SET accounts = accounts - 1 WHERE name = ?", (domain,))

    def _digest(self, key: str) -> bytes:
        return hmac.digest(self.tombstone_key, key.encode(), "sha256")


def _recipient(row: tuple[bytes, int, bytes, int]) -> Recipient:
    account, status, binding, quota = row[:4]
    if status not in RECEIVES:
        return Recipient(RecipientVerdict.CLOSED)
    return Recipient(RecipientVerdict.LOCAL, BindingRow(AccountId(account), binding), quota)


def _after(text: str) -> str:
    """The key that a page begins behind; what is no address is taken as it is."""
    try:
        return parse_address(text).key if text else ""
    except PeerError:
        return text.lower()


def _fitting(rows: list[T], sizes: list[int]) -> tuple[T, ...]:
    """As many rows from the front as one message carries."""
    total = 0
    for number, size in enumerate(sizes):
        total += size + ROW_BYTES
        if total > PAGE_BYTES:
            return tuple(rows[:number])
    return tuple(rows)


def _count(connection: sqlite3.Connection, status: Status, change: int) -> None:
    connection.execute(
        "INSERT INTO tally VALUES (?, ?) ON CONFLICT (status) DO UPDATE SET accounts = accounts + excluded.accounts",
        (status, change),
    )


def _unknown(text: str) -> Refused:
    return Refused(f"no account has the address {text[:254]}", code="no-such-address")
