"""The DNS records that a tenant needs, as far as the product has what they name."""

import ipaddress

from bulkhead.cli.domain import all_domains
from bulkhead.cli.road import Road

_SERVICES = (
    ("_submissions._tcp", "listen.submissions", "names.submit"),
    ("_imaps._tcp", "listen.imaps", "names.access"),
    ("_pop3s._tcp", "listen.pop3s", "names.access"),
)


async def dns_records(road: Road) -> list[dict[str, str]]:
    """Rows with name, type, value and why: addresses of the host names; MX, SPF and SRV of each domain.

    Sources: RFC 5321 section 5, RFC 7208 section 3, RFC 6186 section 3. DKIM, DMARC, MTA-STS and autoconfiguration are
    not in this version, and so are not in the list.
    """
    settings = road.tenant.settings
    address = settings.text("listen.address")
    sort = "AAAA" if ipaddress.ip_address(address).version == 6 else "A"
    hosts = dict.fromkeys(settings.text(key) for key in ("names.mx", "names.submit", "names.access"))
    rows = [_row(host, sort, address, "where the tenant's listeners are") for host in hosts]
    for domain in await all_domains(road):
        rows.append(_row(domain.domain, "MX", f"10 {settings.text('names.mx')}.", "mail for the domain"))
        rows.append(_row(domain.domain, "TXT", "v=spf1 mx -all", "who sends for it; add other senders that it has"))
        for service, port, host in _SERVICES:
            number = settings.integer(port)
            if number:
                value = f"0 1 {number} {settings.text(host)}."
                rows.append(_row(f"{service}.{domain.domain}", "SRV", value, "how mail programs find it"))
    return rows


def _row(name: str, sort: str, value: str, why: str) -> dict[str, str]:
    return {"name": f"{name}.", "type": sort, "value": value, "why": why}
