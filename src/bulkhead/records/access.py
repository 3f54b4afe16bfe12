"""Access records: who did what from where, sealed in blocks under the key of their day, column by column.

A search decrypts a block and looks for an account's 16 octets in one column of it, which takes microseconds; nothing
is parsed row by row but what was found. When the day's key is destroyed, so are its records, wherever copies lie.
"""

import hashlib
import ipaddress
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import AccountId
from bulkhead.records.derive import require_key, u32
from bulkhead.records.record import (
    HEADER_BYTES,
    NONCE_BYTES,
    Kind,
    Suite,
    bind,
    encode_header,
    open_,
    read_header,
    seal,
)

BLOCK_RECORDS_MAX = 4096
ROW_BYTES = 47
NOBODY = AccountId(bytes(16))
NO_SOURCE = bytes(16)
ROW = struct.Struct(">QBBBI16s16s")
HEAD = struct.Struct(">QQI")  # first and last time, records
ACTOR_AT = 2  # octets of 0 ahead of an actor
_WIDTHS = (8, 1, 1, 1, 4, 16, 16)
_NUMBERED = struct.Struct(">HIH")  # a block's number behind its length, and the length of its head
_SEALED = HEADER_BYTES + NONCE_BYTES
_MAPPED = bytes(10) + b"\xff\xff"


class Act(IntEnum):
    """What was done. A number is never given to another act."""

    LOGIN = 1  # number: the scope's bit
    SESSION_BEGUN = 2  # number: the scope's bit
    SESSION_ENDED = 3  # number: the scope's bit
    KEYS_OPENED = 4  # number: message keys since the last such record of the session
    DELIVERED = 5  # number: octets of the message
    APPENDED = 6  # number: octets of the message
    QUEUED = 7  # number: recipients
    STAFF = 8  # number: the tag of the message that was asked for; source: who, by `actor_octets`


class Outcome(IntEnum):
    """How it ended."""

    DONE = 0
    REFUSED = 1
    OVER_LIMIT = 2
    ENDED = 3  # a session that we ended
    REHEARSED = 4  # a change that was taken back as was asked for


@dataclass(frozen=True, slots=True)
class Access:
    """One record. at: ms since 1970. gate: slot of the compartment that asked. source: 16 octets, IPv4 mapped."""

    at: int
    act: int
    outcome: int
    gate: int
    number: int
    account: AccountId = NOBODY
    source: bytes = NO_SOURCE

    def pack(self) -> bytes:
        """As a row of a message."""
        return ROW.pack(self.at, self.act, self.outcome, self.gate, self.number, self.account, self.source)


def actor_octets(tenant: str, name: str) -> bytes:
    """Who acted, where a source stands else: a pseudonym of an officer's name, which lies in no network that is used.

    Whoever has the roster finds the name again; it hides it from nobody else for long, and is no secret.
    """
    digest = hashlib.sha256(b"bulkhead/v1/staff-actor\0" + tenant.encode() + b"\0" + name.encode()).digest()
    return bytes(ACTOR_AT) + digest[: 16 - ACTOR_AT]


def source_octets(text: str) -> bytes:
    """An address in 16 octets; NO_SOURCE for what is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return NO_SOURCE
    return address.packed if address.version == 6 else _MAPPED + address.packed


def source_prefix(text: str) -> bytes:
    """The first octets of an address or a network of whole octets; none for an empty text. Raises ValueError."""
    if not text:
        return b""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("an address, or a network of whole octets") from None
    if network.prefixlen % 8:
        raise ValueError("a network of whole octets: /8, /16, /24, /32; of IPv6 also /48, /56, /64, /128")
    bits = network.prefixlen + (96 if network.version == 4 else 0)
    return source_octets(str(network.network_address))[: bits // 8]


def act_text(number: int) -> str:
    """An act in a word; the number where it is none that is known here."""
    return Act(number).name.lower() if number in Act.__members__.values() else str(number)


def outcome_text(number: int) -> str:
    """An outcome alike."""
    return Outcome(number).name.lower() if number in Outcome.__members__.values() else str(number)


def source_text(access: Access) -> str:
    """The address it came from; empty where none is known."""
    if access.act == Act.STAFF or access.source == NO_SOURCE:
        return ""
    address = ipaddress.IPv6Address(access.source)
    return str(address.ipv4_mapped or address)


def actor_text(access: Access) -> str:
    """The pseudonym of the officer whose act it was; empty for acts of others."""
    return access.source[ACTOR_AT:].hex() if access.act == Act.STAFF else ""


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of up to 4,096 records in the order of time of writing. A column is cut out when it is asked for."""

    count: int
    body: bytes = field(repr=False)

    @classmethod
    def of(cls, records: Sequence[Access]) -> "Block":
        """The columns of these. Raises ValueError for none, or more than 4,096: our bug."""
        if not 0 < len(records) <= BLOCK_RECORDS_MAX:
            raise ValueError("a block has 1 to 4,096 records")
        columns = (
            struct.pack(f">{len(records)}Q", *(record.at for record in records)),
            bytes(record.act for record in records),
            bytes(record.outcome for record in records),
            bytes(record.gate for record in records),
            struct.pack(f">{len(records)}I", *(min(record.number, 0xFFFFFFFF) for record in records)),
            b"".join(record.account for record in records),
            b"".join(record.source for record in records),
        )
        return cls(len(records), b"".join(columns))

    @classmethod
    def decode(cls, body: bytes, count: int) -> "Block":
        """The block of these octets. Raises IntegrityError."""
        if not 0 < count <= BLOCK_RECORDS_MAX or len(body) != count * ROW_BYTES:
            raise IntegrityError("ACCESS_BLOCK record: the layout inside is not known")
        return cls(count, body)

    @property
    def times(self) -> bytes:
        """8 octets each."""
        return self.body[: 8 * self.count]

    @property
    def acts(self) -> bytes:
        """One octet each, as of outcomes and gates."""
        return self.body[8 * self.count : 9 * self.count]

    @property
    def outcomes(self) -> bytes:
        """How each ended."""
        return self.body[9 * self.count : 10 * self.count]

    @property
    def gates(self) -> bytes:
        """Slot of the compartment that asked."""
        return self.body[10 * self.count : 11 * self.count]

    @property
    def accounts(self) -> bytes:
        """16 octets each, as of sources."""
        return self.body[15 * self.count : 31 * self.count]

    @property
    def sources(self) -> bytes:
        """Where each came from."""
        return self.body[31 * self.count :]

    def row(self, index: int) -> bytes:
        """One record, as a row of a message."""
        found, at = [], 0
        for width in _WIDTHS:
            found.append(self.body[at + width * index : at + width * (index + 1)])
            at += width * self.count
        return b"".join(found)

    def span(self) -> tuple[int, int]:
        """First and last time, ms."""
        times = struct.unpack(f">{self.count}Q", self.times)
        return min(times), max(times)


AT_MAX = 253_402_300_799_999  # ms since 1970: the last that a calendar has


def unpack_rows(rows: bytes) -> Iterator[Access]:
    """Records from rows of a message. Raises IntegrityError on a length that is none of theirs, or no time of ours."""
    if len(rows) % ROW_BYTES:
        raise IntegrityError("access records of another layout")
    for at, act, outcome, gate, number, account, source in ROW.iter_unpack(rows):
        if at > AT_MAX:
            raise IntegrityError("an access record has a time beyond the year 9999: the compartment that sent it lies")
        yield Access(at, act, outcome, gate, number, AccountId(account), source)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block belongs. day: since 1970. number: of the block within its day, from 0."""

    tenant: str
    compartment: str
    day: int
    number: int

    def seal(self, key: bytes, block: Block, *, nonce: bytes | None = None) -> tuple[bytes, bytes]:
        """Its clear head (times and count, bound) and its record."""
        head = HEAD.pack(*block.span(), block.count)
        fields = (self.tenant.encode(), self.compartment.encode(), u32(self.day), u32(self.number), head)
        return head, seal(Kind.ACCESS_BLOCK, 0, key, block.body, fields, nonce=nonce)


class DayOpener:
    """Opens blocks of one day: one cipher, and what they all bind joined once. It holds the key until it is dropped."""

    def __init__(self, tenant: str, compartment: str, day: int, key: bytes) -> None:
        fields = (tenant.encode(), compartment.encode(), u32(day))
        self._cipher = AESGCM(require_key(key))
        self._header = encode_header(Kind.ACCESS_BLOCK, Suite.AES_256_GCM, 0)
        self._bound = bind(Kind.ACCESS_BLOCK, Suite.AES_256_GCM, 0, fields)

    def open(self, number: int, head: bytes, record: bytes) -> Block:
        """The block of that number. Raises IntegrityError."""
        if not record.startswith(self._header) or len(head) != HEAD.size:
            read_header(record, Kind.ACCESS_BLOCK)
            raise IntegrityError("ACCESS_BLOCK record does not open: no block of a day")
        bound = self._bound + _NUMBERED.pack(4, number, len(head)) + head
        try:
            body = self._cipher.decrypt(record[HEADER_BYTES:_SEALED], record[_SEALED:], bound)
        except (InvalidTag, ValueError):  # ValueError: shorter than a nonce
            raise IntegrityError(
                "ACCESS_BLOCK record does not open: wrong key, wrong place, or changed bytes"
            ) from None
        return Block.decode(body, HEAD.unpack(head)[2])


def seal_day_key(
    key: bytes, version: int, by: bytes, tenant: str, compartment: str, day: int, *, nonce: bytes | None = None
) -> bytes:
    """The key of a day (32 octets) under the compartment's key for access records."""
    fields = (tenant.encode(), compartment.encode(), u32(day))
    return seal(Kind.ACCESS_DAY_KEY, version, by, key, fields, nonce=nonce)


def open_day_key(record: bytes, by: bytes, tenant: str, compartment: str, day: int) -> bytes:
    """Raises IntegrityError."""
    fields = (tenant.encode(), compartment.encode(), u32(day))
    key = open_(record, Kind.ACCESS_DAY_KEY, by, fields)
    if len(key) != 32:
        raise IntegrityError("ACCESS_DAY_KEY record: the layout inside is not known")
    return key
