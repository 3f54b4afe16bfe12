"""Messages to `resolver`: DNS questions."""

from typing import Annotated

from msgspec import Meta

from bulkhead.boundary.messages.fields import U8, U16, U32, DomainText, Reply, Request

IpText = Annotated[str, Meta(max_length=64)]


class MailHost(Reply, frozen=True):
    """One mail exchanger with its addresses, IPv6 and IPv4, in the order to try."""

    preference: U16
    name: DomainText
    addresses: Annotated[tuple[IpText, ...], Meta(max_length=16)]


class MailHosts(Reply, frozen=True):
    """Where mail for a domain goes (RFC 5321 section 5.1). `verdict` is a MailHostsVerdict."""

    verdict: U8
    hosts: Annotated[tuple[MailHost, ...], Meta(max_length=16)]
    ttl: U32  # seconds


class MailHostsVerdict:
    """Closed list."""

    FOUND = 1
    NO_SUCH_DOMAIN = 2  # 5.1.2
    NULL_MX = 3  # accepts no mail (RFC 7505): 5.1.10
    TEMPORARY = 4  # 4.4.3
    NO_ADDRESS = 5  # the domain exists and leads nowhere: 5.4.4


class FindMailHosts(Request[MailHosts], frozen=True, tag=1):
    """MX of a domain, or its own addresses where it has none."""

    domain: DomainText
