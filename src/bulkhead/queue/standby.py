"""What queue ships to a standby: each message's file ahead of the commit that names it, then the pages."""

from functools import partial
from pathlib import Path

from bulkhead.boundary.host import Host
from bulkhead.boundary.messages.backup import BeginBackupBase
from bulkhead.boundary.messages.standby import BeginStandbyBase
from bulkhead.holder.backup import Source
from bulkhead.holder.shipping import Shipping
from bulkhead.holder.standby import COPY, Standby, attach, is_wanted, settle, start
from bulkhead.queue.backup import QueueSource
from bulkhead.queue.state import Queue


async def _take(queue: Queue, shipping: Shipping, request: BeginStandbyBase) -> Source:
    await start(queue.database, shipping)
    source = QueueSource(queue, BeginBackupBase(request.stream), COPY)
    await settle(queue.database)
    return source


def ship(host: Host, queue: Queue) -> None:
    """Have this queue ship what it changes, where the tenant has a standby."""
    if queue.backups is None or not is_wanted(host):
        return
    shipping = queue.files.shipping = Shipping(Path(queue.database.path))
    standby = Standby(host, queue.backups, shipping, partial(_take, queue, shipping))
    queue.lease = standby.lease
    attach(standby, queue.backups, queue.database)
