"""The records of auth and keyring as the command line counts them: pages folded into one."""

from collections import Counter
from dataclasses import dataclass, field

from bulkhead.boundary.messages.census import PROBLEMS_MAX, AccountRecords, RecordPage
from bulkhead.boundary.messages.to_auth import CheckAuth
from bulkhead.boundary.messages.to_keyring import CheckKeyring
from bulkhead.cli.road import Road
from bulkhead.records.credential import State
from bulkhead.records.record import Kind

PAGE_SECONDS = 120.0
Sort = tuple[int, str, int, int]
"""Kind of the record, scheme, state, key version."""


@dataclass(slots=True)
class Opened:
    """faults: records that do not open, all of them; problems: the first ones in words."""

    counts: Counter[Sort] = field(default_factory=Counter)
    faults: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def records(self) -> int:
        """How many there were."""
        return self.counts.total()

    def of_kind(self, kind: Kind) -> int:
        """How many of one kind."""
        return sum(count for sort, count in self.counts.items() if sort[0] == kind)

    def revoked(self) -> int:
        """How many halves nobody is admitted by any more."""
        return sum(count for sort, count in self.counts.items() if sort[2] == State.REVOKED.value)

    def add(self, reply: RecordPage | AccountRecords) -> None:
        """One reply more."""
        for row in reply.counts:
            self.counts[row.kind, row.scheme, row.state, row.key_version] += row.count
        self.faults += reply.faults
        self.problems += reply.problems[: PROBLEMS_MAX - len(self.problems)]


async def open_auth(road: Road) -> Opened:
    """Every record of auth. Raises as a road does."""
    opened, after = Opened(), b""
    while True:
        page = await road.ask("auth", CheckAuth(after), timeout=PAGE_SECONDS)
        opened.add(page)
        if not (after := page.next):
            return opened


async def open_keyring(road: Road, *, signatures: bool = False) -> Opened:
    """Every record of keyring. signatures: verify those of bindings too. Raises as a road does."""
    opened, after = Opened(), b""
    while True:
        page = await road.ask("keyring", CheckKeyring(after, signatures=signatures), timeout=PAGE_SECONDS)
        opened.add(page)
        if not (after := page.next):
            return opened


async def check_keyring(road: Road) -> Opened:
    """Every record of keyring, with the signatures of its bindings."""
    return await open_keyring(road, signatures=True)
