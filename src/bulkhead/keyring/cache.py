"""Logins of the last minutes, so that a program that polls costs no Argon2id: one half of each is here, one at auth.

auth makes x = HMAC(a key of its running start, account | credential | password) and keeps no x. Here lies AEAD(HKDF(x);
release | seed), by the account's row key, in memory alone. So a guess cannot be made into an x without auth's key, and
an x cannot be tested without its entry. A wrong x ends the entry: not even a compromised auth tests two guesses on one.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bulkhead.identifiers import AccountId
from bulkhead.records.derive import derive, u32
from bulkhead.records.halves import Wrapped

ENTRIES_MAX = 65_536  # about 400 bytes each; above, the oldest goes
NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a right password opened, for whoever brings its x. g: of the half that was right."""

    g: int
    began: float
    sealed: bytes = field(repr=False)


class LoginCache:
    """One entry an account, the oldest first. seconds: how long an entry may serve; 0: none does."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds, self._clock = seconds, clock
        self._entries: dict[bytes, _Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def keep(self, mid: bytes, x: bytes, account: AccountId, cred: int, g: int, wrapped: Wrapped) -> None:
        """A new entry in the place of the account's old one."""
        self.end(mid)
        self.end_old()
        if not self.seconds:
            return
        if len(self._entries) >= ENTRIES_MAX:
            self.end(next(iter(self._entries)))
        body, nonce = (
            u32(wrapped.generation) + wrapped.release + (wrapped.seed or b""),
            secrets.token_bytes(NONCE_BYTES),
        )
        sealed = nonce + _cipher(x, account, cred, g).encrypt(nonce, body, None)
        self._entries[mid] = _Entry(g, self._clock(), sealed)

    def open(self, mid: bytes, x: bytes, account: AccountId, cred: int) -> tuple[int, Wrapped] | None:
        """(g, what the password opens), or None: no entry, too old, or the wrong x, which ends it."""
        self.end_old()
        entry = self._entries.get(mid)
        if entry is None:
            return None
        nonce, sealed = entry.sealed[:NONCE_BYTES], entry.sealed[NONCE_BYTES:]
        try:
            body = _cipher(x, account, cred, entry.g).decrypt(nonce, sealed, None)
        except InvalidTag:
            self.end(mid)
            return None
        return entry.g, Wrapped(int.from_bytes(body[:4], "big"), body[4:36], body[36:] or None)

    def end(self, mid: bytes) -> None:
        """End an account's entry."""
        self._entries.pop(mid, None)

    def end_all(self) -> None:
        """End every entry."""
        self._entries.clear()

    def end_old(self) -> None:
        """End those whose time is over."""
        oldest = self._clock() - self.seconds
        while self._entries and next(iter(self._entries.values())).began <= oldest:
            self.end(next(iter(self._entries)))


def _cipher(x: bytes, account: AccountId, cred: int, g: int) -> AESGCM:
    return AESGCM(derive(x, "login-cache", account, u32(cred), u32(g)))
