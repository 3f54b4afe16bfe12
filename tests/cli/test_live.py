"""Commands against running cells."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.cli.conftest import Live, Ran
from tests.cli.test_officer import write_order, write_roster
from tests.inventory.records import record

from bulkhead.boundary.messages.to_directory import AddAccount, CountAccounts
from bulkhead.boundary.peers import between
from bulkhead.boundary.processes import OPERATOR_CONSOLE, PROCESSES
from bulkhead.cli.account_steps import NewPassword, add_account
from bulkhead.cli.commands import COMMANDS
from bulkhead.cli.output import paths_of
from bulkhead.cli.pending import PendingAccount
from bulkhead.cli.road import Road, open_road
from bulkhead.cli.secret_file import write_secret
from bulkhead.config import set_value
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import parse_address
from bulkhead.ledger.note import NoteSigner, SignatureType, encode_signer
from bulkhead.ledger.tiles import tiles_of
from bulkhead.supervisor.door import Ask, ask_status, knock

pytestmark = pytest.mark.timeout(120)
PASSWORD = "correct horse battery"


def _count(live: Live, item: str, held_by: str) -> int:
    rows = live("exposure", "kddi", "--json").json["rows"]
    return sum(row["count"] for row in rows if (row["item"], row["held_by"]) == (item, held_by))


def test_an_account_goes_through_its_whole_life(live: Live) -> None:
    assert live.add("life@kddi.example").status == 0
    shown = live("account", "show", "kddi", "LIFE@kddi.example", "--json").json
    assert (shown["address"], shown["status"], shown["quota_bytes"]) == ("life@kddi.example", "active", 1 << 30)
    assert live.add("life@kddi.example").status == 4
    for command, status in (("suspend", "suspended"), ("activate", "active"), ("dormant", "dormant")):
        assert live("account", command, "kddi", "life@kddi.example", "--reason", "test").status == 0
        assert live("account", "show", "kddi", "life@kddi.example", "--json").json["status"] == status
    ran = live("account", "passwd", "kddi", "life@kddi.example", "--password-stdin", stdin="another password\n")
    assert (ran.status, ran.out) == (0, "")
    changing = ("account", "passwd", "kddi", "life@kddi.example", "--change", "--password-stdin")
    by_old = "another password\na third password\n"
    assert live(*changing, stdin=by_old).status == 4  # it is dormant
    assert live("account", "activate", "kddi", "life@kddi.example", "--reason", "test").status == 0
    assert live(*changing, stdin=by_old).status == 0
    assert live(*changing, stdin=by_old).status == 4
    named = ("kddi", "life@kddi.example")
    made = live(
        "app-password", "add", *named, "--label", "phone", "--password-stdin", "--json", stdin="a third password\n"
    )
    assert len(made.json["password"]) == 44
    (row,) = live("app-password", "list", *named, "--json").json["app_passwords"]
    assert (row["number"], row["label"], row["services"], row["used"]) == (1, "phone", ["imap", "submit"], None)
    assert live("app-password", "revoke", *named, "1", "--json").json["revoked"] == 1
    assert live("app-password", "revoke", *named, "1").status == 4
    receipt = live("account", "cancel", "kddi", "life@kddi.example", "--json").json
    assert receipt["account"] == shown["account"]
    assert live("account", "cancel", "kddi", "life@kddi.example").status == 0
    assert live("account", "activate", "kddi", "life@kddi.example").status == 4
    again = live.add("life@kddi.example")
    assert again.status == 4 and "never given again" in again.err
    assert live("account", "passwd", "kddi", "life@kddi.example", "--password-stdin", stdin="x" * 12).status == 4


def test_credentials_are_rotated_in_a_running_cell_and_its_holders_start_again_on_the_new_keys(live: Live) -> None:
    assert live.add("rotated@kddi.example").status == 0
    custody, home = live.directory / "custody" / "kddi", live.directory / "cells" / "kddi"
    holders = ("auth", "keyring")
    roots = {name: (custody / f"{name}.root").read_bytes() for name in holders}
    ran = live("credentials", "rotate", "kddi", "--emergency", "--json")
    assert ran.status == 0, ran.err
    for key in ran.json["keys"]:
        assert (key["version"], key["unreadable"], key["destroyed"], key["kept"]) == (2, 0, [1], [])
        name = key["compartment"]
        assert (custody / f"{name}.root").read_bytes() != roots[name] and not (custody / f"{name}.next").exists()
        assert [path.name for path in (home / name).glob("keys.*")] == ["keys.sealed"]
    # as after a command that was cut off before the new root key took its place
    for name in holders:
        (custody / f"{name}.next").write_bytes(roots[name])
        (custody / f"{name}.next").chmod(0o400)
    kept = live("credentials", "rotate", "kddi", "--json").json["keys"]
    assert [(key["version"], key["destroyed"], len(key["kept"])) for key in kept] == [(3, [], 1)] * 2
    assert not list(custody.glob("*.next"))
    rows = live("status", "--json").json["processes"]
    pids = {row["compartment"]: row["pid"] for row in rows if row["tenant"] == "kddi"}
    for name in holders:
        os.kill(pids[name], signal.SIGKILL)
    assert live("fsck", "kddi").status == 0
    changing = ("account", "passwd", "kddi", "rotated@kddi.example", "--change", "--password-stdin")
    assert live(*changing, stdin=f"{PASSWORD}\na third password\n").status == 0
    kinds = [entry["kind"] for entry in live("ledger", "kddi", "list", "--json").json["entries"]]
    assert kinds.count("KeyDestroyed") == 2 and kinds.count("KeyRotationVerified") >= 2


def test_an_import_names_each_bad_line_and_makes_the_rest(live: Live, tmp_path: Path) -> None:
    lines = [f"import{n}@stnet.example,pass word, number {n}" for n in range(8)]
    lines += [json.dumps({"address": "import8@stnet.example", "password": PASSWORD, "quota_bytes": 1 << 21})]
    lines += ["no comma hunter2", "x@unknown.example,hunter2hunter2"]
    (tmp_path / "import").write_text("\n".join(lines))
    first = live("account", "add", "stnet", "--from-file", str(tmp_path / "import"))
    assert first.status == 1
    assert "9 accounts added" in first.err and "2 lines failed" in first.err
    assert "line 10: has no comma" in first.err and "line 11: x@unknown.example: unknown.example is not" in first.err
    assert "hunter2" not in first.err + first.out and "pass word" not in first.err + first.out
    (tmp_path / "import").write_text("\n".join(lines[:9]))
    second = live("account", "add", "stnet", "--from-file", str(tmp_path / "import"))
    assert second.status == 0 and "0 accounts added, 9 were there" in second.err
    listed = live("account", "list", "stnet", "--json").json["accounts"]
    rows = [row for row in listed if row["address"].startswith("import")]  # other tests' accounts are there too
    assert [row["address"] for row in rows] == [f"import{n}@stnet.example" for n in range(9)]
    assert rows[8]["quota_bytes"] == 1 << 21


class _CutOff(Exception):
    """Stands for the end of the process."""


class _CutRoad(Road):
    """A road that ends after so many changes have been answered."""

    left = 0

    async def ask(self, compartment: str, request: Any, *, timeout: float = 30.0) -> Any:
        reply = await super().ask(compartment, request, timeout=timeout)
        if hasattr(request, "stamp"):
            self.left -= 1
            if self.left == 0:
                raise _CutOff
        return reply


@pytest.mark.parametrize("changes", [1, 2, 3, 4, 5])
def test_an_account_cut_off_at_any_step_is_made_by_the_same_command(live: Live, changes: int) -> None:
    address = parse_address(f"cut{changes}@kddi.example")
    before = _count(live, "mailbox key", "keyring")

    async def cut() -> None:
        road = open_road(str(live.directory), "kddi")
        async with _CutRoad(road.installation, road.tenant) as cut_road:
            cut_road.left = changes
            with pytest.raises(_CutOff):
                await add_account(cut_road, address, NewPassword(PASSWORD.encode()), 1 << 30)

    asyncio.run(cut())
    assert live.add(str(address)).status == 0
    assert live("account", "show", "kddi", str(address), "--json").json["status"] == "active"
    assert _count(live, "mailbox key", "keyring") == before + 1
    assert PendingAccount(open_road(str(live.directory), "kddi").layout, address).read() is None
    assert live("fsck", "kddi").status == 0


class _SlowRoad(Road):
    """Waits before directory is told of an account, for as long as another command may take to destroy it."""

    async def ask(self, compartment: str, request: Any, **options: Any) -> Any:
        if isinstance(request, AddAccount):
            await asyncio.sleep(0.5)
        return await super().ask(compartment, request, **options)


def test_two_commands_at_once_that_make_one_account_leave_one_that_works(live: Live) -> None:
    address, password = parse_address("twice@kddi.example"), NewPassword(PASSWORD.encode())

    async def add(kind: type[Road]) -> object:
        road = open_road(str(live.directory), "kddi")
        async with kind(road.installation, road.tenant) as own:
            return await add_account(own, address, password, 1 << 30)

    async def both() -> list[object]:
        first = asyncio.create_task(add(_SlowRoad))
        await asyncio.sleep(0.25)  # its note is written, and its password is set
        return await asyncio.gather(first, add(Road), return_exceptions=True)

    made, refusal = asyncio.run(both())
    assert isinstance(made, bytes)
    assert isinstance(refusal, Refused) and refusal.code == "address-taken"
    by_old = f"{PASSWORD}\nanother password\n"
    change = live("account", "passwd", "kddi", str(address), "--change", "--password-stdin", stdin=by_old)
    assert change.status == 0, change.err
    assert not list((live.directory / "run" / "pending" / "kddi").glob("*.lock"))


def test_a_refused_password_leaves_nothing_behind(live: Live) -> None:
    before = _count(live, "mailbox key", "keyring")
    ran = live.add("weak@kddi.example", "x")
    assert ran.status == 4, ran.err
    assert _count(live, "mailbox key", "keyring") == before
    assert live.add("weak@kddi.example").status == 0


def test_a_list_of_breached_passwords_is_taken_without_a_restart(live: Live, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("a password of another site\n")
    assert live("credentials", "breached", "import", str(tmp_path / "words")).status == 0
    live.process.send_signal(signal.SIGHUP)
    for number in range(50):
        ran = live.add(f"breached{number}@kddi.example", password="a password of another site")
        if ran.status != 0:
            break
        time.sleep(0.1)
    assert ran.status == 4 and "stolen" in ran.err
    assert live.add("breached@kddi.example").status == 0


def test_a_password_is_never_an_argument_or_taken_without_a_terminal(live: Live) -> None:
    ran = live("account", "add", "kddi", "nobody@kddi.example", stdin="something")
    assert ran.status == 2 and "--password-stdin" in ran.err
    assert live("account", "add", "kddi").status == 2
    assert live("account", "add", "kddi", "not an address", "--password-stdin", stdin="x" * 12).status == 2


def test_recovery_takes_the_keys_of_this_tenant_and_party_only(live: Live, tmp_path: Path) -> None:
    live.add("recover@kddi.example")
    folder = live.directory / "recovery"
    for option, file, why in (
        ("--partner-key", folder / "kddi/operator.key", "takes the partner's"),
        ("--operator-key", folder / "stnet/operator.key", "takes the operator's of kddi"),
        ("--partner-key", tmp_path / "missing", "cannot be read"),
    ):
        ran = live(
            "account", "passwd", "kddi", "recover@kddi.example", "--password-stdin", option, str(file), stdin="y" * 12
        )
        assert ran.status == 2 and why in ran.err


def test_a_stop_is_told_in_milliseconds_and_lifted(live: Live) -> None:
    ran = live("stop", "stnet", "--logins", "--sessions", "--reason", "test", "--json")
    assert ran.status == 0
    effects = ran.json["effects"]
    assert sorted(effect["compartment"] for effect in effects) == ["auth", "keyring"]
    assert all(effect["done"] and effect["milliseconds"] < 5000 for effect in effects)
    lifted = live("stop", "stnet", "--lift", "--json").json
    assert lifted["lifted"] and lifted["epoch"] > ran.json["epoch"]
    for words in (
        ["stop", "stnet"],
        ["stop", "stnet", "--lift", "--logins"],
        ["stop", "stnet", "--logins", "--reason", "a@b"],
    ):
        assert live(*words).status == 2


def test_domains_are_added_and_listed(live: Live) -> None:
    assert live("domain", "add", "stnet", "Second.Example").status == 0
    rows = live("domain", "list", "stnet", "--json").json["domains"]
    assert [row["domain"] for row in rows] == ["second.example", "stnet.example"]
    assert live("domain", "add", "stnet", "-").status == 2


def test_the_ledger_verifies_extends_and_proves(live: Live, tmp_path: Path) -> None:
    kept = tmp_path / "checkpoint"
    assert live("ledger", "kddi", "verify", "--keep", str(kept)).status == 0
    live.add("witness@kddi.example")
    _wait_until_logged(live, kept)
    document = live("ledger", "kddi", "verify", "--since", str(kept), "--json").json
    assert document["size"] > document["extends"]
    entries = live("ledger", "kddi", "list", "--json", "--limit", "0").json["entries"]
    assert len(entries) >= document["size"]
    assert "witness" not in json.dumps(entries)
    proof = live("ledger", "kddi", "prove", "0", "--json").json
    assert json.loads(proof["entry"])["kind"] and proof["hashes"]
    assert live("ledger", "kddi", "prove", "100000").status == 4
    other = tmp_path / "other"
    live("ledger", "stnet", "verify", "--keep", str(other))
    assert live("ledger", "kddi", "verify", "--since", str(other)).status == 5


def test_a_partner_exports_verifies_offline_and_cosigns_the_live_log(live: Live, tmp_path: Path) -> None:
    export, kept, note = tmp_path / "log", tmp_path / "kept", tmp_path / "note"
    before = live("ledger", "kddi", "export", str(export), "--json").json
    offline = ["--key", before["key"], "--json"]
    assert live("ledger", "verify", str(export), *offline, "--keep", str(kept)).json["size"] == before["size"]
    live.add("cosigned@kddi.example")
    _wait_until_logged(live, kept)
    after = live("ledger", "kddi", "export", str(export), "--json").json
    assert after["before"] == before["size"] < after["size"]
    assert live("ledger", str(export), "verify", *offline, "--previous", str(kept)).json["extends"] == before["size"]
    files = {str(path.relative_to(export)) for path in export.rglob("*") if path.is_file()}
    assert files == {"checkpoint", *(tile.path for tile in tiles_of(after["size"]))}
    witness = _pin_witness(live, tmp_path / "w.key")
    found = live("ledger", "watch", "kddi", *witness, "--to", str(note), "--json").json
    assert found["carried"] and found["alarm"] in (None, "gap")
    assert note.read_text().count("witness/kddi") == 1
    assert live("ledger", "kddi", "attach", str(note)).status == 0  # again: nothing changes
    stranger = tmp_path / "stranger"
    stranger.write_text(note.read_text().replace("witness/kddi", "witness/none"))
    assert live("ledger", "kddi", "attach", str(stranger)).status == 4


def _wait_until_logged(live: Live, kept: Path) -> None:
    """The outbox delivers in its own time."""
    for _ in range(1000):
        if live("ledger", "kddi", "list", "--json").json["size"] > int(kept.read_text().splitlines()[1]):
            return
        time.sleep(0.05)


def test_status_shows_every_process_with_pid_uid_level_and_memory(live: Live) -> None:
    ran = live("status", "--json")
    assert ran.status == 0
    rows = [row for row in ran.json["processes"] if row["tenant"] == "kddi"]
    assert len(rows) == len(PROCESSES) + 3 and all(row["pid"] > 0 and row["state"] == "started" for row in rows)
    compartments = [row for row in rows if row["level"] is not None]
    assert len(compartments) == len(PROCESSES)
    if os.geteuid() == 0:
        assert len({row["uid"] for row in compartments}) == len(PROCESSES)
        assert all(row["memory_bytes"] > 1 << 20 for row in rows)
    assert "kddi" in live("status").out


def test_a_command_goes_on_when_its_compartment_restarts(live: Live) -> None:
    async def work() -> None:
        async with open_road(str(live.directory), "stnet") as road:

            def pid() -> int:
                rows: Any = ask_status(str(road.layout.socket))["processes"]
                return int(next(row["pid"] for row in rows if row["compartment"] == "directory"))

            before = await road.ask("directory", CountAccounts())
            old = pid()
            os.kill(old, signal.SIGKILL)
            assert await road.ask("directory", CountAccounts()) == before
            assert pid() not in {0, old}

    asyncio.run(work())


def test_a_compartment_that_takes_no_console_gives_no_edge(live: Live) -> None:
    layout = open_road(str(live.directory), "kddi").layout
    for name, process in PROCESSES.items():
        if between(OPERATOR_CONSOLE, name) is None:
            with pytest.raises(TemporaryFailure):
                knock(str(layout.socket), Ask.EDGE, process.slot)


def test_every_json_key_that_is_documented_is_printed(live: Live, tmp_path: Path) -> None:
    (tmp_path / "nobody").write_text("00" * 16 + "\n")
    (tmp_path / "accounts").write_text(f"imported@kddi.example,{PASSWORD}\n")
    (tmp_path / "mbox").write_text("From x Sun Sep  9 01:46:41 2001\nSubject: x\n\nx\n")
    (tmp_path / "Maildir" / "cur").mkdir(parents=True)
    live.add("keys@kddi.example")
    live.add("keys@stnet.example", tenant="stnet")
    case = live("support", "case", "open", "kddi", "keys@kddi.example", "--reason", "test").out.strip()
    device = ["stnet", "keys@stnet.example"]
    people = live.people["stnet"]
    header = '{"do":"provision","tenant":"kddi","name":"keys"}\n'
    (tmp_path / "lines").write_text(header + '{"do":"add-account","address":"lines@kddi.example"}\n')
    roster = write_roster(people, people.roster(), tmp_path / "roster")
    order = write_order(people, people.order("end-sessions"), tmp_path / "order", "ada")
    words: dict[str, list[str]] = {
        "officer roster install": ["officer", "roster", "install", "stnet", str(roster)],
        "officer order submit": ["officer", "order", "submit", "stnet", str(order)],
        "provision apply": ["provision", "apply", "kddi", str(tmp_path / "lines")],
        "domain bindings": ["domain", "bindings", "kddi", "--to", str(tmp_path / "bindings")],
        "provision status": ["provision", "status", "kddi", str(tmp_path / "lines")],
        "officer automatic": ["officer", "automatic", "stnet"],
        "officer order list": ["officer", "order", "list", "stnet"],
        "upgrade": ["upgrade", "kddi"],
        "status": ["status"], "fsck": ["fsck", "--all"], "doctor": ["doctor"], "exposure": ["exposure", "--all"],
        "credentials audit": ["credentials", "audit"], "credentials rotate": ["credentials", "rotate", "stnet"],
        "app-password add": ["app-password", "add", *device, "--password-stdin"],
        "app-password list": ["app-password", "list", *device],
        "app-password revoke": ["app-password", "revoke", *device, "1"],
        "credentials revoke": ["credentials", "revoke", "stnet", "--app"],
        "credentials renew-mailboxes": ["credentials", "renew-mailboxes", "stnet", "--reason", "test"],
        "config show": ["config", "show"], "tenant list": ["tenant", "list"], "domain list": ["domain", "list", "kddi"],
        "account list": ["account", "list", "kddi"], "account show": ["account", "show", "kddi", "keys@kddi.example"],
        "account routes": ["account", "routes", "kddi", "keys@kddi.example"],
        "account search": ["account", "search", "kddi", "keys"], "group list": ["group", "list", "kddi"],
        "group show": ["group", "show", "kddi", "team@kddi.example"], "class list": ["class", "list", "kddi"],
        "account import": ["account", "import", "kddi", str(tmp_path / "accounts")],
        "account undelete": ["account", "undelete", "kddi", "keys@kddi.example", "--list"],
        "account cancel": ["account", "cancel", *device],
        "stop": ["stop", "stnet", "--sessions"], "queue list": ["queue", "kddi", "list"],
        "contain": ["contain", "stnet", "pop3", "--accounts", str(tmp_path / "nobody")],
        "containment": ["containment", "stnet"],
        "evict": ["evict", "stnet", "access", "--address", "keys@stnet.example", "--preview"],
        "ledger list": ["ledger", "kddi", "list"], "ledger verify": ["ledger", "kddi", "verify"],
        "ledger prove": ["ledger", "kddi", "prove", "1"], **_ledger_words(live, tmp_path),
        "incident canaries": ["incident", "canaries", "kddi"],
        "audit count": ["audit", "count", "stnet"],
        "support case open": ["support", "case", "open", "kddi", "keys@kddi.example", "--reason", "test"],
        "support case show": ["support", "case", "show", "kddi", case, "keys@kddi.example"],
        "support case list": ["support", "case", "list", "kddi"],
        "contract check": ["contract", "check", "kddi"], "contract show": ["contract", "show", "kddi"],
        "advisory import": ["advisory", "import", str(tmp_path / "flaw.json")],
        "advisory check": ["advisory", "check", "kddi"], "advisory list": ["advisory", "list"],
        "inventory": ["inventory", "--touched", "msgspec"],
        "backup run": ["backup", "run", "kddi", "--to", str(tmp_path / "backup")],
        "backup list": ["backup", "list", "kddi", "--from", str(tmp_path / "backup")],
        "backup verify": [
            "backup", "verify", "kddi", "--from", str(tmp_path / "backup"), "--restore",
            *(f"--{party}-key={live.directory}/recovery/kddi/{party}.key" for party in ("partner", "operator")),
            "--report", str(tmp_path / "tried.json"),
        ],
        "backup record": ["backup", "record", "kddi", str(tmp_path / "tried.json")],
        "backup prune": ["backup", "prune", "kddi", "--from", str(tmp_path / "backup")],
        "backup status": ["backup", "status", "kddi"],
        "export make": ["export", "make", "kddi", "--to", str(tmp_path / "export")],
        "import maildir": ["import", "maildir", "kddi", "keys@kddi.example", str(tmp_path / "Maildir")],
        "import mbox": ["import", "mbox", "kddi", "keys@kddi.example", str(tmp_path / "mbox")],
    }  # fmt: skip
    needing = {command.name for command in COMMANDS if command.json_keys and command.in_installation}
    # tests/cli/test_backup.py and test_import_cell.py: they need a cell that is not here
    elsewhere = {
        "restore",
        "restore-mailbox",
        "restore-follow",
        "import cell",
        "standby status",
        "standby promote",
    }
    assert set(words) == needing - elsewhere - {"standby status", "standby promote"}
    documented = {command.name: command for command in COMMANDS}
    live("incident", "plant", "kddi", "--count", "1")
    (tmp_path / "contract.toml").write_text("schema = 1\n[backup]\nhours = 8760\n[patch]\ndays = 7\n")
    flaw = record("TEST-LIVE-1", "msgspec", database_specific={"severity": "LOW"})
    (tmp_path / "flaw.json").write_bytes(flaw)
    live("group", "add", "kddi", "team@kddi.example")
    live("class", "define", "kddi", "basic")
    live("contract", "adopt", "kddi", str(tmp_path / "contract.toml"))
    for name, line in words.items():  # in this order: what makes an app password comes before what lists and revokes it
        typed = PASSWORD + "\n" if "--password-stdin" in line else None
        document = live(*line, "--json", stdin=typed).json
        assert document.pop("schema") == documented[name].schema
        missing = set(documented[name].json_keys) - set(paths_of(document))
        empty = ("acts[]", "messages[]", "alarms[]", "mismatched[]", "networks[]", "folders[]")
        assert not {key for key in missing if not any(part in key for part in empty)}, name
    (tmp_path / "flaw.json").write_bytes(json.dumps({**json.loads(flaw), "withdrawn": "2026-11-01T00:00:00Z"}).encode())
    assert live("advisory", "import", str(tmp_path / "flaw.json")).status == 0  # nothing stays open for other tests


def test_a_tenants_metrics_are_in_its_own_file_and_count_what_happened(live: Live, tmp_path: Path) -> None:
    live.add("metrics@kddi.example")
    assert live("metrics", "--all", "--each", str(tmp_path)).status == 0
    text = (tmp_path / "kddi.prom").read_text()
    assert 'bulkhead_cell_up{tenant="kddi"} 1\n' in text and "bulkhead_backup_every_seconds" in text
    assert 'tenant="stnet"' not in text and "metrics@" not in text and "kddi.example" not in text
    assert 'bulkhead_accounts{tenant="kddi",status="active"}' in text
    assert (tmp_path / "stnet.prom").stat().st_mode & 0o007 == 0


def _ledger_words(live: Live, tmp_path: Path) -> dict[str, list[str]]:
    """What exports, cosigns and attaches; the cosigned checkpoint is the one before."""
    key, note = tmp_path / "w.key", tmp_path / "note"
    witness = [*_pin_witness(live, key), "--state", str(tmp_path / "state"), "--to", str(note)]
    return {
        "ledger export": ["ledger", "kddi", "export", str(tmp_path / "log")],
        "ledger cosign": ["ledger", "kddi", "cosign", *witness], "ledger watch": ["ledger", "watch", "kddi", *witness],
        "ledger attach": ["ledger", "kddi", "attach", str(note)],
    }  # fmt: skip


def _pin_witness(live: Live, key: Path) -> list[str]:
    """Make a witness's key and pin it in the running cell."""
    signer = NoteSigner("witness/kddi", Ed25519PrivateKey.generate(), SignatureType.COSIGNATURE)
    write_secret(key, encode_signer(signer).encode())
    set_value(live.directory, "tenants/kddi.toml", "pinned.ledger_witness", str(signer.verifier))
    live.process.send_signal(signal.SIGHUP)
    words = ["--witness-key", str(key), "--state", str(key.with_suffix(".wait"))]
    for _ in range(1000):  # the cell takes new settings in its own time
        if live("ledger", "kddi", "cosign", *words, "--json").json["carried"]:
            return ["--witness-key", str(key)]
        time.sleep(0.05)
    raise AssertionError("the ledger never took the witness")


def test_an_unstated_choice_of_tenants_is_refused(live: Live) -> None:
    for command in ("fsck", "exposure"):
        assert live(command).status == 2
        assert live(command, "kddi", "--all").status == 2


def _bad(ran: Ran) -> list[dict[str, Any]]:
    """What is bad, but for canaries, which other tests of this session use."""
    return [row for row in ran.json["findings"] if row["state"] == "bad" and row["matter"] != "canaries"]


def test_doctor_finds_what_is_wrong_and_says_what_to_do(live: Live) -> None:
    root = live.directory / "custody/stnet/queue.root"
    root.chmod(0o444)
    try:
        ran = live("doctor", "--json")
        assert ran.status == 1
        (bad,) = _bad(ran)
        assert bad["tenant"] == "stnet" and "chmod 0400" in bad["advice"]
    finally:
        root.chmod(0o400)
    assert not _bad(live("doctor", "--json"))
