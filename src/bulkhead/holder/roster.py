"""The roster in force in one compartment: taken only from the roots that are pinned here, one version after the other.

none       no order is taken
restored   version n of a backup, which others may have followed: stops only, until n + 1 comes, or the one behind the
           newest that the log names
version n  durable, once the ledger has it; then only n + 1 that names the hash of n. It is never forgotten
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.orders import InstallRosterBase, RosterState
from bulkhead.errors import Refused
from bulkhead.holder import order_rows as rows
from bulkhead.holder.database import Database
from bulkhead.holder.order_check import Known
from bulkhead.holder.witness import witness
from bulkhead.records.roster import NO_ROSTER, RootKey, Roots, check_next, decode_roster, roster_hash


@dataclass(frozen=True, slots=True)
class Pinned:
    """Whose orders are executed."""

    tenant: str
    roots: Roots
    audience: str = ""  # the name of the console whose staff sessions are taken

    @classmethod
    def of(cls, tenant: str, settings: Mapping[str, Any]) -> "Pinned":
        """From a compartment's settings. Raises IntegrityError."""
        pinned = settings.get("pinned", {})
        keys = tuple(RootKey.parse(text) for text in pinned.get("roster_roots", ()))
        return cls(
            tenant,
            Roots(keys, int(pinned.get("roster_threshold", 1))),
            str(settings.get("names", {}).get("console", "")),
        )


NOBODY = Pinned("", Roots())


class RosterInForce:
    """known: the roster, or None. floor: after a restore, the version from which on more than stops are ordered."""

    def __init__(self, pinned: Pinned, database: Database, exchange: Exchange) -> None:
        self._pinned, self._database, self._exchange = pinned, database, exchange
        self.tenant = pinned.tenant
        self._installing = asyncio.Lock()
        row = database.first("SELECT data, hash FROM roster")
        self.known = None if row is None else Known(decode_roster(row[0]), row[1])
        self.floor = int(database.first("SELECT floor FROM order_clock")[0])

    @property
    def restored(self) -> bool:
        """Whether it came from a backup, or follows one that did, and may still be an old one."""
        return self.known is not None and self.known.roster.version < self.floor

    def state(self, *, whole: bool = False) -> RosterState:
        """What is in force; with its octets where `whole`."""
        if self.known is None:
            return RosterState(0, NO_ROSTER, False)
        roster = self.known.roster
        return RosterState(
            roster.version, self.known.hash, roster.policy.local_refused, roster.encode() if whole else b""
        )

    async def install(self, request: InstallRosterBase) -> RosterState:
        """The next roster, once the ledger has it. Raises Refused as InstallRosterBase says."""
        async with self._installing:
            new, digest = decode_roster(request.roster), roster_hash(request.roster)
            if self.known is not None and self.known.hash == digest:
                return self.state()
            self._check_roots()
            roots = self._pinned.roots
            roots.check(request.roster, [(one.root, one.signature) for one in request.signatures])
            version, before = (0, NO_ROSTER) if self.known is None else (self.known.roster.version, self.known.hash)
            check_next(new, self._pinned.tenant, version, before)
            ident = hashlib.sha256(b"roster/" + self._exchange.me.compartment.encode() + digest).digest()[:16]
            details: dict[str, str | int | bool | None] = {
                "version": new.version, "sha256": digest.hex(), "officers": len(new.officers),
            }  # fmt: skip
            await witness(self._exchange, Stamp.fresh("roster", request_id=ident), "RosterInstalled", details)
            values = (new.version, digest, request.roster, roots.hash)
            await self._database.write(partial(rows.put_roster, values=values))
            self.known = Known(new, digest)
            return self.state()

    def _check_roots(self) -> None:
        row = self._database.first("SELECT roots FROM roster")
        if row is not None and row[0] != self._pinned.roots.hash:
            raise Refused(
                "pinned.roster_roots are not those of the roster in force: put them back as they were",
                code="roots-changed",
            )
