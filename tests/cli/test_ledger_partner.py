"""The partner's commands: an export, its own keys, and nothing of an installation."""

import base64
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.conftest import ORIGIN, SIGNER, WITNESS, Logs, event

from bulkhead.cli.ledger_watch import stale
from bulkhead.cli.main import main
from bulkhead.identifiers import AccountId, format_id
from bulkhead.ledger.alarm import Alarm
from bulkhead.ledger.event import subject_id
from bulkhead.ledger.note import (
    Checkpoint,
    NoteSigner,
    add_signatures,
    cosign,
    encode_signer,
    parse_note,
    parse_verifier_key,
    sign_checkpoint,
    verify_cosignature,
)
from bulkhead.ledger.tiles import Tile

KEY = str(SIGNER.verifier)
HISTORY = [event(number, at=1_700_000_000_000 + number) for number in range(700)]
Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command where no installation is; its status, JSON or text, and what it told."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    def go(*words: str | Path) -> tuple[int, Any, str]:
        capsys.readouterr()
        status = main(["ledger", *map(str, words)])
        told = capsys.readouterr()
        return status, json.loads(told.out) if "--json" in words else told.out, told.err

    return go


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


@pytest.fixture
def witness(tmp_path: Path) -> list[str | Path]:
    key = tmp_path / "w.key"
    key.write_text(encode_signer(WITNESS))
    key.chmod(0o400)
    return ["--witness-key", key, "--late", "0"]


def test_an_export_verifies_in_either_order_of_words(logs: Logs, run: Run) -> None:
    export = logs.export(logs.make("log", HISTORY), "export")
    for words in (("verify", export), (export, "verify")):
        status, found, _ = run(*words, "--key", KEY, "--json")
        assert (status, found["size"], found["origin"], found["alarm"]) == (0, 700, ORIGIN, None)


def test_every_alarm_has_its_name_and_exit_code(logs: Logs, run: Run, tmp_path: Path) -> None:
    log = logs.make("log", HISTORY)
    export = logs.export(log, "export")
    kept = tmp_path / "kept"
    assert run("verify", export, "--key", KEY, "--keep", kept)[0] == 0
    forked = logs.export(logs.make("forked", [*HISTORY[:9], event(9, "StopLifted"), *HISTORY[10:], event(700)]), "two")
    shorter = logs.export(logs.make("shorter", HISTORY[:600]), "shorter")
    same_size = logs.export(logs.make("same", [event(-1), *HISTORY[1:]]), "same")
    other_key = NoteSigner(ORIGIN, WITNESS.private)
    stranger = shutil.copytree(export, tmp_path / "stranger")
    root = parse_note((export / "checkpoint").read_bytes()).text
    size, encoded = root.splitlines()[1:3]
    head = Checkpoint(ORIGIN, int(size), base64.b64decode(encoded))
    (stranger / "checkpoint").write_bytes(sign_checkpoint(head, other_key).encode())
    hidden = shutil.copytree(export, tmp_path / "hidden")
    (hidden / "tile/entries/001").unlink()
    replaced = shutil.copytree(export, tmp_path / "replaced")
    bundle = (replaced / "tile/entries/001").read_bytes()
    (replaced / "tile/entries/001").write_bytes(bundle.replace(b'"n":300', b'"n":301'))
    cases = {
        "fork": (forked, same_size), "rollback": (shorter,), "unknown-signer": (stranger,), "withheld": (hidden,),
        "damaged": (replaced,),
    }  # fmt: skip
    for alarm, exports in cases.items():
        for path in exports:
            status, found, told = run("verify", path, "--key", KEY, "--previous", kept, "--json")
            assert (status, found["alarm"]) == (5, alarm)
            assert told.startswith(f"bulkhead: {alarm}: ")
    assert "tile/entries/001: entry 300" in run("verify", replaced, "--key", KEY)[2]
    assert "tile/entries/001 is missing" in run("verify", hidden, "--key", KEY)[2]


def test_a_witness_cosigns_what_extends_and_nothing_else(
    logs: Logs, run: Run, witness: list[str | Path], tmp_path: Path
) -> None:
    log = logs.make("log", HISTORY[:300])
    export, out = logs.export(log, "export"), tmp_path / "cosigned"
    status, found, _ = run(export, "cosign", "--key", KEY, *witness, "--to", out, "--json")
    assert (status, found["size"], found["before"], found["carried"]) == (0, 300, 0, False)
    assert verify_cosignature(parse_note(out.read_bytes()), WITNESS.verifier) == found["cosigned"]
    log.append(HISTORY[300:])
    logs.export(log, "export")
    status, found, _ = run("watch", export, "--key", KEY, *witness, "--to", out, "--json")
    assert (status, found["size"], found["before"]) == (0, 700, 300)
    signed = out.read_bytes()
    rolled = logs.export(logs.make("rolled", HISTORY[:500]), "rolled")
    forked = logs.export(logs.make("forked", [*HISTORY[:650], *[event(n) for n in range(60)]]), "forked")
    for path, alarm in ((rolled, "rollback"), (forked, "fork")):
        status, found, _ = run(path, "watch", "--key", KEY, *witness, "--to", out, "--json")
        assert (status, found["alarm"], found["cosigned"]) == (5, alarm, None)
        kept = [parse_note(one.read_bytes()) for one in tmp_path.glob("w.key.state/evidence-*")]
        assert parse_note((path / "checkpoint").read_bytes()) in kept
    assert out.read_bytes() == signed
    assert run(export, "watch", "--key", KEY, *witness)[0] == 0  # the true one goes on


def test_a_witness_reads_only_what_is_new(logs: Logs, run: Run, witness: list[str | Path]) -> None:
    log = logs.make("log", HISTORY)
    export = logs.export(log, "export")
    assert run(export, "cosign", "--key", KEY, *witness)[0] == 0
    (export / "tile/entries/000").unlink()
    log.append([event(700)])
    logs.export(log, "export")
    (export / "tile/entries/000").unlink()
    assert run(export, "cosign", "--key", KEY, *witness)[0] == 0
    assert "withheld" in run("verify", export, "--key", KEY)[2]


def test_silence_and_lateness_are_alarms_that_go_on(logs: Logs, run: Run, witness: list[str | Path]) -> None:
    export = logs.export(logs.make("log", HISTORY[:5]), "export")
    status, found, told = run(export, "watch", "--key", KEY, *witness, "--late", "30", "--json")
    assert (status, found["alarm"], found["cosigned"] is not None) == (1, "stale", True)
    log = logs.make("late", [event(1), event(2, "EventsLate", of="auth", waited_ms=90_000, events=3)])
    witness[1] = _copy_key(Path(witness[1]), "second.key")
    status, found, told = run(logs.export(log, "two"), "watch", "--key", KEY, *witness, "--late", "30")
    assert status == 1 and "gap: entry 1" in told and "acts of auth came 90 s late" in told


def test_an_entry_of_a_time_to_come_does_not_hide_silence() -> None:
    now = 1_800_000_000
    assert stale((now - 60) * 1000, now, 30) == stale((now + 60) * 1000, now, 30) == []
    ((alarm, text),) = stale((now + 86_400) * 1000, now, 30)
    assert alarm is Alarm.STALE and "still to come" in text


def _copy_key(key: Path, name: str) -> Path:
    copy = key.with_name(name)
    shutil.copy(key, copy)
    copy.chmod(0o400)
    return copy


def test_every_flipped_byte_of_the_witness_state_is_named(
    logs: Logs, run: Run, witness: list[str | Path], tmp_path: Path
) -> None:
    export = logs.export(logs.make("log", HISTORY[:3]), "export")
    assert run(export, "cosign", "--key", KEY, *witness)[0] == 0
    (state,) = tmp_path.glob("w.key.state/*")
    whole = state.read_bytes()
    for offset in range(0, len(whole), 11):
        state.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        status, _, told = run(export, "cosign", "--key", KEY, *witness)
        assert status == 5 and state.name in told
    state.write_bytes(whole)
    assert run(export, "cosign", "--key", KEY, *witness)[0] == 0


def test_a_witness_key_open_to_others_is_refused(logs: Logs, run: Run, witness: list[str | Path]) -> None:
    export = logs.export(logs.make("log", HISTORY[:3]), "export")
    Path(witness[1]).chmod(0o440)
    status, _, told = run(export, "cosign", "--key", KEY, *witness)
    assert status == 2 and "chmod 0400" in told


def test_a_witness_key_is_made_once_and_only_its_owner_reads_it(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new.key"
    status, printed, _ = run("stnet", "witness-key", "--to", path, "--name", "partner.example/w2")
    assert status == 0 and parse_verifier_key(printed.strip()).name == "partner.example/w2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert run("stnet", "witness-key", "--to", path)[0] == 2


def test_proofs_are_files_that_others_check(logs: Logs, run: Run, tmp_path: Path) -> None:
    log = logs.make("log", HISTORY)
    kept = tmp_path / "kept"
    kept.write_bytes(logs.make("old", HISTORY[:300]).note.encode())
    export = logs.export(log, "export")
    one, two = tmp_path / "entry.tlog-proof", tmp_path / "extension"
    assert run("prove", export, "299", "--key", KEY, "--to", one)[0] == 0
    status, found, _ = run("check", one, "--key", KEY, "--json")
    assert (status, found["proves"], found["index"]) == (0, "inclusion", 299)
    assert found["entry"].encode() == HISTORY[299]
    assert run("prove", export, "--from", kept, "--key", KEY, "--to", two)[0] == 0
    status, found, _ = run("check", two, "--key", KEY, "--since", kept, "--json")
    assert (status, found["proves"], found["old"], found["size"]) == (0, "consistency", 300, 700)
    assert run("prove", export, "700", "--key", KEY)[0] == 4
    assert run("prove", export, "--key", KEY)[0] == 2
    text = one.read_text().replace("index 299", "index 298")
    one.write_text(text)
    assert run("check", one, "--key", KEY)[0] == 5


def test_subjects_are_the_logs_names_of_accounts(run: Run, tmp_path: Path) -> None:
    account, key = AccountId(os.urandom(16)), os.urandom(32)
    path = tmp_path / "subject.key"
    path.write_text(f"bulkhead-subject-key-1 stnet {base64.b64encode(key).decode()}\n")
    status, found, _ = run("stnet", "subject", format_id("acc", account), "--subject-key", path, "--json")
    assert status == 0 and found["subjects"][0]["subject"] == subject_id(key, account).hex()
    assert run("kddi", "subject", format_id("acc", account), "--subject-key", path)[0] == 2


def test_a_witness_line_that_is_asked_for_must_be_there(logs: Logs, run: Run) -> None:
    log = logs.make("log", HISTORY[:5])
    export = logs.export(log, "export")
    words = ("verify", export, "--key", KEY, "--witness", str(WITNESS.verifier))
    assert run(*words)[0] == 5
    (export / "checkpoint").write_bytes(add_signatures(log.note, [cosign(log.note, WITNESS, time=77)]).encode())
    assert run(*words, "--json")[1]["cosigned"] == 77
    assert Tile(None, 0, 5).path in {str(path.relative_to(export)) for path in export.rglob("*")}
