"""The API over real TLS: sessions, roles, masks, caps, changes, rehearsals, bulk calls, orders."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.console.cell import DOMAIN, NAME, ConsoleCell, console_cell

from bulkhead.boundary.codec import encode_request
from bulkhead.boundary.messages import to_directory as d
from bulkhead.boundary.messages.registry import RECEIVERS
from bulkhead.boundary.staff import HOUR_ROWS, STAFF_CALLS, Kind
from bulkhead.cli.api_client import ApiAnswer, ApiClient
from bulkhead.console.calls import CALLS, Call
from bulkhead.console.openapi import OWN_CALLS, OwnCall
from bulkhead.errors import Refused
from bulkhead.holder import staff as staff_module
from bulkhead.identifiers import AccountId
from bulkhead.records.access import Act, source_octets
from bulkhead.records.canonical import base64_text
from bulkhead.records.officer import Role
from bulkhead.records.officer_file import OfficerPrivateKey
from bulkhead.records.roster import Policy
from bulkhead.records.signed_file import OrderFile
from bulkhead.records.staff import LIFE_MAX_MS, StaffStatement, sign_staff_statement

TARO = f"/v1/accounts/taro@{DOMAIN}"
PATHS = {
    "address": f"taro@{DOMAIN}",
    "alias": f"t@{DOMAIN}",
    "group": f"g@{DOMAIN}",
    "case": "ab" * 16,
    "class": "plain",
    "root": "ab" * 32,
    "chunk": "0",
}
EVERY: list[Call | OwnCall] = [*CALLS.values(), *(row for row in OWN_CALLS.values() if row.session)]
PERSON = {"partner-admin": "ada", "partner-security": "sec", "partner-support": "sup", "operator-security": "ops",
          "operator-engineer": "eng"}  # fmt: skip
_keys = iter(range(10**6))


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleCell]:
    with console_cell(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleCell]:
    """Another tenant's."""
    with console_cell(tmp_path_factory.mktemp("other"), "stnet", accounts=0) as running:
        yield running


@pytest.fixture
def clients(cell: ConsoleCell) -> Iterator[Any]:
    """Makes a client with a session of the officer."""
    made: list[ApiClient] = []

    def make(officer: str = "") -> ApiClient:
        made.append(cell.client(officer))
        return made[-1]

    yield make
    for client in made:
        client.close()


def target(row: Call | OwnCall) -> str:
    path = row.path
    for name, value in PATHS.items():
        path = path.replace(f"{{{name}}}", value)
    return path


def problem(answer: ApiAnswer, status: int, code: str) -> None:
    assert answer.fields["content-type"] == "application/problem+json"
    value = answer.json()
    assert (answer.status, value["status"], value["code"]) == (status, status, code), value
    assert set(value) == {"type", "title", "status", "detail", "code"}


def change(client: ApiClient, method: str, path: str, body: Any = None, key: str = "") -> ApiAnswer:
    return client.call(method, path, body, key=key or f"key-{next(_keys)}")


# --- who may ---------------------------------------------------------------------------------------------------------


def test_an_officer_opens_a_session_at_every_holder_and_ends_it(cell: ConsoleCell) -> None:
    client = cell.client()
    opened = client.open(cell.key("ada"))
    assert (opened["officer"], opened["role"]) == ("ada", "partner-admin")
    assert sorted(opened["holders"]) == ["auth", "directory", "keyring", "queue", "store"]
    assert client.call("GET", "/v1/session").json()["officer"] == "ada"
    assert [event.kind for event in cell.events].count("StaffSessionOpened") >= 5
    assert client.call("DELETE", "/v1/session").status == 200
    problem(client.call("GET", "/v1/session"), 401, "no-session")
    client.close()


@pytest.mark.parametrize("row", EVERY, ids=lambda row: row.name)
def test_every_call_is_refused_without_a_session(cell: ConsoleCell, stranger: ConsoleCell, row: Call | OwnCall) -> None:
    client, other = cell.client(), stranger.client("ada")
    tokens = ["", "0" * 64, "x" * 64, other.token]
    for token in tokens:
        client.token = token
        problem(client.call(row.method, target(row)), 401, "no-session")
    client.token = ""
    problem(client.send(row.method, target(row), None, {"Authorization": "Basic YTpi"}), 401, "no-session")
    client.close()
    other.close()


@pytest.mark.parametrize("row", [row for row in CALLS.values() if set(row.roles) != set(PERSON)], ids=lambda r: r.name)
def test_every_call_is_refused_to_roles_that_it_is_not_for(cell: ConsoleCell, clients: Any, row: Call) -> None:
    for role, person in PERSON.items():
        if role not in row.roles:
            problem(clients(person).call(row.method, target(row)), 403, "role")


def least(kind: Any) -> Any:
    """The least value of a field's type."""
    match kind:
        case msgspec.inspect.BytesType():
            return bytes(kind.min_length or 0)
        case msgspec.inspect.StrType():
            return "x" * (kind.min_length or 0)
        case msgspec.inspect.IntType():
            return kind.ge or 0
        case msgspec.inspect.BoolType():
            return False
        case msgspec.inspect.VarTupleType() | msgspec.inspect.TupleType():
            return ()
        case msgspec.inspect.StructType():
            return sample(kind.cls)
    raise AssertionError(kind)


def sample(kind: Any) -> Any:
    """A request of this type with the least values that its fields may have."""
    fields = msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined]  # of a struct
    return kind(*(least(one.type) for one in fields if one.required))


@pytest.mark.parametrize(
    "row",
    [row for row in STAFF_CALLS.values() if set(row.roles) != set(PERSON)],
    ids=lambda row: f"{row.holder}-{row.message}",
)
def test_every_holder_refuses_the_role_itself_when_a_console_does_not(
    cell: ConsoleCell, clients: Any, row: Any
) -> None:
    module = RECEIVERS[row.holder]
    request = encode_request(sample(getattr(module, row.message)))
    for role, person in PERSON.items():
        if role not in row.roles:
            token = bytes.fromhex(clients(person).token)
            with pytest.raises(Refused) as refusal:
                cell.run(cell.exchanges["console"].to(row.holder).call(module.AskAsStaff(token, request)))
            assert refusal.value.code == "role"


def test_a_session_ends_when_its_time_is_over(cell: ConsoleCell) -> None:
    client = cell.client()
    client.open(cell.key("ada"), life_ms=2000)
    assert client.call("GET", "/v1/session").status == 200
    time.sleep(2.1)
    for row in EVERY:
        problem(client.call(row.method, target(row)), 401, "no-session")
    client.close()


def test_a_session_ends_with_its_officer_and_an_officer_who_is_none_opens_none(tmp_path: Path) -> None:
    with console_cell(tmp_path, accounts=0) as cell:
        client = cell.client("eng")
        assert client.call("GET", "/v1/status").status == 200
        roster = cell.people.roster()
        without = replace(roster, officers=tuple(one for one in roster.officers if one.name != "eng"))
        data = cell.people.use(without)
        for name in ("directory", "auth"):
            cell.run(cell.install(name, data))
        for row in EVERY:
            problem(client.call(row.method, target(row)), 401, "no-session")
        with pytest.raises(Refused) as refusal:
            cell.client("eng")
        assert refusal.value.code == "unknown-officer"
        client.close()


def test_where_the_policy_asks_for_orders_one_officers_session_changes_nothing(tmp_path: Path) -> None:
    with console_cell(tmp_path, accounts=0) as cell:
        data = cell.people.use(cell.people.roster(Policy(local_refused=True)))
        cell.run(cell.install("directory", data))
        client = cell.client("ada")
        problem(change(client, "POST", TARO + "/aliases", {"alias": f"t@{DOMAIN}"}), 403, "order-required")
        problem(change(client, "PUT", TARO + "/forward", {"targets": []}), 403, "order-required")
        assert client.call("GET", TARO + "/routes").json()["aliases"] == []
        client.close()


def statement_of(cell: ConsoleCell, offered: Any, officer: str = "ada", **changes: Any) -> StaffStatement:
    now = int(time.time() * 1000)
    nonces = {name: bytes.fromhex(nonce) for name, nonce in offered["nonces"].items()}
    made = StaffStatement(
        cell.tenant, NAME, officer, cell.people.NAMES[officer], nonces, hashlib.sha256(b"t" * 32).digest(), now,
        now + 60_000,
    )  # fmt: skip
    return replace(made, **changes)


def opening(cell: ConsoleCell, client: ApiClient, statement: StaffStatement, signer: str = "") -> ApiAnswer:
    data = statement.encode()
    approval = sign_staff_statement(data, statement.officer, cell.people.keys[signer or statement.officer])
    return client.call("POST", "/v1/sessions", {
        "statement": base64_text(data), "officer": approval.officer, "key": approval.key.hex(),
        "signature": base64_text(approval.signature),
    })  # fmt: skip


def test_a_statement_that_does_not_hold_opens_nothing(cell: ConsoleCell, stranger: ConsoleCell) -> None:
    client = cell.client()
    offered = client.call("GET", "/v1/nonces").json()
    good, now = statement_of(cell, offered), int(time.time() * 1000)
    wrong: dict[str, StaffStatement] = {
        "other-tenant": replace(good, tenant=stranger.tenant),
        "other-audience": replace(good, audience="console.stnet.example"),
        "bad-nonce": replace(good, nonces={"directory": bytes(32)}),
        "not-yet": replace(good, issued=now + 300_000, expires=now + 360_000),
        "expired": replace(good, issued=now - 300_000),
        "too-long": replace(good, expires=good.issued + LIFE_MAX_MS + 1),
        "other-role": replace(good, role=Role.PARTNER_SECURITY),
        "unknown-officer": replace(good, officer="nobody"),
    }
    for code, statement in wrong.items():
        problem(opening(cell, client, statement, "ada"), 401, code)
    problem(opening(cell, client, good, "sec"), 401, "unknown-key")
    data = good.encode()
    approval = sign_staff_statement(data, "ada", cell.people.keys["ada"])
    body = {
        "statement": base64_text(data),
        "officer": "ada",
        "key": approval.key.hex(),
        "signature": base64_text(bytes(64)),
    }
    problem(client.call("POST", "/v1/sessions", body), 401, "bad-signature")
    assert opening(cell, client, good).status == 200
    problem(opening(cell, client, good), 401, "bad-nonce")  # the same statement once more
    automatic = statement_of(cell, client.call("GET", "/v1/nonces").json(), "bot")
    problem(opening(cell, client, automatic), 401, "other-role")
    client.token = (b"t" * 32).hex()
    client.close()


def test_another_tenants_officer_of_the_same_name_opens_nothing(cell: ConsoleCell, stranger: ConsoleCell) -> None:
    theirs = stranger.people.keys["ada"]
    with pytest.raises(Refused) as refusal:
        cell.client().open(OfficerPrivateKey("ada", "partner-admin", theirs))
    assert refusal.value.code == "unknown-key"


# --- reading ---------------------------------------------------------------------------------------------------------


def test_lists_are_paged_by_cursor_and_masked_for_everybody(clients: Any) -> None:
    client = clients("ada")
    seen, after = [], ""
    while True:
        page = client.call("GET", f"/v1/accounts?limit=2&after={after}").json()
        seen += page["items"]
        after = page["next"]
        if not page["items"]:
            break
    assert len(seen) == 6 and len({row["account"] for row in seen}) == 6
    assert {row["address"] for row in seen} == {f"a***@{DOMAIN}", f"t***@{DOMAIN}"}
    problem(client.call("GET", f"/v1/accounts?after={'0' * 32}"), 400, "bad-cursor")


def test_support_sees_masked_rows_and_security_whole_ones(clients: Any) -> None:
    for person, address in (("sup", f"t***@{DOMAIN}"), ("sec", f"taro@{DOMAIN}")):
        client = clients(person)
        assert client.call("GET", TARO).json()["address"] == address
        assert client.call("GET", "/v1/account-search?prefix=tar").json()["items"][0]["address"] == address
    problem(clients("sec").call("GET", "/v1/account-search?prefix=ta"), 400, "bad-query")


def test_what_is_not_there_is_404_and_what_is_no_path_is_too(clients: Any) -> None:
    client = clients("ada")
    problem(client.call("GET", f"/v1/accounts/nobody@{DOMAIN}"), 404, "no-such-address")
    problem(client.call("GET", f"/v1/groups/nobody@{DOMAIN}"), 404, "no-such-group")
    problem(client.call("GET", "/v1/nothing"), 404, "no-such-path")
    answer = client.call("DELETE", TARO)
    problem(answer, 405, "no-such-method")
    assert answer.fields["allow"] == "GET"
    problem(client.call("GET", "/v1/accounts/%GG"), 400, "bad-path")
    problem(client.call("GET", "/v1/accounts/%00x"), 400, "bad-path")
    problem(client.call("GET", "/v1/status?x=1"), 400, "bad-query")
    problem(client.call("GET", "/v1/accounts?limit=1&limit=2"), 400, "bad-query")
    problem(client.call("GET", "/v1/accounts?limit=501"), 400, "bad-query")


def test_an_officer_is_shown_so_many_accounts_an_hour_over_all_sessions(tmp_path: Path) -> None:
    with console_cell(tmp_path, accounts=19) as cell:
        used = 0
        while used < HOUR_ROWS["partner-support"]:
            client = cell.client("sup")
            page = client.call("GET", "/v1/accounts").json()
            used += len(page["items"])
            assert page["rows"] == HOUR_ROWS["partner-support"] - used
            client.close()
        assert used == HOUR_ROWS["partner-support"]
        client = cell.client("sup")
        answer = client.call("GET", "/v1/accounts")
        problem(answer, 429, "search-cap")
        assert answer.fields["retry-after"] == "60"
        problem(client.call("GET", TARO), 429, "search-cap")
        assert cell.client("sec").call("GET", TARO).status == 200  # another officer's hour is another's
        client.close()


def test_ledger_contract_and_canaries_are_read(clients: Any) -> None:
    client = clients("eng")
    assert client.call("GET", "/v1/ledger/checkpoint").json()["checkpoint"].startswith("bulkhead/kddi\n")
    assert client.call("GET", "/v1/ledger/entries?first=3&limit=1").json()["next"] == 4
    assert len(client.call("GET", "/v1/ledger/inclusion?index=0&size=2").json()["hashes"]) == 1
    problem(client.call("GET", "/v1/ledger/inclusion?index=0"), 400, "bad-query")
    assert client.call("GET", "/v1/contract").json()["terms"] == []
    assert client.call("GET", "/v1/canaries").json()["items"] == []


def test_access_records_are_found_by_account_page_by_page_and_counted(cell: ConsoleCell, clients: Any) -> None:
    account, client = AccountId(b"r" * 16), clients("sec")

    async def record() -> None:
        for number in range(5):
            for name in ("auth", "store"):
                cell.states[name].accesses.note(
                    Act.LOGIN, account, gate=3, number=number, source=source_octets("192.0.2.7")
                )
        for name in ("auth", "store"):
            await cell.states[name].accesses.flush()

    cell.run(record())
    window = f"since=0&until={2**53 - 1}&account={account.hex()}&act=login"  # searches for it are recorded, too
    path, seen = f"/v1/access-records?holder=auth&limit=2&{window}", list[int]()
    after = ""
    for _ in range(4):
        page = client.call("GET", f"{path}&after={after}" if after else path).json()
        seen += [item["number"] for item in page["items"]]
        after = page["next"]
        if not after:
            break
    assert (
        seen == [0, 1, 2, 3, 4] and page["items"][0]["source"] == "192.0.2.7" and page["items"][0]["gate"] == "access"
    )
    counts = clients("eng").call("GET", f"/v1/access-counts?{window}").json()
    assert [(row["holder"], row["records"], row["accounts"]) for row in counts["items"]] == [
        ("directory", 0, 0), ("auth", 5, 1), ("keyring", 0, 0), ("store", 5, 1), ("queue", 0, 0),
    ]  # fmt: skip
    assert client.call("GET", f"{path}&source=192.0.2.0/24").json()["items"]
    assert not client.call("GET", f"{path}&source=198.51.100.0/24").json()["items"]
    problem(client.call("GET", f"{path}&source=192.0.2.0/25"), 400, "bad-search")
    problem(client.call("GET", "/v1/access-records?holder=auth&since=0&until=1&act=anything"), 400, "bad-query")
    problem(client.call("GET", "/v1/access-records?holder=auth&since=5&until=5"), 400, "bad-search")


# --- changing --------------------------------------------------------------------------------------------------------


def test_a_change_needs_a_key_and_is_done_once_for_it(cell: ConsoleCell, clients: Any) -> None:
    client, path = clients("ada"), TARO + "/aliases"
    problem(client.call("POST", path, {"alias": f"one@{DOMAIN}"}), 400, "no-idempotency-key")
    assert change(client, "POST", path, {"alias": f"one@{DOMAIN}"}, "same").status == 200
    count = cell.run(cell.heard()).count("AddressAdded")
    assert change(client, "POST", path, {"alias": f"one@{DOMAIN}"}, "same").status == 200
    problem(change(client, "POST", path, {"alias": f"two@{DOMAIN}"}, "same"), 422, "key-reused")
    assert cell.run(cell.heard()).count("AddressAdded") == count
    assert client.call("GET", TARO + "/routes").json()["aliases"] == [f"one@{DOMAIN}"]
    assert "officer:ada" in {event.actor for event in cell.events if event.kind == "AddressAdded"}


def test_a_rehearsal_answers_and_changes_nothing(cell: ConsoleCell, clients: Any) -> None:
    client, before = clients("ada"), len(cell.events)
    assert change(client, "POST", TARO + "/aliases?dry_run=true", {"alias": f"dry@{DOMAIN}"}).status == 200
    taken = change(client, "POST", TARO + "/aliases?dry_run=true", {"alias": f"a0@{DOMAIN}"})
    problem(taken, 409, "address-taken")
    assert change(client, "PUT", TARO + "/forward?dry_run=true", {"targets": [f"a1@{DOMAIN}"]}).status == 200
    services = {"receive": False, "send": True, "reason": "dry"}
    row = change(client, "PUT", TARO + "/services?dry_run=true", services).json()
    assert row["off"] == ["receive"]
    routes = client.call("GET", TARO + "/routes").json()
    assert f"dry@{DOMAIN}" not in routes["aliases"] and routes["forwards"] == []
    assert client.call("GET", TARO).json()["off"] == []
    kinds = {event.kind for event in cell.events[before:]}
    assert kinds <= {"StaffSessionOpened", "AddressAdded"} and not any(
        event.kind == "ForwardChanged" for event in cell.events[before:]
    )


def test_forward_services_and_groups(cell: ConsoleCell, clients: Any) -> None:
    client, group = clients("ada"), f"/v1/groups/team@{DOMAIN}"
    assert change(client, "PUT", TARO + "/forward", {"targets": [f"a1@{DOMAIN}"], "keep": True}).status == 200
    assert client.call("GET", TARO + "/routes").json()["forwards"] == [f"a1@{DOMAIN}"]
    problem(change(client, "PUT", TARO + "/forward", {"targets": ["x@elsewhere.example"]}), 409, "not-ours")
    row = change(client, "PUT", TARO + "/services", {"receive": True, "send": False, "reason": "spam"}).json()
    assert row["off"] == ["send"]
    body = {"receive": True, "send": True, "reason": "to taro@x"}
    problem(change(client, "PUT", TARO + "/services", body), 400, "bad-body")
    assert change(client, "POST", "/v1/groups", {"address": f"team@{DOMAIN}"}).status == 200
    assert change(client, "PUT", f"{group}/members/taro@{DOMAIN}").status == 200
    assert client.call("GET", group).json()["members"] == [f"taro@{DOMAIN}"]
    assert [one["members"] for one in client.call("GET", "/v1/groups").json()["items"]] == [1]
    assert change(client, "DELETE", f"{group}/members/taro@{DOMAIN}").status == 200
    assert change(client, "DELETE", group).status == 200
    problem(client.call("GET", group), 404, "no-such-group")


def test_a_bulk_call_gives_each_operation_its_result_and_repeats_none(cell: ConsoleCell, clients: Any) -> None:
    client = clients("ada")
    add = {"call": "addAlias", "path": {"address": f"a2@{DOMAIN}"}}
    operations = [
        *({**add, "body": {"alias": f"bulk{n}@{DOMAIN}"}} for n in range(5)),
        {**add, "body": {"alias": "no address"}},
        {"call": "showAccount", "path": {"address": f"a2@{DOMAIN}"}},
        {"call": "addAlias", "path": {}, "body": {"alias": f"b@{DOMAIN}"}},
        {"call": "removeAlias", "path": {"alias": f"a3@{DOMAIN}"}},
    ]
    problem(client.call("POST", "/v1/bulk", {"operations": operations}), 400, "no-idempotency-key")
    rehearsed = change(client, "POST", "/v1/bulk?dry_run=true", {"operations": operations}).json()
    assert rehearsed["failed"] == 4
    assert client.call("GET", f"/v1/accounts/a2@{DOMAIN}/routes").json()["aliases"] == []
    first = change(client, "POST", "/v1/bulk", {"operations": operations}, "bulk").json()
    assert [one["status"] for one in first["results"]] == [200] * 5 + [400, 400, 400, 404]
    events = len(cell.run(cell.heard()))
    assert change(client, "POST", "/v1/bulk", {"operations": operations}, "bulk").json() == first
    assert len(cell.run(cell.heard())) == events
    problem(change(client, "POST", "/v1/bulk", {"operations": [operations[0]] * 1001}), 400, "bad-body")
    assert clients("sup").token and change(clients("sup"), "POST", "/v1/bulk", {"operations": operations}).json()[
        "failed"
    ] == len(operations)


def test_a_signed_order_is_carried_and_what_became_of_it_is_listed(cell: ConsoleCell, clients: Any) -> None:
    order = cell.people.order("withdraw", {"serial": "ab" * 16}).encode()
    file = OrderFile(order)
    client = clients("eng")  # whoever carries it: the signature counts
    unsigned = json.loads(file.render())
    problem(client.call("POST", "/v1/orders", unsigned), 400, "bad-body")
    for approval in cell.people.by(order, "sec"):
        signed = {"officer": approval.officer, "key": approval.key.hex(), "signature": base64_text(approval.signature),
                  "client_data": "", "authenticator_data": ""}  # fmt: skip
    forged = {**unsigned, "approvals": [{**signed, "signature": base64_text(bytes(64))}]}
    answer = client.call("POST", "/v1/orders", forged).json()
    assert {row["code"] for row in answer["executors"]} == {"bad-signature"} and len(answer["executors"]) == 5
    answer = client.call("POST", "/v1/orders", {**unsigned, "approvals": [signed]}).json()
    assert {row["state"] for row in answer["executors"]} == {"executed"}
    listed = client.call("GET", "/v1/orders").json()
    assert listed["missing"] == [] and set(listed["rosters"].values()) == {1}
    assert {item["holder"] for item in listed["items"] if item["action"] == "withdraw"} == set(listed["rosters"])


def test_only_changes_can_be_rehearsed_also_by_a_console_that_says_otherwise(cell: ConsoleCell, clients: Any) -> None:
    token = bytes.fromhex(clients("ada").token)
    request = encode_request(d.ShowAccount(f"taro@{DOMAIN}"))
    with pytest.raises(Refused) as refusal:
        cell.run(cell.exchanges["console"].to("directory").call(d.AskAsStaff(token, request, b"", True)))
    assert refusal.value.code == "no-rehearsal"
    assert all(
        row.kind is Kind.CHANGE for row in STAFF_CALLS.values() if row.message.startswith(("Set", "Add", "Remove"))
    )


# --- what is recorded of staff ----------------------------------------------------------------------------------------


def staff_records(client: ApiClient, officer: str, holder: str = "directory") -> list[Any]:
    window = f"since=0&until={2**53 - 1}&officer={officer}&limit=500"
    answer = client.call("GET", f"/v1/access-records?holder={holder}&{window}")
    assert answer.status == 200, answer.body
    items: list[Any] = answer.json()["items"]
    return items


def test_every_request_of_an_officer_is_recorded_with_its_account_and_outcome(tmp_path: Path) -> None:
    with console_cell(tmp_path, accounts=2) as cell:
        ada, sup, sec = cell.client("ada"), cell.client("sup"), cell.client("sec")
        account = ada.call("GET", TARO).json()["account"]
        assert change(ada, "POST", TARO + "/aliases?dry_run=true", {"alias": f"dry@{DOMAIN}"}).status == 200
        assert change(ada, "DELETE", f"/v1/aliases/no@{DOMAIN}").status == 404
        assert len(ada.call("GET", "/v1/accounts").json()["items"]) == 3
        token = bytes.fromhex(sup.token)
        with pytest.raises(Refused):
            request = encode_request(d.ShowRoutes(f"taro@{DOMAIN}"))
            cell.run(cell.exchanges["console"].to("directory").call(d.AskAsStaff(token, request)))
        rows = staff_records(sec, "ada")
        assert [(row["action"], row["outcome"], row["account"] == account) for row in rows[:4]] == [
            ("OpenStaffSession", "done", False), ("ShowAccount", "done", True), ("AddAlias", "rehearsed", True),
            ("RemoveAlias", "refused", False),
        ]  # fmt: skip
        listed = [row for row in rows if row["action"] == "ListAccounts"]
        assert len({row["account"] for row in listed}) == len(listed) == 3
        assert {(row["act"], row["gate"], row["source"]) for row in rows} == {("staff", "console", "")}
        assert len({row["actor"] for row in rows}) == 1
        refused = [row for row in staff_records(sec, "sup") if row["action"] == "ShowRoutes"]
        assert [(row["outcome"], row["account"]) for row in refused] == [("refused", account)]
        assert "SearchAccesses" in {row["action"] for row in staff_records(sec, "sec")}
        assert {row["action"] for row in staff_records(sec, "cli")} >= {"AddAccount", "SetAccountStatus", "AddDomain"}
        assert f"taro@{DOMAIN}" not in json.dumps(rows)


def test_an_order_is_recorded_of_each_officer_who_signed_it(cell: ConsoleCell, clients: Any) -> None:
    order = cell.people.order("withdraw", {"serial": "ad" * 16}).encode()
    body = json.loads(OrderFile(order).render())
    (approval,) = cell.people.by(order, "ops")
    signed = {"officer": approval.officer, "key": approval.key.hex(), "signature": base64_text(approval.signature),
              "client_data": "", "authenticator_data": ""}  # fmt: skip
    assert clients("eng").call("POST", "/v1/orders", {**body, "approvals": [signed]}).status == 200
    actions = [row["action"] for row in staff_records(clients("sec"), "ops", "queue")]
    assert actions.count("SubmitOrder") == 1
    assert "SubmitOrder" in [row["action"] for row in staff_records(clients("sec"), "eng", "queue")]


def test_an_officer_makes_so_many_requests_an_hour_as_each_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staff_module, "HOUR_CALLS", 5)
    with console_cell(tmp_path, accounts=0) as cell:
        client = cell.client("eng")
        answers = [client.call("GET", "/v1/status") for _ in range(6)]
        assert [answer.status for answer in answers] == [200] * 5 + [429]
        problem(answers[-1], 429, "call-cap")
        client.close()
