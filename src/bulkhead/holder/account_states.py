"""Whether an account's credentials admit anybody, as auth and keyring keep it: each for itself, by the same table.

An account is suspended, or its login is switched off, or both, each by its own acts: taking one back leaves the other
as it is. So an order that activates an account does not open a login that is switched off, whatever carries it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Protocol

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.errors import Refused
from bulkhead.holder.outbox import note
from bulkhead.identifiers import AccountId


class AccountState:
    """1 to 5 are asked for (SetHalfState, SetLoginState); 1 to 4 and BOTH are kept. 3 is a tombstone and stays."""

    OPEN = 1  # asked: suspended no more
    SUSPENDED = 2
    DESTROYED = 3
    SWITCHED_OFF = 4  # its login
    SWITCHED_ON = 5
    BOTH = 6  # suspended, and switched off


_ASKED = (
    AccountState.OPEN, AccountState.SUSPENDED, AccountState.DESTROYED, AccountState.SWITCHED_OFF,
    AccountState.SWITCHED_ON,
)  # fmt: skip
_BITS = {AccountState.SUSPENDED: 2, AccountState.SWITCHED_OFF: 4, AccountState.BOTH: 6}


def next_state(kept: int, asked: int) -> int:
    """What is kept then. Raises Refused (`bad-state`, `tombstone`)."""
    if asked not in _ASKED:
        raise Refused("a state is 1 open, 2 suspended, 3 destroyed, 4 switched off, 5 switched on", code="bad-state")
    if asked == AccountState.DESTROYED:
        return AccountState.DESTROYED
    if kept == AccountState.DESTROYED:
        raise Refused("the account was destroyed", code="tombstone")
    bits = _BITS.get(kept, 0)
    match asked:
        case AccountState.OPEN:
            bits &= ~2
        case AccountState.SWITCHED_ON:
            bits &= ~4
        case _:
            bits |= asked
    return bits or AccountState.OPEN


class StateRequest(Protocol):
    """SetHalfState, SetLoginState."""

    @property
    def stamp(self) -> Stamp:
        """Who asks."""

    @property
    def account(self) -> AccountId:
        """Of whom."""

    @property
    def state(self) -> int:
        """One of AccountState."""


@dataclass(frozen=True, slots=True)
class AccountTable:
    """`account` of one holder. key: its column. absent: the state of who has no row, 0: there is no such account.

    ends: tables whose rows of a destroyed account go. reseal: a half's record (record, bid, g) as one that admits
    somebody, or nobody; None: it stays as it is. current: version and key that halves are sealed under.
    """

    key: str
    absent: int
    ends: tuple[str, ...]
    reseal: Callable[[bytes, bytes, int, bool], bytes | None]
    current: Callable[[], tuple[int, bytes]]

    def ask(self, connection: Connection, owner: bytes, request: StateRequest) -> None:
        """Bring an account to what is asked; the ledger hears of one that is destroyed. Raises as `set`."""
        if self.set(connection, owner, request.state):
            details: dict[str, str | int | bool | None] = {"version": self.current()[0]}
            note(connection, "HalfDestroyed", request.stamp.actor, details, request.account)

    def set(self, connection: Connection, owner: bytes, asked: int) -> bool:
        """Bring an account to what is asked; whether it was destroyed now.

        Raises Refused (`bad-state`, `no-such-account`, `tombstone`).
        """
        find = f"SELECT state FROM account WHERE {self.key} = ?"  # noqa: S608  a name of our schema
        row = connection.execute(find, (owner,)).fetchone()
        kept = self.absent if row is None else int(row[0])
        new = next_state(kept, asked)
        if not kept and new != AccountState.DESTROYED:
            raise Refused("no such account", code="no-such-account")
        connection.execute("INSERT OR REPLACE INTO account VALUES (?, ?)", (owner, new))
        if new == AccountState.DESTROYED:
            for table in self.ends:
                connection.execute(f"DELETE FROM {table} WHERE {self.key} = ?", (owner,))  # noqa: S608  as above
            return kept not in (0, AccountState.DESTROYED)
        halves = f"SELECT bid, g, record FROM half WHERE {self.key} = ?"  # noqa: S608  as above
        for bid, g, record in connection.execute(halves, (owner,)).fetchall():
            sealed = self.reseal(record, bid, g, new == AccountState.OPEN)
            if sealed is not None:
                connection.execute("UPDATE half SET record = ? WHERE bid = ? AND g = ?", (sealed, bid, g))
        return False
