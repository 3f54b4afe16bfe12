"""What the console answers of ledger, contract and canaries, checked with the log's public key alone."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.console.cell import ConsoleCell, console_cell

from bulkhead.boundary.codec import encode_request
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_ledger import AppendEvents, AskAsStaff, Event, ReadCheckpoint
from bulkhead.boundary.terms import Channel
from bulkhead.cli.api_client import ApiClient
from bulkhead.cli.api_verify import verified_answer
from bulkhead.errors import ConfigError, IntegrityError, Refused
from bulkhead.ledger.answer import check_entries
from bulkhead.ledger.note import NoteSigner

TEXT = "schema = 1\n[backup]\nhours = 26\n[blast_radius]\nover = 0\n"
ENTRIES = "/v1/ledger/entries"


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleCell]:
    with console_cell(tmp_path_factory.mktemp("verified"), accounts=0) as running:
        events = (
            Event("CanariesPlanted", 1000, "test", b"", {"copy": "live", "count": 5}),
            Event("CanaryUsed", 2000, "test", b"", {"copy": "live", "password_right": True, "network": ""}),
            Event("ContractAdopted", 3000, "test", b"", {"sha256": hashlib.sha256(TEXT.encode()).hexdigest()}),
            *(Event("DrillRun", 4000, "test", b"", {"over": 0, "unproven": number}) for number in range(90)),
        )  # more than a page, in two requests
        for part in (events[:60], events[60:]):
            running.run(running.ledger.append(Channel("incident", 0, 1), AppendEvents(Stamp.fresh("test"), part)))
        yield running


@pytest.fixture
def client(cell: ConsoleCell) -> Iterator[ApiClient]:
    made = cell.client("eng")
    yield made
    made.close()


def entries(client: ApiClient, query: str = "") -> Any:
    return client.call("GET", f"{ENTRIES}?{query}").json()


def encoded(answer: Any) -> bytes:
    return json.dumps(answer).encode()


@pytest.mark.parametrize(("first", "limit"), [(0, 100), (0, 1), (3, 7), (64, 64), (63, 2), (97, 100)])
def test_a_page_of_entries_is_verified_by_the_logs_key_alone(
    cell: ConsoleCell, client: ApiClient, first: int, limit: int
) -> None:
    answer = entries(client, f"first={first}&limit={limit}")
    page = check_entries(encoded(answer), cell.log_key)
    assert page.first == first and len(page.entries) == answer["next"] - first > 0
    found, differs = verified_answer(client, f"{ENTRIES}?first={first}", encoded(answer), cell.log_key)
    assert found["entries"] == len(page.entries) and not differs


def test_a_page_that_was_changed_anywhere_is_refused(cell: ConsoleCell, client: ApiClient) -> None:
    good, other = entries(client, "first=10&limit=20"), entries(client, "first=50&limit=20")
    stranger = NoteSigner(cell.log_key.name, Ed25519PrivateKey.generate()).verifier
    check_entries(encoded(good), cell.log_key)
    rows = good["entries"]
    wrong: list[Any] = [
        {**good, "first": 11}, {**good, "first": True}, {**good, "first": -1}, {**good, "entries": []},
        {**good, "entries": rows[:-1]}, {**good, "entries": rows[1:]}, {**good, "entries": rows[::-1]},
        {**good, "entries": [*rows[:9], other["entries"][0], *rows[10:]]}, {**good, "entries": ["x"]},
        {**good, "first_proof": other["first_proof"]}, {**good, "last_proof": good["first_proof"]},
        {**good, "first_proof": []}, {**good, "first_proof": [*good["first_proof"], "00" * 32]},
        {**good, "last_proof": ["zz"]}, {**good, "checkpoint": good["checkpoint"].replace("kddi", "stnet")},
        {**good, "checkpoint": None}, [], {}, None,
    ]  # fmt: skip
    middle = bytes.fromhex(good["first_proof"][1])
    wrong.append({**good, "first_proof": [good["first_proof"][0], bytes([middle[0] ^ 1, *middle[1:]]).hex(),
                                          *good["first_proof"][2:]]})  # fmt: skip
    for answer in wrong:
        with pytest.raises(IntegrityError):
            check_entries(encoded(answer), cell.log_key)
    with pytest.raises(IntegrityError):
        check_entries(encoded(good), stranger)
    with pytest.raises(IntegrityError):
        check_entries(b"{" * 100_000, cell.log_key)


def test_an_end_is_an_end_only_where_the_checkpoint_says_so(cell: ConsoleCell, client: ApiClient) -> None:
    size = check_entries(encoded(entries(client)), cell.log_key).checkpoint.size
    beyond = entries(client, f"first={size + 50}")
    assert check_entries(encoded(beyond), cell.log_key).entries == ()
    with pytest.raises(IntegrityError, match="none was given"):
        check_entries(encoded({**beyond, "first": 5}), cell.log_key)


def test_contract_and_canaries_are_computed_from_the_entries_and_compared(cell: ConsoleCell, client: ApiClient) -> None:
    terms = ({"name": "backup.hours", "standing": "kept"}, {"name": "blast_radius.over", "standing": "kept"})
    found, differs = verified_answer(client, "/v1/contract", encoded({"text": TEXT, "terms": terms}), cell.log_key)
    assert {one["name"]: one["standing"] for one in found["terms"]} == {
        "backup.hours": "broken", "blast_radius.over": "kept",
    }  # fmt: skip
    assert (found["differ"], differs) == (["backup.hours"], True)
    with pytest.raises(IntegrityError) as refusal:
        verified_answer(client, "/v1/contract", encoded({"text": TEXT + "\n", "terms": []}), cell.log_key)
    assert refusal.value.code == "other-contract"
    told = {"copy": "live", "canaries": 5, "right": 1, "wrong": 0}
    found, differs = verified_answer(client, "/v1/canaries", encoded({"items": [told]}), cell.log_key)
    assert found["items"] == [told] and not differs
    for hidden in ([], [{**told, "right": 0}], [{**told, "canaries": 4}]):
        found, differs = verified_answer(client, "/v1/canaries", encoded({"items": hidden}), cell.log_key)
        assert differs and found["differ"] == ["live"]
    with pytest.raises(ConfigError):
        verified_answer(client, "/v1/status", b"{}", cell.log_key)


def test_an_answer_as_it_comes_is_compared_with_the_entries(cell: ConsoleCell, client: ApiClient) -> None:
    answer = client.call("GET", "/v1/canaries")
    _, differs = verified_answer(client, "/v1/canaries", answer.body, cell.log_key)
    assert differs  # the stand-in for incident of this cell knows of no copy, and the entries do


def test_the_log_answers_a_session_that_the_holders_verified_and_no_console_without_one(cell: ConsoleCell) -> None:
    reader = cell.client("sec")
    token, console = bytes.fromhex(reader.token), cell.exchanges["console"].to("ledger")
    asked = encode_request(ReadCheckpoint())
    assert cell.run(console.call(AskAsStaff(token, asked))).reply
    for wrong, code in ((bytes(32), "no-session"), (hashlib.sha256(token).digest(), "no-session")):
        with pytest.raises(Refused) as refusal:
            cell.run(console.call(AskAsStaff(wrong, asked)))
        assert refusal.value.code == code
    reader.call("DELETE", "/v1/session")
    with pytest.raises(Refused) as refusal:
        cell.run(console.call(AskAsStaff(token, asked)))
    assert refusal.value.code == "no-session"
    reader.token = ""
    reader.close()
