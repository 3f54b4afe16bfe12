"""The ledger process: one log in its own directory."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bulkhead.boundary.host import Host, Service
from bulkhead.boundary.messages.backup import BeginBackupBase
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_ledger import AppendEvents
from bulkhead.errors import Error, IntegrityError
from bulkhead.holder.backup import Backups
from bulkhead.holder.keys import open_key_file
from bulkhead.holder.shipping import Shipping
from bulkhead.holder.standby import is_wanted
from bulkhead.ledger.appending import Ledger
from bulkhead.ledger.backup import LedgerSource
from bulkhead.ledger.cosigned import Cosignatures
from bulkhead.ledger.create import LOG, SUBJECT, origin_of, signer_of
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.handle import HANDLERS
from bulkhead.ledger.log import open_log
from bulkhead.ledger.own import OWN, OwnEntries, alive
from bulkhead.ledger.standby import ShippedFiles, ship

DRAIN_SECONDS = 2.0
TICK_SECONDS = 5.0


class LedgerService:
    """A started ledger."""

    def __init__(self, ledger: Ledger, worker: ThreadPoolExecutor, host: Host) -> None:
        self._ledger, self._worker, self._own = ledger, worker, OwnEntries(host, ledger)
        self._alive_seconds = host.settings["ledger"]["alive_seconds"]
        self._task = asyncio.get_running_loop().create_task(self._stay_alive())

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """The witness and the times; not the origin, which is part of every checkpoint."""
        if self._ledger.cosignatures is not None:
            self._ledger.cosignatures.pin(settings["pinned"]["ledger_witness"])
        self._ledger.lateness.seconds = settings["ledger"]["late_seconds"]
        self._alive_seconds = settings["ledger"]["alive_seconds"]

    async def stop(self) -> None:
        """Close the log once all that was asked for is in it."""
        self._task.cancel()
        self._own.stop()
        if self._ledger.backups is not None:
            await self._ledger.backups.stop()
        await self._ledger.drain(DRAIN_SECONDS)
        await asyncio.get_running_loop().run_in_executor(self._worker, self._ledger.log.close)
        self._worker.shutdown()

    async def _stay_alive(self) -> None:
        """A log that says nothing for long is a log that is withheld: so it says that it lives."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if not self._alive_seconds or time.monotonic() < self._ledger.written + self._alive_seconds:
                continue
            with contextlib.suppress(Error):  # tried again; whoever watches sees that it is missing
                await self._ledger.append(OWN, AppendEvents(Stamp.fresh("ledger"), (alive(),)))


async def start(host: Host) -> Service:
    """Open the log. Raises IntegrityError where it is gone: history does not begin anew by itself."""
    keys = open_key_file(host)
    _, subject = keys.current(SUBJECT)
    origin = origin_of(host.tenant, host.settings["ledger"]["origin"])
    signer = signer_of(keys.keys, origin)
    try:
        files = ShippedFiles(str(LOG), Shipping(None)) if is_wanted(host) else DirectoryFiles(str(LOG))
    except FileNotFoundError:
        raise IntegrityError(f"{LOG}/ is missing; restore the ledger from its backup") from None
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log")
    ledger = Ledger(
        partial(open_log, files, signer, origin), subject, worker, late_seconds=host.settings["ledger"]["late_seconds"]
    )
    witness = host.settings["pinned"]["ledger_witness"]
    ledger.cosignatures = Cosignatures(files, signer.verifier, witness)

    async def take(_: BeginBackupBase) -> LedgerSource:
        return LedgerSource(files, worker, ledger.log.size)

    ledger.backups = Backups(host, take, keys)
    if isinstance(files, ShippedFiles):
        ship(host, ledger, ledger.backups, keys, files, worker)
    host.exchange.serve(ledger, HANDLERS)
    return LedgerService(ledger, worker, host)
