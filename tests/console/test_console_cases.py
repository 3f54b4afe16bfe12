"""The support desk, quotas and classes by the API, over a bare cell: directory, store, auth and ledger for real."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bulkhead.boundary.messages import to_auth, to_directory, to_store
from bulkhead.boundary.messages.to_ledger import ReadEntries
from bulkhead.boundary.support import CASE_HOLDERS, CONSENT_TRIES
from bulkhead.console.api import Api
from bulkhead.console.http import HttpRequest
from bulkhead.drill.bare_cell import BareCell, Person, opened, stamp
from bulkhead.drill.semantic_console import open_session
from bulkhead.drill.semantic_console_calls import ask
from bulkhead.drill.semantic_orders import begin
from bulkhead.identifiers import AccountId, new_id
from bulkhead.ledger.event import parse_event
from bulkhead.records.canonical import base64_text
from bulkhead.records.case import Case
from bulkhead.records.signed_file import read_order_file

CODE = "20260617"


class Desk:
    """The console of a cell, with sessions of officers."""

    def __init__(self, cell: BareCell) -> None:
        self.cell = cell
        self.exchange = cell.worker("console")
        self.name = cell.settings["names"]["console"]
        self.api = Api(self.exchange, str(cell.tenant), self.name)
        self.tokens: dict[str, bytes] = {}

    async def call(self, officer: str, method: str, target: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        if officer not in self.tokens:
            self.tokens[officer] = secrets.token_bytes(32)
            assert await open_session(self.cell, self.exchange, officer, self.tokens[officer])
        path, _, query = target.partition("?")
        fields = {
            "authorization": f"Bearer {self.tokens[officer].hex()}", "content-type": "application/json",
            "idempotency-key": key or secrets.token_hex(8),
        }  # fmt: skip
        data = b"" if body is None else json.dumps(body).encode()
        answer = await self.api.answer(HttpRequest(method, path, query, self.name, fields, data), "127.0.0.1")
        return answer.status, json.loads(answer.body)

    async def opened(self, person: Person, officer: str = "sup", **changes: Any) -> str:
        """A case of the officer, by the API."""
        status, case = await self.call(officer, "POST", "/v1/support/cases", self.signed(person, officer, **changes))
        assert status == 200, case
        return str(case["case"])

    def signed(self, person: Person, officer: str = "sup", signer: str = "", **changes: Any) -> dict[str, Any]:
        case: Case = self.cell.people.case(person.account, person.address, officer, **changes)
        data, (approval,) = self.cell.people.signed_case(case, signer)
        return {
            "statement": data.decode(),
            "approval": {
                "officer": approval.officer, "key": approval.key.hex(), "signature": base64_text(approval.signature),
            },
        }  # fmt: skip

    async def consent(self, person: Person) -> None:
        request = to_auth.GiveConsent(
            stamp(), person.account, bytes(bytearray(person.password)), bytes(bytearray(CODE.encode()))
        )
        await self.cell.ask("cli", "auth", request)

    async def told(self, kind: str) -> int:
        await asyncio.sleep(0.05)  # what narrows is told afterwards
        entries = await self.cell.ask("cli", "ledger", ReadEntries(0))
        return [parse_event(entry).kind.name for entry in entries.entries].count(kind)


def play(root: Path, work: Callable[[Desk, Person], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with opened(root) as cell:
            await begin(cell)
            await work(Desk(cell), await cell.add_person("taro"))

    asyncio.run(whole())


def test_a_case_is_signed_opened_looked_into_acted_in_and_closed_by_the_api(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        status, terms = await desk.call("sup", "GET", f"/v1/support/terms?address={person.address}")
        people = desk.cell.people
        assert status == 200 and terms["account"] == person.account.hex()
        assert (terms["roster"], terms["roster_hash"]) == (people.version, people.hash.hex())
        case = await desk.opened(person)
        path = f"/v1/support/cases/{case}"
        assert await desk.told("SupportCaseOpened") == len(CASE_HOLDERS)
        status, card = await desk.call("sup", "POST", f"{path}/looks", {"address": person.address}, "look")
        assert status == 200 and (card["address"], card["status"], card["app_passwords"]) == (
            person.address,
            "active",
            0,
        )
        assert await desk.told("SupportCardShown") == 3
        assert (await desk.call("sup", "POST", f"{path}/looks", {"address": person.address}, "look"))[1] == card
        assert await desk.told("SupportCardShown") == 3
        await desk.cell.log_in("access", person)
        act = {"act": "end-sessions", "code": CODE}
        assert (await desk.call("sup", "POST", f"{path}/acts", act))[1]["code"] == "bad-consent"
        await desk.consent(person)
        assert (await desk.call("sup", "POST", f"{path}/acts", act, "end"))[0] == 200
        assert not any(one.account == person.account for one in desk.cell.keyring.sessions.all())
        assert (await desk.call("sup", "POST", f"{path}/acts", act, "end"))[0] == 200
        assert (await desk.call("sup", "POST", f"{path}/acts", act))[1]["code"] == "bad-consent"  # it was spent
        listed = (await desk.call("ada", "GET", "/v1/support/cases"))[1]["items"]
        assert [(one["case"], one["officer"], one["closed"]) for one in listed] == [(case, "sup", 0)]
        assert (await desk.call("sup", "DELETE", path))[0] == 200
        status, problem = await desk.call("sup", "POST", f"{path}/looks", {"address": person.address})
        assert (status, problem["code"]) == (404, "no-case")
        assert await desk.told("SupportActed") == 1

    play(tmp_path, work)


def test_a_statement_that_does_not_hold_opens_no_case_and_ends_no_session(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        for body, status, code in (
            (desk.signed(person, "sup", "ada"), 422, "unknown-key"),
            (desk.signed(person, "sup", expires=1, issued=0), 422, "expired"),
            (desk.signed(person, "sup", roster=0), 409, "old-roster"),
            (desk.signed(person, "ada"), 404, "no-case"),  # another officer's, under this session
            ({**desk.signed(person), "statement": "{}"}, 422, "bad-fields"),
        ):
            answer = await desk.call("sup", "POST", "/v1/support/cases", body)
            assert (answer[0], answer[1]["code"]) == (status, code), answer
        assert (await desk.call("eng", "POST", "/v1/support/cases", desk.signed(person)))[0] == 403
        assert (await desk.call("sup", "GET", "/v1/support/cases"))[1]["items"] == []
        assert await desk.told("SupportCaseOpened") == 0

    play(tmp_path, work)


def test_a_case_is_of_who_signed_it_and_security_may_close_it(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        case = await desk.opened(person)
        path = f"/v1/support/cases/{case}"
        await desk.consent(person)
        for officer in ("ada", "sec"):
            look = await desk.call(officer, "POST", f"{path}/looks", {"address": person.address})
            assert (look[0], look[1]["code"]) == (404, "no-case")
            act = await desk.call(officer, "POST", f"{path}/acts", {"act": "unlock", "code": CODE})
            assert (act[0], act[1]["code"]) == (404, "no-case")
        assert (await desk.call("ada", "DELETE", path))[1]["code"] == "no-case"
        assert (await desk.call("sec", "DELETE", path))[0] == 200
        assert (await desk.call("sup", "POST", f"{path}/acts", {"act": "unlock", "code": CODE}))[0] == 404

    play(tmp_path, work)


def test_codes_are_tried_no_more_often_by_the_api_and_never_in_a_rehearsal(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        case = await desk.opened(person)
        path = f"/v1/support/cases/{case}/acts"
        assert (await desk.call("sup", "POST", f"{path}?dry_run=true", {"act": "unlock", "code": CODE}))[0] == 400
        await desk.consent(person)
        for number in range(CONSENT_TRIES):
            answer = await desk.call("sup", "POST", path, {"act": "unlock", "code": f"{number:08}"})
            assert (answer[0], answer[1]["code"]) == (422, "bad-consent")
        assert (await desk.call("sup", "POST", path, {"act": "unlock", "code": CODE}))[1]["code"] == "bad-consent"
        assert await desk.told("ConsentVoid") == 1
        bulk = {"operations": [{"call": "actInCase", "path": {"case": case}, "body": {"act": "unlock", "code": CODE}}]}
        assert (await desk.call("sup", "POST", "/v1/bulk", bulk))[1]["results"][0]["status"] == 400

    play(tmp_path, work)


def test_a_recovery_is_requested_by_an_order_that_nobody_signed_yet(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        path = f"/v1/support/cases/{await desk.opened(person)}/acts"
        body = {"act": "request-recovery", "address": person.address}
        status, answer = await desk.call("sup", "POST", path, body)
        file = read_order_file(answer["order"])
        order = json.loads(file.statement)
        assert status == 200 and file.approvals == ()
        assert (order["action"], order["parameters"]) == ("recover-mailbox", {"account": person.account.hex()})
        assert (await desk.call("sup", "POST", path, {**body, "code": CODE}))[0] == 400
        assert (await desk.call("sup", "POST", path, {"act": "unlock"}))[0] == 400
        security = f"/v1/support/cases/{await desk.opened(person, 'sec')}/acts"
        assert (await desk.call("sec", "POST", security, body))[1]["code"] == "other-role"

    play(tmp_path, work)


def test_quota_and_class_reach_directory_and_store_and_never_logins(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        account = f"/v1/accounts/{person.address}"
        changed = await desk.call("ada", "PUT", f"{account}/quota?dry_run=true", {"octets": 7})
        assert changed[0] == 200 and changed[1]["quota_bytes"] == 7
        before = (await desk.call("sec", "GET", f"{account}/quota"))[1]
        assert before["used_bytes"] == 0 and 7 not in before.values()
        assert (await desk.call("ada", "PUT", f"{account}/quota", {"octets": 4096}))[1]["quota_bytes"] == 4096
        after = (await desk.call("sec", "GET", f"{account}/quota"))[1]
        assert (after["quota_bytes"], after["limit_bytes"]) == (4096, 4096)
        plain = {"quota_bytes": 8192, "off": ["send"]}
        assert (await desk.call("ada", "PUT", "/v1/classes/plain", plain))[0] == 200
        assert (await desk.call("ada", "PUT", "/v1/classes/closed", {"quota_bytes": 0, "off": ["login"]}))[0] == 200
        assert (await desk.call("ada", "PUT", "/v1/classes/No%20Name", plain))[1]["code"] == "bad-path"
        row = (await desk.call("ada", "PUT", f"{account}/class", {"class": "plain"}))[1]
        assert (row["class"], row["quota_bytes"], row["off"]) == ("plain", 8192, ["send"])
        assert (await desk.call("sec", "GET", f"{account}/quota"))[1]["limit_bytes"] == 8192
        status, problem = await desk.call("ada", "PUT", f"{account}/class", {"class": "closed"})
        assert (status, problem["code"]) == (403, "order-required")
        assert (await desk.call("ada", "PUT", f"{account}/class", {"class": "none"}))[0] == 404
        assert (await desk.call("sec", "PUT", f"{account}/quota", {"octets": 1}))[0] == 403

    play(tmp_path, work)


def test_a_console_switches_no_logins_with_a_session_that_passes_through_it(tmp_path: Path) -> None:
    async def work(desk: Desk, person: Person) -> None:
        await desk.call("ada", "GET", "/v1/status")
        request = to_directory.SetServices(stamp(), person.address, 1, "x")
        assert await ask(desk.exchange, desk.tokens["ada"], "directory", request) == "order-required"
        unknown = to_store.LimitAccount(stamp(), AccountId(new_id()), 5)
        assert await ask(desk.exchange, desk.tokens["ada"], "store", unknown) == "no-such-account"

    play(tmp_path, work)
