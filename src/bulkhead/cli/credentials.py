"""`credentials audit`: which share of the credentials is protected how, and the ledger's witness that it was so."""

import argparse
import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from bulkhead.boundary.messages.to_ledger import RecordCensus
from bulkhead.cli.census import STRAY, Census, count_accounts, count_quickly
from bulkhead.cli.exit_codes import ExitCode, exit_code_of
from bulkhead.cli.exposure import STATE_NAMES
from bulkhead.cli.many import chosen_tenants
from bulkhead.cli.output import print_json, print_table, printable, say, time_text
from bulkhead.cli.records import Opened
from bulkhead.cli.road import Road, stamp, wait_for
from bulkhead.config import Installation, Tenant
from bulkhead.errors import Error
from bulkhead.records.record import Kind

AT_ONCE = 2  # tenants at a time
RECORD_NAMES = {
    Kind.AUTH_HALF: "auth half",
    Kind.KEYRING_HALF: "keyring half",
    Kind.MAILBOX: "mailbox key",
    Kind.APP_PASSWORD_NOTE: "app password note",
}
_COST = re.compile(r"argon2id\(m=(\d+),t=(\d+),p=\d+\)")


def audit(options: argparse.Namespace) -> int:
    """Print the census of each tenant and have its ledger take it; 1 on findings, 5 where records do not open."""
    options.all = not options.tenant
    installation, tenants = chosen_tenants(options)
    count = count_quickly if options.quick else count_accounts
    outcomes = wait_for(_audit_all(installation, tenants, count))
    done = [outcome for outcome in outcomes if isinstance(outcome, dict)]
    if options.json:
        print_json(options.command, {"complete": len(done) == len(outcomes), "tenants": done})
    else:
        _print(done)
    codes = [_code(tenant["report"]) for tenant in done]
    for tenant, outcome in zip(tenants, outcomes, strict=True):
        if isinstance(outcome, Error):
            say(f"not audited: {tenant.id}: {outcome.public}")
            codes.append(exit_code_of(outcome))
    return max(codes, default=ExitCode.OK)


async def _audit_all(
    installation: Installation, tenants: list[Tenant], count: Callable[[Road], Any]
) -> list[dict[str, Any] | Error]:
    gate = asyncio.Semaphore(AT_ONCE)

    async def of(tenant: Tenant) -> dict[str, Any] | Error:
        try:
            async with gate, Road(installation, tenant) as road:
                road.check_running()
                return await _audit(road, count)
        except Error as error:
            return error

    return list(await asyncio.gather(*map(of, tenants)))


async def _audit(road: Road, count: Callable[[Road], Any]) -> dict[str, Any]:
    began = int(time.time() * 1000)
    report = report_of(road.tenant.id, began, await count(road))
    report["seconds"] = int(time.time() - began / 1000)
    digest = digest_of(report)
    entry = await road.ask(
        "ledger",
        RecordCensus(
            stamp(), began, digest, report["accounts"], report["records"], report["legacy"], report["faults"],
            report["mismatches"], report["strays"], report["matched"],
        ),
    )  # fmt: skip
    return {"sha256": digest.hex(), "entry": entry.first, "report": report}


def digest_of(report: dict[str, Any]) -> bytes:
    """SHA-256 of the report as one line of JSON: ASCII, keys in order, no spaces (`jq -cjS`)."""
    return hashlib.sha256(json.dumps(report, sort_keys=True, separators=(",", ":")).encode()).digest()


def report_of(tenant: str, as_of: int, census: Census) -> dict[str, Any]:
    """The report of one tenant: small scalars and lists, no address."""
    rows = list(_rows(census))
    auth, keyring = census.total("auth"), census.total("keyring")
    statuses = sorted((name, of) for name, of in census.by_status.items() if name != STRAY)
    return {
        "tenant": tenant, "as_of": as_of, "matched": census.matched,
        "accounts": sum(of.accounts for _, of in statuses),
        "records": auth.records + keyring.records,
        "legacy": sum(row["count"] for row in rows if is_legacy(row["scheme"])),
        "revoked_auth": auth.revoked(), "revoked_keyring": keyring.revoked(),
        "faults": auth.faults + keyring.faults,
        "problems": [*(f"auth: {p}" for p in auth.problems), *(f"keyring: {p}" for p in keyring.problems)],
        "mismatches": census.mismatches,
        "mismatched": [{"account": account, "what": what} for account, what in census.mismatched],
        "strays": sum(row["count"] for row in rows if row["status"] == STRAY),
        "statuses": [
            {"status": name, "accounts": of.accounts, "without_credential": of.bare} for name, of in statuses
        ] if census.matched else [],
        "counts": rows,
    }  # fmt: skip


def _rows(census: Census) -> Iterator[dict[str, Any]]:
    for status, of in sorted(census.by_status.items()):
        opened: tuple[tuple[str, Opened], ...] = (("auth", of.auth), ("keyring", of.keyring))
        for compartment, part in opened:
            for (kind, scheme, state, version), count in sorted(part.counts.items()):
                yield {
                    "compartment": compartment, "record": RECORD_NAMES[Kind(kind)], "status": status,
                    "scheme": scheme, "state": STATE_NAMES.get(state, "-"), "key_version": version, "count": count,
                }  # fmt: skip


def is_legacy(scheme: str) -> bool:
    """Whether Argon2id wraps an imported digest there, which its next login replaces."""
    return scheme.startswith("argon2id") and scheme.count("(") > 1


def weakness(scheme: str) -> tuple[int, int]:
    """What to sort by, the worst first: unreadable, imported digests, Argon2id by its cost, random app passwords."""
    cost = _COST.match(scheme)
    if cost is None:
        return (9, 0) if scheme == "hkdf" else (0, 0)
    return 1 if is_legacy(scheme) else 2, int(cost[1]) * int(cost[2])


def _print(done: list[dict[str, Any]]) -> None:
    rows = []
    for tenant in done:
        report = tenant["report"]
        halves = [row for row in report["counts"] if row["record"] == "auth half"]
        total = sum(row["count"] for row in halves) or 1
        rows += [
            (report["tenant"], row["scheme"], row["status"], row["state"], row["key_version"], row["count"],
             f"{100 * row['count'] / total:.2f} %")
            for row in sorted(halves, key=lambda row: (weakness(row["scheme"]), row["status"], row["key_version"]))
        ]  # fmt: skip
    print_table(("TENANT", "SCHEME", "ACCOUNTS", "STATE", "KEY", "CREDENTIALS", "SHARE"), rows)
    for tenant in done:
        for line in _findings(tenant):
            print(printable(line))


def _findings(tenant: dict[str, Any]) -> Iterator[str]:
    report = tenant["report"]
    name = report["tenant"]
    bare = sum(row["without_credential"] for row in report["statuses"] if row["status"] in ("provisioned", "active"))
    matched = f"{report['accounts']:,} accounts matched in both halves" if report["matched"] else "halves not matched"
    yield (
        f"{name}: {report['records']:,} records opened, {report['faults']:,} do not open; {matched}, "
        f"{report['mismatches']:,} disagree; {bare:,} open accounts without credential; {report['strays']:,} records "
        f"of no account; {report['legacy']:,} imported digests; {report['seconds']} s"
    )
    if report["revoked_auth"] or report["revoked_keyring"]:
        yield f"{name}: revoked: {report['revoked_auth']:,} halves of auth, {report['revoked_keyring']:,} of keyring"
    yield from (f"{name}: {problem}" for problem in report["problems"])
    yield from (f"{name}: {row['account']}: {row['what']}" for row in report["mismatched"])
    yield f"{name}: as of {time_text(report['as_of'])}, ledger entry {tenant['entry']}, sha256 {tenant['sha256']}"


def _code(report: dict[str, Any]) -> ExitCode:
    if report["faults"]:
        return ExitCode.INTEGRITY
    return ExitCode.FINDING if report["mismatches"] or report["strays"] else ExitCode.OK
