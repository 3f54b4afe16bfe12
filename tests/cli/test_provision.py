"""Provisioning files against a running cell, and signed on a machine without an installation."""

import base64
import hashlib
import json
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from tests.cli.conftest import Live
from tests.cli.test_officer import PASSPHRASE, write_roster
from tests.cli.test_routes import _send

from bulkhead.cli.main import main
from bulkhead.drill.officers import People

pytestmark = pytest.mark.timeout(120)
PASSWORD = "correct horse battery"


def _write(path: Path, name: str, *rows: dict[str, object], tenant: str = "kddi") -> Path:
    header = {"do": "provision", "tenant": tenant, "name": name}
    path.write_text("".join(json.dumps(row) + "\n" for row in (header, *rows)))
    return path


def _add(name: str) -> dict[str, object]:
    return {"do": "add-account", "address": f"{name}@kddi.example"}


def test_accounts_of_a_file_receive_at_once_and_log_in_after_a_recovery(live: Live, tmp_path: Path) -> None:
    a = "prov-a@kddi.example"
    file = _write(
        tmp_path / "file", "live/1", _add("prov-a"), _add("prov-b"), _add("prov-a"), {"do": "nothing"},
        {"do": "alias", "address": a, "alias": "prov-x@kddi.example"}, {"do": "quota", "address": a, "octets": 5000},
        {"do": "suspend", "address": "prov-b@kddi.example"},
    )  # fmt: skip
    assert main(["provision", "check", "kddi", str(file)]) == 1
    ran = live("provision", "apply", "kddi", str(file), "--json")
    assert (ran.status, ran.json["done"], ran.json["refused"]) == (1, 8, 2)
    errors = [line.split("\t")[:2] for line in Path(f"{file}.errors").read_text().splitlines()]
    assert errors == [["4", "address-taken"], ["5", "bad-line"]]
    assert [_send(live, one, "hello") for one in (a, "prov-x@kddi.example", "prov-b@kddi.example")] == [250, 250, 550]
    assert _send(live, a, "x" * 6000) in {452, 552}
    assert live("account", "show", "kddi", a, "--json").json["status"] == "provisioned"
    set_it = ("account", "passwd", "kddi", a, "--password-stdin")
    assert live(*set_it, stdin=PASSWORD + "\n").status == 0
    assert live(*set_it, "--change", stdin=f"{PASSWORD}\n{PASSWORD} 2\n").status == 0
    again = live("provision", "apply", "kddi", str(file), "--json")
    assert again.json | {"changed": 0} == ran.json | {"changed": 0}
    assert live("provision", "status", "kddi", str(file), "--json").json["done"] == 8
    assert live("fsck", "kddi").status == 0


def test_a_file_goes_on_after_the_command_was_killed(live: Live, tmp_path: Path) -> None:
    rows = [{"do": "add-account", "address": f"killed-{number}@stnet.example"} for number in range(1100)]
    file = _write(tmp_path / "file", "live/2", *rows, tenant="stnet")
    command = [sys.executable, "-m", "bulkhead.cli.main", "provision", "apply", "stnet", str(file)]
    child = subprocess.Popen([*command, "-C", str(live.directory)])
    while live("provision", "status", "stnet", str(file)).status:
        time.sleep(0.05)
    child.kill()
    child.wait()
    ran = live("provision", "apply", "stnet", str(file), "--json")
    assert (ran.status, ran.json["done"], ran.json["refused"]) == (0, 1101, 0)
    assert live("account", "search", "stnet", "killed-", "--json").json["accounts"][-1]["status"] == "provisioned"
    assert live("fsck", "stnet").status == 0


def test_an_order_is_for_one_file_and_officers_sign_what_they_read(tmp_path: Path) -> None:
    people = People("kddi")
    roster = write_roster(people, people.roster(), tmp_path / "roster")
    file, order = _write(tmp_path / "file", "live/3", _add("a")), tmp_path / "order"
    key, passphrase = tmp_path / "ada.key", tmp_path / "pass"
    passphrase.write_text(PASSPHRASE + "\n")
    secret = ["--passphrase-file", str(passphrase)]
    assert main(["officer", "enrol", "ada", "--role", "partner-admin", "--key", str(key), *secret]) == 0
    words = ["--order", str(order), "--roster", str(roster), "--key", str(key), *secret]
    sign = ["provision", "sign", "kddi", str(file), *words, "--reason", "new customers"]
    assert main(sign) == 0
    assert main(sign) == 0  # again, and still one signature
    _write(file, "live/3", _add("b"))
    assert main(sign) == 4
    assert main(["provision", "sign", "stnet", str(file), *words, "--reason", "x"]) == 2


def test_first_passwords_are_made_for_the_partner_alone_and_open_the_accounts(
    live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = tomllib.loads((live.directory / "tenants" / "kddi.toml").read_text())["pinned"]["recovery_partner"]
    plain = _write(tmp_path / "plain", "live/4", _add("prov-first"), _add("prov-second"))
    file, secrets, letters = (str(tmp_path / name) for name in ("file", "secrets", "letters"))
    words = ["provision", "passwords", "kddi", str(plain), "--to", file, "--secrets", secrets]
    assert main(words) == 2
    made = [*words, "--letters", letters, "--partner", pinned]
    assert main(made) == 0
    assert main(made) == 2  # what is there stays
    written = b"".join(Path(name).read_bytes() for name in (file, secrets, letters))
    assert live("provision", "apply", "kddi", file).status == 2  # without the secrets
    assert live("provision", "apply", "kddi", file, "--passwords", secrets).status == 0
    key = live.directory / "recovery" / "kddi" / "partner.key"
    capsys.readouterr()
    assert main(["provision", "letters", "kddi", letters, "--partner-key", str(key)]) == 0
    told = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert main(["provision", "letters", "kddi", letters, "--partner-key", str(key.with_name("operator.key"))]) == 2
    assert list(told) == ["prov-first@kddi.example", "prov-second@kddi.example"]
    assert not any(password.encode() in written for password in told.values())
    first, second = told.values()
    assert live("account", "show", "kddi", "prov-first@kddi.example", "--json").json["status"] == "active"
    change = ("account", "passwd", "kddi", "prov-first@kddi.example", "--password-stdin", "--change")
    assert live(*change, stdin=f"{second}\n{PASSWORD}\n").status != 0
    assert live(*change, stdin=f"{first}\n{PASSWORD}\n").status == 0
    assert live("provision", "apply", "kddi", file, "--passwords", secrets).status == 0
    assert live(*change, stdin=f"{PASSWORD}\n{PASSWORD} 2\n").status == 0  # which the file did not set again
    assert live("fsck", "kddi").status == 0


def test_digests_of_another_server_are_first_passwords_too(live: Live, tmp_path: Path) -> None:
    plain = _write(tmp_path / "plain", "live/5", _add("prov-digest"), _add("prov-none"))
    digest = base64.b64encode(hashlib.sha512(PASSWORD.encode() + b"salt").digest() + b"salt").decode()
    digests = tmp_path / "digests"
    digests.write_text(f"Prov-Digest@kddi.example\t{{SSHA512}}{digest}\n")
    file, secrets = str(tmp_path / "file"), str(tmp_path / "secrets")
    words = ["provision", "passwords", "kddi", str(plain), "--to", file, "--secrets", secrets]
    assert main([*words, "--digests", str(digests)]) == 0
    assert live("provision", "apply", "kddi", file, "--passwords", secrets).status == 0
    change = ("account", "passwd", "kddi", "prov-digest@kddi.example", "--password-stdin", "--change")
    assert live(*change, stdin=f"{PASSWORD}\n{PASSWORD} 3\n").status == 0
    assert live("account", "show", "kddi", "prov-none@kddi.example", "--json").json["status"] == "provisioned"


@pytest.mark.parametrize("line", ["", "a@b.example\t", "a@b.example {SHA}x", "a@b.example\t{PLAIN}secret"])
def test_a_line_without_a_digest_is_refused_and_nothing_is_written(tmp_path: Path, line: str) -> None:
    plain, digests = _write(tmp_path / "plain", "live/6", _add("a")), tmp_path / "digests"
    digests.write_text(line + "\n")
    words = ["provision", "passwords", "kddi", str(plain), "--to", str(tmp_path / "to")]
    assert main([*words, "--secrets", str(tmp_path / "secrets"), "--digests", str(digests)]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digests", "plain"]
