"""A passkey of the roster opens a session, at each holder by itself; an assertion that does not fit opens none."""

import base64
import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.console.cell import DOMAIN, NAME, ConsoleCell, console_cell

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.orders import SignedApproval
from bulkhead.boundary.messages.registry import RECEIVERS
from bulkhead.boundary.staff import EXECUTORS
from bulkhead.cli.api_client import ApiAnswer, ApiClient
from bulkhead.drill.officers import Authenticator
from bulkhead.errors import Refused
from bulkhead.records.canonical import base64_text, statement_hash
from bulkhead.records.officer import Approval
from bulkhead.records.order import order_hash
from bulkhead.records.staff import LABEL, decode_staff_statement


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleCell]:
    with console_cell(tmp_path_factory.mktemp("passkey"), accounts=0) as running:
        yield running


@pytest.fixture
def client(cell: ConsoleCell) -> Iterator[ApiClient]:
    made = cell.client()
    yield made
    made.close()


def asked(client: ApiClient, token: bytes, officer: str = "ada", role: str = "partner-admin", **more: Any) -> Any:
    """What the console gives a browser that is to open a session."""
    body = {"officer": officer, "role": role, "token": hashlib.sha256(token).hexdigest(), "seconds": 60, **more}
    answer = client.call("POST", "/v1/sessions/challenge", body)
    assert answer.status == 200, answer.body
    return answer.json()


def challenge_of(given: Any) -> bytes:
    """As a browser decodes it."""
    return base64.urlsafe_b64decode(given["challenge"] + "=")


def answered(client: ApiClient, statement: str, approval: Approval) -> ApiAnswer:
    return client.call("POST", "/v1/sessions", {
        "statement": statement, "officer": approval.officer, "key": approval.key.hex(),
        "signature": base64_text(approval.signature), "client_data": base64_text(approval.client_data),
        "authenticator_data": base64_text(approval.authenticator_data),
    })  # fmt: skip


def refused(answer: ApiAnswer, code: str) -> None:
    assert (answer.status, answer.json()["code"]) == (401, code), answer.body


@pytest.mark.parametrize(("officer", "role"), [("ada", "partner-admin"), ("sec", "partner-security")])
def test_a_passkey_opens_a_session_at_every_holder(
    cell: ConsoleCell, client: ApiClient, officer: str, role: str
) -> None:
    token = secrets.token_bytes(32)
    given = asked(client, token, officer, role)
    assert set(given["holders"]) == set(EXECUTORS)
    statement = base64.b64decode(given["statement"])
    said = decode_staff_statement(statement)
    assert (said.tenant, said.audience, said.officer, said.role.value) == (cell.tenant, NAME, officer, role)
    assert said.token == hashlib.sha256(token).digest() and said.expires == said.issued + 60_000
    assert challenge_of(given) == statement_hash(LABEL, statement)  # a page makes it itself, and compares
    approval = cell.people.passkeys[officer].approve(officer, challenge_of(given), crossOrigin=False)
    opened = answered(client, given["statement"], approval)
    assert opened.status == 200 and set(opened.json()["holders"]) == set(EXECUTORS), opened.body
    client.token = token.hex()
    assert client.call("GET", "/v1/session").json()["role"] == role
    assert client.call("GET", "/v1/domains").json()["items"][0]["domain"] == DOMAIN


def test_an_assertion_that_does_not_fit_opens_nothing_at_any_holder(cell: ConsoleCell, client: ApiClient) -> None:
    passkey, token = cell.people.passkeys["ada"], secrets.token_bytes(32)
    given = asked(client, token)
    statement, challenge = base64.b64decode(given["statement"]), challenge_of(given)
    order = cell.people.order("stop-logins")

    def made(change: dict[str, Any], asked_for: bytes = challenge, **more: Any) -> Approval:
        before = {name: getattr(passkey, name) for name in change}
        for name, value in change.items():
            setattr(passkey, name, value)
        approval = passkey.approve("ada", asked_for, **more)
        for name, value in before.items():
            setattr(passkey, name, value)
        return approval

    stray = Authenticator().approve("ada", challenge)
    good = made({})
    faults: list[tuple[str, Approval]] = [
        ("other-origin", made({"origin": "https://evil.example"})),
        ("other-origin", made({"origin": f"https://console.stnet.example.{NAME}"})),
        ("other-origin", made({"origin": "http://console.stnet.example"})),
        ("other-party", made({"rp_id": "evil.example"})),
        ("user-not-verified", made({"flags": 0x01})),
        ("user-not-verified", made({"flags": 0x04})),
        ("user-not-verified", made({"flags": 0x45})),
        ("bad-signature", made({"type": "webauthn.create"})),
        ("bad-signature", made({}, crossOrigin=True)),
        ("bad-signature", made({}, topOrigin="https://evil.example")),
        ("other-challenge", made({}, order_hash(order.encode()))),
        ("other-challenge", made({}, hashlib.sha256(statement).digest())),
        ("other-challenge", made({}, bytes(32))),
        ("unknown-key", stray),
        ("bad-signature", replace(stray, key=good.key)),
        ("bad-signature", replace(good, signature=bytes(64))),
        ("bad-signature", replace(good, client_data=good.client_data + b" ")),
        ("bad-signature", replace(good, client_data=b"", authenticator_data=b"")),
        ("unknown-key", replace(good, key=cell.people.passkeys["sec"].key().id)),
        ("unknown-officer", replace(good, officer="sec")),
    ]
    for code, approval in faults:
        refused(answered(client, given["statement"], approval), code)
        for name in EXECUTORS:  # whatever carries it, console or not
            request = RECEIVERS[name].OpenStaffSession(Stamp.fresh("staff"), statement, SignedApproval(
                approval.officer, approval.key, approval.signature, approval.client_data, approval.authenticator_data
            ))  # fmt: skip
            with pytest.raises(Refused) as refusal:
                cell.run(cell.exchanges["console"].to(name).call(request))
            assert refusal.value.code == code, name
    assert answered(client, given["statement"], good).status == 200
    refused(answered(client, given["statement"], good), "bad-nonce")
    client.token = token.hex()


def test_a_statement_that_was_changed_is_not_the_one_that_the_passkey_approved(
    cell: ConsoleCell, client: ApiClient
) -> None:
    token, mine = secrets.token_bytes(32), secrets.token_bytes(32)
    given = asked(client, token, "sec", "partner-security")
    approval = cell.people.passkeys["sec"].approve("sec", challenge_of(given))
    said = decode_staff_statement(base64.b64decode(given["statement"]))
    longer = replace(said, expires=said.expires + 1)
    others = replace(said, token=hashlib.sha256(mine).digest())
    for changed in (longer, others):
        refused(answered(client, base64_text(changed.encode()), approval), "other-challenge")
    raised = asked(client, token, "sec", "partner-admin")
    refused(
        answered(
            client, raised["statement"], cell.people.passkeys["sec"].approve("sec", challenge_of(raised))
        ),
        "other-role",
    )  # fmt: skip
    elsewhere = replace(said, tenant=cell.people.__class__("stnet").tenant).encode()
    theirs = cell.people.passkeys["sec"].approve("sec", statement_hash(LABEL, elsewhere))
    refused(answered(client, base64_text(elsewhere), theirs), "other-tenant")
    client.token = mine.hex()
    assert client.call("GET", "/v1/session").status == 401


def test_sessions_count_a_passkey_by_themselves_so_that_an_order_approved_before_is_still_taken(
    cell: ConsoleCell, client: ApiClient
) -> None:
    passkey = cell.people.passkeys["ops"]  # of this test alone: it counts from here on
    passkey.counter = 40
    order = cell.people.order("withdraw", {"serial": "cd" * 16}).encode()
    early = passkey.approve("ops", order_hash(order))
    token = secrets.token_bytes(32)
    given = asked(client, token, "ops", "operator-security")
    assert answered(client, given["statement"], passkey.approve("ops", challenge_of(given))).status == 200
    client.token = token.hex()
    body = {
        "schema": "bulkhead/officer-order/1", "statement": order.decode(),
        "approvals": [{
            "officer": "ops", "key": early.key.hex(), "signature": base64_text(early.signature),
            "client_data": base64_text(early.client_data), "authenticator_data": base64_text(early.authenticator_data),
        }],
    }  # fmt: skip
    rows = client.call("POST", "/v1/orders", body).json()["executors"]
    assert {row["state"] for row in rows} == {"executed"}, rows
    passkey.counter = 41  # a copy of it, one touch behind
    again = asked(client, secrets.token_bytes(32), "ops", "operator-security")
    refused(answered(client, again["statement"], passkey.approve("ops", challenge_of(again))), "passkey-counter")


def test_a_challenge_is_for_who_asks_in_its_limits_alone(client: ApiClient) -> None:
    good = {"officer": "ada", "role": "partner-admin", "token": "ab" * 32, "seconds": 60}
    for wrong in ({"officer": ""}, {"role": "automatic"}, {"token": "ab"}, {"seconds": 0}, {"seconds": 28_801}):
        answer = client.call("POST", "/v1/sessions/challenge", {**good, **wrong})
        assert (answer.status, answer.json()["code"]) == (400, "bad-body"), wrong
    hostile = client.call("POST", "/v1/sessions/challenge", {**good, "officer": "\ud800x"})
    assert hostile.status == 400, json.loads(hostile.body)
