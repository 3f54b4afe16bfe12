"""`restore-follow`: the mail of a backup follows into a cell that serves already, the newest first.

The backup's segments lie in its own stream and in those of earlier backups: one after another is opened into scratch,
the newest first, and the messages in it go to `store` from the highest number down. After each WINDOW it is noted
durably how far that came; what a kill leaves unnoted is sent again, and `store` does nothing twice.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from bulkhead.boundary.messages.to_ledger import RecordRestore
from bulkhead.cli.backup_store import Shelf
from bulkhead.cli.backup_target import open_target
from bulkhead.cli.output import print_json, say, size_text
from bulkhead.cli.recovery import read_recovery_keys
from bulkhead.cli.restore_files import Source, write_database, write_segments
from bulkhead.cli.restore_following import Following, end_following, require_following, write_following
from bulkhead.cli.restore_mail import Bringing, require_own, scratch_of
from bulkhead.cli.road import Road, stamp, wait_for
from bulkhead.config import load_installation
from bulkhead.errors import IntegrityError
from bulkhead.identifiers import MailboxId
from bulkhead.records.backup import PrivateKeys
from bulkhead.store.backup_copy import BackupCopy
from bulkhead.supervisor.layout import Layout

WINDOW = 1000  # messages between two notes
NUMBER_MAX = 1 << 62
SAY_SECONDS = 5.0


def restore_follow(options: argparse.Namespace) -> int:
    """Bring what has not come yet."""
    installation = load_installation(Path(options.directory))
    tenant = installation.tenant(options.tenant)
    both = read_recovery_keys(Path(options.partner_key), Path(options.operator_key), tenant.id)
    layout = Layout(installation.directory.absolute(), tenant.id)
    following = require_following(layout)
    shelf = Shelf(open_target(installation, options.source), tenant.id)
    manifest = shelf.manifest(following.backup)
    if sha256(manifest.encode()).hexdigest() != following.sha256:
        raise IntegrityError(f"{shelf.place(following.backup)} is not the backup that the cell was restored from")
    require_own(tenant, shelf, manifest)
    source = Source(shelf, manifest, PrivateKeys(both.partner.private_key, both.operator.private_key))
    began = time.monotonic()
    with scratch_of(installation.directory, tenant.id) as folder:
        home = folder / manifest.backup
        home.mkdir(mode=0o700)
        say(f"{tenant.id}: store's database of {manifest.backup} is being opened")
        write_database(source, "store", home)
        work = _Follow(Road(installation, tenant), layout, source, BackupCopy(home), home, following)
        try:
            wait_for(work.run())
        finally:
            work.copy.close()
    end_following(layout)
    seconds = round(time.monotonic() - began, 3)
    if options.json:
        document = {
            "tenant": tenant.id, "backup": following.backup, "messages": following.messages,
            "restored": following.restored, "over_quota": following.over_quota, "closed": following.closed,
            "gone": following.gone, "octets": following.octets, "seconds": seconds,
        }  # fmt: skip
        print_json(options.command, document)
        return 0
    print(f"{tenant.id}: {following.restored} of {following.messages} messages came, {size_text(following.octets)}")
    print(
        f"{tenant.id}: {following.over_quota} did not fit, {following.closed} are sealed to a destroyed mailbox key, "
        f"{following.gone} are of destroyed accounts"
    )
    return 0


@dataclass(slots=True)
class _Follow:
    """What follows, on its way."""

    road: Road
    layout: Layout
    source: Source
    copy: BackupCopy
    home: Path
    following: Following
    targets: dict[int, MailboxId] = field(default_factory=dict)

    async def run(self) -> None:
        """All that is left."""
        following, manifest = self.following, self.source.manifest
        async with self.road:
            if not following.noted:
                digest = sha256(manifest.encode()).digest()
                record = RecordRestore(stamp(), manifest.backup, digest, following.messages)
                await self.road.ask("ledger", record)
                following.noted = True
                write_following(self.layout, following)
            for backup, numbers in self._places():
                if backup in following.done:
                    continue
                await asyncio.to_thread(write_segments, self.source, backup, numbers, self.home)
                await self._bring(numbers)
                self.copy.drop_segments()
                following.done, following.before = (*following.done, backup), 0
                write_following(self.layout, following)

    def _places(self) -> Iterator[tuple[str, set[int]]]:
        """Backups that carry segments of this one, the newest first."""
        found: dict[str, set[int]] = {}
        for number, (backup, _) in self.source.manifest.segments.items():
            found.setdefault(backup, set()).add(number)
        yield from sorted(found.items(), reverse=True)

    async def _bring(self, numbers: set[int]) -> None:
        following, began = self.following, time.monotonic()
        said, sent = began, 0
        while emails := self.copy.messages_in(numbers, following.before or NUMBER_MAX, WINDOW):
            bringing = Bringing(self.road, self.copy, self.targets)
            await bringing.bring(emails, self.copy.rows_of(emails))
            brought = bringing.brought
            following.before, sent = emails[-1].seq, sent + len(emails)
            following.restored += brought.restored + brought.present
            following.over_quota += brought.over_quota
            following.closed += brought.closed
            following.gone += brought.gone
            following.octets += brought.octets
            write_following(self.layout, following)
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                rate = sent / (said - began)
                say(f"{self.layout.tenant}: {following.restored:,} of {following.messages:,} messages, {rate:,.0f}/s")
