"""`restore-mailbox`: what is gone from one mailbox, or one folder of it, comes back from a backup into a running cell.

Of the backup, `store`'s stream is opened, with both recovery keys: sizes, dates, flags, sealed names and sealed mail.
The address is asked of the running cell. What comes back is chosen by EmailId; nothing that the account has is touched.
"""

import argparse
import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages.to_directory import AccountStatus
from bulkhead.boundary.messages.to_ledger import RecordRestore
from bulkhead.boundary.messages.to_store import FOUND_MAX, ExportNames, FindMessages, Found, NamedRow, Role
from bulkhead.cli.account_steps import require_account
from bulkhead.cli.backup_store import Shelf
from bulkhead.cli.backup_target import open_target
from bulkhead.cli.output import print_json, print_table, say, size_text
from bulkhead.cli.recovery import read_recovery_keys
from bulkhead.cli.restore_files import Source, write_database, write_segments
from bulkhead.cli.restore_mail import Bringing, Brought, require_own, scratch_of
from bulkhead.cli.road import Road, stamp, wait_for
from bulkhead.config import Tenant, load_installation
from bulkhead.errors import ConfigError, Refused
from bulkhead.identifiers import AccountId, Address, EmailId, format_id, parse_address
from bulkhead.records.backup import PrivateKeys
from bulkhead.store.backup_copy import BackupCopy, CopiedEmail, CopiedMailbox, CopiedRow

_ROLES = {
    Role.INBOX: "INBOX", Role.DRAFTS: "drafts", Role.SENT: "sent", Role.JUNK: "junk", Role.TRASH: "trash",
    Role.ARCHIVE: "archive",
}  # fmt: skip
SYSTEM = 0x1F


def restore_mailbox(options: argparse.Namespace) -> int:
    """Bring it back, or say what would come."""
    installation = load_installation(Path(options.directory))
    tenant, address = installation.tenant(options.tenant), parse_address(options.address)
    both = read_recovery_keys(Path(options.partner_key), Path(options.operator_key), tenant.id)
    shelf = Shelf(open_target(installation, options.source), tenant.id)
    manifest = shelf.chosen(options.at)
    require_own(tenant, shelf, manifest)
    source = Source(shelf, manifest, PrivateKeys(both.partner.private_key, both.operator.private_key))
    with scratch_of(installation.directory, tenant.id) as folder:
        home = folder / manifest.backup
        home.mkdir(mode=0o700)
        say(f"{tenant.id}: store's database of {manifest.backup} is being opened")
        write_database(source, "store", home)
        road = Road(installation, tenant)
        work = _Mailbox(road, source, BackupCopy(home), home, address)
        try:
            report = wait_for(work.run(options.folder, only_list=options.list))
        finally:
            work.copy.close()
    _tell(options, tenant, source.manifest.backup, report)
    return 0


@dataclass(slots=True)
class _Report:
    """folders: id, role, messages of the backup and those of them that are gone, octets of the latter."""

    folders: list[dict[str, Any]] = field(default_factory=list)
    brought: Brought = field(default_factory=Brought)


@dataclass(slots=True)
class _Missing:
    """Messages to bring back. gone: by folder, how many and their octets. numbers: as they arrived."""

    gone: dict[int, tuple[int, int]]
    numbers: list[int] = field(default_factory=list)
    segments: set[int] = field(default_factory=set)

    def add(
        self, emails: list[CopiedEmail], rows_of: Callable[[list[CopiedEmail]], dict[int, list[CopiedRow]]]
    ) -> None:
        """Some more."""
        rows = rows_of(emails)
        for email in emails:
            self.numbers.append(email.seq)
            self.segments.add(email.segment)
            for mailbox in [row.mailbox for row in rows[email.seq] if row.mailbox in self.gone]:
                count, octets = self.gone[mailbox]
                self.gone[mailbox] = count + 1, octets + email.copy.size


@dataclass(slots=True)
class _Mailbox:
    """One account's mail on its way back."""

    road: Road
    source: Source
    copy: BackupCopy
    home: Path
    address: Address

    async def run(self, folder: str, *, only_list: bool) -> _Report:
        """Find what is gone, note it, bring it."""
        async with self.road:
            account = await self._account()
            folders = self._folders(account, folder)
            missing, report = await self._missing(account, folders), _Report()
            report.folders = [_row(one, *missing.gone[one.seq]) for one in folders]
            if missing.numbers and not only_list:
                digest = sha256(self.source.manifest.encode()).digest()
                record = RecordRestore(stamp(), self.source.manifest.backup, digest, len(missing.numbers), account)
                await self.road.ask("ledger", record)
                await asyncio.to_thread(self._write_segments, missing.segments)
                await self._bring(account, missing, report)
            return report

    async def _account(self) -> AccountId:
        row = await require_account(self.road, self.address)
        if row.status >= AccountStatus.CANCELLED:
            raise Refused(f"{self.address} is cancelled: its keys are destroyed", code="no-such-account")
        return AccountId(row.account)

    def _folders(self, account: AccountId, wanted: str) -> list[CopiedMailbox]:
        """Those asked for. Raises ConfigError."""
        known = self.copy.mailboxes(account)
        if not known:
            raise ConfigError(f"backup {self.source.manifest.backup} has no account {self.address}: take a later one")
        found = [one for one in known if wanted in ("", format_id("mbx", one.mailbox), _ROLES.get(one.role))]
        if not found:
            raise ConfigError(f"the backup has no folder {wanted!r} of {self.address}; see --list")
        return found

    async def _missing(self, account: AccountId, folders: list[CopiedMailbox]) -> "_Missing":
        """Messages of these folders that are in no mailbox of the account now."""
        found = _Missing({one.seq: (0, 0) for one in folders})
        after = 0
        while emails := self.copy.messages_of(account, list(found.gone), after, FOUND_MAX):
            after = emails[-1].seq
            request = FindMessages(account, tuple(EmailId(email.copy.email) for email in emails))
            states = (await self.road.ask("store", request)).states
            found.add(
                [one for one, state in zip(emails, states, strict=True) if state != Found.MAILBOX], self.copy.rows_of
            )
        return found

    def _write_segments(self, numbers: set[int]) -> None:
        wanted: dict[str, set[int]] = {}
        for number in numbers:
            wanted.setdefault(self.source.manifest.segments[number][0], set()).add(number)
        for backup, some in wanted.items():
            write_segments(self.source, backup, some, self.home)

    async def _bring(self, account: AccountId, missing: "_Missing", report: _Report) -> None:
        bringing = Bringing(self.road, self.copy, flags=await self._keywords(account), brought=report.brought)
        for start in range(0, len(missing.numbers), FOUND_MAX):
            emails = self.copy.messages(missing.numbers[start : start + FOUND_MAX])
            rows = {
                seq: [row for row in places if row.mailbox in missing.gone]
                for seq, places in self.copy.rows_of(emails).items()
            }
            for seq in {row.mailbox for places in rows.values() for row in places} - bringing.targets.keys():
                await bringing.find_target(account, seq)
            await bringing.bring(emails, rows)

    async def _keywords(self, account: AccountId) -> Callable[[AccountId, int], int]:
        """Flags as the account has its keywords now; those that it has not are left out."""
        now = {row.tag: row for row in (await self.road.ask("store", ExportNames(account))).rows}
        by_bit = {row.bit: row for row in now.values()}
        bits: dict[int, int] = {}
        for bit, tag in self.copy.keywords(account).items():
            found: NamedRow | None = now.get(tag) or by_bit.get(bit)  # sealed anew: a bit stays its keyword's
            if found is not None:
                bits[bit] = found.bit

        def flags(_: AccountId, old: int) -> int:
            return (old & SYSTEM) | sum(1 << new for bit, new in bits.items() if old >> bit & 1)

        return flags


def _row(one: CopiedMailbox, gone: int, octets: int) -> dict[str, Any]:
    """For --json."""
    return {
        "folder": format_id("mbx", one.mailbox), "role": _ROLES.get(one.role), "messages": one.messages, "gone": gone,
        "octets": octets,
    }  # fmt: skip


def _tell(options: argparse.Namespace, tenant: Tenant, backup: str, report: _Report) -> None:
    brought = report.brought
    if options.json:
        document = {
            "tenant": tenant.id, "address": options.address, "backup": backup, "folders": report.folders,
            "restored": brought.restored, "over_quota": brought.over_quota, "closed": brought.closed,
        }  # fmt: skip
        print_json(options.command, document)
        return
    print_table(
        ("FOLDER", "ROLE", "MESSAGES", "GONE", "SIZE"),
        [(r["folder"], r["role"] or "-", r["messages"], r["gone"], size_text(r["octets"])) for r in report.folders],
    )
    if options.list:
        return
    say(f"{options.address}: {brought.restored} messages are back, from {backup}")
    if brought.over_quota:
        say(f"{options.address}: {brought.over_quota} do not fit the quota: raise it and run this again")
    if brought.closed:
        say(f"{options.address}: {brought.closed} are sealed to a mailbox key that was destroyed since: none opens")
