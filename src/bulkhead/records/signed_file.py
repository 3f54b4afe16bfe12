"""Statements with their signatures as files that people pass on: rosters and orders, JSON, the statement as text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bulkhead.errors import IntegrityError
from bulkhead.records.canonical import base64_text, require_base64, require_fields, require_hex, require_text
from bulkhead.records.officer import CLIENT_DATA_MAX, SIGNATURE_MAX, Approval
from bulkhead.records.order import APPROVALS_MAX
from bulkhead.records.roster import ROOTS_MAX

FILE_MAX = 256 * 1024  # octets
ORDER_SCHEMA, ROSTER_SCHEMA = "bulkhead/officer-order/1", "bulkhead/officer-roster/1"
_APPROVAL = {"officer", "key", "signature", "client_data", "authenticator_data"}


@dataclass(frozen=True, slots=True)
class OrderFile:
    """An order and the signatures that were collected so far."""

    statement: bytes
    approvals: tuple[Approval, ...] = ()

    def with_approval(self, approval: Approval) -> "OrderFile":
        """With one more; one by the same key takes the place of the older. Raises ValueError past 16."""
        kept = tuple(one for one in self.approvals if one.key != approval.key)
        if len(kept) >= APPROVALS_MAX:
            raise ValueError(f"an order has at most {APPROVALS_MAX} signatures")
        return OrderFile(self.statement, (*kept, approval))

    def render(self) -> str:
        """The file's text."""
        approvals = [
            {
                "officer": one.officer, "key": one.key.hex(), "signature": base64_text(one.signature),
                "client_data": base64_text(one.client_data), "authenticator_data": base64_text(one.authenticator_data),
            }
            for one in self.approvals
        ]  # fmt: skip
        return _render(ORDER_SCHEMA, self.statement, "approvals", approvals)


@dataclass(frozen=True, slots=True)
class RosterFile:
    """A roster and the signatures of roots: public key and signature of each."""

    statement: bytes
    signatures: tuple[tuple[bytes, bytes], ...] = ()

    def with_signature(self, signature: tuple[bytes, bytes]) -> "RosterFile":
        """With one more; one by the same root takes the place of the older."""
        return RosterFile(self.statement, (*(one for one in self.signatures if one[0] != signature[0]), signature))

    def render(self) -> str:
        """The file's text."""
        signatures = [{"root": base64_text(root), "signature": base64_text(one)} for root, one in self.signatures]
        return _render(ROSTER_SCHEMA, self.statement, "signatures", signatures)


def read_order_file(text: str) -> OrderFile:
    """Raises IntegrityError on another form. Neither statement nor signatures are checked."""
    statement, rows = _read(text, ORDER_SCHEMA, "approvals", APPROVALS_MAX)
    return OrderFile(statement, tuple(_approval(row) for row in rows))


def read_roster_file(text: str) -> RosterFile:
    """Raises IntegrityError on another form. Neither statement nor signatures are checked."""
    statement, rows = _read(text, ROSTER_SCHEMA, "signatures", ROOTS_MAX)
    found = []
    for row in rows:
        fields = require_fields(row, {"root", "signature"}, "a signature")
        found.append((require_base64(fields["root"], "root", 32), require_base64(fields["signature"], "signature", 64)))
    return RosterFile(statement, tuple(found))


def _approval(row: object) -> Approval:
    fields = require_fields(row, _APPROVAL, "an approval")
    return Approval(
        require_text(fields["officer"], "officer", 32),
        require_hex(fields["key"], 16, "key"),
        require_base64(fields["signature"], "signature", SIGNATURE_MAX),
        require_base64(fields["client_data"], "client_data", CLIENT_DATA_MAX),
        require_base64(fields["authenticator_data"], "authenticator_data", 256),
    )


def _render(schema: str, statement: bytes, name: str, rows: Sequence[dict[str, Any]]) -> str:
    document = {"schema": schema, "statement": statement.decode("utf-8"), name: rows}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _read(text: str, schema: str, name: str, limit: int) -> tuple[bytes, list[object]]:
    try:
        document = json.loads(text) if len(text) <= FILE_MAX else None
    except (ValueError, RecursionError):
        document = None
    fields = require_fields(document, {"schema", "statement", name}, f"a file of {schema}")
    rows = fields[name]
    if fields["schema"] != schema or not isinstance(rows, list) or len(rows) > limit:
        raise IntegrityError(f"not a file of {schema} with at most {limit} signatures", code="bad-file")
    statement = fields["statement"]
    if not isinstance(statement, str) or any("\ud800" <= character <= "\udfff" for character in statement):
        raise IntegrityError("the statement is text", code="bad-file")
    return statement.encode("utf-8"), rows
