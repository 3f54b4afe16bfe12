"""Whether database and files agree: what `fsck` asks, and the sweep at start."""

import logging
from collections.abc import Collection

from bulkhead.holder.database import Database
from bulkhead.identifiers import format_id
from bulkhead.queue.files import MessageFiles
from bulkhead.queue.rows import WAITING

PROBLEMS_MAX = 100
_log = logging.getLogger("bulkhead.queue")


def problems_of(database: Database, files: MessageFiles, receiving: Collection[bytes]) -> tuple[int, list[str]]:
    """How many messages there are, and up to 100 problems in words. `receiving`: messages whose file is being written.

    A file without a row is a problem only where no message is being received: the start sweeps what a crash left.
    """
    problems = [f"queue.sqlite: {row[0]}" for row in database.read("PRAGMA quick_check(20)") if row[0] != "ok"]
    known: set[bytes] = set()
    for queue_id, size, waiting in database.read(
        "SELECT queue_id, header_size + body_size, "
        "(SELECT count(*) FROM recipient WHERE recipient.queue_id = message.queue_id AND state = ?) FROM message",
        (WAITING,),
    ):
        known.add(queue_id)
        name, found = format_id("que", queue_id), files.size(queue_id)
        if found is None:
            problems.append(f"{name}: its file is missing; restore it from a backup")
        elif found != size:
            problems.append(f"{name}: its file has {found} bytes instead of {size}; restore it from a backup")
        if not waiting:
            problems.append(f"{name}: nobody is left to deliver it to")
    for queue_id, path in files.names():
        if queue_id is None or (queue_id not in known and queue_id not in receiving):
            problems.append(f"{path.name}: a file that belongs to no message; restart queue, which removes it")
    return len(known), problems[:PROBLEMS_MAX]


def sweep(database: Database, files: MessageFiles) -> int:
    """Remove files that belong to no message: left by a crash before their commit, or after their removal's."""
    known = {queue_id for (queue_id,) in database.read("SELECT queue_id FROM message")}
    swept = 0
    for queue_id, path in files.names():
        if queue_id is not None and queue_id not in known:
            path.unlink(missing_ok=True)
            swept += 1
    if swept:
        _log.info("removed %d files that belonged to no message", swept)
    return swept
