"""The seed list, and what was hit. An account id is looked up by its HMAC; nothing else of an account is ever here."""

import asyncio
import hmac
import ipaddress
import logging
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from sqlite3 import Connection

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_incident import CanaryCopy, CanaryNetwork, PlantCanaries
from bulkhead.errors import Error, Refused
from bulkhead.holder.database import Database
from bulkhead.holder.outbox import Outbox, note
from bulkhead.identifiers import AccountId

TAG_BYTES = 16
SEEDS_MAX = 200_000  # ids, two a canary; kept in memory
COPIES_MAX = 400
NETWORKS_MAX = 1000  # told apart for one copy and grade
AGAIN_MS = 3_600_000  # how long until the ledger hears again of what it knows
GATHER_SECONDS = 0.2
_Hit = tuple[int, bool, bytes]  # copy, whether the password was right, network
_log = logging.getLogger("bulkhead.incident")


@dataclass(slots=True)
class Seeds:
    """The open list."""

    database: Database
    outbox: Outbox
    key: bytes = field(repr=False)
    _copies: dict[bytes, int] = field(default_factory=dict, repr=False)
    _waiting: Counter[_Hit] = field(default_factory=Counter, repr=False)
    _timer: asyncio.TimerHandle | None = None
    _writing: set["asyncio.Task[None]"] = field(default_factory=set, repr=False)

    def load(self) -> None:
        """Read the list."""
        self._copies = dict(self.database.read("SELECT tag, copy FROM seed"))

    def tag(self, account: AccountId) -> bytes:
        """What an account id is known by here."""
        return hmac.digest(self.key, b"canary 1" + account, "sha256")[:TAG_BYTES]

    async def plant(self, request: PlantCanaries) -> Done:
        """Take canaries into the list, durably; the ledger hears how many, of which copy. Raises Refused (`full`)."""
        tags = [self.tag(one) for canary in request.canaries for one in (canary.account, canary.decoy)]
        if len(self._copies) + len(tags) > SEEDS_MAX:
            raise Refused(f"the list holds {SEEDS_MAX // 2} canaries", code="full")
        done = await self.database.mutate(request, partial(_plant, request=request, tags=tags))
        self.load()
        self.outbox.wake()
        return done

    def find(self, account: AccountId) -> int | None:
        """The number of the copy that this account is a canary of."""
        return self._copies.get(self.tag(account))

    def hit(self, copy: int, network: bytes, *, right: bool) -> None:
        """A canary was used. What comes together is written together, so that a flood costs few writes."""
        key = (copy, right, network)
        self._waiting[key if key in self._waiting or len(self._waiting) < NETWORKS_MAX else (copy, right, b"")] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._flush_later)

    async def flush(self) -> None:
        """Write what was hit."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        hits, self._waiting = self._waiting, Counter()
        if not hits:
            return
        try:
            await self.database.write(partial(_write_hits, hits=hits))
        except Error:
            self._waiting.update(hits)
            raise
        self.outbox.wake()

    def copies(self) -> tuple[CanaryCopy, ...]:
        """Every copy with what was hit of it; never which accounts."""
        return tuple(
            CanaryCopy(name, canaries, since, *self._hits(number))
            for number, name, canaries, since in self.database.read("SELECT * FROM copy ORDER BY number")
        )

    def _hits(self, copy: int) -> tuple[int, int, int, int, tuple[CanaryNetwork, ...]]:
        rows = self.database.read(
            "SELECT right, network, first, last, count FROM hit WHERE copy = ? ORDER BY last DESC", (copy,)
        )
        right = sum(count for is_right, *_, count in rows if is_right)
        wrong = sum(count for is_right, *_, count in rows if not is_right)
        newest = tuple(
            CanaryNetwork(network_text(network), bool(is_right), first, last, count)
            for is_right, network, first, last, count in rows[:20]
        )
        return right, wrong, min((row[2] for row in rows), default=0), max((row[3] for row in rows), default=0), newest

    def _flush_later(self) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self._flush_quietly())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _flush_quietly(self) -> None:
        try:
            await self.flush()
        except Error as error:
            _log.error("a use of a canary is not written yet: %s", error.public)
            self._timer = asyncio.get_running_loop().call_later(1.0, self._flush_later)


def network_text(network: bytes) -> str:
    """A network as auth counts it, as text; empty where it is unknown."""
    if len(network) == 3:
        return f"{ipaddress.IPv4Address(network + bytes(1))}/24"
    return f"{ipaddress.IPv6Address(network + bytes(9))}/56" if len(network) == 7 else ""


def _plant(connection: Connection, *, request: PlantCanaries, tags: Iterable[bytes]) -> Done:
    row = connection.execute("SELECT number FROM copy WHERE name = ?", (request.copy,)).fetchone()
    if row is None:
        (copies,) = connection.execute("SELECT count(*) FROM copy").fetchone()
        if copies >= COPIES_MAX:
            raise Refused(f"the list holds {COPIES_MAX} copies", code="full")
        values = (request.copy, int(time.time() * 1000))
        number = connection.execute("INSERT INTO copy (name, canaries, since) VALUES (?, 0, ?)", values).lastrowid
    else:
        number = row[0]
    connection.executemany("INSERT OR REPLACE INTO seed VALUES (?, ?)", [(tag, number) for tag in tags])
    count = len(request.canaries)
    connection.execute("UPDATE copy SET canaries = canaries + ? WHERE number = ?", (count, number))
    note(connection, "CanariesPlanted", request.stamp.actor, {"copy": request.copy, "count": count})
    return Done()


def _write_hits(connection: Connection, *, hits: Counter[_Hit]) -> None:
    now = int(time.time() * 1000)
    for (copy, right, exact), count in hits.items():
        (networks,) = connection.execute(
            "SELECT count(*) FROM hit WHERE copy = ? AND right = ?", (copy, right)
        ).fetchone()
        key = (copy, right, exact)
        row = connection.execute("SELECT told FROM hit WHERE copy = ? AND right = ? AND network = ?", key).fetchone()
        if row is None and networks >= NETWORKS_MAX:
            key = (copy, right, b"")
            row = connection.execute(
                "SELECT told FROM hit WHERE copy = ? AND right = ? AND network = ?", key
            ).fetchone()
        told = 0 if row is None else row[0]
        tell = now - told >= AGAIN_MS
        connection.execute(
            "INSERT INTO hit VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (copy, right, network) DO UPDATE SET "
            "last = excluded.last, count = count + excluded.count, told = excluded.told",
            (*key, now, now, count, now if tell else told),
        )
        if tell:
            (name,) = connection.execute("SELECT name FROM copy WHERE number = ?", (copy,)).fetchone()
            details = {"copy": name, "password_right": bool(right), "network": network_text(key[2])}
            note(connection, "CanaryUsed", "incident", details)
