"""The ledger process: one log in its own directory."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bulkhead.boundary.host import Host, Service
from bulkhead.boundary.messages.backup import BeginBackupBase
from bulkhead.errors import IntegrityError
from bulkhead.holder.backup import Backups
from bulkhead.holder.keys import open_key_file
from bulkhead.ledger.backup import LedgerSource
from bulkhead.ledger.create import LOG, SUBJECT, origin_of, signer_of
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.handle import HANDLERS, Ledger
from bulkhead.ledger.log import open_log

DRAIN_SECONDS = 2.0


class LedgerService:
    """A started ledger."""

    def __init__(self, ledger: Ledger, worker: ThreadPoolExecutor) -> None:
        self._ledger, self._worker = ledger, worker

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """Nothing of it can change: the origin is part of every checkpoint."""

    async def stop(self) -> None:
        """Close the log once all that was asked for is in it."""
        if self._ledger.backups is not None:
            await self._ledger.backups.stop()
        await self._ledger.drain(DRAIN_SECONDS)
        await asyncio.get_running_loop().run_in_executor(self._worker, self._ledger.log.close)
        self._worker.shutdown()


async def start(host: Host) -> Service:
    """Open the log. Raises IntegrityError where it is gone: history does not begin anew by itself."""
    keys = open_key_file(host)
    _, subject = keys.current(SUBJECT)
    origin = origin_of(host.tenant, host.settings["ledger"]["origin"])
    signer = signer_of(keys.keys, origin)
    try:
        files = DirectoryFiles(str(LOG))
    except FileNotFoundError:
        raise IntegrityError(f"{LOG}/ is missing; restore the ledger from its backup") from None
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log")
    ledger = Ledger(partial(open_log, files, signer, origin), subject, worker)

    async def take(_: BeginBackupBase) -> LedgerSource:
        return LedgerSource(files, worker, ledger.log.size)

    ledger.backups = Backups(host, take, keys)
    host.exchange.serve(ledger, HANDLERS)
    return LedgerService(ledger, worker)
