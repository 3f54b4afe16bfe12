"""queue's part of a restore, offline: what was gone, or whose account is, is not queued; a stop since then holds."""

from collections.abc import Iterable
from pathlib import Path
from sqlite3 import Connection

from bulkhead.holder import stop
from bulkhead.holder.database import Database
from bulkhead.identifiers import AccountId
from bulkhead.queue.files import MessageFiles
from bulkhead.queue.rows import DATABASE, MIGRATIONS, destroy
from bulkhead.queue.state import clock


async def finish(home: Path, dead: Iterable[tuple[AccountId, str]] = (), stopped: tuple[int, bool] = (0, False)) -> int:
    """Remove rows of messages without their file, and what was queued of accounts that died since; what is left.

    dead: their addresses. stopped: epoch of the newest stop of outbound mail since, or of its lifting, and which.
    """
    files = MessageFiles(home)
    files.prepare()
    database = Database(home / DATABASE, MIGRATIONS, secure_delete=True)
    try:
        known = [bytes(row[0]) for row in database.read("SELECT queue_id FROM message")]
        gone = [(queue_id,) for queue_id in known if files.size(queue_id) is None]

        now = clock()

        def work(connection: Connection) -> list[bytes]:
            connection.executemany("DELETE FROM message WHERE queue_id = ?", gone)
            stop.replay(connection, stopped[0], stopped=stopped[1])
            return [queue_id for account, address in dead for queue_id in destroy(connection, account, address, now)]

        destroyed = await database.write(work)
        for queue_id in destroyed:
            files.remove(queue_id)
        return len(known) - len(gone) - len(destroyed)
    finally:
        await database.close()
