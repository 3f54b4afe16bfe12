"""`credentials rotate`: the version keys of auth and keyring, changed while they serve (docs/credentials.md).

    rotated    every record is under the new versions, and was opened
    backed up  where the settings say where backups lie; else nothing is destroyed in this run
    destroyed  versions whose time has come: the sealed keys first, then the key, then sealed keys without it

An emergency takes no backup before it destroys, and waits for none that is under way.
"""

import argparse
import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bulkhead.boundary.messages import to_auth, to_keyring
from bulkhead.boundary.messages.fields import Done, Request
from bulkhead.boundary.messages.rotation import RetiredKey, RotationReport
from bulkhead.cli.backup import make_backup
from bulkhead.cli.backup_store import Shelf, needed_versions
from bulkhead.cli.backup_target import has_target, open_target
from bulkhead.cli.escrow import destroy_escrow, escrow_folder, missing_escrow
from bulkhead.cli.escrow_keys import escrow_keys_held
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_json, say, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.cli.tenant_lock import BACKUP, WAITS, alone, escrow_lock
from bulkhead.errors import ConfigError, Error
from bulkhead.supervisor.custody import Custody

DAY = 86_400
POLL_SECONDS = 0.2
SAY_SECONDS = 5.0
NO_VERSION = 0  # destroys none: brings a change of the root key that was cut short to its end
_STEPS = {1: "sealed anew", 2: "opened again"}


@dataclass(frozen=True, slots=True)
class _Requests:
    """What a compartment is asked."""

    rotate: Callable[[bool, int], Request[RotationReport]]
    read: Callable[[], Request[RotationReport]]
    destroy: Callable[[int, bytes, str], Request[Done]]


_REQUESTS = {
    "auth": _Requests(
        lambda emergency, keep: to_auth.RotateKey(stamp(), emergency, keep),
        lambda: to_auth.ReadRotation(),  # noqa: PLW0108  # a message is made where a test can see it
        lambda version, root, custody: to_auth.DestroyKey(stamp(), version, root, custody),
    ),
    "keyring": _Requests(
        lambda emergency, keep: to_keyring.RotateKey(stamp(), emergency, keep),
        lambda: to_keyring.ReadRotation(),  # noqa: PLW0108  # as above
        lambda version, root, custody: to_keyring.DestroyKey(stamp(), version, root, custody),
    ),
}


@dataclass(frozen=True, slots=True)
class Rotation:
    """What is asked for. due: begin none; bring to its end what was begun, and destroy versions whose time has come."""

    emergency: bool = False
    keep_days: int = 30
    due: bool = False


@dataclass(slots=True)
class Outcome:
    """What became of one compartment's key."""

    compartment: str
    version: int = 0
    records: int = 0
    unreadable: int = 0
    seconds: float = 0.0
    destroyed: tuple[int, ...] = ()
    kept: tuple[RetiredKey, ...] = ()

    def as_row(self) -> dict[str, Any]:
        """For --json."""
        kept = [{"version": key.version, "until": key.destroy_after * 1000} for key in self.kept]
        return {
            "compartment": self.compartment, "version": self.version, "records": self.records,
            "unreadable": self.unreadable, "seconds": round(self.seconds, 3), "destroyed": list(self.destroyed),
            "kept": kept,
        }  # fmt: skip


def rotate(options: argparse.Namespace) -> int:
    """Rotate K_auth and K_ring of a tenant, both at the same time, and destroy what may be destroyed."""
    if not 0 <= options.keep_days <= 3660:
        raise ConfigError("--keep-days is 0 to 3660")
    road = open_road(options.directory, options.tenant)
    if options.emergency and options.due:
        raise ConfigError("--due begins no rotation, --emergency one that destroys: give one of them")
    rotation = Rotation(options.emergency, options.keep_days, options.due)
    backup, outcomes = wait_for(rotate_all(road, rotation))
    dead = dead_backups(road, {(o.compartment, version) for o in outcomes for version in o.destroyed})
    if options.json:
        keys = [outcome.as_row() for outcome in outcomes]
        print_json(
            options.command, {"tenant": options.tenant, "keys": keys, "backup": backup or None, "dead_backups": dead}
        )
    else:
        for outcome in outcomes:
            _tell(options.tenant, outcome)
        if backup:
            print(f"{options.tenant}: backed up before anything was destroyed: {backup}")
        for backup in dead:
            print(f"{options.tenant}: backup {backup} is dead: a key that it needs is destroyed")
    return ExitCode.FINDING if any(outcome.unreadable for outcome in outcomes) else ExitCode.OK


def dead_backups(road: Road, destroyed: set[tuple[str, int]]) -> list[str]:
    """Whole backups where the settings keep them that need one of these (compartment, version)."""
    if not has_target(road.installation):
        return []
    shelf = Shelf(open_target(road.installation, ""), road.tenant.id)
    return [
        manifest.backup
        for manifest in shelf.whole()
        if any((compartment, version) in destroyed for compartment, _, version in needed_versions(manifest))
    ]


async def rotate_all(road: Road, rotation: Rotation) -> tuple[str, list[Outcome]]:
    """Both compartments: the id of the backup that was made in between, or nothing, and what became of the keys."""
    async with road:
        work = [_Rotating(road, name, rotation) for name in _REQUESTS]
        if rotation.emergency:
            await asyncio.gather(*(one.turn() for one in work))
            await asyncio.gather(*(one.destroy() for one in work))
            return "", [one.outcome for one in work]
        async with alone(road.layout, BACKUP, WAITS):
            await asyncio.gather(*(one.turn() for one in work))
            backup = await _back_up(road) if any([one.turned or await one.due() for one in work]) else ""
            await asyncio.gather(*(one.destroy() for one in work))
            return backup, [one.outcome for one in work]


async def _back_up(road: Road) -> str:
    """A backup, where the settings say where to; its id. Raises Error, and then nothing is destroyed."""
    if not has_target(road.installation):
        return ""
    try:
        with contextlib.closing(open_target(road.installation, "")) as target:
            return (await make_backup(road.installation, road.tenant, target)).manifest.backup
    except Error as error:
        after = f"the backup failed, so nothing was destroyed: credentials rotate {road.tenant.id} --due goes on"
        say(f"{road.tenant.id}: every record is under the new keys; {after}")
        raise error


class _Rotating:
    """One compartment's rotation, begun or taken up where it was left."""

    def __init__(self, road: Road, compartment: str, rotation: Rotation) -> None:
        self._road, self._rotation = road, rotation
        self._requests = _REQUESTS[compartment]
        self.outcome, self.turned = Outcome(compartment), False
        self._began = self._said = time.monotonic()
        self._escrow = escrow_folder(road.installation, road.tenant.id)

    async def turn(self) -> None:
        """Rotate, and wait until every record was opened; with `due`, only bring to its end what was begun."""
        outcome, emergency = self.outcome, self._rotation.emergency
        if self._road.layout.next_root_key(outcome.compartment).exists():
            await self._change_root(NO_VERSION)
        report = await self._report()
        if not _to_be_finished(report) and not self._rotation.due:
            request = self._requests.rotate(emergency, 0 if emergency else self._rotation.keep_days * DAY)
            report, self.turned = await self._road.ask(outcome.compartment, request), True
        elif emergency and report.step:
            report = await self._road.ask(outcome.compartment, self._requests.rotate(True, 0))
        while report.step:
            self.turned = True
            outcome.records, outcome.unreadable = report.done, report.unreadable
            self._say(report)
            await asyncio.sleep(POLL_SECONDS)
            report = await self._report()
        outcome.records = max(outcome.records, report.done)  # all of them; it may have ended between two questions

    async def due(self) -> bool:
        """Whether a version's time has come."""
        return any(map(_is_due, (await self._report()).retired))

    async def destroy(self) -> None:
        """Destroy what is due; see that the escrow has what is left, also where an earlier run was cut short."""
        outcome = self.outcome
        async with alone(self._road.layout, escrow_lock(outcome.compartment)):
            for key in (await self._report()).retired:
                if _is_due(key):
                    destroy_escrow(self._escrow, outcome.compartment)
                    await self._change_root(key.version)
                    outcome.destroyed += (key.version,)
            if missing_escrow(self._escrow, (outcome.compartment,)):
                await escrow_keys_held(self._road, (outcome.compartment,))
        report = await self._report()
        outcome.version, outcome.kept, outcome.seconds = report.version, report.retired, time.monotonic() - self._began
        outcome.unreadable = max((key.unreadable for key in report.retired), default=outcome.unreadable)

    async def _report(self) -> RotationReport:
        return await self._road.ask(self.outcome.compartment, self._requests.read())

    async def _change_root(self, version: int) -> None:
        """Have the key file sealed under the next root key, without this version; then that key is the root key."""
        custody, compartment = Custody(self._road.layout, self._road.tenant), self.outcome.compartment
        async with custody.changing():
            mode = custody.mode_of(compartment)
            root = custody.prepare(compartment)
            await self._road.ask(compartment, self._requests.destroy(version, root, mode))
            custody.adopt(compartment)

    def _say(self, report: RotationReport) -> None:
        if time.monotonic() - self._said > SAY_SECONDS:
            self._said = time.monotonic()
            say(
                f"{self.outcome.compartment}: {report.done:,} records {_STEPS[report.step]}, "
                f"{report.permille / 10:.0f} %"
            )


def _is_due(key: RetiredKey) -> bool:
    return key.destroy_after <= time.time() and (not key.destroy_after or not key.unreadable)


def _to_be_finished(report: RotationReport) -> bool:
    """Whether something was begun that has to come to its end first: a walk, or an emergency's destruction."""
    return bool(report.step) or any(not key.destroy_after for key in report.retired)


def _tell(tenant: str, outcome: Outcome) -> None:
    print(
        f"{tenant}: {outcome.compartment}: {outcome.records:,} records are under version {outcome.version}, "
        f"each opened again, after {outcome.seconds:.1f} s"
    )
    for version in outcome.destroyed:
        print(f"{tenant}: {outcome.compartment}: version {version} is destroyed, and the root key is another one")
    for key in outcome.kept:
        print(
            f"{tenant}: {outcome.compartment}: version {key.version} is kept for backups until "
            f"{time_text(key.destroy_after * 1000)}; this command destroys it from then on"
        )
        if key.unreadable:
            say(f"{tenant}: {outcome.compartment}: {key.unreadable} records do not open; look: bulkhead fsck {tenant}")
