"""A provisioning file: what officers sign for by one digest, and what is carried out line by line. PURE.

JSON Lines (UTF-8, LF behind each), the first of which names the tenant and the file; cut into chunks, whose digests
make the root. Line numbers begin with 1, which is the first line of the file.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from bulkhead.errors import PeerError, Refused
from bulkhead.identifiers import ID_BYTES, AccountId, parse_address

LINE_MAX = 1024  # octets, without LF
LINES_MAX = 1_000_000
CHUNK_LINES = 500
CHUNK_BYTES = 96 * 1024
CHUNKS_MAX = 6000  # whose digests fit into one message
HEADER = "provision"
TARGETS_MAX = 20
_NUMBER_MAX = 1 << 50
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_COUNT = struct.Struct(">I")

Value = str | int | bool | bytes | tuple[str, ...]


class Kind(Enum):
    """What a field is."""

    ADDRESS = "an address"
    ADDRESSES = f"a list of at most {TARGETS_MAX} addresses"
    NUMBER = "a whole number from 0"
    NAME = "1 to 64 of letters, digits and . _ : / -"
    REASON = "at most 200 characters, without an @"
    SERVICES = "a list of login, receive, send"
    FLAG = "true or false"
    ACCOUNT = "an account's id: 32 hexadecimal digits"
    DIGEST = "SHA-256 in 64 hexadecimal digits"


_DIGITS = {Kind.ACCOUNT: re.compile(r"[0-9a-f]{32}"), Kind.DIGEST: re.compile(r"[0-9a-f]{64}")}
_A, _R = Kind.ADDRESS, Kind.REASON
_WHOSE = {"account": Kind.ACCOUNT, "line": Kind.NUMBER}  # for auth and keyring, which know no addresses
_LIFE: tuple[Mapping[str, Kind], frozenset[str]] = (
    {"address": _A, "reason": _R, **_WHOSE}, frozenset({"reason", *_WHOSE})
)  # fmt: skip
# By verb: fields, and those of them that may be left out.
FORMS: Mapping[str, tuple[Mapping[str, Kind], frozenset[str]]] = MappingProxyType(
    {
        HEADER: ({"tenant": Kind.NAME, "name": Kind.NAME}, frozenset()),
        "add-account": (
            {"address": _A, "quota": Kind.NUMBER, "password": Kind.DIGEST}, frozenset({"quota", "password"})
        ),
        "alias": ({"address": _A, "alias": _A}, frozenset()),
        "unalias": ({"alias": _A}, frozenset()),
        "group-add": ({"group": _A}, frozenset()),
        "group-join": ({"group": _A, "address": _A}, frozenset()),
        "group-leave": ({"group": _A, "address": _A}, frozenset()),
        "group-remove": ({"group": _A}, frozenset()),
        "forward": ({"address": _A, "targets": Kind.ADDRESSES, "keep": Kind.FLAG}, frozenset({"keep"})),
        "quota": ({"address": _A, "octets": Kind.NUMBER}, frozenset()),
        "class": ({"address": _A, "class": Kind.NAME}, frozenset()),
        "services": ({**_LIFE[0], "off": Kind.SERVICES}, _LIFE[1]),
        "suspend": _LIFE,
        "dormant": _LIFE,
        "activate": _LIFE,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One line. do: a verb of FORMS. values: its fields, those that were given."""

    do: str
    values: Mapping[str, Value]

    def text(self, name: str, default: str = "") -> str:
        """A field of text."""
        value = self.values.get(name, default)
        return value if isinstance(value, str) else default

    def number(self, name: str, default: int = 0) -> int:
        """A field with a number."""
        value = self.values.get(name, default)
        return value if isinstance(value, int) else default

    def texts(self, name: str) -> tuple[str, ...]:
        """A field with a list."""
        value = self.values.get(name, ())
        return value if isinstance(value, tuple) else ()

    @property
    def password(self) -> bytes | None:
        """What the first password that the file brings is known by; None: it brings none."""
        return self._octets("password")

    def account(self, root: bytes) -> AccountId | None:
        """The account that the line names by its id, or by the line of this file that makes it; None: neither."""
        if "line" in self.values:
            return account_of_line(root, self.number("line"))
        octets = self._octets("account")
        return None if octets is None else AccountId(octets)

    @property
    def opens(self) -> bool | None:
        """Whether it opens logins (True) or ends them (False) where auth and keyring keep it; None: neither."""
        if self.do == "services":
            return "login" not in self.texts("off")
        return self.do == "activate" if self.do in ("suspend", "dormant", "activate") else None

    def _octets(self, name: str) -> bytes | None:
        value = self.values.get(name)
        return value if isinstance(value, bytes) else None


def parse_line(octets: bytes) -> Line:
    """Raises Refused (`bad-line`)."""
    if len(octets) > LINE_MAX:
        raise _bad(f"a line has at most {LINE_MAX} octets")
    try:
        row = json.loads(octets.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _bad("the line is no JSON object with each name once") from None
    if not isinstance(row, dict) or not isinstance(row.get("do"), str) or row["do"] not in FORMS:
        raise _bad(f'"do" is one of: {", ".join(FORMS)}')
    do = row.pop("do")
    fields, optional = FORMS[do]
    if not set(fields) - optional <= set(row) <= set(fields):
        raise _bad(f"the fields of {do} are: {', '.join(fields)}")
    line = Line(do, {name: _value(name, fields[name], value) for name, value in row.items()})
    if set(_WHOSE) <= set(line.values) or line.number("line") > LINES_MAX:
        raise _bad("an account is named by its id, or by the number of the line that makes it")
    return line


def parse_header(octets: bytes) -> tuple[str, str]:
    """Tenant and name of the file. Raises Refused (`bad-line`)."""
    line = parse_line(octets)
    if line.do != HEADER:
        raise _bad('the first line is {"do":"provision","tenant":ID,"name":NAME}; the name is new for each file')
    return line.text("tenant"), line.text("name")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some lines of a file. first: number of the first one. data: with the LF of each."""

    number: int
    first: int
    data: bytes

    @property
    def lines(self) -> list[bytes]:
        """Each without its LF."""
        return lines_of(self.data)


def lines_of(data: bytes) -> list[bytes]:
    """The lines of a chunk. Raises Refused (`bad-line`) where it is none."""
    lines = data.split(b"\n")
    if lines.pop() or not 1 <= len(lines) <= CHUNK_LINES or len(data) > CHUNK_BYTES:
        raise _bad(f"a chunk has 1 to {CHUNK_LINES} lines, and at most {CHUNK_BYTES} octets")
    return lines


def chunks_of(lines: Iterable[bytes]) -> Iterator[Chunk]:
    """A file, whose lines come with their LF, as chunks. Raises Refused (`bad-line`, `too-large`)."""
    gathered: list[bytes] = []
    size = number = 0
    first, at = 1, 0
    for at, line in enumerate(lines, 1):
        if not line.endswith(b"\n") or len(line) > LINE_MAX + 1:
            raise _bad(f"line {at} has no LF behind it, or more than {LINE_MAX} octets")
        if len(gathered) == CHUNK_LINES or size + len(line) > CHUNK_BYTES:
            yield Chunk(number, first, b"".join(gathered))
            gathered, size, number, first = [], 0, number + 1, at
        gathered.append(line)
        size += len(line)
        if at > LINES_MAX or number >= CHUNKS_MAX:
            raise Refused(f"a file has at most {LINES_MAX} lines and {CHUNKS_MAX} chunks: cut it", code="too-large")
    if gathered:
        yield Chunk(number, first, b"".join(gathered))


def chunk_hash(data: bytes) -> bytes:
    """As the list has it."""
    return hashlib.sha256(data).digest()


def root_of(lines: int, hashes: bytes) -> bytes:
    """What is signed: of the number of lines and the digests of all chunks, one behind the other."""
    return hashlib.sha256(b"bulkhead provision 1" + _COUNT.pack(lines) + hashes).digest()


def account_of_line(root: bytes, line: int) -> AccountId:
    """The id of the account that a line makes: the same at every try, and nobody's choice."""
    return AccountId(hashlib.sha256(b"bulkhead provision account 1" + root + _COUNT.pack(line)).digest()[:ID_BYTES])


def password_name(nonce: bytes, scheme: str, salt: bytes, digest: bytes) -> bytes:
    """What a first password is known by in a file: says nothing of it to whoever has not the 16 octets of nonce."""
    parts = (scheme.encode(), salt, digest)
    packed = b"".join(_COUNT.pack(len(part)) + part for part in parts)
    return hashlib.sha256(b"bulkhead first password 1" + nonce + packed).digest()


def _value(name: str, kind: Kind, value: object) -> Value:
    match kind, value:
        case Kind.ADDRESS, str():
            return _address(value)
        case ((Kind.ADDRESSES | Kind.SERVICES), list()) if len(value) <= TARGETS_MAX:
            if kind is Kind.ADDRESSES and all(isinstance(one, str) for one in value):
                return tuple(_address(one) for one in value)
            if kind is Kind.SERVICES and all(one in ("login", "receive", "send") for one in value):
                return tuple(value)
        case Kind.NUMBER, int() if type(value) is int and 0 <= value <= _NUMBER_MAX:
            return value
        case Kind.NAME, str() if _NAME.fullmatch(value):
            return value
        case Kind.REASON, str() if len(value) <= 200 and "@" not in value and value.isprintable():
            return value
        case Kind.FLAG, bool():
            return value
        case ((Kind.ACCOUNT | Kind.DIGEST), str()) if _DIGITS[kind].fullmatch(value):
            return bytes.fromhex(value)
    raise _bad(f"{name} is {kind.value}")


def _address(text: str) -> str:
    try:
        return str(parse_address(text))
    except PeerError:
        raise _bad("a text is no address") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a name twice")
    return row


def _bad(why: str) -> Refused:
    return Refused(why, code="bad-line")
