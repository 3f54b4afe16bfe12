"""Fills the databases of a directory, an auth and a keyring with accounts and their credentials, by the million.

Every record is sealed for its place under the tenant's version keys, exactly as auth and keyring seal it, and opens.
SYNTHESISED, because it costs most and no one who seals records anew, opens them or counts them can tell: the outputs of
Argon2id and HKDF (random octets, so that nobody logs in to such an account), the wrap of the seed inside keyring's half
(random octets under a right header), the two recovery shares and the seed under them (likewise), and public key and
signature of the binding (`fsck --deep` would say so). All are as long as real ones.

The first accounts may be `people`: their halves are whole, with a main password (at the least cost of Argon2id) and an
app password, so that they log in. Their ids are as random as all, so their rows lie everywhere.

Rows come in the order of their keys, and indexes last, so that pages are full; a database that grew over years has a
third more pages.
"""

import argparse
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from bulkhead.auth.schema import MIGRATIONS as AUTH_MIGRATIONS
from bulkhead.boundary.messages.to_directory import AccountStatus
from bulkhead.directory.schema import MIGRATIONS as DIRECTORY_MIGRATIONS
from bulkhead.holder.account_states import AccountState
from bulkhead.holder.database_file import connect
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.keyring.schema import MIGRATIONS as KEYRING_MIGRATIONS
from bulkhead.records.app_password import AppPassword, AppPasswordNote
from bulkhead.records.credential import (
    ALL_SCOPES,
    MAIN_PASSWORD,
    NO_SALT,
    RowKeys,
    Scope,
    State,
    Stretched,
    StretchParameters,
    stretch_app_password,
)
from bulkhead.records.derive import join_fields, u32
from bulkhead.records.halves import AuthHalf, KeyringHalf, Place, Wrapped, new_keyring_half
from bulkhead.records.keyfile import KeySet
from bulkhead.records.record import HEADER_BYTES, NONCE_BYTES, Kind, Suite, bind, encode_header
from bulkhead.records.stretch import stretch

SHARE_BYTES, BY_SHARES_BYTES, WRAP_BYTES = HEADER_BYTES + 80, HEADER_BYTES + 60, HEADER_BYTES + 96
CHEAP = StretchParameters(8, 1, 1)  # of people
APP_SCOPES = Scope.IMAP | Scope.SUBMIT
APP_CREDENTIAL = 1
SUSPENDED_IN = 16  # every so manieth account is suspended
_POOL_BYTES = 1 << 20

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """One who logs in: everything about the credentials comes from the account's id."""

    account: AccountId

    @property
    def password(self) -> bytes:
        """The main password."""
        return self._octets("password", 12).hex().encode()

    @property
    def app_password(self) -> AppPassword:
        """The one app password."""
        return AppPassword(APP_CREDENTIAL, self._octets("app", 16))

    def _octets(self, what: str, count: int) -> bytes:
        return hashlib.shake_128(self.account + what.encode()).digest(count)

    def halves(self, tenant: TenantId, tight: bytes) -> list[tuple[int, AuthHalf, KeyringHalf]]:
        """(credential, half of auth, half of keyring) of both passwords."""
        salt = self._octets("salt", 16)
        app = stretch_app_password(self.app_password.secret, self.account, APP_CREDENTIAL)
        made = (
            (MAIN_PASSWORD, ALL_SCOPES, salt, CHEAP, stretch(self.password, salt, CHEAP)),
            (APP_CREDENTIAL, APP_SCOPES, NO_SALT, None, app),
        )
        return [(cred, *self._pair(tenant, tight, cred, *rest)) for cred, *rest in made]  # type: ignore[misc]  # a tuple's

    def _pair(
        self, tenant: TenantId, tight: bytes, cred: int, scope: Scope, salt: bytes, cost: StretchParameters | None,
        stretched: Stretched,
    ) -> tuple[AuthHalf, KeyringHalf]:  # fmt: skip
        release = self._octets(f"release {cred}", 32)
        wrapped = Wrapped(1, release, self._octets("seed", 32))
        theirs = new_keyring_half(tight, stretched, wrapped, tenant, self.account, cred, 1, scope=scope)
        return AuthHalf(scope, State.ACTIVE, salt, cost, hashlib.sha256(release).digest()), theirs


@dataclass(frozen=True, slots=True)
class Accounts:
    """Who is in a tenant. ids: 16 octets each. people: how many of the first log in."""

    tenant: TenantId
    ids: bytes = field(repr=False)
    people: int = 0

    def __len__(self) -> int:
        return len(self.ids) // 16

    def each(self) -> Iterator[bytes]:
        """The ids in order."""
        return (self.ids[at : at + 16] for at in range(0, len(self.ids), 16))

    def person(self, number: int) -> Person:
        """One of the people."""
        return Person(AccountId(self.ids[16 * number : 16 * number + 16]))

    def suspended(self) -> set[bytes]:
        """Those that may not log in; none of the people."""
        return {self.ids[16 * at : 16 * at + 16] for at in range(self.people, len(self)) if not at % SUSPENDED_IN}


class _Randomness:
    """Octets of the system's generator, many at a time."""

    def __init__(self) -> None:
        self._pool, self._at = b"", 0

    def take(self, count: int) -> bytes:
        """So many fresh ones."""
        if self._at + count > len(self._pool):
            self._pool, self._at = os.urandom(_POOL_BYTES), 0
        self._at += count
        return self._pool[self._at - count : self._at]


class _Sealer:
    """Seals many records of one kind under one key."""

    def __init__(self, kind: Kind, tenant: TenantId, version: int, key: bytes) -> None:
        self._header = encode_header(kind, Suite.AES_256_GCM_SIV, version)
        self._bound = bind(kind, Suite.AES_256_GCM_SIV, version, (tenant.encode("ascii"),)) + b"\0\x10"
        self._encrypt, self._random = AESGCMSIV(key).encrypt, _Randomness()

    def seal(self, body: bytes, row: bytes) -> bytes:
        """For number 1 of this row key."""
        nonce = self._random.take(NONCE_BYTES)
        return self._header + nonce + self._encrypt(nonce, body, self._bound + row + b"\0\4\0\0\0\1")


def fill_auth(path: Path, keys: KeySet, tight: bytes, accounts: Accounts) -> None:
    """A half of the main password for each account. tight: keyring's key of tags, for the people's."""
    tenant, index, now = accounts.tenant, keys.current("index")[1], time.time_ns() // 1_000_000
    sealer, random = _Sealer(Kind.AUTH_HALF, tenant, *keys.current("auth")), _Randomness()
    main, owner = _row_keys(index)
    place, key = Place(tenant, bytes(16), 1), secrets.token_bytes(32)
    half = AuthHalf(ALL_SCOPES, State.ACTIVE, bytes(16), StretchParameters(), bytes(32))
    model = _body(half.seal(place, 1, key), Kind.AUTH_HALF, place, key)
    at = model.index(bytes(48))  # salt and digest, one behind the other
    before, behind = model[:at], model[at + 48 :]
    people, apps, notes = {}, [], []
    version, sealing = keys.current("auth")
    for number in range(accounts.people):
        person = accounts.person(number)
        for cred, mine, _ in person.halves(tenant, tight):
            bid = RowKeys(index).credential(person.account, cred)
            record = mine.seal(Place(tenant, bid, 1), version, sealing)
            if cred == MAIN_PASSWORD:
                people[bid] = record
                continue
            note = AppPasswordNote(now // 1000, "bench").seal(Place(tenant, bid, 1), version, sealing)
            apps.append((bid, 1, owner(person.account), record, now))
            notes.append((bid, owner(person.account), cred, note))

    def rows() -> Iterator[Row]:
        for bid, account in _ordered(main, accounts):
            record = people.get(bid) or sealer.seal(before + random.take(48) + behind, bid)
            yield bid, 1, owner(account), record, now
        yield from apps

    half_row = "INSERT INTO half (bid, g, owner, record, set_at) VALUES (?, ?, ?, ?, ?)"
    _load(path, AUTH_MIGRATIONS, half_row, rows())
    _load(path, AUTH_MIGRATIONS, "INSERT INTO app_password VALUES (?, ?, ?, ?)", iter(notes))
    states = ((owner(account), AccountState.SUSPENDED) for account in accounts.suspended())
    _load(path, AUTH_MIGRATIONS, "INSERT INTO account VALUES (?, ?)", iter(sorted(states)))


def fill_keyring(path: Path, keys: KeySet, accounts: Accounts) -> None:
    """A half, a mailbox and an account's row for each account."""
    tenant, now = accounts.tenant, time.time_ns() // 1_000_000
    index, ring, tight = keys.current("index")[1], keys.current("ring"), keys.current("tight")[1]
    halves, mailboxes = _Sealer(Kind.KEYRING_HALF, tenant, *ring), _Sealer(Kind.MAILBOX, tenant, *ring)
    main, mid_of = _row_keys(index)
    wrap = encode_header(Kind.CREDENTIAL_WRAP, Suite.AES_256_GCM_SIV, 0)
    place, key, random = Place(tenant, bytes(16), 1), secrets.token_bytes(32), _Randomness()
    model = _body(
        KeyringHalf(ALL_SCOPES, State.ACTIVE, bytes(32), bytes(WRAP_BYTES)).seal(place, 1, key),
        Kind.KEYRING_HALF, place, key,
    )  # fmt: skip
    share = encode_header(Kind.RECOVERY_SHARE, Suite.HPKE_X25519, 1)
    by_shares = encode_header(Kind.SEED_BY_SHARES, Suite.AES_256_GCM_SIV, 0)
    people, apps = {}, []
    for number in range(accounts.people):
        person = accounts.person(number)
        for cred, _, mine in person.halves(tenant, tight):
            bid = RowKeys(index).credential(person.account, cred)
            record = mine.seal(Place(tenant, bid, 1), *ring)
            if cred == MAIN_PASSWORD:
                people[bid] = record
            else:
                apps.append((bid, 1, mid_of(person.account), record, now))

    def half_rows() -> Iterator[Row]:
        fixed = model[: -32 - WRAP_BYTES]
        for bid, account in _ordered(main, accounts):
            record = people.get(bid)
            if record is None:
                body = fixed + random.take(32) + wrap + random.take(WRAP_BYTES - HEADER_BYTES)
                record = halves.seal(body, bid)
            yield bid, 1, mid_of(account), record, now
        yield from apps

    def mailbox_rows() -> Iterator[Row]:
        binding = _binding(tenant)
        for mid, account in _ordered(mid_of, accounts):
            parts = (share + random.take(80), share + random.take(80), by_shares + random.take(60), b"")
            yield mid, 1, mailboxes.seal(join_fields(parts), mid), binding(account)

    suspended = accounts.suspended()
    states = (
        (mid, AccountState.SUSPENDED if account in suspended else AccountState.OPEN)
        for mid, account in _ordered(mid_of, accounts)
    )
    half_row = "INSERT INTO half (bid, g, mid, record, set_at) VALUES (?, ?, ?, ?, ?)"
    _load(path, KEYRING_MIGRATIONS, half_row, half_rows())
    _load(
        path,
        KEYRING_MIGRATIONS,
        "INSERT INTO mailbox (mid, generation, record, binding) VALUES (?, ?, ?, ?)",
        mailbox_rows(),
    )
    _load(path, KEYRING_MIGRATIONS, "INSERT INTO account VALUES (?, ?)", states)


def fill_directory(path: Path, accounts: Accounts) -> None:
    """An account and its address for each, in one domain."""
    binding, now, domain = _binding(accounts.tenant), int(time.time() * 1000), f"{accounts.tenant}.example"
    suspended = accounts.suspended()
    tally = [(AccountStatus.ACTIVE, len(accounts) - len(suspended)), (AccountStatus.SUSPENDED, len(suspended))]

    def account_rows() -> Iterator[Row]:
        for number, account in enumerate(accounts.each(), 1):
            status = AccountStatus.SUSPENDED if account in suspended else AccountStatus.ACTIVE
            yield number, account, status, binding(account), 1 << 30, now, now

    def addresses() -> Iterator[Row]:
        for number in range(1, len(accounts) + 1):
            name = f"u{number:08}@{domain}"
            yield name, name, domain, number

    columns = {
        "domain": "name, created, accounts", "account": "number, id, status, binding, quota, created, changed",
        "address": "key, shown, domain, account", "tally": "status, accounts",
    }  # fmt: skip
    rows: dict[str, Iterator[Row]] = {
        "domain": iter([(domain, now, len(accounts))]), "account": account_rows(), "address": addresses(),
        "tally": iter(tally),
    }  # fmt: skip
    for table, names in columns.items():
        places = ", ".join("?" for _ in names.split(","))
        _load(path, DIRECTORY_MIGRATIONS, f"INSERT INTO {table} ({names}) VALUES ({places})", rows[table])  # noqa: S608  # the table above


def new_accounts(tenant: TenantId, count: int, *, people: int = 0, seed: bytes = b"") -> Accounts:
    """So many; the same for the same seed."""
    ids = hashlib.shake_128(seed).digest(16 * count) if seed else os.urandom(16 * count)
    return Accounts(tenant, ids, people)


def _binding(tenant: TenantId) -> Callable[[bytes], bytes]:
    """A binding for an account, the same at every holder."""
    header = encode_header(Kind.BINDING, Suite.ED25519, 1) + join_fields((tenant.encode("ascii"),)) + b"\0\x10"
    middle = join_fields((u32(1),)) + b"\0\x20"  # generation 1; then public key and signature
    return lambda account: header + account + middle + hashlib.shake_128(account).digest(96)


def _row_keys(index: bytes) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """Of an account's main password, and of the account."""
    rows = RowKeys(index)
    return lambda one: rows.credential(AccountId(one), MAIN_PASSWORD), lambda one: rows.mailbox(AccountId(one))


def _ordered(row_key: Callable[[bytes], bytes], accounts: Accounts) -> Iterator[tuple[bytes, bytes]]:
    """(row key, account) in the order of row keys."""
    for joined in sorted([row_key(one) + one for one in accounts.each()]):
        yield joined[:16], joined[16:]


def _body(record: bytes, kind: Kind, place: Place, key: bytes) -> bytes:
    """What a record of version 1 holds inside."""
    bound = bind(kind, Suite.AES_256_GCM_SIV, 1, place.fields())
    at = HEADER_BYTES + NONCE_BYTES
    return AESGCMSIV(key).decrypt(record[HEADER_BYTES:at], record[at:], bound)


def _load(path: Path, migrations: Iterable[str], statement: str, rows: Iterator[Row]) -> None:
    """Rows into one table, its indexes made anew behind them."""
    connection = connect(path, secure_delete=True)
    if not connection.execute("PRAGMA user_version").fetchone()[0]:
        for number, migration in enumerate(migrations, 1):
            connection.executescript(f"{migration}; PRAGMA user_version = {number}")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA foreign_keys=OFF")  # the table that is referred to is there, row by row
    connection.execute("PRAGMA cache_size=-65536")
    indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL").fetchall()
    table = statement.split()[2]
    mine = [(name, sql) for name, sql in indexes if f" ON {table} " in sql or f" ON {table}(" in sql]
    for name, _ in mine:
        connection.execute(f"DROP INDEX {name}")
    connection.execute("PRAGMA journal_mode=OFF")  # what is cut short is made anew
    connection.execute("BEGIN")
    connection.executemany(statement, rows)
    for _, sql in mine:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def main() -> None:
    """Fill both databases of one tenant below a directory, with fresh keys, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    options = parser.parse_args()
    accounts = new_accounts(TenantId("bench"), options.accounts)
    keys = KeySet()
    for name in ("auth", "ring", "index", "tight"):
        keys = keys.with_key(name, 1, secrets.token_bytes(32))
    begin = time.monotonic()
    for name in ("directory", "auth", "keyring"):
        (options.directory / name).mkdir(parents=True)
    fill_directory(options.directory / "directory" / "directory.sqlite", accounts)
    fill_auth(options.directory / "auth" / "auth.sqlite", keys, keys.current("tight")[1], accounts)
    fill_keyring(options.directory / "keyring" / "keyring.sqlite", keys, accounts)
    size = {path.stem: path.stat().st_size for path in options.directory.rglob("*.sqlite")}
    print(json.dumps({"accounts": options.accounts, "seconds": round(time.monotonic() - begin, 1), "octets": size}))


if __name__ == "__main__":
    main()
