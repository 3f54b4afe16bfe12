"""The ledger process: one log in its own directory."""

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.boundary.host import Host, Service
from bulkhead.holder.keys import load_keys
from bulkhead.ledger.create import SIGNING, SUBJECT
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.handle import HANDLERS, Ledger
from bulkhead.ledger.log import CHECKPOINT, create_log, open_log
from bulkhead.ledger.note import NoteSigner

LOG = Path("log")
DRAIN_SECONDS = 2.0


class LedgerService:
    """A started ledger."""

    def __init__(self, ledger: Ledger, worker: ThreadPoolExecutor) -> None:
        self._ledger, self._worker = ledger, worker

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """Nothing of it can change: the origin is part of every checkpoint."""

    async def stop(self) -> None:
        """Close the log once all that was asked for is in it."""
        await self._ledger.drain(DRAIN_SECONDS)
        await asyncio.get_running_loop().run_in_executor(self._worker, self._ledger.log.close)
        self._worker.shutdown()


async def start(host: Host) -> Service:
    """Open the log, or begin it where there is none yet."""
    keys = load_keys(host)
    _, private = keys.current(SIGNING)
    _, subject = keys.current(SUBJECT)
    origin = host.settings["ledger"]["origin"] or f"bulkhead/{host.tenant}"
    signer = NoteSigner(origin, Ed25519PrivateKey.from_private_bytes(private))
    make_folder()
    files = DirectoryFiles(str(LOG))
    if not (LOG / CHECKPOINT).exists():
        create_log(files, signer, origin)
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log")
    ledger = Ledger(partial(open_log, files, signer, origin), subject, worker)
    host.exchange.serve(ledger, HANDLERS)
    return LedgerService(ledger, worker)


def make_folder() -> None:
    """The log's directory, whose name is durable too."""
    LOG.mkdir(mode=0o700, exist_ok=True)
    above = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(above)
    finally:
        os.close(above)
