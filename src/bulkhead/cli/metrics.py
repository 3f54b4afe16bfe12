"""`metrics`: what the cells count, in the text format of Prometheus; for each tenant its own slice."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bulkhead.boundary.exposition import Family, exposition
from bulkhead.boundary.metrics import ANSWERED, CELL, LEDGER, METRICS, REQUESTS, SCRAPED, family_of
from bulkhead.cli.backup_schedule import metrics_of, standing_of
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.ledger_state import LedgerState, ledger_states
from bulkhead.cli.many import ask_all, chosen_tenants
from bulkhead.cli.road import wait_for
from bulkhead.cli.status import status_rows
from bulkhead.config import Installation, Tenant, write_file
from bulkhead.errors import ConfigError

SECONDS = 5.0
FILE_MODE = 0o644  # the textfile collector is another user
TENANT_FILE_MODE = 0o640  # a partner's slice: give the directory to the group that carries it
Said = Mapping[str, Any]  # by source


def metrics(options: argparse.Namespace) -> int:
    """Print them, or write them whole or not at all; 1 where somebody did not answer."""
    installation, tenants = chosen_tenants(options)
    if options.file and options.each:
        raise ConfigError("give --file for one file, or --each for a file a tenant")
    said = read(installation, tenants)
    if options.each:
        for tenant in tenants:
            write_file(
                Path(options.each) / f"{tenant.id}.prom", page(installation, [tenant], said), replace=True,
                mode=TENANT_FILE_MODE,
            )  # fmt: skip
    elif options.file:
        write_file(Path(options.file), page(installation, tenants, said), replace=True, mode=FILE_MODE)
    else:
        sys.stdout.write(page(installation, tenants, said))
    whole = all({CELL, LEDGER, *REQUESTS} <= one.keys() and one[CELL]["up"] for one in said.values())
    return ExitCode.OK if whole else ExitCode.FINDING


def read(installation: Installation, tenants: Sequence[Tenant]) -> dict[str, dict[str, Any]]:
    """What each source of each tenant said; one that did not answer is not there."""
    rows, processes = status_rows(installation)
    said: dict[str, dict[str, Any]] = {}
    for row in rows:
        own = [process for process in processes if process["tenant"] == row["tenant"]]
        said[row["tenant"]] = {CELL: {**row, "up": row["state"] == "running", "processes": own}}
    said = {tenant.id: said[tenant.id] for tenant in tenants}
    live = [tenant for tenant in tenants if said[tenant.id][CELL]["up"]]
    for answer in wait_for(ask_all(installation, live, tuple(REQUESTS.items()), SECONDS)):
        if answer.reply is not None:
            said[answer.tenant][answer.compartment] = answer.reply
    for tenant, state in zip(live, ledger_states(installation, live), strict=True):
        if isinstance(state, LedgerState):
            said[tenant.id][LEDGER] = state
    return said


def page(installation: Installation, tenants: Sequence[Tenant], said: Mapping[str, Said]) -> str:
    """The text of these tenants, and of no other."""
    backups = "".join(f"{line}\n" for line in metrics_of([standing_of(installation, tenant) for tenant in tenants]))
    return exposition(families([(tenant.id, said[tenant.id]) for tenant in tenants], time.time())) + backups


def families(said: Sequence[tuple[str, Said]], now: float) -> list[Family]:
    """Every metric with the samples of these tenants. now: seconds since 1970."""
    found = [family_of(row, said) for row in METRICS]
    sources = (*REQUESTS, LEDGER)
    answered = [
        ({"tenant": tenant, "compartment": name}, float(name in one)) for tenant, one in said for name in sources
    ]
    found.append(Family(ANSWERED.name, ANSWERED.kind, ANSWERED.sentence, tuple(answered)))
    times = tuple(({"tenant": tenant}, now) for tenant, _ in said)
    return [*found, Family(SCRAPED.name, SCRAPED.kind, SCRAPED.sentence, times)]
