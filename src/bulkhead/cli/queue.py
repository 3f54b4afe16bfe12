"""`queue TENANT list|retry`."""

import argparse

from bulkhead.boundary.messages.to_queue import ListQueue, QueuedRow, RetryNow
from bulkhead.cli.output import print_json, print_table, say, size_text, time_text
from bulkhead.cli.road import Road, open_road, stamp, wait_for
from bulkhead.identifiers import format_id


def list_queue(options: argparse.Namespace) -> int:
    """Print what waits."""
    rows = wait_for(_list(open_road(options.directory, options.tenant)))
    if options.json:
        print_json(options.command, {"tenant": options.tenant, "messages": [_document(row) for row in rows]})
        return 0
    head = ("QUEUED", "FROM", "TO", "SIZE", "TRIES", "NEXT", "STATE", "LAST ERROR")
    print_table(
        head,
        [
            (time_text(r.enqueued), r.reverse_path or "<>", r.recipients, size_text(r.size), r.attempts,
             time_text(r.next_due), r.state, r.last_error or "-")
            for r in rows
        ],
    )  # fmt: skip
    return 0


def retry(options: argparse.Namespace) -> int:
    """Make everything due."""
    wait_for(_retry(open_road(options.directory, options.tenant)))
    say(f"{options.tenant}: every message that waits is due now")
    return 0


async def _list(road: Road) -> list[QueuedRow]:
    """All rows. Pages begin at a time, so what was seen already is left out."""
    rows: dict[bytes, QueuedRow] = {}
    after = 0
    async with road:
        while True:
            page = (await road.ask("queue", ListQueue(after))).rows
            fresh = [row for row in page if row.queue_id not in rows]
            rows |= {row.queue_id: row for row in fresh}
            if not fresh:
                return list(rows.values())
            after = page[-1].enqueued


async def _retry(road: Road) -> None:
    async with road:
        await road.ask("queue", RetryNow(stamp()))


def _document(row: QueuedRow) -> dict[str, object]:
    return {
        "queue_id": format_id("que", row.queue_id), "reverse_path": row.reverse_path, "recipients": row.recipients,
        "size": row.size, "enqueued": row.enqueued, "attempts": row.attempts, "next_due": row.next_due,
        "last_error": row.last_error, "state": row.state,
    }  # fmt: skip
