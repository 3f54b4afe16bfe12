"""queue's part of a restore, offline: messages that were gone before their text was read are not queued."""

from pathlib import Path

from bulkhead.holder.database import Database
from bulkhead.queue.files import MessageFiles
from bulkhead.queue.rows import DATABASE, MIGRATIONS


async def finish(home: Path) -> int:
    """Remove rows of messages without their file; how many messages are left."""
    files = MessageFiles(home)
    files.prepare()
    database = Database(home / DATABASE, MIGRATIONS, secure_delete=True)
    try:
        known = [bytes(row[0]) for row in database.read("SELECT queue_id FROM message")]
        gone = [(queue_id,) for queue_id in known if files.size(queue_id) is None]
        await database.write(lambda c: c.executemany("DELETE FROM message WHERE queue_id = ?", gone))
        return len(known) - len(gone)
    finally:
        await database.close()
