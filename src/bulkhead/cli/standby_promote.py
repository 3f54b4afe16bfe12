"""`standby promote`: a standby becomes the cell, with both recovery keys, once its primary surely answers nothing.

    checked    the recovery keys open the keys that were shipped, and the settings trust those
    fenced     no lease is granted any more; what was granted has surely ended, or the primary handed over
    whole      the rest of what lies there is applied, and every stream is one that the ledger has
    replayed   what the ledger says was done after what the streams have; numbers that clients may know are passed over
    done       StandbyPromoted is in the log, the mark goes, the cell can be started

Cut anywhere, the same command goes on. This process has both recovery keys and so could read everything.
"""

import argparse
import asyncio
import contextlib
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.offline_order import Details, require_order
from bulkhead.cli.output import print_json, say
from bulkhead.cli.recovery import read_recovery_keys
from bulkhead.cli.restore import certify
from bulkhead.cli.restore_acts import Report, replay_acts
from bulkhead.cli.restore_files import read_escrow, write_keys
from bulkhead.cli.restore_orders import end_orders
from bulkhead.cli.restore_proof import check_pinned
from bulkhead.cli.standby import held, keys_folder, make_follower, read_key
from bulkhead.cli.standby_ship import MESSAGES
from bulkhead.config import Tenant, load_installation, set_value, write_file
from bulkhead.config.load import read_text
from bulkhead.config.schema import FILE_BYTES_MAX, TENANTS_FOLDER
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.holder.keys import KEY_FILE
from bulkhead.identifiers import parse_tenant_id
from bulkhead.ledger.acts import Acts, acts_of
from bulkhead.ledger.create import LOG, SUBJECT, origin_of, signer_of
from bulkhead.ledger.event import EVENTS, Event, encode_event, parse_event
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import Log, open_log
from bulkhead.queue import restore as queue_restore
from bulkhead.records.backup import PrivateKeys
from bulkhead.records.keyfile import KeySet
from bulkhead.standby.apply import Progress
from bulkhead.standby.follow import Follower
from bulkhead.standby.place import SETTINGS
from bulkhead.store import promotion
from bulkhead.supervisor.layout import Layout

LATE_MS = 2000  # by which an act may be older than the commit that made it
HOLDERS = tuple(MESSAGES)
STEP = 256  # entries read at once, from the newest back
Keys = Mapping[str, KeySet]


@dataclass(slots=True)
class _Times:
    """Seconds of each part."""

    waited: float = 0.0
    applied: float = 0.0
    whole: float = 0.0


def promote(options: argparse.Namespace) -> int:
    """Promote a standby."""
    began = time.monotonic()
    directory, tenant_id = Path(options.directory).absolute(), parse_tenant_id(options.tenant)
    both = read_recovery_keys(Path(options.partner_key), Path(options.operator_key), tenant_id)
    private = PrivateKeys(both.partner.private_key, both.operator.private_key)
    layout = Layout(directory, tenant_id)
    if not layout.standby.exists():
        raise ConfigError(f"{layout.cell} follows nobody: see `bulkhead standby follow`")
    with held(layout):
        follower = make_follower(options, layout, read_key(Path(options.key), tenant_id), private)
        work = _Promotion(layout, follower, private)
        work.check()
        ordered = asyncio.run(work.require_order(options.order, options.roster))
        work.fence()
        report = asyncio.run(work.run(options.address, ordered))
        shutil.rmtree(layout.standby)
    seconds = time.monotonic() - began
    row = {
        "tenant": tenant_id, "term": work.term, "handed_over": work.handed_over, "waited": round(work.times.waited, 3),
        "applied": round(work.times.applied, 3), "seconds": round(seconds, 3), "accounts": report.accounts,
        "entries": report.entries, "statuses": report.statuses, "must_reset": report.must_reset,
        "app_passwords": report.app_passwords, "halves_apart": report.halves_apart, "queued": report.queued,
        "mark": work.mark,
    }  # fmt: skip
    if options.json:
        print_json(options.command, row)
    else:
        _tell(row)
    return ExitCode.OK


class _Promotion:
    """One promotion. term: under which this cell answers. mark: ms; what was committed until then is here for sure."""

    def __init__(self, layout: Layout, follower: Follower, private: PrivateKeys) -> None:
        self._layout, self._follower, self._private = layout, follower, private
        self._escrow = keys_folder(layout)
        self.times = _Times()
        self.term = self.mark = 0
        self.handed_over = False

    def check(self) -> None:
        """Whether it can succeed, before anything is done that cannot be taken back. Raises ConfigError and so on."""
        self._take_rest()
        sets = self._keys()
        check_pinned(self._tenant(), sets, self._private)

    def fence(self) -> None:
        """On return the primary answers nothing any more, and never will."""
        follower, progress = self._follower, self._progress()
        promises = follower.promises
        term = promises.term if promises.promoted else max(promises.term, *(p.term for p in progress.values())) + 1
        self.handed_over = promises.released and all(p.ended for p in progress.values())
        began = time.monotonic()
        left = promises.promote(term)
        with contextlib.suppress(OSError):  # the place may be gone with the primary
            follower.place.supersede(follower.keys.signing, term)
        if not self.handed_over and left:
            say(f"{self._layout.tenant}: waits {left:.1f} s until the last lease has surely ended")
            time.sleep(left)
        self.times.waited = time.monotonic() - began
        self.term = term

    async def require_order(self, order: str, roster: str) -> Details:
        """Before anything is fenced. Raises as offline_order.require_order does."""
        sets, tenant, layout = self._keys(), self._tenant(), self._layout
        name = origin_of(layout.tenant, tenant.settings.text("ledger.origin"))
        log = open_log(DirectoryFiles(str(layout.home("ledger") / LOG)), signer_of(sets["ledger"], name), name)
        try:
            events = (parse_event(entry) for entry in log.entries(0, log.size))
            return await require_order(layout, tenant, "promote-standby", events, order=order, roster=roster)
        finally:
            log.close()

    async def run(self, address: str, ordered: Details) -> Report:
        """Everything after that."""
        began, layout = time.monotonic(), self._layout
        self._take_rest()
        self.times.applied = time.monotonic() - began
        sets, tenant = self._keys(), self._settings(address)
        check_pinned(tenant, sets, self._private)
        _forget_keys(layout)
        files = write_keys(layout, sets)
        name = origin_of(layout.tenant, tenant.settings.text("ledger.origin"))
        log = open_log(DirectoryFiles(str(layout.home("ledger") / LOG)), signer_of(sets["ledger"], name), name)
        progress = self._progress()
        self.mark = min(p.mark for p in progress.values())
        try:
            _require_noted(log, progress)
            acts = Acts() if self.handed_over else _acts_since(log, self.mark - LATE_MS)  # handed over: all is here
            report = Report("", entries=acts.entries)
            subject_key = sets["ledger"].current(SUBJECT)[1]
            ended = await replay_acts(layout, files, acts, subject_key, report, check=False)
            await promotion.finish(layout.home("store"), ended.accounts, history_intact=self.handed_over)
            report.queued = await queue_restore.finish(layout.home("queue"), ended.addresses, ended.outbound)
            if not self.handed_over:  # the newest roster, and what officers withdrew, may not have come here
                await end_orders(layout, acts)
            details = {"term": self.term, "mark": self.mark, "handed_over": self.handed_over, **ordered}
            log.append(
                [encode_event(Event(EVENTS["StandbyPromoted"], int(time.time() * 1000), "cli", details=details))]
            )
        finally:
            log.close()
        certify(layout.directory, tenant)
        return report

    def _take_rest(self) -> None:
        for compartment in HOLDERS:
            while self._follower.take(compartment):
                pass
        lacking = [name for name, progress in self._progress().items() if not progress.whole]
        if lacking:
            raise ConfigError(f"no base of {lacking[0]} is whole here: this standby cannot take over; restore a backup")

    def _progress(self) -> dict[str, Progress]:
        return {compartment: self._follower.progress(compartment) for compartment in HOLDERS}

    def _keys(self) -> dict[str, KeySet]:
        return {name: read_escrow(self._escrow, name, self._private, self._layout) for name in HOLDERS}

    def _tenant(self) -> Tenant:
        """The tenant by the settings that this host was given first."""
        name = f"{TENANTS_FOLDER}/{self._layout.tenant}.toml"
        if not (self._layout.directory / name).exists():
            write_file(self._layout.directory / name, read_text(self._layout.standby / SETTINGS, FILE_BYTES_MAX))
        return load_installation(self._layout.directory).tenant(self._layout.tenant)

    def _settings(self, address: str) -> Tenant:
        name, directory = f"{TENANTS_FOLDER}/{self._layout.tenant}.toml", self._layout.directory
        if address:
            set_value(directory, name, "listen.address", address)
        set_value(directory, name, "standby.mode", "off")
        set_value(directory, name, "standby.term", self.term)
        return load_installation(directory).tenant(self._layout.tenant)


def _forget_keys(layout: Layout) -> None:
    """What an earlier try wrote."""
    for compartment in HOLDERS:
        layout.root_key(compartment).unlink(missing_ok=True)
        (layout.home(compartment) / KEY_FILE).unlink(missing_ok=True)


def _require_noted(log: Log, progress: Mapping[str, Progress]) -> None:
    """Raises IntegrityError where a stream was begun that the ledger has no entry of: anybody can seal one."""
    wanted = {p.lead.encode("ascii"): name for name, p in progress.items()}
    for entries in _newest_first(log):
        for entry in entries:
            for digest in [digest for digest in wanted if digest in entry]:
                event = parse_event(entry)
                if event.kind.name == "StandbyBegun" and event.details.get("of") == wanted[digest]:
                    del wanted[digest]
        if not wanted:
            return
    raise IntegrityError(
        f"the ledger does not know the stream of {next(iter(wanted.values()))}: it may be another's; restore a backup"
    )


def _acts_since(log: Log, moment: int) -> Acts:
    """What was done from then on, ms."""
    found: list[bytes] = []
    for entries in _newest_first(log):
        found[:0] = entries
        if entries and max(parse_event(entry).at for entry in entries) < moment:
            break
    return acts_of(entry for entry in found if parse_event(entry).at >= moment)


def _newest_first(log: Log) -> Iterable[list[bytes]]:
    end = log.size
    while end:
        start = max(0, end - STEP)
        yield list(log.entries(start, end))
        end = start


def _tell(row: Mapping[str, Any]) -> None:
    tenant = row["tenant"]
    print(f"{tenant}: promoted under term {row['term']} in {row['seconds']:.1f} s, {row['waited']:.1f} s of it waiting")
    if row["handed_over"]:
        print(f"{tenant}: the primary had handed over: nothing is lost")
    else:
        behind = time.strftime("%H:%M:%S", time.gmtime(row["mark"] / 1000))
        print(f"{tenant}: what the primary answered after {behind} UTC may be missing; look for it when it comes back")
    print(
        f"{tenant}: {row['accounts']} accounts, {row['queued']} queued; {row['must_reset']} must set a new password, "
        f"{row['app_passwords']} app passwords are revoked"
    )
    print(f"{tenant}: start it: bulkhead run; and see that the old one stays stopped")
