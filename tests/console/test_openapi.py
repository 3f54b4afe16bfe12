"""The document: current, whole, and in agreement with the table of roles."""

import json
from pathlib import Path

from bulkhead.boundary.peers import PEERS
from bulkhead.boundary.staff import STAFF_CALLS, VOUCHED
from bulkhead.console.calls import CALLS
from bulkhead.console.openapi import OWN_CALLS, document

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_the_committed_document_is_current() -> None:
    assert FILE.read_bytes() == document(), "run: make docs"


def test_every_call_has_its_operation_with_its_security_and_its_problems() -> None:
    whole = json.loads(document())
    found = {op["operationId"]: op for path in whole["paths"].values() for op in path.values()}
    assert set(found) == set(CALLS) | set(OWN_CALLS)
    for name, row in CALLS.items():
        assert found[name]["security"] == [{"session": []}] and found[name]["x-roles"] == list(row.roles) != []
        assert {"401", "403", "429", "503"} <= set(found[name]["responses"])
        needs_key = any(one["name"] == "Idempotency-Key" for one in found[name].get("parameters", ()))
        assert needs_key == row.change
    open_to_all = {name for name, row in OWN_CALLS.items() if not row.session}
    assert open_to_all == {"health", "openapi", "nonces", "challenge", "openSession"}


def test_whatever_a_staff_session_may_ask_some_call_asks_and_every_edge_is_needed() -> None:
    """A right that no call uses is one that only an attacker would."""
    used = {need for row in CALLS.values() for need in row.needs}
    assert used == set(STAFF_CALLS) | set(VOUCHED)
    edges = {(p.server, name) for p in PEERS if p.client == "console" for name in p.requests}
    assert {(holder, message) for holder, message in edges if "Staff" not in message} == set(VOUCHED)
