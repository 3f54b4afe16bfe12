"""GET /v1/metrics: a collector's token reads what its own cell counts, and nothing else, until its time or a roster."""

import hashlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_metrics import read
from tests.console.cell import NAME, ConsoleCell, console_cell
from tests.console.test_console_api import problem

from bulkhead.boundary.codec import encode_request
from bulkhead.boundary.messages import to_directory as d
from bulkhead.boundary.staff import COLLECTOR, EXECUTORS, STAFF_CALLS
from bulkhead.cli.api_client import ApiAnswer, ApiClient
from bulkhead.console.calls import CALLS
from bulkhead.errors import Refused
from bulkhead.records.officer import Role
from bulkhead.records.staff import (
    COLLECTOR_LIFE_MAX_MS,
    Bearer,
    StaffStatement,
    decode_staff_statement,
    sign_staff_statement,
)

PATH = "/v1/metrics"


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleCell]:
    with console_cell(tmp_path_factory.mktemp("metrics"), accounts=0) as running:
        yield running


@pytest.fixture
def client(cell: ConsoleCell) -> Iterator[ApiClient]:
    made = cell.client()
    yield made
    made.token = ""
    made.close()


def statement(cell: ConsoleCell, **changes: Any) -> StaffStatement:
    now = int(time.time() * 1000)
    made = StaffStatement(
        cell.tenant, NAME, "prom", Role.PARTNER_COLLECTOR, {}, bytes(32), now - 30 * 86_400_000, now + 60_000
    )
    return replace(made, **changes)


def bearer(cell: ConsoleCell, *, by: str = "prom", token: bytes = b"", **changes: Any) -> Bearer:
    secret = token or secrets.token_bytes(32)
    said = statement(cell, token=hashlib.sha256(secret).digest(), **changes)
    data = said.encode()
    return Bearer(secret, data, sign_staff_statement(data, said.officer, cell.people.keys[by]))


def scrape(client: ApiClient, token: object, path: str = PATH) -> ApiAnswer:
    return client.send("GET", path, None, {"Authorization": f"Bearer {token}"})


def forget(cell: ConsoleCell) -> None:
    """As a restart of each holder does."""

    async def work() -> None:
        for name in EXECUTORS:
            state = cell.states[name]
            state.orders.staff._sessions.clear()

    cell.run(work())


def test_a_collector_reads_its_own_cells_counts_a_month_after_its_token_was_made(
    cell: ConsoleCell, client: ApiClient
) -> None:
    token = bearer(cell)
    answer = scrape(client, token)
    assert answer.status == 200 and answer.fields["content-type"].startswith("text/plain; version=0.0.4"), answer.body
    found = read(answer.body.decode())
    assert {labels[0] for _, labels in found.samples} == {("tenant", "kddi")}
    kddi = ("tenant", "kddi")
    assert found.samples["bulkhead_logins_total", (kddi, ("outcome", "granted"))] == 3
    assert found.samples["bulkhead_delivery_seconds_count", (kddi,)] == 79
    answered = {dict(labels)["compartment"]: value for (name, labels), value in found.samples.items()
                if name == "bulkhead_scrape_answered"}  # fmt: skip
    assert answered == dict.fromkeys(("auth", "keyring", "directory", "store", "queue", "incident"), 1.0)
    opened = [event for event in cell.events if event.kind == "StaffSessionOpened"]
    assert {event.details["officer"] for event in opened} == {"prom"}
    forget(cell)
    assert scrape(client, token).status == 200  # holders that restarted verify the statement again


def test_the_token_reads_nothing_but_metrics(cell: ConsoleCell, client: ApiClient) -> None:
    token = bearer(cell)
    assert scrape(client, token).status == 200
    for row in CALLS.values():
        if row.name != "readMetrics":
            assert COLLECTOR not in row.roles, row.name
    for path in ("/v1/status", "/v1/domains", "/v1/contract", "/v1/orders", "/v1/ledger/entries", "/v1/canaries"):
        problem(scrape(client, token, path), 403, "role")
    allowed = {key for key, row in STAFF_CALLS.items() if COLLECTOR in row.roles}
    assert {message for _, message in allowed} == {
        "CountAccounts", "CountLogins", "CountKeyring", "CountStore", "CountQueue",
    }  # fmt: skip
    for request in (d.ListDomains(), d.ListAccounts(), d.ListOrders()):  # a console that carries it all the same
        asked = d.AskAsStaff(token.token, encode_request(request))
        with pytest.raises(Refused) as refusal:
            cell.run(cell.exchanges["console"].to("directory").call(asked))
        assert refusal.value.code == "role"


def test_a_token_that_does_not_hold_reads_nothing(cell: ConsoleCell, client: ApiClient, tmp_path: Path) -> None:
    now, good = int(time.time() * 1000), bearer(cell)
    said = decode_staff_statement(good.statement)
    assert good.approval is not None
    wrong: dict[str, list[object]] = {
        "no-session": ["", good.token.hex(), "0" * 64, f"{good}.00", str(good).replace(".", "x"),
                       replace(good, token=bytes(32)), f"{good.token.hex()}.zz.{'0' * 32}.{'0' * 128}"],
        "other-tenant": [bearer(cell, tenant=cell.people.__class__("stnet").tenant)],
        "other-audience": [bearer(cell, audience="console.stnet.example")],
        "expired": [bearer(cell, expires=now - 1)],
        "not-yet": [bearer(cell, issued=now + 300_000)],
        "too-long": [bearer(cell, issued=now, expires=now + COLLECTOR_LIFE_MAX_MS + 1)],
        "other-role": [bearer(cell, officer="ada", by="ada"), bearer(cell, role=Role.PARTNER_ADMIN, issued=now)],
        "unknown-officer": [bearer(cell, officer="nobody")],
        "unknown-key": [bearer(cell, by="ada")],
        "bad-signature": [replace(good, statement=replace(said, expires=said.expires + 1).encode()),
                          replace(good, approval=replace(good.approval, signature=bytes(64)))],
    }  # fmt: skip
    for code, tokens in wrong.items():
        for token in tokens:
            problem(scrape(client, token), 401, code)
    admin = bearer(cell, officer="ada", role=Role.PARTNER_ADMIN, by="ada", issued=now, expires=now + 60_000)
    problem(scrape(client, admin), 401, "bad-nonce")  # long life without a nonce is a collector's alone
    assert scrape(client, good).status == 200
    with console_cell(tmp_path, "stnet", accounts=0) as other:
        elsewhere = other.client()
        problem(scrape(elsewhere, good), 401, "other-tenant")
        renamed = replace(said, tenant=other.tenant).encode()
        forged = sign_staff_statement(renamed, "prom", cell.people.keys["prom"])
        problem(scrape(elsewhere, replace(good, statement=renamed, approval=forged)), 401, "unknown-key")
        elsewhere.close()


def test_people_with_sessions_read_metrics_by_role(cell: ConsoleCell) -> None:
    for person, status in (("ada", 200), ("sec", 200), ("eng", 200), ("ops", 200), ("sup", 403)):
        client = cell.client(person)
        assert client.call("GET", PATH).status == status, person
        client.close()


def test_a_roster_without_the_collector_ends_its_token_at_once(tmp_path: Path) -> None:
    with console_cell(tmp_path, accounts=0) as cell:
        client, token = cell.client(), bearer(cell)
        assert scrape(client, token).status == 200
        people = cell.people
        left = tuple(officer for officer in people.officers() if officer.name != "prom")
        roster = people.use(people.roster(officers=left))
        for name in EXECUTORS:
            cell.run(cell.install(name, roster))
        problem(scrape(client, token), 401, "unknown-officer")
        forget(cell)
        problem(scrape(client, token), 401, "unknown-officer")
        client.close()


def test_one_entry_of_the_ledger_tells_of_a_token_however_often_it_opens(cell: ConsoleCell, client: ApiClient) -> None:
    token = bearer(cell)
    assert token.approval is not None

    def entries() -> int:
        return int(cell.ledger.log.size)

    assert scrape(client, token).status == 200
    before = entries()
    for _ in range(3):
        forget(cell)
        assert scrape(client, token).status == 200
    assert entries() == before
