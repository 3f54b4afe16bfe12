"""An account destroyed for ever, whatever cuts the command off, and the receipt that shows it."""

import asyncio
import contextlib
import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Live

from bulkhead.cli.ledger import log_key
from bulkhead.cli.main import main
from bulkhead.cli.oblivion import Cancelled, cancel_account
from bulkhead.cli.road import Road, open_road
from bulkhead.errors import IntegrityError
from bulkhead.identifiers import parse_address
from bulkhead.ledger.oblivion import check_receipt

pytestmark = pytest.mark.timeout(120)
TENANT = "stnet"
STEPS = 6  # changes that a cancellation asks for: five compartments, and the ledger


class _KilledRoad(Road):
    """A road whose process is killed after so many changes have been answered."""

    left = 0

    async def ask(self, compartment: str, request: Any, *, timeout: float = 30.0) -> Any:
        reply = await super().ask(compartment, request, timeout=timeout)
        if hasattr(request, "stamp"):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return reply


def _cancel_and_die(live: Live, address: str, changes: int) -> int:
    """Cancel in a process that is killed; the signal that ended it."""

    async def work() -> None:
        road = open_road(str(live.directory), TENANT)
        async with _KilledRoad(road.installation, road.tenant) as killed:
            killed.left = changes
            await cancel_account(killed, parse_address(address), "test")

    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(work())
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(pid, 0)[1])


def _verify(*words: str) -> tuple[int, Any]:
    """`receipt verify --json`, which knows no installation."""
    out = io.StringIO()
    out.reconfigure = lambda **_: None  # type: ignore[attr-defined]  # as of a real standard output
    with contextlib.redirect_stdout(out):
        status = main(["receipt", "verify", *words, "--json"])
    return status, json.loads(out.getvalue()) if status == 0 else None


def _entries(live: Live, kind: str) -> list[dict[str, Any]]:
    entries = live("ledger", TENANT, "list", "--json", "--limit", "0").json["entries"]
    return [entry for entry in entries if entry["kind"] == kind]


@pytest.mark.parametrize("changes", range(1, STEPS + 1))
def test_a_cancellation_killed_after_any_step_is_finished_by_the_same_command(
    live: Live, tmp_path: Path, changes: int
) -> None:
    address = f"killed{changes}@stnet.example"
    assert live.add(address, tenant=TENANT).status == 0
    before = len(_entries(live, "AccountDestroyed"))
    assert _cancel_and_die(live, address, changes) == signal.SIGKILL
    ran = live(
        "account", "passwd", TENANT, address, "--change", "--password-stdin", stdin="correct horse battery\nx1y2z3a4\n"
    )
    assert ran.status == 4  # keyring's half is gone after the first step
    copy = tmp_path / "receipt"
    ran = live("account", "cancel", TENANT, address, "--receipt", str(copy), "--json")
    assert ran.status == 0, ran.err
    assert len(_entries(live, "AccountDestroyed")) == before + 1
    road = open_road(str(live.directory), TENANT)
    shown = check_receipt(copy.read_bytes(), log_key(road))
    assert shown.opening is not None and shown.opening.address == address
    assert json.loads(copy.read_bytes())["said_by"].count("keyring") == 1
    assert not list((live.directory / "run" / "pending" / TENANT).glob("*.cancel"))
    again = live("account", "cancel", TENANT, address, "--json")
    assert again.status == 0 and len(_entries(live, "AccountDestroyed")) == before + 1


def test_two_cancellations_of_an_account_at_once_leave_one_entry_and_one_receipt(live: Live) -> None:
    assert live.add("both@stnet.example", tenant=TENANT).status == 0
    before = len(_entries(live, "AccountDestroyed"))

    async def cancel() -> Cancelled:
        async with open_road(str(live.directory), TENANT) as road:
            return await cancel_account(road, parse_address("both@stnet.example"), "test")

    async def both() -> list[Cancelled]:
        return await asyncio.gather(cancel(), cancel())

    first, second = asyncio.run(both())
    assert len(_entries(live, "AccountDestroyed")) == before + 1
    key = log_key(open_road(str(live.directory), TENANT))
    assert check_receipt(first.receipt, key).subject == check_receipt(second.receipt, key).subject
    assert not list((live.directory / "run" / "pending" / TENANT).glob("*.cancel"))


def test_a_receipt_is_checked_with_the_log_key_alone_and_renewed_when_the_key_is_destroyed(
    live: Live, tmp_path: Path
) -> None:
    address = "gone@stnet.example"
    live.add(address, tenant=TENANT)
    copy = tmp_path / "receipt"
    done = live("account", "cancel", TENANT, address, "--receipt", str(copy), "--json").json
    road = open_road(str(live.directory), TENANT)
    key = str(log_key(road))
    stored = live.directory / "receipts" / TENANT / f"{done['account']}.json"
    for path in (copy, stored):
        shown = _verify(str(path), "--key", key)[1]
        assert (shown["copies_destroyed"], shown["copies_until"]) == (False, 0)
    assert address not in stored.read_text() and address in copy.read_text()
    assert _verify(str(copy), "--key", key, "--address", "GONE@stnet.example")[0] == 0
    assert _verify(str(copy), "--key", key, "--address", "other@stnet.example")[0] == 5
    other = str(log_key(open_road(str(live.directory), "kddi")))
    assert _verify(str(copy), "--key", other)[0] == 5

    assert live("credentials", "rotate", TENANT, "--json").status == 0
    assert live("receipt", "renew", TENANT, str(copy)).status == 0
    kept = _verify(str(copy), "--key", key)[1]
    assert not kept["copies_destroyed"] and kept["copies_until"] > kept["time"]
    assert live("credentials", "rotate", TENANT, "--emergency", "--json").status == 0
    assert live("receipt", "renew", TENANT, str(copy)).status == 0
    gone = _verify(str(copy), "--key", key, "--address", address)[1]
    assert gone["copies_destroyed"] and gone["last_version"] >= 1

    assert live("account", "purge", TENANT, address).status == 0
    assert live.add(address, tenant=TENANT).status == 4


def test_every_changed_octet_of_a_receipt_is_found(live: Live, tmp_path: Path) -> None:
    live.add("octet@stnet.example", tenant=TENANT)
    copy = tmp_path / "receipt"
    live("account", "cancel", TENANT, "octet@stnet.example", "--receipt", str(copy))
    data, key = copy.read_bytes(), log_key(open_road(str(live.directory), TENANT))
    check_receipt(data, key)
    for place in range(0, len(data), 3):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(IntegrityError):
            check_receipt(changed, key)
    later = json.loads(data)
    later["destroyed"][0]["at"] += 1
    with pytest.raises(IntegrityError, match=r"line 1[0-9] is not what the entries"):
        check_receipt(json.dumps(later, ensure_ascii=False, indent=1).encode() + b"\n", key)
