"""The directory's reads and changes. Reads run on committed rows; changes run within the writer's transaction."""

import base64
import hmac
import sqlite3
import struct
import time
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec.structs import replace

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_directory import (
    AccountCounts,
    AccountRow,
    AddAccount,
    AddDomain,
    BindingRow,
    DomainRow,
    RemoveDomain,
    RenewBinding,
    Service,
    SetAccountStatus,
    StatusCount,
    StatusPage,
)
from bulkhead.directory import notices
from bulkhead.directory.reach import BY_KEY
from bulkhead.directory.schema import AddressKind
from bulkhead.directory.transitions import LOGS_IN, SENDS, Status, check_transition, parse_status
from bulkhead.errors import IntegrityError, PeerError, Refused
from bulkhead.holder import outbox
from bulkhead.holder.database import Database
from bulkhead.identifiers import ID_BYTES, AccountId, Address, TenantId, parse_address, parse_domain
from bulkhead.records.mailbox import Binding

PAGE_BYTES = 192 * 1024  # of rows in one reply; a message has at most 256 KiB
ROW_BYTES = 64  # of a row beside its text
RETIRED = AddressKind.RETIRED
_STATUS = struct.Struct(">Q16sB")
T = TypeVar("T")

_ROW = (
    "SELECT account.id, main.shown, account.status, account.quota, account.created, account.closed, "
    "COALESCE(account.class, ''), account.number FROM address AS asked JOIN account ON account.number = asked.account "
    "JOIN address AS main ON main.account = account.number AND main.kind = 1 WHERE asked.key = ? AND asked.kind < 3"
)
_NEAREST = (
    "SELECT account.id, account.status, account.closed, address.kind, address.key "
    "FROM address JOIN account ON account.number = address.account WHERE address.key >= ? "
    "ORDER BY address.key LIMIT 1"
)
_PAGE = (
    "SELECT account.id, address.shown, account.status, account.quota, account.created, account.closed, "
    "COALESCE(account.class, '') FROM address JOIN account ON account.number = address.account "
    "WHERE {} ? AND address.kind = 1 ORDER BY address.key LIMIT ?"
)
_PAGE_OF_ALL = _PAGE.format("address.key >")
_PAGE_OF_DOMAIN = _PAGE.format("address.domain = ? AND address.key >")
_PAGE_FROM = _PAGE.format("address.key < ? AND address.key >=")
_PAGE_BEHIND = _PAGE.format("address.key < ? AND address.key >")
LAST = "\U0010ffff"  # behind everything that begins alike


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)


@dataclass(slots=True)
class DirectoryBook:
    """The tables, and the two keys.

    binding_key: base64 of the key under which a newer binding must be signed.
    """

    database: Database
    decoy_key: bytes = field(repr=False)
    tombstone_key: bytes = field(repr=False)
    default_quota: int
    tenant: TenantId | None = None
    binding_key: str = ""

    # --- reads ---

    def find_login(self, login: str) -> AccountId:
        """The account that logs in under a name, or an id that no account has: the same work for either."""
        try:
            key = parse_address(login).key
        except PeerError:
            key = login.strip().casefold()
        decoy = hmac.digest(self.decoy_key, key.encode("utf-8", "surrogatepass"), "sha256")[:ID_BYTES]
        # The nearest row is read for either, so that an unknown name costs what a known one costs.
        account, status, closed, kind, found = self.database.first(_NEAREST, (key,)) or (decoy, 0, 0, 0, "")
        admitted = status in LOGS_IN and kind == AddressKind.MAIN and not closed & Service.LOGIN
        return AccountId(account if found == key and admitted else decoy)

    def is_newer(self, binding: BindingRow) -> bool:
        """Whether keyring signed it for a newer mailbox key than this account's row has.

        Raises Refused (`bad-binding`). What a gate brings is believed no more than that: it cannot take an account's
        key away, nor bring an older one.
        """
        row = self.database.first("SELECT binding FROM account WHERE id = ?", (binding.account,))
        if row is None or row[0] is None or row[0] == binding.record:
            return False
        return self.check_binding(binding) > Binding(row[0]).generation

    def check_binding(self, binding: BindingRow) -> int:
        """The generation, once the signature is keyring's for that account. Raises Refused (`bad-binding`)."""
        try:
            raw = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.binding_key, validate=True))
            tenant = self.tenant or TenantId("")
            return Binding(binding.record).verify(raw, tenant, AccountId(binding.account)).generation
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
        row = self.database.first(BY_KEY, (key,))
        if row is None or row[0] != account or row[1] not in SENDS or row[4] & Service.SEND or row[7] == RETIRED:
            raise Refused("not an address of this account", code="not-owner")

    def domains(self, after: str, limit: int) -> tuple[DomainRow, ...]:
        """Rows of one page."""
        rows = self.database.read(
            "SELECT name, accounts, created FROM domain WHERE name > ? ORDER BY name LIMIT ?", (after, limit)
        )
        return fitting([DomainRow(*row) for row in rows], [len(row[0]) for row in rows])

    def accounts(self, domain: str, after: str, limit: int) -> tuple[AccountRow, ...]:
        """Rows of one page."""
        if domain:
            rows = self.database.read(_PAGE_OF_DOMAIN, (parse_domain(domain), key_behind(after), limit))
        else:
            rows = self.database.read(_PAGE_OF_ALL, (key_behind(after), limit))
        return fitting([AccountRow(*row) for row in rows], [len(row[1].encode()) for row in rows])

    def search(self, prefix: str, after: str, limit: int) -> tuple[AccountRow, ...]:
        """Accounts whose own address begins so."""
        begin, behind = prefix.strip().casefold(), key_behind(after)
        if not begin:
            return ()
        statement = _PAGE_BEHIND if behind >= begin else _PAGE_FROM
        rows = self.database.read(statement, (begin + LAST, max(begin, behind), limit))
        return tuple(AccountRow(*row) for row in rows)

    def statuses(self, after: int, limit: int) -> StatusPage:
        """Ids and statuses of up to `limit` accounts, in the order they were added."""
        page = "SELECT number, id, status FROM account WHERE number > ? ORDER BY number LIMIT ?"
        rows = self.database.read(page, (after, limit))
        return StatusPage(b"".join([_STATUS.pack(*row) for row in rows]))

    def show(self, text: str) -> AccountRow:
        """One account. Raises Refused (`no-such-address`)."""
        row, number = find_account(self.database, text)
        (binding,) = self.database.first("SELECT binding FROM account WHERE number = ?", (number,))
        return replace(row, binding=binding or b"")

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

    def remove_domain(self, connection: sqlite3.Connection, request: RemoveDomain) -> Done:
        """Host it no more. Raises PeerError, Refused (`no-such-domain`, `not-empty`).

        Every address that it had was purged, or was a group's, and left its digest: hosted here again, none of them is
        given to anybody.
        """
        name = parse_domain(request.domain)
        check_hosted(connection, name)
        (addresses,) = connection.execute("SELECT COUNT(*) FROM address WHERE domain = ?", (name,)).fetchone()
        (teams,) = connection.execute("SELECT COUNT(*) FROM team WHERE domain = ?", (name,)).fetchone()
        if addresses or teams:
            why = f"{name} has {addresses} addresses and {teams} groups: purge its accounts and remove its groups first"
            raise Refused(why, code="not-empty")
        connection.execute("DELETE FROM domain WHERE name = ?", (name,))
        outbox.note(connection, "DomainRemoved", request.stamp.actor, {"domain": name})
        return Done()

    def add_account(self, connection: sqlite3.Connection, request: AddAccount) -> Done:
        """Make an address reach an account; done already for the same pair. Raises PeerError and Refused."""
        address = parse_address(request.address)
        account = request.binding.account
        check_hosted(connection, address.domain)
        taken = connection.execute(BY_KEY, (address.key,)).fetchone()
        if taken is not None and taken[0] == account and taken[1] < Status.CANCELLED and taken[7] == AddressKind.MAIN:
            return Done()
        self.check_free(connection, address)
        if connection.execute("SELECT 1 FROM account WHERE id = ?", (account,)).fetchone() is not None:
            raise Refused("that account has another address", code="account-taken")
        now = now_ms()
        created, quota = min(request.created, now) or now, request.quota_bytes or self.default_quota
        number = connection.execute(
            "INSERT INTO account (id, status, binding, quota, created, changed) VALUES (?, ?, ?, ?, ?, ?)",
            (account, Status.PROVISIONED, request.binding.record, quota, created, created),
        ).lastrowid
        add_address(connection, address, number or 0, AddressKind.MAIN)
        _count(connection, Status.PROVISIONED, 1)
        outbox.note(connection, "AccountAdded", request.stamp.actor, {"domain": address.domain}, account)
        return Done()

    def set_status(self, connection: sqlite3.Connection, request: SetAccountStatus) -> AccountRow:
        """Move an account along TRANSITIONS; where it is there already, nothing happens. A purged account's row has no
        address. Raises Refused.
        """
        new = parse_status(request.status)
        known, number = find_account(connection, request.address)
        old = Status(known.status)
        if "@" in request.reason:
            raise Refused("a reason goes into the ledger, which takes no address: leave out the @", code="bad-reason")
        if old is new:
            return known
        check_transition(old, new)
        self._move(connection, number, old, new)
        result = replace(known, status=new, address="" if new is Status.PURGED else known.address)
        details = {"from": old.name.lower(), "to": new.name.lower(), "reason": request.reason}
        outbox.note(connection, "AccountStatusChanged", request.stamp.actor, details, known.account)
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
        if new >= Status.CANCELLED:
            _cut_routes(connection, number)
        if new is Status.PURGED:
            self._bury(connection, number)
        _count(connection, old, -1)
        _count(connection, new, 1)

    def check_free(self, connection: sqlite3.Connection, address: Address) -> None:
        """Raises Refused: `address-taken`, or `tombstone` where it once was another person's, or a group's."""
        owner = connection.execute(BY_KEY, (address.key,)).fetchone()
        team = connection.execute("SELECT 1 FROM team WHERE key = ?", (address.key,)).fetchone()
        if team is not None or (owner is not None and owner[1] < Status.CANCELLED and owner[7] != RETIRED):
            raise Refused(f"{address} is taken", code="address-taken")
        buried = connection.execute("SELECT 1 FROM tombstone WHERE digest = ?", (self.digest(address.key),)).fetchone()
        if owner is not None or buried is not None:
            raise Refused(f"{address} belonged to another account and is never given again", code="tombstone")

    def bury_address(self, connection: sqlite3.Connection, key: str) -> None:
        """Keep the digest of an address that nobody is to have again."""
        connection.execute("INSERT OR IGNORE INTO tombstone VALUES (?, ?)", (self.digest(key), now_ms()))

    def _bury(self, connection: sqlite3.Connection, account: int) -> None:
        """Keep only digests of a purged account's addresses."""
        for key, shown, domain in connection.execute(
            "SELECT key, shown, domain FROM address WHERE account = ?", (account,)
        ).fetchall():
            self.bury_address(connection, key)
            connection.execute("DELETE FROM address WHERE key = ?", (key,))
            # Answers kept for retries name the address too; what they answered is idempotent without them.
            connection.execute("DELETE FROM receipt WHERE instr(reply, ?) > 0", (shown.encode(),))
            connection.execute("UPDATE domain SET accounts = accounts - 1 WHERE name = ?", (domain,))

    def digest(self, key: str) -> bytes:
        """Of an address, for whoever has the tombstone key."""
        return hmac.digest(self.tombstone_key, key.encode(), "sha256")


def add_address(connection: sqlite3.Connection, address: Address, account: int, kind: AddressKind) -> None:
    """A row of `address`, and the count of its domain."""
    values = (address.key, str(address), address.domain, account, kind)
    connection.execute("INSERT INTO address VALUES (?, ?, ?, ?, ?)", values)
    connection.execute("UPDATE domain SET accounts = accounts + 1 WHERE name = ?", (address.domain,))


def check_hosted(connection: sqlite3.Connection, domain: str) -> None:
    """Raises Refused (`no-such-domain`)."""
    if connection.execute("SELECT 1 FROM domain WHERE name = ?", (domain,)).fetchone() is None:
        raise Refused(f"{domain} is not hosted here; first: bulkhead domain add TENANT {domain}", code="no-such-domain")


def find_account(where: sqlite3.Connection | Database, text: str) -> tuple[AccountRow, int]:
    """The account that an address of its belongs to, and its number. Raises PeerError, Refused (`no-such-address`)."""
    values = (parse_address(text).key,)
    row = where.first(_ROW, values) if isinstance(where, Database) else where.execute(_ROW, values).fetchone()
    if row is None:
        raise unknown(text)
    return AccountRow(*row[:7]), row[7]


def find_living(where: sqlite3.Connection | Database, text: str) -> tuple[AccountRow, int]:
    """As find_account, of one that is not cancelled. Raises Refused (`no-such-transition`) besides."""
    account, number = find_account(where, text)
    if account.status >= Status.CANCELLED:
        raise Refused(f"{text} is cancelled for ever", code="no-such-transition")
    return account, number


def _cut_routes(connection: sqlite3.Connection, account: int) -> None:
    """Nothing goes on from a cancelled account, and nothing is forwarded to it: its address may look alive for long."""
    notices.forget(connection, account)
    connection.execute("DELETE FROM member WHERE account = ?", (account,))
    connection.execute("DELETE FROM forward WHERE account = ?", (account,))
    connection.execute("UPDATE account SET forwards = 0, class = NULL WHERE number = ?", (account,))
    to_it = "SELECT account FROM forward WHERE key IN (SELECT key FROM address WHERE account = ?)"
    for (giver,) in connection.execute(to_it, (account,)).fetchall():
        connection.execute(
            "DELETE FROM forward WHERE account = ? AND key IN (SELECT key FROM address WHERE account = ?)",
            (giver, account),
        )
        if connection.execute("SELECT 1 FROM forward WHERE account = ?", (giver,)).fetchone() is None:
            connection.execute("UPDATE account SET forwards = 0 WHERE number = ?", (giver,))


def key_behind(text: str) -> str:
    """The key that a page begins behind; what is no address is taken as it is."""
    try:
        return parse_address(text).key if text else ""
    except PeerError:
        return text.lower()


def fitting(rows: list[T], sizes: list[int]) -> tuple[T, ...]:
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


def unknown(text: str) -> Refused:
    """Nobody has that address."""
    return Refused(f"no account has the address {text[:254]}", code="no-such-address")
