"""`init`: a new installation, empty, with one tenant, or the example of six."""

import argparse
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bulkhead.cli.certificates import CA_CERTIFICATE, FOLDER, make_ca, write_ca
from bulkhead.cli.make_tenant import NewTenant, make_tenant
from bulkhead.cli.output import say
from bulkhead.config import render_installation, write_file
from bulkhead.config.schema import INSTALLATION_FILE
from bulkhead.config.values import Value
from bulkhead.errors import ConfigError
from bulkhead.identifiers import DomainName, TenantId, parse_domain, parse_tenant_id
from bulkhead.supervisor.layout import Layout

ZONE_FILE = "example.zone"
EXAMPLE_SIX = (
    ("kddi", "KDDI"), ("stnet", "STNet"), ("jcom", "J:COM"),
    ("ctc", "Chubu Telecommunications"), ("nifty", "Nifty"), ("biglobe", "BIGLOBE"),
)  # fmt: skip
EXAMPLE_WORKERS = {"mx.workers": 1, "submit.workers": 1, "access.workers": 1}  # six cells on one small machine
EXAMPLE_PORTS = {
    "listen.mx": 2525, "listen.submissions": 4465, "listen.submission": 4587, "listen.imaps": 4993,
    "listen.pop3s": 4995, "listen.console": 4443, "courier.port": 2525,
}  # fmt: skip
EXAMPLE_NETWORK = "127.0.1.0/24"


def init(options: argparse.Namespace) -> int:
    """Make the installation and say where the keys lie."""
    directory = Path(options.new_directory).absolute()
    given = (options.tenant, options.domain, options.address)
    if any(given) and (options.example or not all(given)):
        raise ConfigError("--tenant, --domain and --address belong together, and not with --example")
    tenants = six_isps() if options.example else ()
    if options.tenant:
        domain = parse_domain(options.domain)
        tenants = (NewTenant(parse_tenant_id(options.tenant), 0, domain, parse_listen_address(options.address)),)
    layouts = make_installation(directory, options.operator, tenants)
    say(f"{directory}: an installation with {len(layouts)} tenants; certificate authority {FOLDER}/{CA_CERTIFICATE}")
    for layout in layouts:
        tell_recovery_keys(layout)
    say(f"next: bulkhead run -C {options.new_directory}")
    return 0


def make_installation(directory: Path, operator: str, tenants: Sequence[NewTenant]) -> list[Layout]:
    """A whole installation in a directory that is missing or empty. Raises ConfigError."""
    _check_empty(directory)
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    values: dict[str, Value] = {"production": False}
    if operator:
        values["operator"] = operator
    if any(tenant.settings.get("resolver.zone_file") for tenant in tenants):
        write_file(directory / ZONE_FILE, zone(tenants))
    authority = make_ca(f"{operator or 'Bulkhead'} mail CA", now=datetime.now(UTC))
    write_ca(directory, authority)
    write_file(directory / INSTALLATION_FILE, render_installation(values))
    return [make_tenant(directory, tenant, authority) for tenant in tenants]


def six_isps() -> tuple[NewTenant, ...]:
    """The tenants of the example, each on a loopback address of its own."""
    return tuple(
        NewTenant(
            TenantId(name), slot, DomainName(f"{name}.example"), f"127.0.1.{slot + 1}", title,
            {**EXAMPLE_PORTS, **EXAMPLE_WORKERS, "courier.allow_networks": (EXAMPLE_NETWORK,),
             "resolver.zone_file": ZONE_FILE},
        )
        for slot, (name, title) in enumerate(EXAMPLE_SIX)
    )  # fmt: skip


def zone(tenants: Sequence[NewTenant]) -> str:
    """MX and address records of all tenants, as a master file (RFC 1035 section 5)."""
    lines = ["; Records of the example's tenants. No name server publishes them: resolver reads this file.", "$TTL 300"]
    for tenant in tenants:
        kind = "AAAA" if ipaddress.ip_address(tenant.address).version == 6 else "A"
        lines.append(f"{tenant.domain}. IN MX 10 mx.{tenant.domain}.")
        lines += [f"{gate}.{tenant.domain}. IN {kind} {tenant.address}" for gate in ("mx", "smtp", "imap")]
    return "\n".join(lines) + "\n"


def parse_listen_address(text: str) -> str:
    """An IP address in its one form. Raises ConfigError."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ConfigError(f'--address {text!r}: must be an IP address, such as "192.0.2.25"') from None


def tell_recovery_keys(layout: Layout) -> None:
    """Say where a tenant's recovery keys lie and where they belong."""
    say(
        f"{layout.tenant}: recovery keys {layout.recovery_key('partner')} and {layout.recovery_key('operator')}: "
        "both together open any mailbox. In production the partner's never touches this host: "
        "make it there, and keep the operator's offline."
    )


def _check_empty(directory: Path) -> None:
    try:
        if any(directory.iterdir()):
            raise ConfigError(f"{directory} is not empty; name a new directory, or empty this one yourself")
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise ConfigError(f"{directory} is a file; name a directory") from None
