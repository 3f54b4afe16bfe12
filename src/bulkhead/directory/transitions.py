"""TRANSITIONS: the life of an account. PURE."""

from enum import IntEnum

from bulkhead.boundary.messages.to_directory import AccountStatus
from bulkhead.errors import Refused


class Status(IntEnum):
    """AccountStatus with names; the numbers are the wire's."""

    PROVISIONED = AccountStatus.PROVISIONED  # may receive; has perhaps no password yet
    ACTIVE = AccountStatus.ACTIVE
    SUSPENDED = AccountStatus.SUSPENDED  # by an operator: no login, no sending, no receiving; nothing is lost
    DORMANT = AccountStatus.DORMANT  # long unused: as suspended
    CANCELLED = AccountStatus.CANCELLED  # for ever; its address is never given to another
    PURGED = AccountStatus.PURGED  # not even the address is kept in clear


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.PROVISIONED: frozenset({Status.ACTIVE, Status.SUSPENDED, Status.CANCELLED}),
    Status.ACTIVE: frozenset({Status.SUSPENDED, Status.DORMANT, Status.CANCELLED}),
    Status.SUSPENDED: frozenset({Status.ACTIVE, Status.DORMANT, Status.CANCELLED}),
    Status.DORMANT: frozenset({Status.ACTIVE, Status.SUSPENDED, Status.CANCELLED}),
    Status.CANCELLED: frozenset({Status.PURGED}),
    Status.PURGED: frozenset(),
}

RECEIVES = frozenset({Status.PROVISIONED, Status.ACTIVE})
LOGS_IN = frozenset({Status.PROVISIONED, Status.ACTIVE})
SENDS = frozenset({Status.PROVISIONED, Status.ACTIVE})


def check_transition(old: Status, new: Status) -> None:
    """Raises Refused (`no-such-transition`) and names what is allowed."""
    if new not in TRANSITIONS[old]:
        allowed = ", ".join(status.name.lower() for status in sorted(TRANSITIONS[old])) or "nothing"
        raise Refused(
            f"the account is {old.name.lower()}; from there it goes to {allowed}, not to {new.name.lower()}",
            code="no-such-transition",
        )


def parse_status(number: int) -> Status:
    """Raises Refused (`no-such-status`)."""
    try:
        return Status(number)
    except ValueError:
        raise Refused(f"there is no account status {number}", code="no-such-status") from None
