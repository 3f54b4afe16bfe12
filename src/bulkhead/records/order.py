"""An order: a statement of what is to be done to which tenant, by whom, until when, and the officers' signatures.

What its action means, and how many must sign, is in the table of `boundary/orders.py`; the compartment that executes
it verifies both itself.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.errors import IntegrityError, Refused
from bulkhead.identifiers import TenantId
from bulkhead.records.canonical import (
    decode_statement,
    encode_readable,
    require_fields,
    require_hex,
    require_integer,
    require_text,
    signed_octets,
    statement_hash,
)
from bulkhead.records.officer import APPROVING, Approval, Group, Role, check_approval, sign_approval
from bulkhead.records.roster import Officer, Roster

ORDER_MAX = 8 * 1024  # octets
ORDER_LABEL = "order"
SERIAL_BYTES = 16
APPROVALS_MAX = 16
EXECUTORS_MAX = 8
LIFE_MAX_MS = 7 * 86_400_000  # from issued to expires
AHEAD_MS = 300_000  # how far ahead of the executor's clock an officer's may be
_FIELDS = {
    "v", "tenant", "executors", "action", "parameters", "serial", "reason", "issued", "expires", "roster",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Order:
    """The statement. issued, expires: ms since 1970. roster, roster_hash: the version it was made under."""

    tenant: TenantId
    executors: tuple[str, ...]
    action: str
    parameters: Mapping[str, str | int] = field(default_factory=dict)
    serial: bytes = b""
    reason: str = ""
    issued: int = 0
    expires: int = 0
    roster: int = 0
    roster_hash: bytes = bytes(32)

    def encode(self) -> bytes:
        """Its one form in octets. Raises ValueError where it is none that could be read again."""
        return encode_readable(
            {
                "v": 1, "tenant": str(self.tenant), "executors": list(self.executors), "action": self.action,
                "parameters": dict(self.parameters), "serial": self.serial.hex(), "reason": self.reason,
                "issued": self.issued, "expires": self.expires,
                "roster": {"version": self.roster, "hash": self.roster_hash.hex()},
            },
            decode_order,
            "order",
        )  # fmt: skip


def order_hash(data: bytes) -> bytes:
    """32 octets: what a passkey is asked, and by which people name the order."""
    return statement_hash(ORDER_LABEL, data)


def decode_order(data: bytes) -> Order:
    """The order in these octets, no signature checked. Raises IntegrityError."""
    fields = require_fields(decode_statement(data, ORDER_MAX, "an order"), _FIELDS, "an order")
    if fields["v"] != 1:
        raise IntegrityError("an order of a version that is not known here: update", code="bad-version")
    roster = require_fields(fields["roster"], {"version", "hash"}, "roster")
    return Order(
        TenantId(require_text(fields["tenant"], "tenant", 32)),
        _executors(fields["executors"]),
        require_text(fields["action"], "action", 64),
        _parameters(fields["parameters"]),
        require_hex(fields["serial"], SERIAL_BYTES, "serial"),
        _reason(fields["reason"]),
        require_integer(fields["issued"], "issued"),
        require_integer(fields["expires"], "expires"),
        require_integer(roster["version"], "roster", 2**31),
        require_hex(roster["hash"], 32, "roster"),
    )


def sign_order(data: bytes, officer: str, key: Ed25519PrivateKey) -> Approval:
    """The officer's signature."""
    return sign_approval(signed_octets(ORDER_LABEL, data), officer, key)


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many officers of each group must sign. anyone: so many of any group, whatever else."""

    partner: int = 0
    operator: int = 0
    anyone: int = 0

    def stricter(self, counts: Mapping[str, int]) -> "Quorum":
        """With a roster's numbers, where they are higher."""
        partner, operator = counts.get("partner", 0), counts.get("operator", 0)
        return Quorum(max(self.partner, partner), max(self.operator, operator), self.anyone)

    def __str__(self) -> str:
        counts = (("partner", self.partner), ("operator", self.operator), ("either", self.anyone))
        return " AND ".join(f"{count} of {name}" for name, count in counts if count)


def check_times(order: Order, now: int) -> None:
    """Passes an order of now. Raises Refused (`not-yet`, `expired`, `too-long`)."""
    if order.issued > now + AHEAD_MS:
        raise Refused("the order is issued in the future: compare the clocks", code="not-yet")
    if now >= order.expires:
        raise Refused("the order has expired: make it anew", code="expired")
    if order.expires - order.issued > LIFE_MAX_MS:
        raise Refused("an order lives for seven days at most", code="too-long")


def check_quorum(
    data: bytes,
    approvals: Iterable[Approval],
    roster: Roster,
    quorum: Quorum,
    now: int,
    *,
    passkeys: bool,
    automatic: bool = False,
) -> tuple[Officer, ...]:
    """The officers who signed, once each; every signature given must be good. data: the order's octets.

    passkeys: whether a passkey counts. automatic: whether one signature of the role `automatic` is enough.
    Raises Refused (`unknown-officer`, `not-serving`, `unknown-key`, `no-passkey`, `not-approving`, `quorum`, and those
    of check_approval).
    """
    signed, challenge, signers = signed_octets(ORDER_LABEL, data), order_hash(data), dict[str, Officer]()
    for approval in approvals:
        officer = roster.officer(approval.officer)
        if officer is None:
            raise Refused("signed by somebody who is not in the roster", code="unknown-officer")
        if not officer.serves(now):
            raise Refused(f"{officer.name} is no officer at this time", code="not-serving")
        key = officer.key(approval.key)
        if key is None:
            raise Refused(f"signed by a key that is not one of {officer.name}'s", code="unknown-key")
        if key.is_passkey and not passkeys:
            raise Refused("this order is signed with keys of the command line, not with passkeys", code="no-passkey")
        if officer.role not in APPROVING and not (automatic and officer.role is Role.AUTOMATIC):
            raise Refused(f"{officer.name} is {officer.role.value}, which approves no such order", code="not-approving")
        check_approval(key, approval, signed, challenge)
        signers[officer.name] = officer
    _require(quorum, tuple(signers.values()), automatic=automatic)
    return tuple(signers.values())


def _require(quorum: Quorum, signers: tuple[Officer, ...], *, automatic: bool) -> None:
    if automatic and any(officer.role is Role.AUTOMATIC for officer in signers):
        return
    groups = [officer.role.group for officer in signers]
    partner, operator = groups.count(Group.PARTNER), groups.count(Group.OPERATOR)
    if partner < quorum.partner or operator < quorum.operator or len(signers) < quorum.anyone:
        raise Refused(f"needs {quorum}; has {partner} of partner and {operator} of operator", code="quorum")


def _executors(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= EXECUTORS_MAX or value != sorted(set(value)):
        raise IntegrityError(f"executors are 1 to {EXECUTORS_MAX} names, each once, in order", code="bad-list")
    return tuple(require_text(name, "an executor", 32) for name in value)


def _parameters(value: object) -> Mapping[str, str | int]:
    if not isinstance(value, dict) or not all(type(item) in (str, int) for item in value.values()):
        raise IntegrityError("parameters are texts and integers by name", code="bad-parameters")
    return value


def _reason(value: object) -> str:
    reason = require_text(value, "reason")
    if not reason.strip():
        raise IntegrityError("an order says why: reason is empty", code="bad-text")
    return reason
