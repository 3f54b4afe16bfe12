"""Installations of older builds, frozen, under the code of today: tests/vectors/installations/README.md."""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.live import Live, Mailbox, free_number, network_of, uid_base_of
from tests.vectors.archive import extract

from bulkhead.cli.certificates import make_ca, write_ca, write_gates
from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.secret_file import make_private_folder
from bulkhead.config import load_installation, set_value
from bulkhead.demo.endpoints import endpoints_of, trust
from bulkhead.demo.running import Running
from bulkhead.identifiers import TenantId
from bulkhead.supervisor.layout import Layout

FROZEN = Path(__file__).parents[1] / "vectors" / "installations"
KNOWN = {known["tenant"]: known for known in (json.loads(path.read_text()) for path in sorted(FROZEN.glob("*.json")))}
Steps = dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The installation with today's code, and what was said on the way."""

    live: Live
    refused: str  # by `run`, before the upgrade
    steps: tuple[Steps, ...]  # of each `upgrade`: two before the start, two after


def thaw(directory: Path) -> None:
    """All archives as one installation, at addresses of this run alone, with certificates that are valid today."""
    for archive in sorted(FROZEN.glob("*.tar.gz")):
        with tarfile.open(archive) as tar:
            extract(tar, directory)
    number = free_number()
    set_value(directory, "bulkhead.toml", "uid_base", uid_base_of(number))
    set_value(directory, "bulkhead.toml", "backup.directory", str(directory / "backup"))
    authority = make_ca("Test carrier mail CA", now=datetime.now(UTC))
    shutil.rmtree(directory / "tls")
    write_ca(directory, authority)
    for place, tenant in enumerate(load_installation(directory).tenants.values()):
        set_value(directory, tenant.file, "listen.address", f"{network_of(number)}.{place + 1}")
        make_private_folder(Layout(directory, tenant.id).pem("x").parent)
        write_gates(directory, authority, load_installation(directory).tenant(tenant.id), now=datetime.now(UTC))
        Layout(directory, tenant.id).pem("console").unlink()  # those builds had none


@pytest.fixture(scope="module")
def upgraded() -> Iterator[Upgraded]:
    base = Path(tempfile.mkdtemp(prefix="bulkhead-up-"))
    directory = base / "i"
    directory.mkdir()
    live: Live = object.__new__(Live)  # it was made long ago
    live.directory, live.tenants = directory, sorted(KNOWN)
    running: Running | None = None
    try:
        thaw(directory)
        refused = live.command("run", check=False).stderr.decode()
        steps = [_upgrade(live), _upgrade(live)]
        running = live.running = Running(directory)
        running.wait_ready()
        live.endpoints, live.tls = endpoints_of(load_installation(directory)), trust(directory)
        steps += [_upgrade(live), _upgrade(live)]
        yield Upgraded(live, refused, tuple(steps))
    finally:
        if running is not None:
            running.stop()
        shutil.rmtree(base, ignore_errors=True)


def _upgrade(live: Live) -> Steps:
    steps = live.json("upgrade", "--all", check=False)["steps"]
    return {(step["tenant"], step["matter"]): step["state"] for step in steps}


def _boxes(live: Live, known: Any) -> dict[str, Any]:
    found = {}
    for box in known["boxes"]:
        address, _, folder = box.partition(" ")
        with live.imap(Mailbox(known["tenant"], address, known["password"]), folder) as client:
            items = client.uid("FETCH", "1:*", "(UID FLAGS BODY.PEEK[])")[1]
        found[box] = dict(_message(item) for item in items if isinstance(item, tuple))
    return found


def _message(item: tuple[bytes, bytes]) -> tuple[str, list[str]]:
    head = item[0].decode()
    flags = sorted(flag for flag in head.partition("FLAGS (")[2].partition(")")[0].split() if flag != "\\Recent")
    return head.partition("UID ")[2].split()[0], [hashlib.sha256(item[1]).hexdigest(), *flags]


def test_run_says_what_to_do_where_a_compartment_came_later(upgraded: Upgraded) -> None:
    assert "has no certificate of console" in upgraded.refused
    assert "bulkhead upgrade t0" in upgraded.refused


def test_upgrade_makes_what_is_missing_and_then_finds_all_there(upgraded: Upgraded) -> None:
    first, second, third, fourth = upgraded.steps
    assert first[("t1", "keys of incident")] == first[("t1", "pinned.recovery_partner")] == "made"
    assert first[("t0", "keys")] == "there"
    assert first[("t0", "certificate of console")] == first[("t0", "contract template")] == "made"
    assert {state for (_, matter), state in second.items() if matter != "receipts"} == {"there"}
    assert second[("t0", "receipts")] == "missing", "no cell runs"
    assert third[("t0", "sealed keys")] == third[("t0", "backups")] == "made"
    assert set(fourth.values()) == {"there"}


@pytest.mark.parametrize("tenant", sorted(KNOWN))
def test_every_message_flag_and_password_of_an_older_build_is_there(upgraded: Upgraded, tenant: str) -> None:
    known = KNOWN[tenant]
    found = _boxes(upgraded.live, known)
    for box, messages in known["boxes"].items():
        assert messages.items() <= found[box].items(), box  # and what came last, or a bounce of what waited
    bob = Mailbox(tenant, f"bob@{tenant}.example", known["password"])
    assert "came last" in upgraded.live.subjects(bob)
    with upgraded.live.imap(Mailbox(tenant, f"anna@{tenant}.example", known["app_password"])) as client:
        assert client.state == "SELECTED"


def test_a_gate_that_came_later_listens_nowhere_after_an_upgrade(upgraded: Upgraded) -> None:
    for tenant in load_installation(upgraded.live.directory).tenants.values():
        assert tenant.settings.integer("listen.console") == 0


def test_every_holder_and_the_log_are_sound_after_an_upgrade(upgraded: Upgraded) -> None:
    checks = upgraded.live.json("fsck", "--all", "--deep")["checks"]
    assert {check["compartment"] for check in checks if check["tenant"] == "t1"} >= {"incident", "auth", "store"}
    for tenant in KNOWN:
        upgraded.live.command("ledger", tenant, "verify")


def test_a_backup_of_the_older_build_is_restored_for_trial(upgraded: Upgraded) -> None:
    live = upgraded.live
    keys = [f"--{party}-key={live.directory}/recovery/t0/{party}.key" for party in ("partner", "operator")]
    tried = live.json("backup", "verify", "t0", "--restore", *keys)
    assert tried["sound"]
    assert tried["accounts"] == 3


def test_new_keys_are_refused_where_a_compartment_has_data(tmp_path: Path) -> None:
    thaw(tmp_path)
    layout = Layout(tmp_path, TenantId("t0"))
    (layout.home("incident") / "keys.sealed").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "bulkhead.cli.main", "upgrade", "t0", "-C", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == ExitCode.FINDING
    assert "has data and no keys" in done.stdout
    assert not (layout.home("incident") / "keys.sealed").exists()


def test_the_recovery_key_of_somebody_else_is_not_pinned(tmp_path: Path) -> None:
    thaw(tmp_path)
    wrong = tmp_path / "recovery" / "t1" / "operator.key"
    done = subprocess.run(
        [sys.executable, "-m", "bulkhead.cli.main", "upgrade", "t1", "--partner-key", str(wrong), "-C", str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == ExitCode.USAGE
    assert "is the operator's recovery key of t1" in done.stderr
    assert load_installation(tmp_path).tenant(TenantId("t1")).settings.text("pinned.recovery_partner") == ""
