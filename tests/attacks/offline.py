"""An offline dictionary attack on stolen databases, as its author would write it from docs/credentials.md.

For every candidate password and every salt that he has or can think of he computes whatever can be derived, with every
key that he holds, and looks for it among all octets that he has: files as they lay there (write-ahead log and free
pages too), what he could open of them, and the keys. Wraps he tries to open. It rests on no code of the product.
"""

import base64
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.credentials import second_implementation as two
from tests.records.record_second_reader import mac, read_auth_half, u32, unlp

WINDOW = 8  # octets by which anything derived is looked up
LEGACY_NONE = (b"", b"")


@dataclass
class Salt:
    """What a candidate may be stretched with. of: the row of auth that has it, or how it was guessed."""

    of: bytes
    salt: bytes
    cost: tuple[int, int, int]
    legacy: tuple[bytes, bytes] = LEGACY_NONE


@dataclass
class Loot:
    """What was stolen. keys: by holder, empty where none were taken."""

    tenant: bytes
    files: dict[str, bytes]
    databases: dict[str, sqlite3.Connection]
    keys: dict[str, dict[str, dict[int, bytes]]]
    opened: list[bytes] = field(default_factory=list)
    closed: int = 0  # records that opened under no key
    salts: list[Salt] = field(default_factory=list)
    wraps: list[tuple[bytes, bytes, int, int]] = field(default_factory=list)  # record, account, credential, change
    accounts: list[bytes] = field(default_factory=list)

    @property
    def secrets(self) -> list[bytes]:
        return [key for names in self.keys.values() for versions in names.values() for key in versions.values()]


@dataclass(frozen=True)
class Found:
    """A password confirmed. of: the row of auth, or the wrap's account; by: what gave it away."""

    of: bytes
    word: bytes
    by: str


def steal(root: Path, tenant: bytes, databases: Sequence[str], roots: dict[str, bytes]) -> Loot:
    """The databases of these holders, and the keys of those whose root key is in `roots`; opened as far as it goes."""
    files = {f"{name}/{path.name}": path.read_bytes() for name in databases for path in (root / name).glob("*sqlite*")}
    keys = {name: two.key_set((root / name / "keys.sealed").read_bytes(), tenant, name, key)
            for name, key in roots.items()}  # fmt: skip
    connections = {name: sqlite3.connect(root / name / f"{name}.sqlite") for name in databases}
    loot = Loot(tenant, files, connections, keys)
    if "keyring" in databases:
        loot.accounts = [
            unlp(binding[7:-64])[1] for (binding,) in connections["keyring"].execute("SELECT binding FROM mailbox")
        ]
        _open_keyring(loot)
    if "auth" in databases:
        _open_auth(loot)
    return loot


def _open(loot: Loot, holder: str, key: str, kind: int, record: bytes, row: bytes, number: int) -> bytes | None:
    try:
        body = two.opened(record, kind, loot.keys.get(holder, {}).get(key, {}), loot.tenant, row, u32(number))
    except two.Closed:
        loot.closed += 1
        return None
    loot.opened.append(body)
    return body


def _open_auth(loot: Loot) -> None:
    for bid, g, record in loot.databases["auth"].execute("SELECT bid, g, record FROM half"):
        body = _open(loot, "auth", "auth", two.AUTH_HALF, record, bid, g)
        if body is not None and body[3] == 1:
            half = read_auth_half(body)
            loot.salts.append(Salt(bid, half[6], half[3:6], (half[8], half[9])))
    for bid, record in loot.databases["auth"].execute("SELECT bid, record FROM app_password"):
        _open(loot, "auth", "auth", two.NOTE, record, bid, 1)


def _open_keyring(loot: Loot) -> None:
    index = loot.keys.get("keyring", {}).get("index", {}).get(1, b"")
    places = {two.row_of_credential(index, a, c): (a, c) for a in loot.accounts for c in range(8)} if index else {}
    for bid, g, record in loot.databases["keyring"].execute("SELECT bid, g, record FROM half"):
        body = _open(loot, "keyring", "ring", two.KEYRING_HALF, record, bid, g)
        if body is not None:
            account, cred = places[bid]
            loot.wraps.append((body[35:], account, cred, g))
    for mid, generation, record in loot.databases["keyring"].execute("SELECT mid, generation, record FROM mailbox"):
        _open(loot, "keyring", "ring", 4, record, mid, generation)


def guessed_salts(loot: Loot, cost: tuple[int, int, int]) -> list[Salt]:
    """Salts for who has none: every name in the databases, and what auth might have made from one with these keys."""
    names = [bytes(16), *loot.accounts]
    for holder, column in (("auth", "bid"), ("auth", "owner"), ("keyring", "bid"), ("keyring", "mid")):
        if holder in loot.databases:
            names += [row[0] for row in loot.databases[holder].execute(f"SELECT DISTINCT {column} FROM half")]
    names += [two.decoy_salt(key, account) for key in loot.secrets for account in loot.accounts]
    names += [key[:16] for key in loot.secrets]
    return [Salt(b"guessed", salt, cost) for salt in dict.fromkeys(names) if len(salt) == 16]


class Attack:
    """stretches: how many Argon2id it took. nobody: files of a tenant without usual passwords.

    What stands in those too says nothing: "Password" is in the names of events.
    """

    def __init__(self, loot: Loot, nobody: Iterable[bytes]) -> None:
        self.loot, self.stretches = loot, 0
        self._windows = _windows((*loot.files.values(), *loot.opened, *loot.secrets)) - _windows(nobody)
        self._windows.discard(bytes(WINDOW))

    def run(self, words: Iterable[bytes], salts: Sequence[Salt]) -> list[Found]:
        """Everything that these words and salts confirm."""
        return [found for word in words for salt in salts for found in self._try(word, salt)]

    def holds(self, octets: bytes) -> bool:
        """Whether these octets, their text or a hash of theirs stand anywhere in the loot."""
        return any(self._stands(form) for form in self._forms(octets, b""))

    def _try(self, word: bytes, salt: Salt) -> Iterator[Found]:
        scheme, legacy_salt = salt.legacy
        digest = two.legacy_digest(scheme.decode(), legacy_salt, word) if scheme else word
        self.stretches += 1
        tight, wrap_key = two.stretch(digest, salt.salt, salt.cost)
        made = {word: "password", digest: "digest", tight: "tight", wrap_key: "wrap key", tight + wrap_key: "both"}
        for value, name in made.items():
            if any(self._stands(form) for form in self._forms(value, salt.salt)):
                yield Found(salt.of, word, name)
        for record, account, cred, g in self.loot.wraps:
            try:
                two.opened(record, two.WRAP, {0: wrap_key}, self.loot.tenant, account, u32(cred), u32(g))
            except two.Closed:
                continue
            yield Found(account, word, "wrap")

    def _stands(self, form: bytes) -> bool:
        """By its first octets and by its last: what is kept may be cut."""
        return form[:WINDOW] in self._windows or form[-WINDOW:] in self._windows

    def _forms(self, value: bytes, salt: bytes) -> Iterator[bytes]:
        salted = (value, salt + value, value + salt)
        made = [hashlib.new(name, text).digest() for name in ("md5", "sha1", "sha256", "sha512") for text in salted]
        if len(value) >= WINDOW:
            made.append(value)
        for form in made:
            yield form
            yield form.hex().encode()
            yield base64.b64encode(form).rstrip(b"=")
        for key in self.loot.secrets:
            yield from (mac(key, text) for text in salted)


def _windows(all_octets: Iterable[bytes]) -> set[bytes]:
    return {octets[at : at + WINDOW] for octets in all_octets for at in range(len(octets) - WINDOW + 1)}
