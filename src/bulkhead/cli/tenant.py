"""`tenant list|add`."""

import argparse
from pathlib import Path
from typing import Any

from bulkhead.cli.certificates import GATES, read_ca
from bulkhead.cli.contract_file import contract_file
from bulkhead.cli.init import parse_listen_address, tell_recovery_keys
from bulkhead.cli.make_tenant import NewTenant, make_tenant
from bulkhead.cli.output import print_json, print_table, say
from bulkhead.config import load_installation
from bulkhead.errors import ConfigError
from bulkhead.identifiers import parse_domain, parse_tenant_id


def list_tenants(options: argparse.Namespace) -> int:
    """Print the tenants in the order of their slots."""
    rows: list[dict[str, Any]] = [
        {
            "tenant": tenant.id, "slot": tenant.slot, "name": tenant.settings.text("name"),
            "address": tenant.settings.text("listen.address"), "disabled": tenant.disabled,
            "names": [tenant.settings.text(key) for key in GATES.values()],
        }
        for tenant in load_installation(Path(options.directory)).tenants.values()
    ]  # fmt: skip
    if options.json:
        print_json(options.command, {"tenants": rows})
        return 0
    print_table(
        ("TENANT", "SLOT", "NAME", "ADDRESS", "DISABLED", "HOST NAMES"),
        [
            (r["tenant"], r["slot"], r["name"], r["address"], "yes" if r["disabled"] else "no", " ".join(r["names"]))
            for r in rows
        ],
    )
    return 0


def add_tenant(options: argparse.Namespace) -> int:
    """Make a tenant in the lowest slot that nobody has or had."""
    directory = Path(options.directory).absolute()
    installation = load_installation(directory)
    tenant = parse_tenant_id(options.tenant)
    address = parse_listen_address(options.address)
    for other in installation.tenants.values():
        if other.settings.text("listen.address") == address and not other.disabled:
            raise ConfigError(f"{other.file}: {other.id} has the address {address}; each tenant has its own")
    settings = {"pinned.roster_roots": tuple(options.roster_root), "pinned.roster_threshold": options.roster_threshold}
    new = NewTenant(
        tenant, installation.free_slot(), parse_domain(options.domain), address, options.name,
        settings if options.roster_root else {},
    )  # fmt: skip
    layout = make_tenant(directory, new, read_ca(directory))
    say(f"{tenant}: made in slot {new.slot}; settings in {directory}/tenants/{tenant}.toml")
    say(f"{tenant}: contract to agree on in {contract_file(directory, tenant)}; bulkhead contract adopt {tenant}")
    tell_recovery_keys(layout)
    return 0
