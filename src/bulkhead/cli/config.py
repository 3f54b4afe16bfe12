"""`config check|show`. Standard library only."""

import argparse
from pathlib import Path

from bulkhead.cli.output import print_json, print_table
from bulkhead.config import Installation, check_files, load_installation
from bulkhead.config.load import Values
from bulkhead.config.render import toml_value
from bulkhead.config.values import Value

Row = tuple[str, str, Value, str]  # tenant, setting, value, origin


def check(options: argparse.Namespace) -> int:
    """Say that every setting is valid, or raise what is wrong."""
    installation = load_installation(Path(options.directory))
    check_files(installation)
    print(f"{options.directory}: valid; {len(installation.tenants)} tenants")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print the settings in force."""
    rows = _rows(load_installation(Path(options.directory)), options.tenant)
    if options.json:
        names = ("tenant", "setting", "value", "origin")
        print_json(options.command, {"settings": [dict(zip(names, row, strict=True)) for row in rows]})
        return 0
    head = ["TENANT", "SETTING", "VALUE", "ORIGIN"]
    shown = [(tenant or "-", setting, toml_value(value), origin) for tenant, setting, value, origin in rows]
    width = 4 if options.origin else 3
    print_table(head[:width], [row[:width] for row in shown])
    return 0


def _rows(installation: Installation, only: str) -> list[Row]:
    rows = [] if only else _of("", installation.settings)
    for tenant in [installation.tenant(only)] if only else installation.tenants.values():
        rows += _of(tenant.id, tenant.settings)
    return rows


def _of(tenant: str, settings: Values) -> list[Row]:
    return [(tenant, key, value, str(settings.origins[key])) for key, value in settings.values.items()]
