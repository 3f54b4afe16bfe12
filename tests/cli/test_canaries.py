"""Canaries of the live databases: planted as any account is, never admitted, and named when somebody uses one."""

import asyncio
import imaplib
import json
import ssl
import time
from typing import Any

import pytest
from tests.cli.conftest import Live

from bulkhead.cli.canaries import Canary, make_canary, plant_in_copy
from bulkhead.cli.road import open_road
from bulkhead.config import load_installation
from bulkhead.demo.endpoints import endpoints_of
from bulkhead.errors import Refused
from bulkhead.identifiers import AccountId, new_id, parse_address
from bulkhead.records.common_passwords import common_passwords

pytestmark = pytest.mark.timeout(120)
TENANT = "stnet"
ACCOUNTS = 12


def _plant(live: Live, copy: str, count: int, *, made: bool) -> list[Canary]:
    """As the command does it, but telling which."""

    async def work() -> list[Canary]:
        async with open_road(str(live.directory), TENANT) as road:
            canaries: list[Canary] = []

            async def make(canary: Canary) -> None:
                canaries.append(canary)
                if made:
                    await make_canary(road, canary)

            await plant_in_copy(road, copy, count, 0.5, make)
            return canaries

    return asyncio.run(work())


def _try_login(live: Live, address: str, password: bytes) -> str:
    endpoint = endpoints_of(load_installation(live.directory))[TENANT]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client = imaplib.IMAP4_SSL(endpoint.address, endpoint.imaps, ssl_context=context, timeout=20)
    try:
        client.login(address, password.decode())
    except imaplib.IMAP4.error as error:
        return str(error)
    finally:
        client.logout()
    return "in"


def _copies(live: Live) -> dict[str, Any]:
    ran = live("incident", "canaries", TENANT, "--json")
    return {copy["copy"]: copy for copy in ran.json["copies"]}


def _wait(live: Live, copy: str, grade: str, count: int) -> dict[str, Any]:
    for _ in range(600):
        found: dict[str, Any] = _copies(live)[copy]
        if found[grade] >= count:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{copy} has {found[grade]} uses with a {grade} password")


def _wait_for_entries(live: Live, copy: str, count: int) -> str:
    """The ledger's whole list, once so many entries are of uses of that copy: they come in the outbox's own time."""
    for _ in range(600):
        ran = live("ledger", TENANT, "list", "--json", "--limit", "0")
        used = [entry["details"] for entry in ran.json["entries"] if entry["kind"] == "CanaryUsed"]
        if sum(json.dumps(copy) in details for details in used) == count:
            return ran.out
        time.sleep(0.1)
    raise AssertionError(f"the ledger has {used}")


def test_a_canary_is_an_account_like_any_and_its_use_names_the_copy(live: Live) -> None:
    for number in range(ACCOUNTS):
        live.add(f"person{number}.{'abc'[number % 3]}@stnet.example", tenant=TENANT)
    before = live("account", "list", TENANT, "--json").json["accounts"]
    canaries = _plant(live, "live", 6, made=True)
    rows = {row["address"]: row for row in live("account", "list", TENANT, "--json").json["accounts"]}
    assert len(rows) == len(before) + 6
    for canary in canaries:
        row = rows[str(canary.address)]
        assert row.keys() == before[0].keys()
        assert row["created"] <= time.time() * 1000
    assert sum(canary.password in common_passwords(64) for canary in canaries) == 3
    assert live("credentials", "audit", TENANT).status == 0  # its halves match, as any account's
    assert live("fsck", TENANT).status == 0

    weak = next(canary for canary in canaries if canary.password in common_passwords(64) and canary.status == 2)
    wrong = _try_login(live, str(weak.address), b"not its password")
    hit = _wait(live, "live", "wrong", 1)
    assert hit["right"] == 0
    for _ in range(2):  # keyring caches a right password; that lets nobody in either
        assert _try_login(live, str(weak.address), weak.password) == wrong != "in"
    hit = _wait(live, "live", "right", 2)
    assert {row["network"] for row in hit["networks"]} != {""}
    said = _wait_for_entries(live, "live", 2)
    assert str(weak.address) not in said  # its local part alone may be three letters that turn up in base64
    findings = {row["matter"]: row for row in live("doctor", "--json").json["findings"] if row["tenant"] == TENANT}
    assert findings["canaries"]["state"] == "bad" and "live" in findings["canaries"]["text"]
    assert _try_login(live, "person0.a@stnet.example", b"correct horse battery") == "in"


def test_a_name_that_stands_in_a_copy_only_names_that_copy_when_it_is_tried_live(live: Live) -> None:
    canaries = _plant(live, "backup-7", 2, made=False)
    assert _copies(live)["backup-7"]["canaries"] == 2
    assert _try_login(live, str(canaries[0].address), canaries[0].password) != "in"
    hit = _wait(live, "backup-7", "wrong", 1)
    assert hit["right"] == 0 and hit["networks"]


def test_only_the_live_databases_are_planted_by_hand(live: Live) -> None:
    ran = live("incident", "plant", TENANT, "--count", "2")
    assert ran.status == 0 and "@" not in ran.out + ran.err
    assert live("incident", "plant", TENANT, "--copy", "backup-8").status == 2
    assert live("incident", "plant", TENANT, "--count", "0").status == 2


def test_a_subscriber_who_got_the_drawn_name_first_keeps_the_account(live: Live) -> None:
    address = "drawn-and-taken@stnet.example"
    live.add(address, tenant=TENANT)

    async def work() -> None:
        async with open_road(str(live.directory), TENANT) as road:
            late = Canary(parse_address(address), AccountId(new_id()), AccountId(new_id()), b"14 characters", 2, 0, 0)
            with pytest.raises(Refused, match="taken"):
                await make_canary(road, late)

    asyncio.run(work())
    rows = {row["address"]: row["status"] for row in live("account", "list", TENANT, "--json").json["accounts"]}
    assert rows[address] == "active"
    assert _try_login(live, address, b"correct horse battery") == "in"
