"""Where a message goes: recipients by domain, hosts in order, and when there is no way. PURE.

Source: RFC 5321 section 5.1. Randomness is an argument.
"""

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from bulkhead.boundary.messages.to_queue import DueRecipient
from bulkhead.boundary.messages.to_resolver import MailHost, MailHosts, MailHostsVerdict
from bulkhead.errors import PeerError
from bulkhead.identifiers import Address, DomainName, parse_address, parse_domain
from bulkhead.wire.header import header_end, scan_fields
from bulkhead.wire.smtp_codes import Reply
from bulkhead.wire.smtp_outcome import Outcome

HOPS_MAX = 50  # Received fields before a message is taken for a loop (RFC 5321 section 6.3)
TARGETS_MAX = 8  # addresses tried for one domain in one attempt; RFC 5321 section 5.1 asks for two at least

Shuffle = Callable[[list[MailHost]], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one recipient: our words, and the server's reply where one decided it."""

    outcome: Outcome
    status: str  # RFC 3463
    reason: str
    reply: Reply | None = None
    host: DomainName | None = None  # None where no other server had a part in it
    wish_passed: bool = False  # that server knows DSN and has what the sender wishes to be told


@dataclass(frozen=True, slots=True)
class Target:
    """One address to try."""

    host: DomainName
    address: str


Addressee = tuple[int, Address]  # a recipient's number in the message, and its address

NO_WAY: Mapping[int, Result] = MappingProxyType(
    {
        MailHostsVerdict.NO_SUCH_DOMAIN: Result(Outcome.FAILED, "5.1.2", "the domain does not exist"),
        MailHostsVerdict.NULL_MX: Result(Outcome.FAILED, "5.1.10", "the domain takes no mail (null MX)"),
        MailHostsVerdict.TEMPORARY: Result(Outcome.DEFERRED, "4.4.3", "the domain's name servers do not answer"),
        MailHostsVerdict.NO_ADDRESS: Result(Outcome.FAILED, "5.4.4", "the domain has no mail server with an address"),
    }
)
MALFORMED = Result(Outcome.FAILED, "5.1.3", "the address is not valid")
LOOP = Result(Outcome.FAILED, "5.4.6", "too many hops: the message goes in circles")
OWN_HOST = Result(Outcome.FAILED, "5.4.6", "the domain's mail leads back to this server, which does not host it")
NOT_ALLOWED = Result(Outcome.FAILED, "5.4.4", "no mail server of the domain has an address that may be reached")

NOT_ALLOWED_HERE = Result(
    Outcome.DEFERRED, "4.4.4", "the mail servers have private addresses, which are not dialled here"
)
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
    )
)


def is_private(address: str) -> bool:
    """Whether an address is of a network that an installation may have beside it, and name in courier.allow_networks.

    What may be an omission of ours is tried again; loopback and the like are nobody's mail server.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found.version == network.version and found in network for network in _PRIVATE)


def by_domain(
    recipients: Sequence[DueRecipient],
) -> tuple[dict[DomainName, list[Addressee]], dict[int, Result]]:
    """Recipients grouped by domain, in order; and the outcome of those whose address cannot be read."""
    domains: dict[DomainName, list[Addressee]] = {}
    settled: dict[int, Result] = {}
    for recipient in recipients:
        try:
            address = parse_address(recipient.address)
        except PeerError:
            settled[recipient.number] = MALFORMED
            continue
        domains.setdefault(address.domain, []).append((recipient.number, address))
    return domains, settled


def route(hosts: MailHosts, own: DomainName, shuffle: Shuffle) -> tuple[Target, ...] | Result:
    """The addresses to try in order, or why there are none.

    Hosts of one preference are shuffled. Where `own` is among them, it and all that are not preferred to it are left
    out, so that mail does not come back to us. Addresses of the first host come first, its others last when they are
    many: each host gets a turn.
    """
    if hosts.verdict != MailHostsVerdict.FOUND:
        return NO_WAY.get(hosts.verdict, NO_WAY[MailHostsVerdict.TEMPORARY])
    ours = [host.preference for host in hosts.hosts if host.name.lower().rstrip(".") == own]
    left = [host for host in hosts.hosts if host.addresses and not (ours and host.preference >= min(ours))]
    if not left:
        return OWN_HOST if ours else NO_WAY[MailHostsVerdict.NO_ADDRESS]
    shuffle(left)
    left.sort(key=lambda host: host.preference)  # stable: the shuffle stays within a preference
    ranked = [
        (rank, at, Target(name, address))
        for at, host in enumerate(left)
        if (name := _host_name(host.name)) is not None
        for rank, address in enumerate(host.addresses)
    ]
    ranked.sort(key=lambda entry: (entry[0] // 2, entry[1], entry[0]))  # two addresses of a host, then the next host
    return tuple(target for _, _, target in ranked[:TARGETS_MAX]) or NO_WAY[MailHostsVerdict.NO_ADDRESS]


def _host_name(name: str) -> DomainName | None:
    try:
        return parse_domain(name)
    except PeerError:
        return None


def hops(header: bytes) -> int:
    """How many Received fields a header has."""
    return sum(name == b"received" for name, *_ in scan_fields(header, 0, header_end(header, 0, len(header))))
