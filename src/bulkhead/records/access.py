"""Access records: who did what from where, sealed in blocks under the key of their day, column by column.

A search decrypts a block and looks for an account's 16 octets in one column of it, which takes microseconds; nothing
is parsed row by row but what was found. When the day's key is destroyed, so are its records, wherever copies lie.
"""

import ipaddress
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from bulkhead.errors import IntegrityError
from bulkhead.identifiers import AccountId
from bulkhead.records.derive import u32
from bulkhead.records.record import Kind, open_, seal

BLOCK_RECORDS_MAX = 4096
ROW_BYTES = 47
NOBODY = AccountId(bytes(16))
NO_SOURCE = bytes(16)
ROW = struct.Struct(">QBBBI16s16s")
HEAD = struct.Struct(">QQI")  # first and last time, records
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
    STAFF = 8  # number: what was looked at


class Outcome(IntEnum):
    """How it ended."""

    DONE = 0
    REFUSED = 1
    OVER_LIMIT = 2
    ENDED = 3  # a session that we ended


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


def source_text(octets: bytes) -> str:
    """The address; empty for NO_SOURCE."""
    if octets == NO_SOURCE:
        return ""
    address = ipaddress.IPv6Address(octets)
    return str(address.ipv4_mapped or address)


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of up to 4,096 records in the order of time of writing."""

    count: int
    times: bytes = field(repr=False)
    acts: bytes = field(repr=False)
    outcomes: bytes = field(repr=False)
    gates: bytes = field(repr=False)
    numbers: bytes = field(repr=False)
    accounts: bytes = field(repr=False)
    sources: bytes = field(repr=False)

    @classmethod
    def of(cls, records: Sequence[Access]) -> "Block":
        """The columns of these. Raises ValueError for none, or more than 4,096: our bug."""
        if not 0 < len(records) <= BLOCK_RECORDS_MAX:
            raise ValueError("a block has 1 to 4,096 records")
        return cls(
            len(records),
            struct.pack(f">{len(records)}Q", *(record.at for record in records)),
            bytes(record.act for record in records),
            bytes(record.outcome for record in records),
            bytes(record.gate for record in records),
            struct.pack(f">{len(records)}I", *(min(record.number, 0xFFFFFFFF) for record in records)),
            b"".join(record.account for record in records),
            b"".join(record.source for record in records),
        )

    def encode(self) -> bytes:
        """Column behind column."""
        return b"".join((self.times, self.acts, self.outcomes, self.gates, self.numbers, self.accounts, self.sources))

    @classmethod
    def decode(cls, body: bytes, count: int) -> "Block":
        """The block of `encode`'s octets. Raises IntegrityError."""
        if not 0 < count <= BLOCK_RECORDS_MAX or len(body) != count * ROW_BYTES:
            raise IntegrityError("ACCESS_BLOCK record: the layout inside is not known")
        columns, at = [], 0
        for width in (8, 1, 1, 1, 4, 16, 16):
            columns.append(body[at : at + width * count])
            at += width * count
        return cls(count, *columns)

    def row(self, index: int) -> bytes:
        """One record, as a row of a message."""
        return b"".join(
            (
                self.times[8 * index : 8 * index + 8],
                self.acts[index : index + 1],
                self.outcomes[index : index + 1],
                self.gates[index : index + 1],
                self.numbers[4 * index : 4 * index + 4],
                self.accounts[16 * index : 16 * index + 16],
                self.sources[16 * index : 16 * index + 16],
            )
        )

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

    def _fields(self, head: bytes) -> tuple[bytes, ...]:
        return self.tenant.encode(), self.compartment.encode(), u32(self.day), u32(self.number), head

    def seal(self, key: bytes, block: Block, *, nonce: bytes | None = None) -> tuple[bytes, bytes]:
        """Its clear head (times and count, bound) and its record."""
        head = HEAD.pack(*block.span(), block.count)
        return head, seal(Kind.ACCESS_BLOCK, 0, key, block.encode(), self._fields(head), nonce=nonce)

    def open(self, key: bytes, head: bytes, record: bytes) -> Block:
        """Raises IntegrityError."""
        return Block.decode(open_(record, Kind.ACCESS_BLOCK, key, self._fields(head)), HEAD.unpack(head)[2])


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
