"""A second implementation of credentials, from docs/credentials.md and docs/formats.md alone: no code of the product.

It opens what Bulkhead made, and makes what Bulkhead has to accept, with hashlib, hmac and cryptography. bcrypt is in
none of them, so a digest of that scheme is given to it.
"""

import hashlib
import hmac
import secrets
import sqlite3
import time
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.kdf.argon2 import Argon2i, Argon2id
from tests.records.record_second_reader import (
    argon2id,
    kdf,
    lp,
    mac,
    open_sealed,
    read_auth_half,
    read_msgpack,
    u32,
    unlp,
)

IMAP, POP, SUBMIT, SIEVE, JMAP, WEB = 1, 2, 4, 8, 16, 32
ALL = 63
ACTIVE, SUSPENDED, BREACHED = 1, 3, 6
AUTH_HALF, KEYRING_HALF, WRAP, NOTE, KEY_SET = 1, 2, 3, 11, 48
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


class Closed(Exception):
    """Nobody is admitted by it."""


def seal(kind, version, key, nonce, plaintext, *fields):
    header = bytes((kind, 1, 1)) + u32(version)
    aad = lp(header[:1], header[1:2], header[2:3], header[3:], *fields)
    return header + nonce + AESGCMSIV(key).encrypt(nonce, plaintext, aad)


def opened(record, kind, keys, *fields):
    """keys: by version."""
    try:
        version = int.from_bytes(record[3:7], "big")
        return open_sealed(record, kind, version, keys[version], *fields)
    except (InvalidTag, AssertionError, KeyError, IndexError, ValueError):
        raise Closed("the record does not open here") from None


# --- row keys, stretching ------------------------------------------------------------------------------------------


def row_of_credential(index, account, cred):
    return mac(index, account + u32(cred))[:16]


def row_of_account(index, account):
    return mac(index, account + b"mailbox")[:16]


def decoy_salt(index, account):
    return mac(kdf(index, "decoy-salt"), account)[:16]


def network_tag(index, account, network):
    return mac(kdf(index, "known-network"), account + network)[:8]


def stretch(password, salt, cost):
    """(tight, wrap key); cost: KiB, passes, lanes."""
    out = argon2id(password, salt, *cost)
    return out[:32], out[32:]


def stretch_app(secret, account, cred):
    out = kdf(secret, "app-password", account, u32(cred), length=64)
    return out[:32], out[32:]


# --- app passwords -------------------------------------------------------------------------------------------------


def app_text(secret, cred):
    check = int.from_bytes(kdf(secret, "app-password-text", u32(cred), length=5), "big") >> 4
    number = (int.from_bytes(secret, "big") << 16 | cred) << 36 | check
    letters = "".join(LETTERS[number >> shift & 31] for shift in range(175, -1, -5))
    return "-".join(letters[at : at + 4] for at in range(0, 36, 4))


def read_app_text(typed):
    """(cred, secret), or None for what is no app password."""
    letters = typed.replace(b"-", b"").replace(b" ", b"").lower().decode("latin-1")
    if len(letters) != 36 or set(letters) - set(LETTERS):
        return None
    number = sum(LETTERS.index(letter) << 5 * (35 - at) for at, letter in enumerate(letters))
    secret, cred = (number >> 52).to_bytes(16, "big"), number >> 36 & 0xFFFF
    return (cred, secret) if cred and app_text(secret, cred).replace("-", "") == letters else None


# --- the two halves ------------------------------------------------------------------------------------------------


def auth_body(scope, state, cost, salt, release, scheme=b"", legacy_salt=b""):
    """cost: None for an app password."""
    method, numbers = (2, (0, 0, 0)) if cost is None else (1, cost)
    kib, passes, lanes = numbers
    fixed = scope.to_bytes(2, "big") + bytes((state, method)) + u32(kib) + u32(passes) + bytes((lanes,))
    digest = hashlib.sha256(release).digest()
    return fixed + salt + digest + bytes((len(scheme),)) + scheme + bytes((len(legacy_salt),)) + legacy_salt


def wrap_body(generation, release, seed):
    return u32(generation) + release + seed


def keyring_body(scope, state, tag, wrap):
    return scope.to_bytes(2, "big") + bytes((state,)) + tag + wrap


def note_body(created, used, network, label):
    return created.to_bytes(8, "big") + used.to_bytes(8, "big") + bytes((len(network),)) + network + label


# --- a cached login ------------------------------------------------------------------------------------------------


def cached_x(key, epoch, account, cred, password):
    return mac(key, epoch.to_bytes(8, "big") + account + u32(cred) + password)


def cached_entry(x, account, cred, g, nonce, generation, release, seed):
    key = kdf(x, "login-cache", account, u32(cred), u32(g))
    return nonce + AESGCM(key).encrypt(nonce, wrap_body(generation, release, seed), b"")


# --- legacy digests ------------------------------------------------------------------------------------------------


def legacy_digest(scheme, salt, password):
    """What plays the password for Argon2id; salt: the legacy salt and cost of a half."""
    if scheme in ("md5", "sha1", "sha256", "sha512"):
        return hashlib.new(scheme, password + salt).digest()
    if scheme == "md5-crypt":
        return _md5_crypt(password, salt)
    number = int.from_bytes(salt[:4], "big")
    if scheme in ("sha256-crypt", "sha512-crypt"):
        return _sha_crypt(scheme.partition("-")[0], password, salt[4:], number)
    if scheme.startswith("pbkdf2-"):
        return hashlib.pbkdf2_hmac(scheme.partition("-")[2], password, salt[5:], number, salt[4])
    if scheme in ("argon2i", "argon2id"):
        passes = int.from_bytes(salt[4:8], "big")
        kind = Argon2i if scheme == "argon2i" else Argon2id
        make = kind(salt=salt[10:], length=salt[9], iterations=passes, lanes=salt[8], memory_cost=number)
        return make.derive(password)
    raise Closed(f"{scheme} is not of the list, or not computed here")


def _cycled(block, length):
    return (block * (length // len(block) + 1))[:length]


def _bits(number):
    while number:
        yield number & 1
        number >>= 1


def _md5_crypt(password, salt):
    other = hashlib.md5(password + salt + password).digest()
    text = password + b"$1$" + salt + _cycled(other, len(password))
    text += b"".join(b"\0" if bit else password[:1] for bit in _bits(len(password)))
    digest = hashlib.md5(text).digest()
    for i in range(1000):
        first, last = (password, digest) if i & 1 else (digest, password)
        digest = hashlib.md5(first + (salt if i % 3 else b"") + (password if i % 7 else b"") + last).digest()
    return digest


def _sha_crypt(name, password, salt, rounds):
    def digest_of(text):
        return hashlib.new(name, text).digest()

    other = digest_of(password + salt + password)
    text = password + salt + _cycled(other, len(password))
    digest = digest_of(text + b"".join(other if bit else password for bit in _bits(len(password))))
    p = _cycled(digest_of(password * len(password)), len(password))
    s = _cycled(digest_of(salt * (16 + digest[0])), len(salt)) if salt else b""
    for i in range(rounds):
        first, last = (p, digest) if i & 1 else (digest, p)
        digest = digest_of(first + (s if i % 3 else b"") + (p if i % 7 else b"") + last)
    return digest


# --- a whole tenant ------------------------------------------------------------------------------------------------


def key_set(record, tenant, compartment, root):
    """{name: {version: key}}"""
    version = int.from_bytes(record[3:7], "big")
    body = opened(record, KEY_SET, {version: root}, tenant, compartment.encode())
    keys = {}
    for name, number, secret in read_msgpack(body)[0][0]:
        keys.setdefault(name, {})[number] = secret
    return keys


@dataclass
class Tenant:
    """Databases and keys of both holders: what `auth` and `keyring` do with them, done again."""

    tenant: bytes
    auth: sqlite3.Connection
    keyring: sqlite3.Connection
    auth_keys: dict
    keyring_keys: dict

    @classmethod
    def of(cls, root, tenant, root_key):
        keys = {name: key_set((root / name / "keys.sealed").read_bytes(), tenant, name, root_key)
                for name in ("auth", "keyring")}  # fmt: skip
        auth, keyring = (sqlite3.connect(root / name / f"{name}.sqlite") for name in ("auth", "keyring"))
        return cls(tenant, auth, keyring, keys["auth"], keys["keyring"])

    def close(self):
        self.auth.close()
        self.keyring.close()

    def log_in(self, account, password, scope):
        """(generation, seed) that this password opens. Raises Closed."""
        app = read_app_text(password)
        cred = app[0] if app else 0
        half, _ = self.auth_half(account, cred)
        allowed, state, method, kib, passes, lanes, salt, digest, scheme, legacy_salt = half
        if method == 2:
            stretched = stretch_app(app[1], account, cred)
        else:
            played = legacy_digest(scheme.decode(), legacy_salt, password) if scheme else password
            stretched = stretch(played, salt, (kib, passes, lanes))
        release, generation, seed = self.second_half(account, cred, stretched, scope)
        if hashlib.sha256(release).digest() != digest:
            raise Closed("the halves are not of one change")
        closed = state not in (ACTIVE, BREACHED) or not allowed & scope
        if closed or self._state(self.auth, "owner", account, self.index("auth")) not in (None, 1):
            raise Closed("auth admits nobody")
        return generation, seed

    def auth_half(self, account, cred):
        bid = row_of_credential(self.index("auth"), account, cred)
        row = self.auth.execute("SELECT g, record, set_at FROM half WHERE bid = ?", (bid,)).fetchone()
        if row is None or row[2] <= self._epoch(self.auth, cred):
            raise Closed("no half of auth")
        body = opened(row[1], AUTH_HALF, self.auth_keys["auth"], self.tenant, bid, u32(row[0]))
        return read_auth_half(body), row[0]

    def second_half(self, account, cred, stretched, scope):
        """What keyring answers: release, generation, seed."""
        tight, wrap_key = stretched
        if self._state(self.keyring, "mid", account, self.index("keyring")) != 1:
            raise Closed("keyring has no such account")
        bid = row_of_credential(self.index("keyring"), account, cred)
        tag = mac(self.newest("keyring", "tight")[1], tight)
        for g, record, set_at in self.keyring.execute("SELECT g, record, set_at FROM half WHERE bid = ?", (bid,)):
            body = opened(record, KEYRING_HALF, self.keyring_keys["ring"], self.tenant, bid, u32(g))
            allowed, state = int.from_bytes(body[:2], "big"), body[2]
            if not hmac.compare_digest(body[3:35], tag):
                continue
            if state != ACTIVE or not allowed & scope or set_at <= self._epoch(self.keyring, cred):
                raise Closed("keyring admits nobody")
            inside = opened(body[35:], WRAP, {0: wrap_key}, self.tenant, account, u32(cred), u32(g))
            return inside[4:36], int.from_bytes(inside[:4], "big"), inside[36:]
        raise Closed("no tag fits")

    def set_password(self, account, password, generation, seed, scope=ALL, cost=(8, 1, 1), legacy=None):
        """The next change of the main password, at both. legacy: (scheme, salt and cost); password: then its digest."""
        g = 1 + max(self._g(account, 0), default=0)
        salt = secrets.token_bytes(16)
        scheme, legacy_salt = legacy or (b"", b"")
        self._put(
            account, 0, g, scope, cost, salt, stretch(password, salt, cost), generation, seed, scheme, legacy_salt
        )

    def add_app_password(self, account, cred, secret, generation, seed, scope, label=b""):
        stretched = stretch_app(secret, account, cred)
        self._put(account, cred, 1, scope, None, bytes(16), stretched, generation, b"" if scope == SUBMIT else seed)
        version, key = self.newest("auth", "auth")
        index = self.index("auth")
        bid, owner = row_of_credential(index, account, cred), row_of_account(index, account)
        body = note_body(int(time.time()), 0, b"", label)
        note = seal(NOTE, version, key, secrets.token_bytes(12), body, self.tenant, bid, u32(1))
        self.auth.execute("INSERT INTO app_password VALUES (?, ?, ?, ?)", (bid, owner, cred, note))
        self.auth.execute("INSERT OR REPLACE INTO app_password_number VALUES (?, ?)", (owner, cred))
        self.auth.commit()

    def binding_key(self, account):
        """The public key of the newest generation, from the clear binding."""
        mid = row_of_account(self.index("keyring"), account)
        page = "SELECT binding FROM mailbox WHERE mid = ? ORDER BY generation DESC LIMIT 1"
        return unlp(self.keyring.execute(page, (mid,)).fetchone()[0][7:-64])[3]

    def index(self, name):
        return self.newest(name, "index")[1]

    def newest(self, name, key):
        versions = (self.auth_keys if name == "auth" else self.keyring_keys)[key]
        return max(versions.items())

    def _g(self, account, cred):
        for name, database in (("auth", self.auth), ("keyring", self.keyring)):
            bid = row_of_credential(self.index(name), account, cred)
            yield from (row[0] for row in database.execute("SELECT g FROM half WHERE bid = ?", (bid,)))

    def _put(self, account, cred, g, scope, cost, salt, stretched, generation, seed, scheme=b"", legacy_salt=b""):
        (tight, wrap_key), release, set_at = stretched, secrets.token_bytes(32), time.time_ns() // 1_000_000
        inside = wrap_body(generation, release, seed)
        at = self.tenant, account, u32(cred), u32(g)
        wrap = seal(WRAP, 0, wrap_key, secrets.token_bytes(12), inside, *at)
        tag = mac(self.newest("keyring", "tight")[1], tight)
        bodies = {
            "auth": (AUTH_HALF, "auth", auth_body(scope, ACTIVE, cost, salt, release, scheme, legacy_salt)),
            "keyring": (KEYRING_HALF, "ring", keyring_body(scope, ACTIVE, tag, wrap)),
        }
        for name, database in (("keyring", self.keyring), ("auth", self.auth)):
            kind, key_name, body = bodies[name]
            index, (version, key) = self.index(name), self.newest(name, key_name)
            bid, owner = row_of_credential(index, account, cred), row_of_account(index, account)
            record = seal(kind, version, key, secrets.token_bytes(12), body, self.tenant, bid, u32(g))
            whose = "owner" if name == "auth" else "mid"
            database.execute("DELETE FROM half WHERE bid = ?", (bid,))
            database.execute(
                f"INSERT INTO half (bid, g, {whose}, record, set_at) VALUES (?, ?, ?, ?, ?)",
                (bid, g, owner, record, set_at),
            )
            database.commit()

    @staticmethod
    def _state(database, column, account, index):
        row = row_of_account(index, account)
        found = database.execute(f"SELECT state FROM account WHERE {column} = ?", (row,)).fetchone()
        return None if found is None else found[0]

    @staticmethod
    def _epoch(database, cred):
        kind = 2 if cred else 1
        return database.execute("SELECT epoch FROM revocation WHERE kind = ?", (kind,)).fetchone()[0]
