"""`account undelete`: what a subscriber deleted comes back, by ids and dates; nobody reads it."""

import argparse
import time
from typing import Any

from bulkhead.boundary.messages.to_directory import AccountStatus
from bulkhead.boundary.messages.to_ledger import RecordUndelete
from bulkhead.boundary.messages.to_store import DeletedGroup, ListDeleted, Role, UndeleteMessages
from bulkhead.cli.account_steps import require_account
from bulkhead.cli.output import print_json, print_table, say, size_text, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.errors import Refused
from bulkhead.identifiers import AccountId, MailboxId, format_id, parse_address, parse_id

DAY = 86_400
_ROLES = {
    Role.INBOX: "INBOX", Role.DRAFTS: "drafts", Role.SENT: "sent", Role.JUNK: "junk", Role.TRASH: "trash",
    Role.ARCHIVE: "archive",
}  # fmt: skip


def undelete(options: argparse.Namespace) -> int:
    """List what can come back, or bring it back."""
    return wait_for(_undelete(options, open_road(options.directory, options.tenant)))


async def _undelete(options: argparse.Namespace, road: Road) -> int:
    address = parse_address(options.address)
    folder = MailboxId(parse_id("mbx", options.folder)) if options.folder else None
    since = int(time.time()) - options.days * DAY if options.days else 0
    async with road:
        row = await require_account(road, address)
        if row.status >= AccountStatus.CANCELLED:
            raise Refused(f"{address} is cancelled: its keys are destroyed", code="no-such-account")
        account = AccountId(row.account)
        groups = (await road.ask("store", ListDeleted(account, since))).groups
        groups = tuple(group for group in groups if folder in (None, group.mailbox))
        returned = 0
        if not options.list and groups:
            count = sum(group.messages for group in groups)
            await road.ask("ledger", RecordUndelete(stamp(), account, count, options.reason))
            for group in groups:
                returned += await _bring_back(road, account, group, since)
    _tell(options, groups, returned)
    return 0


async def _bring_back(road: Road, account: AccountId, group: DeletedGroup, since: int) -> int:
    returned, more = 0, True
    while more:
        reply = await road.ask("store", UndeleteMessages(stamp(), account, group.mailbox, since))
        returned, more = returned + reply.messages, reply.more
        if more and group.gone:  # it exists again, under another id
            rest = (await road.ask("store", ListDeleted(account, since))).groups
            more = group.mailbox in {one.mailbox for one in rest}
    return returned


def _tell(options: argparse.Namespace, groups: tuple[DeletedGroup, ...], returned: int) -> None:
    rows: list[dict[str, Any]] = [
        {
            "folder": format_id("mbx", group.mailbox), "role": _ROLES.get(group.role), "gone": group.gone,
            "messages": group.messages, "octets": group.octets, "first": group.first * 1000, "last": group.last * 1000,
        }
        for group in groups
    ]  # fmt: skip
    if options.json:
        document = {"tenant": options.tenant, "address": options.address, "returned": returned, "folders": rows}
        print_json(options.command, document)
        return
    head = ("FOLDER", "ROLE", "EXISTS", "MESSAGES", "SIZE", "DELETED FROM", "UNTIL")
    print_table(
        head,
        [
            (row["folder"], row["role"], "no" if row["gone"] else "yes", row["messages"], size_text(row["octets"]),
             time_text(row["first"]), time_text(row["last"]))
            for row in rows
        ],
    )  # fmt: skip
    if not options.list:
        say(f"{options.address}: {returned} messages are back")
