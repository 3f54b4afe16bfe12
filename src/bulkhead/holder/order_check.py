"""Whether an order holds: its statement, its parameters, its time, the roster it names, and its officers. PURE.

Executors ask here before they act, and the command line before it submits; only what an executor finds counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bulkhead.boundary.messages.surfaces import Surface
from bulkhead.boundary.orders import AUTOMATIC_MS, OPTIONAL, ORDERS, Form, OrderRow
from bulkhead.errors import PeerError, Refused
from bulkhead.identifiers import ID_BYTES, AccountId, parse_address
from bulkhead.records.canonical import INTEGER_MAX
from bulkhead.records.officer import Approval, Role
from bulkhead.records.order import Order, Quorum, check_quorum, check_times, decode_order
from bulkhead.records.roster import Officer, Roster


@dataclass(frozen=True, slots=True)
class Known:
    """The roster in force, and its hash."""

    roster: Roster
    hash: bytes


@dataclass(frozen=True, slots=True)
class Checked:
    """An order that holds. automatic: signed by a machine."""

    order: Order
    row: OrderRow
    officers: tuple[Officer, ...]

    @property
    def automatic(self) -> bool:
        """Whether no person's signature was needed."""
        return any(officer.role is Role.AUTOMATIC for officer in self.officers)


def check_order(
    data: bytes,
    approvals: Sequence[Approval],
    known: Known,
    *,
    tenant: str,
    executor: str,
    now: int,
    again: bool = False,
) -> Checked:
    """The order, if this executor of this tenant is to execute it now.

    now: ms since 1970. again: it was taken before and is due now; it must still have its signatures by today's roster.
    Raises IntegrityError on what is no order, Refused: `other-tenant`, `unknown-action`, `other-executor`,
    `bad-parameters`, `not-yet`, `expired`, `too-long`, `old-roster`, `no-lapse`, and those of check_quorum.
    """
    order = decode_order(data)
    if order.tenant != tenant:
        raise Refused(f"the order is for {order.tenant}, and this is {tenant}", code="other-tenant")
    row = ORDERS.get(order.action)
    if row is None:
        raise Refused("no such action", code="unknown-action")
    expected = row.executors or order.executors  # a withdrawal goes where the order is
    if executor not in order.executors or set(order.executors) != set(expected):
        raise Refused(f"the order is for {', '.join(order.executors)}", code="other-executor")
    check_parameters(row, order)
    if not again:
        check_times(order, now)
        if (order.roster, order.roster_hash) != (known.roster.version, known.hash):
            raise Refused(
                f"the order was made under roster {order.roster}, and {known.roster.version} is in force: make it anew",
                code="old-roster",
            )
    officers = check_quorum(
        data, approvals, known.roster, quorum_of(row, known.roster), now, passkeys=row.passkey, automatic=row.automatic
    )
    checked = Checked(order, row, officers)
    until = order.parameters.get("until")
    if checked.automatic and (not isinstance(until, int) or until > now + AUTOMATIC_MS):
        raise Refused("an automatic order lapses within an hour: give `until`", code="no-lapse")
    return checked


def quorum_of(row: OrderRow, roster: Roster) -> Quorum:
    """Who must sign under this roster: never fewer than ORDERS says."""
    return Quorum(row.partner, row.operator, row.anyone).stricter(roster.policy.quorum.get(row.action, {}))


def daily_of(row: OrderRow, roster: Roster) -> int:
    """How many a day under this roster, never more than ORDERS says; 0: no cap."""
    if not row.daily:
        return roster.policy.daily.get(row.action, 0)
    return min(row.daily, roster.policy.daily.get(row.action, row.daily))


def by_machine(roster: Roster, approvals: Sequence[Approval]) -> bool:
    """Whether a key of the role `automatic` is among these signers."""
    signers = (roster.officer(approval.officer) for approval in approvals)
    return any(officer is not None and officer.role is Role.AUTOMATIC for officer in signers)


def check_parameters(row: OrderRow, order: Order) -> None:
    """Passes exactly the action's parameters, each in its form. Raises Refused (`bad-parameters`)."""
    given = set(order.parameters)
    if not set(row.parameters) - set(OPTIONAL) <= given or not given <= set(row.parameters):
        expected = ", ".join(sorted(row.parameters)) or "none"
        raise Refused(f"the parameters of {row.action} are: {expected}", code="bad-parameters")
    for name, value in order.parameters.items():
        if not _fits(row.parameters[name], value):
            raise Refused(f"{name} must be {row.parameters[name].value}", code="bad-parameters")


def account_of(order: Order) -> AccountId | None:
    """The account that it is about, or None."""
    account = order.parameters.get("account")
    return AccountId(bytes.fromhex(account)) if isinstance(account, str) else None


def _fits(form: Form, value: str | int) -> bool:
    match form:
        case Form.ACCOUNT | Form.SERIAL:
            return isinstance(value, str) and len(value) == 2 * ID_BYTES and all(c in "0123456789abcdef" for c in value)
        case Form.ADDRESS:
            try:
                return isinstance(value, str) and bool(parse_address(value))
            except PeerError:
                return False
        case Form.DIGEST:
            return isinstance(value, str) and len(value) == 64 and all(c in "0123456789abcdef" for c in value)
        case Form.LINES:
            return type(value) is int and 0 < value <= 1_000_000
        case Form.KINDS:
            return type(value) is int and 1 <= value <= 3
        case Form.SURFACES:
            return type(value) is int and 0 < value <= Surface.ALL
        case Form.SET:
            return isinstance(value, str) and len(value) == 64 and all(c in "0123456789abcdef" for c in value)
        case Form.UNTIL:
            return type(value) is int and 0 < value <= INTEGER_MAX
