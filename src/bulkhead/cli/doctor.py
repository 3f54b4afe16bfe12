"""`doctor`: what will go wrong, what was not proven, and for each what to do. It changes nothing."""

import argparse
import asyncio
import os
import shutil
import socket
import stat
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from bulkhead.boundary.messages.to_incident import CanaryCopies, ListCanaries
from bulkhead.boundary.processes import PROCESSES, Disk
from bulkhead.cli.backup_schedule import DAY, HOUR, standing_of
from bulkhead.cli.backup_target import has_target
from bulkhead.cli.backup_verify import TRIED, last_tried
from bulkhead.cli.certificates import CA_CERTIFICATE, CA_KEY, FOLDER, GATES, expiry
from bulkhead.cli.doctor_contract import advisories_finding, contract_finding
from bulkhead.cli.doctor_rules import rules_finding
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.finding import Finding, State
from bulkhead.cli.ledger_state import COSIGNED_SECONDS, STALE_SECONDS, LedgerState, ledger_states, witness_fault
from bulkhead.cli.logins import Counts, count_logins
from bulkhead.cli.output import print_json, size_text
from bulkhead.cli.road import Road
from bulkhead.cli.run import find_levels, keys_lacking, what_is_missing
from bulkhead.cli.standby import standing
from bulkhead.cli.status import status_rows
from bulkhead.config import Installation, Tenant, check_files, load_installation
from bulkhead.errors import ConfigError, Error, IntegrityError
from bulkhead.holder.keys import KEY_FILE
from bulkhead.supervisor.custody import Custody
from bulkhead.supervisor.layout import Layout

EXPIRY_WARNING_DAYS = 21
DISK_BAD_BYTES, DISK_WARNING_BYTES = 1 << 30, 5 << 30
INODES_BAD = 10_000
CONNECT_SECONDS = 2.0
CLOCK_FLOOR = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
_LISTENERS = ("mx", "submissions", "submission", "imaps", "pop3s", "imap", "pop3", "console")


def doctor(options: argparse.Namespace) -> int:
    """Print the findings; 1 where one is bad."""
    findings = list(examine(load_installation(Path(options.directory))))
    if options.json:
        rows = [{**asdict(finding), "state": finding.state.value} for finding in findings]
        print_json(options.command, {"findings": rows})
    else:
        for finding in findings:
            where = f"{finding.tenant}: " if finding.tenant else ""
            print(f"{finding.state.value.upper():9} {where}{finding.matter}: {finding.text}")
            if finding.advice:
                print(f"{'':9} -> {finding.advice}")
        counts = Counter(finding.state for finding in findings)
        print(f"{len(findings)} matters: " + ", ".join(f"{counts[state]} {state.value}" for state in State))
    return ExitCode.FINDING if any(finding.state is State.BAD for finding in findings) else ExitCode.OK


def examine(installation: Installation) -> Iterator[Finding]:
    """Everything about the installation, then about each tenant."""
    directory = installation.directory.absolute()
    yield _configuration(installation)
    yield from _sandbox(installation)
    yield from _disk(directory)
    yield _clock()
    yield from _authority(directory)
    running = {row["tenant"]: row["state"] for row in status_rows(installation)[0]}
    live = [tenant for tenant in installation.tenants.values() if running[tenant.id] == "running"]
    counts = dict(zip((tenant.id for tenant in live), count_logins(installation, live), strict=True))
    for tenant in installation.tenants.values():
        layout = Layout(directory, tenant.id)
        yield from _certificates(layout, tenant)
        yield from _custody(layout, tenant)
        yield from _recovery(layout, production=installation.settings.boolean("production"))
        yield from _test_restore(layout, tenant, installation.settings.integer("backup.test_restore_days"))
        if not tenant.disabled and running[tenant.id] != "stopped":
            yield _canaries(installation, tenant)
            yield from _ledger(tenant, ledger_states(installation, [tenant])[0])
            yield contract_finding(installation, tenant)
            yield advisories_finding(installation, tenant)
            yield rules_finding(installation, tenant)
            yield from _standby(installation, tenant)
        if not tenant.disabled:
            yield _backups(installation, tenant)
            yield from _listeners(tenant, running[tenant.id])
            yield from _logins(tenant, counts.get(tenant.id))


def _configuration(installation: Installation) -> Finding:
    try:
        check_files(installation)
    except ConfigError as error:
        return Finding("", "configuration", State.BAD, error.public, "put the file back, or change the setting")
    return Finding("", "configuration", State.OK, f"valid; {len(installation.tenants)} tenants")


def _sandbox(installation: Installation) -> Iterator[Finding]:
    production = installation.settings.boolean("production")
    if os.geteuid() != 0:
        yield Finding(
            "", "user ids", State.WARNING, "not run as root, compartments share the user id of who starts them",
            "start as root, or give each cell a host of its own",
        )  # fmt: skip
    try:
        levels = find_levels(installation)
    except ConfigError as error:
        yield Finding("", "sandbox", State.UNPROVEN, error.public, "run it again when the host is less busy")
        return
    text = f"level {levels['level']}, {levels['probes']} hostile acts tried under {levels['profiles']} locks"
    state = State.OK if levels["level"] == "A" else State.WARNING if levels["level"] == "B" else State.BAD
    if state is State.BAD and not production:
        state = State.WARNING
    advice = (
        "" if state is State.OK else "; ".join(what_is_missing(levels)) or "start as root on a kernel with Landlock"
    )
    yield Finding("", "sandbox", state, text, advice)
    unproven = sorted({what for row in levels["compartments"].values() for what in row["unproven"]})
    if unproven:
        yield Finding(
            "", "sandbox", State.UNPROVEN, f"{len(unproven)} acts fail unlocked too here: {', '.join(unproven)}",
            "probe on a host where they are possible; the level says nothing about them",
        )  # fmt: skip


def _disk(directory: Path) -> Iterator[Finding]:
    usage, nodes = shutil.disk_usage(directory), os.statvfs(directory)
    state = State.BAD if usage.free < DISK_BAD_BYTES else State.OK
    if state is State.OK and usage.free < DISK_WARNING_BYTES:
        state = State.WARNING
    if nodes.f_files and nodes.f_favail < INODES_BAD:
        state = State.BAD
    advice = "" if state is State.OK else "free some, or move the installation; a full disk refuses mail, loses none"
    yield Finding("", "disk", state, f"{size_text(usage.free)} free of {size_text(usage.total)}", advice)


def _clock() -> Finding:
    now = time.time()
    if now < CLOCK_FLOOR:
        text, advice = "the clock stands before this software was made", "set it, and keep it by NTP"
        return Finding("", "clock", State.BAD, text, advice)
    text = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}; against no other clock"
    return Finding("", "clock", State.UNPROVEN, text, "see that NTP keeps it: timedatectl, or chronyc tracking")


def _authority(directory: Path) -> Iterator[Finding]:
    if (directory / FOLDER / CA_CERTIFICATE).exists():
        yield _expiry("", "certificate authority", directory / FOLDER / CA_CERTIFICATE)
    key = directory / FOLDER / CA_KEY
    if key.exists():
        yield _mode("", "certificate authority's key", key)


def _certificates(layout: Layout, tenant: Tenant) -> Iterator[Finding]:
    for gate in GATES:
        yield _expiry(tenant.id, f"certificate of {gate}", layout.pem(gate))
        if layout.pem(gate).exists():
            yield _mode(tenant.id, f"key of {gate}", layout.pem(gate))


def _expiry(tenant: str, matter: str, path: Path) -> Finding:
    advice = "put a new key and chain in its place, then send SIGHUP to bulkhead run"
    try:
        days = (expiry(path) - datetime.now(UTC)).total_seconds() / 86_400
    except ConfigError as error:
        return Finding(tenant, matter, State.BAD, error.public, advice)
    if days < 0:
        return Finding(tenant, matter, State.BAD, f"{path} ended {-days:.0f} days ago", advice)
    if days < EXPIRY_WARNING_DAYS:
        return Finding(tenant, matter, State.WARNING, f"{path} ends in {days:.0f} days", advice)
    return Finding(tenant, matter, State.OK, f"ends in {days:.0f} days")


def _mode(tenant: str, matter: str, path: Path) -> Finding:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding(tenant, matter, State.BAD, f"{path} is open to others (mode {mode:04o})", f"chmod 0400 {path}")
    return Finding(tenant, matter, State.OK, f"only its owner may read it (mode {mode:04o})")


def _custody(layout: Layout, tenant: Tenant) -> Iterator[Finding]:
    keeper, lacking = Custody(layout, tenant).keeper, keys_lacking(layout)
    for what in keeper.unproven:
        yield Finding(layout.tenant, f"custody {keeper.name}", State.UNPROVEN, what, "docs/credentials.md, Custody")
    for process in PROCESSES.values():
        if process.disk is not Disk.DATA:
            continue
        root, sealed = layout.root_key(process.name), layout.home(process.name) / KEY_FILE
        newer = process.name in lacking and not (sealed.parent.exists() and any(sealed.parent.iterdir()))
        for path in (root, sealed):
            if not path.exists():
                yield Finding(
                    layout.tenant, f"keys of {process.name}", State.BAD, f"{path} is missing",
                    f"it came with a newer build: bulkhead upgrade {layout.tenant}" if newer else
                    "restore it from your copy: without it nothing that this compartment sealed can be opened",
                )  # fmt: skip
        if layout.next_root_key(process.name).exists():
            yield Finding(
                layout.tenant, f"root key of {process.name}", State.WARNING, "a change of it was cut short",
                f"bulkhead credentials rotate {layout.tenant} brings it to its end",
            )  # fmt: skip
        if root.exists():
            yield _mode(layout.tenant, f"root key of {process.name}", root)


def _recovery(layout: Layout, *, production: bool) -> Iterator[Finding]:
    here = [party for party in ("partner", "operator") if layout.recovery_key(party).exists()]
    for party in here:
        yield _mode(layout.tenant, f"recovery key of the {party}", layout.recovery_key(party))
    if len(here) == 2:
        yield Finding(
            layout.tenant, "recovery", State.BAD if production else State.WARNING,
            "both recovery keys lie on this host: together they open every mailbox",
            f"move {layout.recovery_key('partner')} to the partner, and the operator's offline",
        )  # fmt: skip
    yield Finding(
        layout.tenant, "recovery", State.UNPROVEN, "that the two keys open a mailbox has not been rehearsed here",
        "rehearse on a test account: bulkhead account passwd",
    )  # fmt: skip


def _test_restore(layout: Layout, tenant: Tenant, days: int) -> Iterator[Finding]:
    """Whether a backup was restored for trial lately, as the ledger's receipt here says."""
    if not days:
        return
    matter, advice = "test restore", "bulkhead backup verify --restore at the partner's, then bulkhead backup record"
    try:
        event = last_tried(layout, tenant)
    except IntegrityError as error:
        yield Finding(tenant.id, matter, State.BAD, f"{layout.receipts / TRIED}: {error.public}", advice)
        return
    if event is None:
        yield Finding(tenant.id, matter, State.UNPROVEN, "no backup of it was ever restored for trial", advice)
        return
    age = (time.time() * 1000 - event.time) / 86_400_000
    text = f"{event.details.get('backup')}, {age:.0f} days ago, {event.details.get('messages'):,} messages"
    if not event.details.get("sound"):
        yield Finding(tenant.id, matter, State.BAD, f"failed: {text}", "take another backup, and try that one")
    elif age > days:
        yield Finding(tenant.id, matter, State.BAD, f"overdue (backup.test_restore_days = {days}): {text}", advice)
    else:
        yield Finding(tenant.id, matter, State.OK, text)


def _logins(tenant: Tenant, counts: Counts | None) -> Iterator[Finding]:
    if counts is None:
        return
    if counts["stuffing"]:
        yield Finding(
            tenant.id, "logins", State.WARNING, "strangers try more accounts a minute than the ceiling",
            "known networks log in as ever; docs/credentials.md, Guessing online; the ledger has Stuffing",
        )  # fmt: skip
    else:
        text = f"{counts['granted']:,} granted, {counts['refused']:,} refused since auth started; no stuffing"
        yield Finding(tenant.id, "logins", State.OK, text)
    least, key = counts["failure_floor_ms"] / 1000, "auth.failure_seconds"
    if least > tenant.settings.decimal(key):
        yield Finding(
            tenant.id, "failed logins", State.WARNING,
            f"{key} is below what imported digests take; auth answers failures at {least:g} s instead",
            f"set {key} to {least:g} at least, until `credentials audit` shows no imported digest",
        )  # fmt: skip


def _ledger(tenant: Tenant, state: LedgerState | str) -> Iterator[Finding]:
    """Whether the log lives, and whether the partner's witness follows it."""
    if isinstance(state, str):
        text = f"{state}: what narrows reach goes on, what widens it waits"
        yield Finding(tenant.id, "ledger", State.BAD, text, f"see {tenant.id}'s log, and room on its disk")
        return
    now, alive = time.time(), tenant.settings.integer("ledger.alive_seconds")
    silent = now - state.newest / 1000
    if alive and silent > STALE_SECONDS + 2 * alive:
        text = f"no entry for {silent / 3600:.1f} hours, and it should say that it lives every {alive} s"
        yield Finding(tenant.id, "ledger", State.BAD, text, f"bulkhead fsck {tenant.id}; see {tenant.id}'s log")
    else:
        yield Finding(tenant.id, "ledger", State.OK, f"{state.size:,} entries; the newest is {silent / 60:.0f} min old")
    how = f"bulkhead ledger {tenant.id} witness-key, at the partner; docs/ledger.md"
    fault = witness_fault(tenant)
    if fault:
        yield Finding(tenant.id, "witness", State.BAD, f"pinned.ledger_witness: {fault}", how)
    elif not tenant.settings.text("pinned.ledger_witness"):
        text = "none is pinned: nobody but this host would see a rewritten log"
        yield Finding(tenant.id, "witness", State.UNPROVEN, text, how)
    elif not state.cosigned_at:
        yield Finding(tenant.id, "witness", State.WARNING, "it has cosigned nothing yet", how)
    else:
        hours = (now - state.cosigned_at) / 3600
        kind = State.WARNING if hours * 3600 > COSIGNED_SECONDS else State.OK
        text = f"cosigned {state.cosigned:,} of {state.size:,} entries {hours:.1f} hours ago"
        advice = "ask the partner whether its watch runs" if kind is State.WARNING else ""
        yield Finding(tenant.id, "witness", kind, text, advice)


def _canaries(installation: Installation, tenant: Tenant) -> Finding:
    """Whether somebody used an account that nobody has."""

    async def ask() -> CanaryCopies:
        async with Road(installation, tenant) as road:
            return await road.ask("incident", ListCanaries())

    look = f"bulkhead incident canaries {tenant.id}"
    try:
        copies = asyncio.run(ask()).copies
    except Error as error:
        return Finding(tenant.id, "canaries", State.UNPROVEN, error.public, f"look when it runs: {look}")
    if not copies:
        text, advice = "none are planted: a stolen copy would not name itself", f"bulkhead incident plant {tenant.id}"
        return Finding(tenant.id, "canaries", State.UNPROVEN, text, advice)
    for grade, state in (("right", State.BAD), ("wrong", State.WARNING)):
        used = [copy.copy for copy in copies if getattr(copy, grade)]
        if used:
            text = f"used, with {'the right' if grade == 'right' else 'a wrong'} password, of: {', '.join(used)}"
            return Finding(tenant.id, "canaries", state, text, f"{look}; docs/canaries.md says what that shows")
    return Finding(tenant.id, "canaries", State.OK, f"{sum(copy.canaries for copy in copies)} planted, none used")


def _standby(installation: Installation, tenant: Tenant) -> Iterator[Finding]:
    """Of a tenant that has a warm standby: whether it could take over."""
    if tenant.settings.text("standby.mode") == "off":
        return
    try:
        text, sound = standing(installation, tenant)
    except Error as error:
        text, sound = error.public, False
    advice = "" if sound else f"see: bulkhead standby status {tenant.id}, and whether ship and follow run"
    yield Finding(tenant.id, "standby", State.OK if sound else State.BAD, text, advice)


def _backups(installation: Installation, tenant: Tenant) -> Finding:
    """Whether the newest backup, and the newest that was verified, are as young as they are to be."""
    if not has_target(installation):
        text = "none are made: what happens to this host happens to the mail"
        return Finding(
            tenant.id, "backups", State.UNPROVEN, text, "set backup.directory or backup.bucket; docs/backup.md"
        )
    standing = standing_of(installation, tenant)
    notes, age = standing.notes, (standing.now - standing.notes.made_at) / HOUR
    look = f"bulkhead backup status {tenant.id}"
    if notes.unsound:
        text = f"{notes.unsound} was found not sound"
        return Finding(tenant.id, "backups", State.BAD, text, f"bulkhead backup verify {tenant.id} {notes.unsound}")
    if standing.overdue:
        text = f"the newest is {age:.0f} hours old" if notes.made else "there is none"
        why = f"; the last try failed: {notes.failure}" if notes.failure else ""
        return Finding(tenant.id, "backups", State.BAD, text + why, f"bulkhead backup run {tenant.id}; {look}")
    if notes.failure:
        return Finding(tenant.id, "backups", State.WARNING, f"the last try failed: {notes.failure}", look)
    if not notes.made:
        return Finding(tenant.id, "backups", State.UNPROVEN, "none is scheduled, and none made", look)
    text = f"{notes.made} is {age:.0f} hours old, {size_text(notes.octets)} in {notes.seconds:.0f} s"
    if not notes.verified:
        advice = f"bulkhead backup verify {tenant.id}"
        return Finding(tenant.id, "backups", State.UNPROVEN, f"{text}; none was ever verified", advice)
    days = (standing.now - notes.verified_made_at) / DAY
    return Finding(tenant.id, "backups", State.OK, f"{text}; the newest verified is {days:.0f} days old")


def _listeners(tenant: Tenant, state: str) -> Iterator[Finding]:
    address = tenant.settings.text("listen.address")
    if state == "stopped":
        yield Finding(tenant.id, "cell", State.WARNING, "is not running", "bulkhead run; its log says why it ended")
        return
    for name in _LISTENERS:
        port = tenant.settings.integer(f"listen.{name}")
        if not port:
            continue
        try:
            socket.create_connection((address, port), CONNECT_SECONDS).close()
        except OSError as error:
            yield Finding(
                tenant.id, f"listener {name}", State.BAD, f"{address} port {port}: {error.strerror or error}",
                f"see {tenant.id}'s log, and bulkhead status",
            )  # fmt: skip
        else:
            yield Finding(tenant.id, f"listener {name}", State.OK, f"{address} port {port} accepts from this host")
