"""Canaries of one backup or export: accounts that exist while it is made; a use of a name says which copy leaked.

    noted      their addresses and ids in a private file of this host, before the first exists
    planted    incident knows them under the copy's id, then they are made as any account is
    carried    the holders' snapshots have them
    withdrawn  destroyed in the live cell like a cancelled account, their names purged; then the file goes

A run that is killed leaves the file, and the next one, backup or export, withdraws what is in it. Who makes a copy
holds the lock of backups meanwhile. An address that a subscriber has by then is left alone: only the noted id goes.
"""

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from bulkhead.boundary.processes import OPERATOR_CONSOLE
from bulkhead.cli.account_steps import find_account, forget_address, withdraw_account
from bulkhead.cli.backup_notes import FOLDER
from bulkhead.cli.canaries import Canary, make_canary, plant_in_copy
from bulkhead.cli.output import say
from bulkhead.cli.road import Road
from bulkhead.config import write_file
from bulkhead.errors import ConfigError, Error, PeerError
from bulkhead.identifiers import AccountId, Address, format_id, parse_address, parse_id
from bulkhead.supervisor.layout import Layout

GUESSABLE = 0.5  # the share with a password from the top of lists
FILE_MAX = 1 << 16


@dataclass(slots=True)
class CopyCanaries:
    """Those of one copy. copy: the id of the backup or export."""

    road: Road
    copy: str
    made: int = 0
    _planted: dict[str, str] = field(default_factory=dict)  # by address the id

    async def plant(self, count: int) -> bool:
        """Plant so many; whether they are in the copy that is made now.

        What keeps them from being planted is said, and does not keep the copy from being made.
        """
        await self.withdraw()  # of a run that was killed
        tenant = self.road.tenant.id
        if not count or _path(self.road.layout).exists():
            return False
        try:
            await plant_in_copy(self.road, self.copy.lower(), count, GUESSABLE, self._make)
        except Error as error:
            say(f"{tenant}: {self.copy} has no canaries, or fewer: {error.public}")
            return False
        return True

    async def withdraw(self) -> bool:
        """Destroy them in the live cell, and forget their names; whether none is left.

        What fails is said, and the next run tries again.
        """
        path, actor = _path(self.road.layout), self.copy if self.made else OPERATOR_CONSOLE  # else of another copy
        try:
            for address, account in _read(path):
                await withdraw_account(self.road, address, "", made=account, actor=actor)
                known = await find_account(self.road, address)
                if known is not None and known.account == account:
                    await forget_address(self.road, address, "")
            path.unlink(missing_ok=True)
            return True
        except Error as error:
            say(f"{self.road.tenant.id}: canaries of a copy are not withdrawn yet: {error.public}")
            return False

    async def _make(self, canary: Canary) -> None:
        self._planted[str(canary.address)] = format_id("acc", canary.account)
        path = _path(self.road.layout)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_file(path, json.dumps(self._planted), replace=True, mode=0o600)
        await make_canary(self.road, canary)
        self.made += 1


def _path(layout: Layout) -> Path:
    return layout.directory / FOLDER / f"{layout.tenant}.canaries"


def _read(path: Path) -> list[tuple[Address, AccountId]]:
    """Raises ConfigError on a file that is none of ours."""
    with contextlib.suppress(FileNotFoundError):
        with path.open("rb") as file:
            try:
                rows = json.loads(file.read(FILE_MAX))
                return [(parse_address(address), AccountId(parse_id("acc", ident))) for address, ident in rows.items()]
            except (AttributeError, TypeError, ValueError, RecursionError, PeerError):
                raise ConfigError(
                    f"{path} does not say by their ids which accounts are canaries: cancel those of its addresses that "
                    "are no subscriber's (account cancel), and remove it"
                ) from None
    return []
