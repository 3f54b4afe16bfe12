"""What an imported digest was made with: a closed list of schemes, their salts and capped costs.

The digest itself is nowhere: it played the password for Argon2id when it was imported (docs/credentials.md). What is
kept is what is needed to make it again from a typed password. A scheme that is not here cannot be in a record.

A cap keeps the slowest digest at a third of a second on the machine of docs/import.md, so that `auth.failure_seconds`
can lie above it; what costs more is refused at import, with that as the reason.
"""

import re
import struct
from dataclasses import dataclass, field
from enum import Enum

from bulkhead.errors import Refused
from bulkhead.records.halves import Legacy
from bulkhead.records.legacy_text import read_bcrypt64, write_bcrypt64

PLAIN = "plain"  # not in a record: clear text that was imported, and may be short
SALT_MAX = 128  # octets, but for those that say less
ROUNDS_MIN, ROUNDS_MAX = 1_000, 100_000  # SHA-crypt
BCRYPT_MIN, BCRYPT_MAX = 4, 12  # as powers of two
PBKDF2_MAX = {20: 1_000_000, 32: 1_000_000, 64: 300_000}  # iterations, by octets of its hash
PBKDF2_LENGTH_MIN = 16  # octets of digest; at most those of the hash, above which each block costs as much again
ARGON2_KIB_MAX = 102_400
ARGON2_WORK_MAX = 307_200  # KiB times passes
ARGON2_LANES_MAX = 16
ARGON2_LENGTH_MIN, ARGON2_LENGTH_MAX = 12, 64
CHEAP_SHARE = 0.05  # MD5-crypt takes 1.5 ms, the others microseconds

_BCRYPT_SETTING = re.compile(r"\$2b\$([0-9]{2})\$([./0-9A-Za-z]{22})")
_ROUNDS = struct.Struct(">I")
_PBKDF2 = struct.Struct(">IB")
_ARGON2 = struct.Struct(">IIBB")


class Scheme(Enum):
    """The name in a record, and in counts."""

    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA512 = "sha512"
    MD5_CRYPT = "md5-crypt"
    SHA256_CRYPT = "sha256-crypt"
    SHA512_CRYPT = "sha512-crypt"
    BCRYPT = "bcrypt"
    PBKDF2_SHA1 = "pbkdf2-sha1"
    PBKDF2_SHA256 = "pbkdf2-sha256"
    PBKDF2_SHA512 = "pbkdf2-sha512"
    ARGON2I = "argon2i"
    ARGON2ID = "argon2id"


HASHES = {Scheme.MD5: "md5", Scheme.SHA1: "sha1", Scheme.SHA256: "sha256", Scheme.SHA512: "sha512"}
CRYPTS = {Scheme.SHA256_CRYPT: "sha256", Scheme.SHA512_CRYPT: "sha512"}
PBKDF2 = {Scheme.PBKDF2_SHA1: "sha1", Scheme.PBKDF2_SHA256: "sha256", Scheme.PBKDF2_SHA512: "sha512"}
ARGON2 = (Scheme.ARGON2I, Scheme.ARGON2ID)
_OCTETS = {
    Scheme.MD5: 16, Scheme.SHA1: 20, Scheme.SHA256: 32, Scheme.SHA512: 64, Scheme.MD5_CRYPT: 16,
    Scheme.SHA256_CRYPT: 32, Scheme.SHA512_CRYPT: 64, Scheme.BCRYPT: 23,
}  # fmt: skip
_PBKDF2_HASH = {Scheme.PBKDF2_SHA1: 20, Scheme.PBKDF2_SHA256: 32, Scheme.PBKDF2_SHA512: 64}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a digest again. Raises ValueError for what is outside the list or above its cap.

    cost: rounds, iterations, passes, or bcrypt's power of two; 0 where the scheme has none.
    length: octets of the digest; given for PBKDF2 and Argon2 alone.   kib, lanes: of Argon2.
    """

    scheme: Scheme
    salt: bytes = field(repr=False)
    cost: int = 0
    length: int = 0
    kib: int = 0
    lanes: int = 0

    def __post_init__(self) -> None:
        scheme, octets = self.scheme, len(self.salt)
        if scheme not in ARGON2 and (self.kib or self.lanes):
            raise ValueError("memory and lanes are Argon2's")
        if scheme in HASHES:
            _require(octets, 0, SALT_MAX, "octets of salt")
            _require(self.cost, 0, 0, "rounds")
        elif scheme is Scheme.MD5_CRYPT:
            _require(octets, 0, 8, "octets of salt")
            _require(self.cost, 0, 0, "rounds")
        elif scheme in CRYPTS:
            _require(octets, 0, 16, "octets of salt")
            _require(self.cost, ROUNDS_MIN, ROUNDS_MAX, "rounds")
        elif scheme is Scheme.BCRYPT:
            _require(octets, 16, 16, "octets of salt")
            _require(self.cost, BCRYPT_MIN, BCRYPT_MAX, "as cost")
        elif scheme in PBKDF2:
            _require(octets, 1, SALT_MAX, "octets of salt")
            _require(self.cost, 1, PBKDF2_MAX[_PBKDF2_HASH[scheme]], "iterations")
            _require(self.length, PBKDF2_LENGTH_MIN, _PBKDF2_HASH[scheme], "octets of digest")
        else:
            _require(octets, 8, SALT_MAX, "octets of salt")
            _require(self.lanes, 1, ARGON2_LANES_MAX, "lanes")
            _require(self.kib, 8 * self.lanes, ARGON2_KIB_MAX, "KiB")
            _require(self.cost, 1, ARGON2_WORK_MAX // self.kib, f"passes over {self.kib} KiB")
            _require(self.length, ARGON2_LENGTH_MIN, ARGON2_LENGTH_MAX, "octets of digest")
        if self.length and scheme in _OCTETS:
            raise ValueError("the length of this scheme's digest is fixed")

    @property
    def octets(self) -> int:
        """How long the digest is."""
        return self.length or _OCTETS[self.scheme]

    @property
    def share(self) -> float:
        """How much of the cap of its scheme it costs; those that have no cost cost little."""
        scheme, cost = self.scheme, self.cost
        if scheme in CRYPTS:
            return cost / ROUNDS_MAX
        if scheme is Scheme.BCRYPT:
            return float(2.0 ** (cost - BCRYPT_MAX))
        if scheme in PBKDF2:
            return cost / PBKDF2_MAX[_PBKDF2_HASH[scheme]]
        return self.kib * cost / ARGON2_WORK_MAX if scheme in ARGON2 else CHEAP_SHARE

    def legacy(self) -> Legacy:
        """As a record keeps it."""
        scheme, salt = self.scheme, self.salt
        if scheme in CRYPTS:
            salt = _ROUNDS.pack(self.cost) + salt
        elif scheme is Scheme.BCRYPT:
            salt = self.bcrypt_setting()
        elif scheme in PBKDF2:
            salt = _PBKDF2.pack(self.cost, self.length) + salt
        elif scheme in ARGON2:
            salt = _ARGON2.pack(self.kib, self.cost, self.lanes, self.length) + salt
        return Legacy(scheme.value, salt)

    def bcrypt_setting(self) -> bytes:
        """bcrypt's own text of cost and salt, 29 characters: `$2b$12$...`."""
        return f"$2b${self.cost:02}${write_bcrypt64(self.salt)}".encode()

    @classmethod
    def of(cls, legacy: Legacy) -> "Recipe":
        """The recipe in a record. Raises ValueError."""
        scheme, salt = Scheme(legacy.scheme), legacy.salt
        try:
            if scheme in CRYPTS:
                return cls(scheme, salt[_ROUNDS.size :], *_ROUNDS.unpack_from(salt))
            if scheme is Scheme.BCRYPT:
                found = _BCRYPT_SETTING.fullmatch(salt.decode("latin-1"))
                if found is None:
                    raise ValueError("no setting of bcrypt")
                return cls(scheme, read_bcrypt64(found[2]), int(found[1]))
            if scheme in PBKDF2:
                return cls(scheme, salt[_PBKDF2.size :], *_PBKDF2.unpack_from(salt))
            if scheme in ARGON2:
                kib, cost, lanes, length = _ARGON2.unpack_from(salt)
                return cls(scheme, salt[_ARGON2.size :], cost, length, kib, lanes)
        except struct.error:
            raise ValueError("salt and cost are cut short") from None
        return cls(scheme, salt)


def require_legacy(scheme: str, salt: bytes, octets: int) -> Legacy:
    """What makes an imported digest of so many octets, as a record keeps it. Raises Refused (`bad-scheme`)."""
    legacy = Legacy(scheme, salt)
    try:
        if Recipe.of(legacy).octets == octets:
            return legacy
    except ValueError:
        pass
    raise Refused("a digest of a scheme that is not known, or above what one may cost", code="bad-scheme")


def _require(value: int, least: int, most: int, what: str) -> None:
    if not least <= value <= most:
        bounds = str(least) if least == most else f"{least:,} to {most:,}"
        raise ValueError(f"{value:,} {what}: {bounds} can be taken")


DEAREST = (
    Recipe(Scheme.SHA256_CRYPT, bytes(16), ROUNDS_MAX),
    Recipe(Scheme.SHA512_CRYPT, bytes(16), ROUNDS_MAX),
    Recipe(Scheme.BCRYPT, bytes(16), BCRYPT_MAX),
    Recipe(Scheme.PBKDF2_SHA1, bytes(SALT_MAX), PBKDF2_MAX[20], 20),
    Recipe(Scheme.PBKDF2_SHA256, bytes(SALT_MAX), PBKDF2_MAX[32], 32),
    Recipe(Scheme.PBKDF2_SHA512, bytes(SALT_MAX), PBKDF2_MAX[64], 64),
    Recipe(Scheme.ARGON2ID, bytes(16), ARGON2_WORK_MAX // ARGON2_KIB_MAX, 64, ARGON2_KIB_MAX, 1),
)
"""The most that each kind may cost; the others cost less than any of them."""
