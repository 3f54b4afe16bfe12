"""An app password as a person types it, and what auth notes beside its half (docs/formats.md).

    text     base32 of  secret [16] | credential u16 | check, 36 bits    36 letters and digits, in groups of four
    check    the first 36 bits of HKDF-SHA256(secret, "app-password-text", credential u32)

A password that is none passes for one in 2**-36 of the cases that have 36 such letters; auth sets none that does.
"""

import struct
from dataclasses import dataclass, field

from bulkhead.errors import IntegrityError
from bulkhead.records.credential import APP_PASSWORD_BYTES
from bulkhead.records.derive import derive, u32
from bulkhead.records.halves import Place
from bulkhead.records.record import Kind, open_, seal

CREDENTIAL_MAX = 0xFFFF
LABEL_MAX = 256  # octets of UTF-8
NETWORK_MAX = 64  # octets
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"  # RFC 4648 section 6, in lower case
_SYMBOLS, _GROUP, _CHECK_BITS = 36, 4, 36
_TEXT_MAX = 64  # octets, with what people put between groups
_VALUES = {ord(letter): value for value, letter in enumerate(_LETTERS)}
_VALUES |= {ord(letter.upper()): value for value, letter in enumerate(_LETTERS)}
_NOTE = struct.Struct(">QQB")


@dataclass(frozen=True, slots=True)
class AppPassword:
    """The number of a credential, from 1, and its 128 random bits."""

    credential: int
    secret: bytes = field(repr=False)

    def text(self) -> str:
        """As it is shown, once. Raises ValueError for a number or a secret that has no text."""
        if not 0 < self.credential <= CREDENTIAL_MAX or len(self.secret) != APP_PASSWORD_BYTES:
            raise ValueError("an app password has 16 bytes and a number from 1 to 65,535")
        number = int.from_bytes(self.secret, "big") << 16 | self.credential
        number = number << _CHECK_BITS | _check(self)
        letters = "".join(_LETTERS[number >> 5 * (_SYMBOLS - 1 - at) & 31] for at in range(_SYMBOLS))
        return "-".join(letters[at : at + _GROUP] for at in range(0, _SYMBOLS, _GROUP))


def read_app_password(typed: bytes) -> AppPassword | None:
    """The app password that was typed, in either case, with hyphens and spaces or none; None for any other text."""
    if not _SYMBOLS <= len(typed) <= _TEXT_MAX:
        return None
    letters = typed.replace(b"-", b"").replace(b" ", b"")
    if len(letters) != _SYMBOLS:
        return None
    number = 0
    for letter in letters:
        value = _VALUES.get(letter)
        if value is None:
            return None
        number = number << 5 | value
    body = number >> _CHECK_BITS
    found = AppPassword(body & CREDENTIAL_MAX, (body >> 16).to_bytes(APP_PASSWORD_BYTES, "big"))
    good = found.credential and number & (1 << _CHECK_BITS) - 1 == _check(found)
    return found if good else None


def _check(password: AppPassword) -> int:
    check = derive(password.secret, "app-password-text", u32(password.credential), length=5)
    return int.from_bytes(check, "big") >> 40 - _CHECK_BITS


@dataclass(frozen=True, slots=True)
class AppPasswordNote:
    """What its owner sees of it. created, used: seconds since 1970; used 0: never. network: where it was used from."""

    created: int
    label: str
    used: int = 0
    network: str = ""

    def seal(self, place: Place, key_version: int, k_auth: bytes, *, nonce: bytes | None = None) -> bytes:
        """The record under K_auth[key_version]. Raises ValueError for a longer label or network."""
        label, network = self.label.encode(), self.network.encode("ascii")
        if len(label) > LABEL_MAX or len(network) > NETWORK_MAX:
            raise ValueError("a label has at most 256 octets, a network 64")
        body = _NOTE.pack(self.created, self.used, len(network)) + network + label
        return seal(Kind.APP_PASSWORD_NOTE, key_version, k_auth, body, place.fields(), nonce=nonce)

    @classmethod
    def open(cls, record: bytes, place: Place, k_auth: bytes) -> "AppPasswordNote":
        """The note in `record`. Raises IntegrityError."""
        body = open_(record, Kind.APP_PASSWORD_NOTE, k_auth, place.fields())
        try:
            created, used, size = _NOTE.unpack_from(body)
            network, label = body[_NOTE.size : _NOTE.size + size], body[_NOTE.size + size :]
            if len(network) != size or len(label) > LABEL_MAX:
                raise ValueError("wrong length")
            return cls(created, label.decode(), used, network.decode("ascii"))
        except (struct.error, ValueError):
            raise IntegrityError("APP_PASSWORD_NOTE record: the layout inside is not known") from None
