"""Fills the databases of an auth and a keyring with credentials and mailbox keys, by the million.

Every record is sealed for its place under the tenant's version keys, exactly as auth and keyring seal it, and opens.
SYNTHESISED, because it costs most and no one who seals records anew, opens them or counts them can tell: the outputs of
Argon2id and HKDF (random octets, so that nobody logs in to such an account), the wrap of the seed inside keyring's half
(random octets under a right header), the two recovery shares and the seed under them (likewise), and the signature of
the binding (random: `fsck --deep` would say so). All are as long as real ones.

Rows come in the order of their keys, and indexes last, so that pages are full; a database that grew over years has a
third more pages.
"""

import argparse
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from bulkhead.auth.schema import MIGRATIONS as AUTH_MIGRATIONS
from bulkhead.holder.database import connect
from bulkhead.identifiers import AccountId, TenantId
from bulkhead.keyring.schema import MIGRATIONS as KEYRING_MIGRATIONS
from bulkhead.records.credential import ALL_SCOPES, State, StretchParameters
from bulkhead.records.derive import join_fields, u32
from bulkhead.records.halves import AuthHalf, KeyringHalf, Place
from bulkhead.records.keyfile import KeySet
from bulkhead.records.record import HEADER_BYTES, NONCE_BYTES, Kind, Suite, bind, encode_header

SHARE_BYTES, BY_SHARES_BYTES, WRAP_BYTES = HEADER_BYTES + 80, HEADER_BYTES + 60, HEADER_BYTES + 96


class _Sealer:
    """Seals many records of one kind under one key."""

    def __init__(self, kind: Kind, tenant: TenantId, version: int, key: bytes) -> None:
        self._header = encode_header(kind, Suite.AES_256_GCM_SIV, version)
        self._bound = bind(kind, Suite.AES_256_GCM_SIV, version, (tenant.encode("ascii"),)) + b"\0\x10"
        self._encrypt = AESGCMSIV(key).encrypt

    def seal(self, body: bytes, row: bytes) -> bytes:
        """For number 1 of this row key."""
        nonce = os.urandom(NONCE_BYTES)
        return self._header + nonce + self._encrypt(nonce, body, self._bound + row + b"\0\4\0\0\0\1")


def fill_auth(path: Path, tenant: TenantId, keys: KeySet, accounts: bytes) -> None:
    """A half of the main password for each account. accounts: 16 octets each."""
    index = keys.current("index")[1]
    sealer = _Sealer(Kind.AUTH_HALF, tenant, *keys.current("auth"))
    place = Place(tenant, bytes(16), 1)
    key = secrets.token_bytes(32)
    half = AuthHalf(ALL_SCOPES, State.ACTIVE, bytes(16), StretchParameters(), bytes(32))
    model = _body(half.seal(place, 1, key), Kind.AUTH_HALF, place, key)
    at = model.index(bytes(48))  # salt and digest, one behind the other

    def rows() -> Iterator[tuple[bytes, int, bytes, bytes]]:
        for bid, account in _ordered(index, accounts, b"\0\0\0\0"):
            body = model[:at] + os.urandom(48) + model[at + 48 :]
            yield bid, 1, _hmac(index, account + b"mailbox"), sealer.seal(body, bid)

    _load(path, AUTH_MIGRATIONS, "INSERT INTO half (bid, g, owner, record) VALUES (?, ?, ?, ?)", rows())


def fill_keyring(path: Path, tenant: TenantId, keys: KeySet, accounts: bytes) -> None:
    """A half, a mailbox and an account's row for each account."""
    index, ring = keys.current("index")[1], keys.current("ring")
    halves, mailboxes = _Sealer(Kind.KEYRING_HALF, tenant, *ring), _Sealer(Kind.MAILBOX, tenant, *ring)
    wrap = encode_header(Kind.CREDENTIAL_WRAP, Suite.AES_256_GCM_SIV, 0)
    place, key = Place(tenant, bytes(16), 1), secrets.token_bytes(32)
    model = _body(
        KeyringHalf(ALL_SCOPES, State.ACTIVE, bytes(32), bytes(WRAP_BYTES)).seal(place, 1, key),
        Kind.KEYRING_HALF, place, key,
    )  # fmt: skip
    share = encode_header(Kind.RECOVERY_SHARE, Suite.HPKE_X25519, 1)
    by_shares = encode_header(Kind.SEED_BY_SHARES, Suite.AES_256_GCM_SIV, 0)
    binding = encode_header(Kind.BINDING, Suite.ED25519, 1)

    def half_rows() -> Iterator[tuple[bytes, int, bytes, bytes]]:
        fixed = model[: -32 - WRAP_BYTES]
        for bid, account in _ordered(index, accounts, b"\0\0\0\0"):
            body = fixed + os.urandom(32) + wrap + os.urandom(WRAP_BYTES - HEADER_BYTES)
            yield bid, 1, _hmac(index, account + b"mailbox"), halves.seal(body, bid)

    def mailbox_rows() -> Iterator[tuple[bytes, int, bytes, bytes]]:
        for mid, account in _ordered(index, accounts, b"mailbox"):
            parts = (share + os.urandom(80), share + os.urandom(80), by_shares + os.urandom(60), b"")
            fields = join_fields((tenant.encode("ascii"), account, u32(1), os.urandom(32)))
            yield mid, 1, mailboxes.seal(join_fields(parts), mid), binding + fields + os.urandom(64)

    _load(path, KEYRING_MIGRATIONS, "INSERT INTO half (bid, g, mid, record) VALUES (?, ?, ?, ?)", half_rows())
    _load(path, KEYRING_MIGRATIONS, "INSERT INTO mailbox VALUES (?, ?, ?, ?)", mailbox_rows())
    states = ((mid, 1) for mid, _ in _ordered(index, accounts, b"mailbox"))
    _load(path, KEYRING_MIGRATIONS, "INSERT INTO account VALUES (?, ?)", states)


def new_accounts(count: int, seed: bytes = b"") -> bytes:
    """Ids of so many accounts; the same for the same seed."""
    if not seed:
        return os.urandom(16 * count)
    return hashlib.shake_128(seed).digest(16 * count)


def account(accounts: bytes, number: int) -> AccountId:
    """One of them."""
    return AccountId(accounts[16 * number : 16 * number + 16])


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")[:16]


def _ordered(index: bytes, accounts: bytes, suffix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(row key, account) in the order of row keys."""
    ids = (accounts[at : at + 16] for at in range(0, len(accounts), 16))
    for joined in sorted(_hmac(index, one + suffix) + one for one in ids):
        yield joined[:16], joined[16:]


def _body(record: bytes, kind: Kind, place: Place, key: bytes) -> bytes:
    """What a record of version 1 holds inside."""
    bound = bind(kind, Suite.AES_256_GCM_SIV, 1, place.fields())
    at = HEADER_BYTES + NONCE_BYTES
    return AESGCMSIV(key).decrypt(record[HEADER_BYTES:at], record[at:], bound)


def _load(path: Path, migrations: Iterable[str], statement: str, rows: Iterator[tuple[object, ...]]) -> None:
    connection = connect(path, secure_delete=True)
    if not connection.execute("PRAGMA user_version").fetchone()[0]:
        for number, migration in enumerate(migrations, 1):
            connection.executescript(f"{migration}; PRAGMA user_version = {number}")
    connection.execute("PRAGMA synchronous=OFF")
    indexes = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql NOT NULL").fetchall()
    table = statement.split()[2]
    mine = [(name, sql) for name, sql in indexes if f" ON {table} " in sql or f" ON {table}(" in sql]
    for name, _ in mine:
        connection.execute(f"DROP INDEX {name}")
    connection.execute("BEGIN")
    connection.executemany(statement, rows)
    for _, sql in mine:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def main() -> None:
    """Fill both databases of one tenant below a directory, with fresh keys, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    options = parser.parse_args()
    tenant, accounts = TenantId("bench"), new_accounts(options.accounts)
    keys = KeySet()
    for name in ("auth", "ring", "index", "tight"):
        keys = keys.with_key(name, 1, secrets.token_bytes(32))
    begin = time.monotonic()
    for fill, name in ((fill_auth, "auth"), (fill_keyring, "keyring")):
        (options.directory / name).mkdir(parents=True)
        fill(options.directory / name / f"{name}.sqlite", tenant, keys, accounts)
    size = sum(path.stat().st_size for path in options.directory.rglob("*.sqlite"))
    print(json.dumps({"accounts": options.accounts, "seconds": round(time.monotonic() - begin, 1), "octets": size}))


if __name__ == "__main__":
    main()
