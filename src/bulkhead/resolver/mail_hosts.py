"""Where mail for a domain goes (RFC 5321 section 5.1), with the null MX of RFC 7505."""

import asyncio
from itertools import zip_longest
from typing import Final, Protocol

from bulkhead.boundary.messages.to_resolver import MailHost, MailHosts, MailHostsVerdict
from bulkhead.errors import PeerError
from bulkhead.identifiers import parse_domain
from bulkhead.resolver.response import Answer, Type, Verdict

HOSTS_MAX: Final = 16
ADDRESSES_MAX: Final = 16


class Finds(Protocol):
    """Looks one name up."""

    async def find(self, name: str, wanted: Type) -> Answer:
        """The answer."""


async def find_mail_hosts(lookup: Finds, domain: str) -> MailHosts:
    """MX of `domain` in order of preference with their addresses, or the domain itself where it has no MX."""
    answer = await lookup.find(domain, Type.MX)
    if answer.verdict is Verdict.NO_NAME:
        return _none(MailHostsVerdict.NO_SUCH_DOMAIN, answer.ttl)
    if answer.verdict is Verdict.FAILED:
        return _none(MailHostsVerdict.TEMPORARY, 0)
    if answer.verdict is Verdict.FOUND and all(host == "" for _, host in answer.records):
        return _none(MailHostsVerdict.NULL_MX, answer.ttl)
    records = sorted(answer.records) if answer.verdict is Verdict.FOUND else [(0, domain)]
    names = {host: preference for preference, host in reversed(records) if _is_host(host)}
    chosen = sorted((preference, host) for host, preference in names.items())[:HOSTS_MAX]
    found = await asyncio.gather(*(_addresses(lookup, host) for _, host in chosen))
    hosts = tuple(
        MailHost(preference, host, addresses)
        for (preference, host), (addresses, _, _) in zip(chosen, found, strict=True)
        if addresses
    )
    ttl = min([answer.ttl, *(ttl for _, ttl, _ in found)])
    if hosts:
        return MailHosts(MailHostsVerdict.FOUND, hosts, ttl)
    if any(failed for _, _, failed in found):
        return _none(MailHostsVerdict.TEMPORARY, 0)
    return _none(MailHostsVerdict.NO_ADDRESS, ttl)


async def _addresses(lookup: Finds, host: str) -> tuple[tuple[str, ...], int, bool]:
    """IPv6 and IPv4 by turns, seconds they are good for, and whether an address may be missing for now."""
    six, four = await asyncio.gather(lookup.find(host, Type.AAAA), lookup.find(host, Type.A))
    turns = zip_longest((value for _, value in six.records), (value for _, value in four.records))
    addresses = tuple(address for turn in turns for address in turn if address is not None)
    failed = Verdict.FAILED in (six.verdict, four.verdict)
    return addresses[:ADDRESSES_MAX], min(six.ttl, four.ttl), failed


def _none(verdict: int, ttl: int) -> MailHosts:
    return MailHosts(verdict, (), ttl)


def _is_host(name: str) -> bool:
    try:
        return parse_domain(name) == name
    except PeerError:
        return False
