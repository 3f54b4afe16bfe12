"""Rotation and backup in step: nothing is destroyed before it is backed up, and the escrow has what is left."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Live

from bulkhead.boundary.messages import to_auth, to_ledger
from bulkhead.cli.escrow import escrow_file, missing_escrow
from bulkhead.cli.escrow_keys import MESSAGES
from bulkhead.cli.road import Road, open_road
from bulkhead.cli.rotate import Rotation, rotate_all
from bulkhead.cli.tenant_lock import BACKUP, alone
from bulkhead.config import set_value

pytestmark = pytest.mark.timeout(120)
TENANT = "stnet"
Now = Callable[[Any], bool]


class _KilledRoad(Road):
    """A road whose process is killed before or after a request that `when` picks."""

    before: Now = staticmethod(lambda _: False)
    after: Now = staticmethod(lambda _: False)

    async def ask(self, compartment: str, request: Any, *, timeout: float = 30.0) -> Any:
        if self.before(request):
            os.kill(os.getpid(), signal.SIGKILL)
        reply = await super().ask(compartment, request, timeout=timeout)
        if self.after(request):
            os.kill(os.getpid(), signal.SIGKILL)
        return reply


@pytest.fixture(scope="module")
def place(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("rotate") / "backups"
    set_value(live.directory, "bulkhead.toml", "backup.directory", str(place))
    yield place
    set_value(live.directory, "bulkhead.toml", "backup.directory", "")
    shutil.rmtree(live.directory / "backup")


def _rotate(live: Live, *words: str) -> dict[str, Any]:
    ran = live("credentials", "rotate", TENANT, "--json", *words)
    assert ran.status == 0, ran.err
    return dict(ran.json)


def _dead(live: Live, backup: str) -> bool:
    """Whether it needs a version that is there no more."""
    rows = {row["backup"]: row for row in live("backup", "list", TENANT, "--json").json["backups"]}
    due = _rotate(live, "--due")["keys"]
    there = {
        (key["compartment"], version)
        for key in due
        for version in (key["version"], *(kept["version"] for kept in key["kept"]))
    }
    needs = {(need.split("/")[0], int(need.split("/")[2])) for need in rows[backup]["needs"]}
    return any(need not in there for need in needs if need[0] in ("auth", "keyring"))


def test_a_rotation_is_backed_up_before_it_destroys_and_names_what_died(live: Live, place: Path) -> None:
    ran = live("backup", "run", TENANT, "--json")
    before = ran.json["backups"][0]["backup"]
    rotated = _rotate(live, "--keep-days", "0")
    assert [len(key["destroyed"]) for key in rotated["keys"]] == [1, 1]
    assert rotated["backup"] > before
    assert before in rotated["dead_backups"]
    assert not _dead(live, rotated["backup"])
    assert _rotate(live, "--due")["backup"] is None  # nothing is due, nothing is made


def test_where_the_backup_fails_nothing_is_destroyed_and_due_goes_on(live: Live, place: Path) -> None:
    away = place.with_name("away")
    place.rename(away)
    place.write_bytes(b"no directory")
    try:
        ran = live("credentials", "rotate", TENANT, "--json", "--keep-days", "0")
        assert ran.status != 0
        assert "nothing was destroyed" in ran.err
    finally:
        place.unlink()
        away.rename(place)
    assert live("backup", "status", TENANT, "--json").json["tenants"][0]["failure"]
    after = _rotate(live, "--due")
    assert [len(key["destroyed"]) for key in after["keys"]] == [1, 1]
    assert after["backup"]
    assert live("backup", "status", TENANT, "--json").json["tenants"][0]["failure"] is None


@pytest.mark.parametrize(
    ("when", "kind"),
    [("before", to_auth.DestroyKey), ("after", to_auth.DestroyKey), ("before", to_ledger.RecordEscrow)],
    ids=["escrow-gone", "key-gone", "before-the-ledger"],
)
def test_a_rotation_killed_between_escrow_and_key_heals_at_the_next_run(
    live: Live, place: Path, when: str, kind: type[Any]
) -> None:
    _rotate(live, "--keep-days", "0")

    async def work() -> None:
        road = open_road(str(live.directory), TENANT)
        killed = _KilledRoad(road.installation, road.tenant)
        setattr(killed, when, lambda request: isinstance(request, kind) and getattr(request, "version", 1))
        await rotate_all(killed, Rotation(keep_days=0))

    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(work())
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL

    healed = _rotate(live, "--due", "--keep-days", "0")

    folder = live.directory / "escrow" / TENANT
    assert missing_escrow(folder, MESSAGES) == ()
    assert all(escrow_file(folder, name).exists() for name in MESSAGES)
    assert not any(key["kept"] for key in healed["keys"])
    newest = live("backup", "list", TENANT, "--json").json["backups"][-1]["backup"]
    assert not _dead(live, newest)
    ran = live("backup", "verify", TENANT, newest, "--offline", "--json")
    assert ran.json["sound"], ran.out


def test_a_backup_waits_for_a_rotation_and_an_emergency_for_nobody(live: Live, place: Path) -> None:
    road = open_road(str(live.directory), TENANT)

    async def work() -> list[str]:
        ended: list[str] = []

        async def scheduled() -> None:
            await rotate_all(open_road(str(live.directory), TENANT), Rotation(keep_days=1))
            ended.append("scheduled")

        async with alone(road.layout, BACKUP):
            waiting = asyncio.create_task(scheduled())
            await rotate_all(open_road(str(live.directory), TENANT), Rotation(emergency=True))
            ended.append("emergency")
        await waiting
        return ended

    assert asyncio.run(work()) == ["emergency", "scheduled"]
    _rotate(live, "--emergency")  # other tests find no key that is kept for a day


def test_a_backup_whose_keys_are_destroyed_meanwhile_is_none(
    live: Live, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, rotated = Road.ask, False

    async def emergency_in_between(self: Road, compartment: str, request: Any, *, timeout: float = 30.0) -> Any:
        nonlocal rotated
        if isinstance(request, to_auth.EscrowKeys) and not rotated:
            rotated = True
            monkeypatch.setattr(Road, "ask", ask)
            await rotate_all_without_escrow(live)
        return await ask(self, compartment, request, timeout=timeout)

    async def rotate_all_without_escrow(live: Live) -> None:
        """As by a command that took its turn right before: this one holds the escrow's locks."""
        escrow = live.directory / "escrow"
        monkeypatch.setattr("bulkhead.cli.rotate.escrow_lock", lambda compartment: f"test-{compartment}")
        await rotate_all(open_road(str(live.directory), TENANT), Rotation(emergency=True))
        assert escrow.exists()

    assert live("backup", "run", TENANT).status == 0  # there is an escrow
    monkeypatch.setattr(Road, "ask", emergency_in_between)
    ran = live("backup", "run", TENANT, "--json")
    assert rotated
    assert ran.status == 3
    assert "was destroyed meanwhile: back up again" in ran.err
    assert not live("backup", "list", TENANT, "--json").json["backups"][-1]["whole"]
