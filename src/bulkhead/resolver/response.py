"""Questions and answers as bytes. PURE. A response is believed only when it answers exactly what was asked.

Only the answer section is used, and of it only the alias chain from the name that was asked: additional addresses and
stray records are never taken.
"""

from dataclasses import dataclass
from enum import Enum
from struct import Struct
from typing import Any, Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from bulkhead.errors import PeerError

# What answers and zone files bring. At import, in the image: dnspython would import each type when it first meets one,
# behind the lock. A type that is not here is octets to it; all that dnspython has would take 0.6 MiB more a cell.
TYPES: Final = (
    "A", "AAAA", "CAA", "CNAME", "DNAME", "HTTPS", "MX", "NS", "OPT", "PTR", "SOA", "SPF", "SRV", "SSHFP", "SVCB",
    "TLSA", "TSIG", "TXT",
)  # fmt: skip
for _type in TYPES:
    dns.rdata.get_rdata_class(dns.rdataclass.IN, dns.rdatatype.from_text(_type))  # type: ignore[no-untyped-call]  # untyped in dnspython
dns.rdata._dynamic_load_allowed = False  # only load_all_types() sets it

RESPONSE_MAX: Final = 32_768  # octets; what says more of one name is no honest answer
PAYLOAD: Final = 1232  # octets of UDP offered (RFC 6891 section 6.2.5)
ALIASES_MAX: Final = 8  # CNAMEs in one chain
RECORDS_MAX: Final = 64  # records taken of one answer
TTL_MAX: Final = 3600  # seconds
NEGATIVE_TTL_MAX: Final = 300
NEGATIVE_TTL_DEFAULT: Final = 60  # where the authority says nothing

_HEADER = Struct(">HHHHHH")


class Type(Enum):
    """What is asked for."""

    A = dns.rdatatype.A
    AAAA = dns.rdatatype.AAAA
    MX = dns.rdatatype.MX


class Verdict(Enum):
    """What an answer says."""

    FOUND = "found"
    NO_DATA = "the name exists and has no such record"
    NO_NAME = "the name does not exist"
    FAILED = "not known now"


@dataclass(frozen=True, slots=True)
class Answer:
    """Records as (preference, value): an MX's host in lower case without the last dot ("" is the root); an address.

    ttl: seconds, at most an hour, five minutes for a negative answer.   alias: ask for this name instead; then there
    is no record.
    """

    verdict: Verdict
    records: tuple[tuple[int, str], ...] = ()
    ttl: int = 0
    alias: str = ""


FAILED: Final = Answer(Verdict.FAILED)


class Truncated(PeerError):
    """The answer did not fit: ask by TCP."""

    code = "truncated"


def question(name: dns.name.Name, wanted: Type, identity: int) -> bytes:
    """The query's octets. identity: 16 random bits drawn by the caller."""
    query = dns.message.make_query(name, wanted.value, use_edns=0, payload=PAYLOAD, id=identity)
    return query.to_wire()


def read_response(data: bytes, name: dns.name.Name, wanted: Type, identity: int) -> Answer:
    """What `data` says about the question.

    Raises Truncated; PeerError where it is no answer to this very question: keep waiting, it may be forged.
    """
    if not _HEADER.size <= len(data) <= RESPONSE_MAX:
        raise PeerError("a response of an impossible size")
    got, flags, questions, *_ = _HEADER.unpack_from(data)
    if got != identity or not flags & dns.flags.QR or questions != 1:
        raise PeerError("not the answer to this question")
    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
    except dns.message.Truncated:
        raise PeerError("not a DNS message") from None
    except Exception:  # a parser of hostile bytes that is not ours: whatever it raises, it is the peer's fault
        raise _unreadable(flags) from None
    if message.opcode() != dns.opcode.QUERY or len(message.question) != 1:
        raise PeerError("not the answer to this question")
    asked = message.question[0]
    if asked.name != name or asked.rdtype != wanted.value or asked.rdclass != dns.rdataclass.IN:
        raise PeerError("an answer to another question")
    if message.flags & dns.flags.TC:
        raise Truncated("the answer is truncated")
    if message.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return FAILED
    return _follow(message, name, wanted)


def _unreadable(flags: int) -> PeerError:
    """A response cut in the middle of a record is truncated, not forged."""
    if flags & dns.flags.TC:
        return Truncated("the answer is truncated")
    return PeerError("not a DNS message")


def _follow(message: Any, name: dns.name.Name, wanted: Type) -> Answer:
    """The answer at the end of the alias chain that begins at `name`."""
    ttl, at = TTL_MAX, name
    for _ in range(ALIASES_MAX + 1):
        found = _rrset(message, at, wanted.value)
        if found is not None:
            return Answer(Verdict.FOUND, _records(found, wanted), min(ttl, int(found.ttl)))
        alias = _rrset(message, at, dns.rdatatype.CNAME)
        if alias is None:
            return _nothing(message, name, at, ttl)
        ttl = min(ttl, int(alias.ttl))
        at = alias[0].target
    return FAILED


def _nothing(message: Any, name: dns.name.Name, at: dns.name.Name, ttl: int) -> Answer:
    """No record at the chain's end: the name is missing, its data is, or the server left the rest to us."""
    negative = min(_negative_ttl(message), ttl)
    if message.rcode() == dns.rcode.NXDOMAIN:
        return Answer(Verdict.NO_NAME, (), negative)
    if at != name:
        return Answer(Verdict.NO_DATA, (), ttl, plain(at))
    types = {rrset.rdtype for rrset in message.authority}
    if dns.rdatatype.NS in types and dns.rdatatype.SOA not in types and not message.flags & dns.flags.AA:
        return FAILED  # a referral: this server does not resolve for us
    return Answer(Verdict.NO_DATA, (), negative)


def _rrset(message: Any, name: dns.name.Name, rdtype: int) -> Any:
    for rrset in message.answer:
        if rrset.name == name and rrset.rdtype == rdtype and rrset.rdclass == dns.rdataclass.IN and len(rrset):
            return rrset
    return None


def _records(rrset: Any, wanted: Type) -> tuple[tuple[int, str], ...]:
    return tuple(record_of(rdata, wanted) for rdata, _ in zip(rrset, range(RECORDS_MAX), strict=False))


def record_of(rdata: Any, wanted: Type) -> tuple[int, str]:
    """(preference, host) of an MX, (0, address) of an address record."""
    if wanted is Type.MX:
        return int(rdata.preference), plain(rdata.exchange)
    return 0, str(rdata.address)


def _negative_ttl(message: Any) -> int:
    """Source: RFC 2308 section 5."""
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA and len(rrset):
            return min(int(rrset.ttl), int(rrset[0].minimum), NEGATIVE_TTL_MAX)
    return NEGATIVE_TTL_DEFAULT


def plain(name: dns.name.Name) -> str:
    """A name as text: lower case, no dot at the end; the root is ""."""
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def name_of(text: str) -> dns.name.Name:
    """The name that `text` spells, without a dot at the end. Raises PeerError."""
    try:
        return dns.name.from_text(text, dns.name.root)
    except (dns.exception.DNSException, UnicodeError, ValueError):
        raise PeerError("not a name that DNS can carry") from None
