"""The directory process."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from bulkhead.boundary.host import Host, Service
from bulkhead.directory.book import DirectoryBook, now_ms
from bulkhead.directory.create import DECOY, TOMBSTONE
from bulkhead.directory.elsewhere import Elsewhere
from bulkhead.directory.guesses import UNKNOWN_PER_MINUTE, Guesses
from bulkhead.directory.handle import HANDLERS, Directory, account_of_request, check_order, is_first_status
from bulkhead.directory.provision import Provisioning
from bulkhead.directory.reach import Reach
from bulkhead.directory.schema import DATABASE, MIGRATIONS
from bulkhead.directory.uploads import Uploads
from bulkhead.errors import ConfigError, PeerError
from bulkhead.holder.accesses import Accesses
from bulkhead.holder.database import Database
from bulkhead.holder.keys import open_key_file
from bulkhead.holder.orders import Orders
from bulkhead.holder.outbox import Outbox
from bulkhead.holder.roster import Pinned
from bulkhead.holder.standby import of_database
from bulkhead.identifiers import parse_address


class DirectoryService:
    """A started directory."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def reload(self, settings: Mapping[str, Any]) -> None:
        """New default quota, postmaster and limit of guesses."""
        quota, postmaster = _settings(settings)
        self._directory.book.default_quota, self._directory.reach.postmaster = quota, postmaster
        self._directory.guesses.limit = _unknown(settings)
        self._directory.reach.elsewhere.most = _elsewhere(settings)
        self._directory.accesses.configure(settings)

    async def stop(self) -> None:
        """Write what waits."""
        self._directory.orders.stop()
        self._directory.outbox.stop()
        await self._directory.accesses.close()
        await self._directory.backups.stop()
        await self._directory.book.database.close()


async def start(host: Host) -> Service:
    """Open keys and tables, then serve."""
    keys = open_key_file(host)
    quota, postmaster = _settings(host.settings)
    database = Database(Path(DATABASE), MIGRATIONS, secure_delete=True)
    pinned = host.settings.get("pinned", {}).get("binding_key", "")
    book = DirectoryBook(database, keys.current(DECOY)[1], keys.current(TOMBSTONE)[1], quota, host.tenant, pinned)
    elsewhere = Elsewhere(database, keys.current(TOMBSTONE)[1], host.tenant, now_ms, _elsewhere(host.settings))
    directory = Directory(
        book,
        Reach(database, elsewhere, postmaster),
        Outbox(database, host.exchange),
        host.exchange,
        Guesses(_unknown(host.settings)),
    )
    directory.backups = of_database(host, database, keys)
    directory.accesses = Accesses.of(host, database, keys)
    directory.orders = Orders(
        Pinned.of(host.tenant, host.settings), database, directory.outbox, host.exchange,
        check=partial(check_order, directory), exempt=partial(is_first_status, directory),
        about=partial(account_of_request, directory),
    )  # fmt: skip
    directory.provisioning = Provisioning(book, elsewhere, directory.outbox, host.exchange, directory.orders)
    directory.uploads = Uploads(book, directory.provisioning)
    directory.orders.serve(directory, HANDLERS)
    return DirectoryService(directory)


def _unknown(settings: Mapping[str, Any]) -> int:
    return int(settings["directory"].get("unknown_per_worker_minute", UNKNOWN_PER_MINUTE))


def _elsewhere(settings: Mapping[str, Any]) -> int:
    return int(settings["directory"].get("forwards_elsewhere_max", 0))


def _settings(settings: Mapping[str, Any]) -> tuple[int, str]:
    """Default quota and postmaster's address. Raises ConfigError."""
    section = settings["directory"]
    postmaster = str(section["postmaster"])
    if postmaster:
        try:
            parse_address(postmaster)
        except PeerError:
            raise ConfigError(
                f"directory.postmaster = {postmaster!r}: must be an address of this tenant, or empty"
            ) from None
    return int(section["default_quota_bytes"]), postmaster
