"""`init`, `tenant` and `config`, without a running cell."""

import json
import re
import stat
from pathlib import Path

import pytest

from bulkhead.boundary.processes import PROCESSES, Disk
from bulkhead.cli.main import main
from bulkhead.config import check_files, load_installation
from bulkhead.config.load import read_zone
from bulkhead.contract.terms import TERMS
from bulkhead.errors import Refused
from bulkhead.holder.keys import KEY_FILE
from bulkhead.identifiers import TenantId
from bulkhead.records.keyfile import KeySet
from bulkhead.records.mailbox import Holder
from bulkhead.records.recovery_file import read_recovery_private
from bulkhead.supervisor.layout import Layout

SIX = ("kddi", "stnet", "jcom", "ctc", "nifty", "biglobe")


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("six") / "installation"
    assert main(["init", str(directory), "--example", "six-isps", "--operator", "Example Carrier"]) == 0
    return directory


def test_the_example_has_six_tenants_each_on_its_own_address(six: Path) -> None:
    installation = load_installation(six)
    check_files(installation)
    assert tuple(installation.tenants) == SIX
    for slot, tenant in enumerate(installation.tenants.values()):
        assert (tenant.slot, tenant.settings.text("listen.address")) == (slot, f"127.0.1.{slot + 1}")
        assert tenant.settings.text("names.access") == f"imap.{tenant.id}.example"
        ports = [tenant.settings.integer(f"listen.{n}") for n in ("mx", "submissions", "submission", "imaps", "pop3s")]
        assert ports == [2525, 4465, 4587, 4993, 4995]
        assert tenant.settings.integer("courier.port") == 2525
        assert "mx.biglobe.example. IN A 127.0.1.6\n" in read_zone(installation, tenant)


def test_every_holder_has_keys_that_open_under_its_own_root_key_only(six: Path) -> None:
    holders = [process.name for process in PROCESSES.values() if process.disk is Disk.DATA]
    layout = Layout(six, TenantId("jcom"))
    roots = {name: layout.root_key(name).read_bytes() for name in holders}
    assert len(set(roots.values())) == len(holders)
    for name in holders:
        sealed = (layout.home(name) / KEY_FILE).read_bytes()
        assert KeySet.open(sealed, layout.tenant, name, roots[name]) is not None
        assert roots[name] not in sealed
    keys = KeySet.open(
        (layout.home("directory") / KEY_FILE).read_bytes(), layout.tenant, "directory", roots["directory"]
    )
    assert len(keys.current("decoy")[1]) == 32
    with pytest.raises(Refused):
        keys.current("binding")


def test_secrets_are_readable_by_their_owner_alone(six: Path) -> None:
    secrets = [
        *six.glob("custody/*/*.root"),
        *six.glob("recovery/*/*.key"),
        *six.glob("tls/*/*.pem"),
        six / "tls/ca.key",
    ]
    assert len(secrets) == 6 * (7 + 2 + 4) + 1
    for path in (*secrets, *six.glob("cells/*/*/keys.sealed"), *six.glob("cells/*/*/*.sqlite*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_recovery_keys_differ_and_name_their_party(six: Path) -> None:
    layout = Layout(six, TenantId("ctc"))
    keys = [read_recovery_private(layout.recovery_key(party).read_text()) for party in ("partner", "operator")]
    assert [key.holder for key in keys] == [Holder.PARTNER, Holder.OPERATOR]
    assert keys[0].private_key.private_bytes_raw() != keys[1].private_key.private_bytes_raw()


def test_tenants_share_no_key(six: Path) -> None:
    pinned = [
        tenant.settings.text(f"pinned.{name}_key")
        for tenant in load_installation(six).tenants.values()
        for name in ("binding", "ledger", "queue")
    ]
    assert all(pinned) and len(set(pinned)) == 18


def test_init_leaves_a_directory_that_is_not_empty_alone(six: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(six.rglob("*"))
    assert main(["init", str(six)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert sorted(six.rglob("*")) == before


def test_init_says_where_the_recovery_keys_lie(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["init", str(tmp_path / "one"), "--tenant", "au", "--domain", "au.example", "--address", "127.0.1.99"]
    assert main(words) == 0
    told = capsys.readouterr().err
    assert str(tmp_path / "one/recovery/au/partner.key") in told
    assert "In production the partner's never touches this host" in told


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--tenant", "au"], "belong together"),
        (["--tenant", "Au!", "--domain", "a.example", "--address", "127.0.0.1"], "tenant id"),
        (["--tenant", "au", "--domain", "a..b", "--address", "127.0.0.1"], "domain name"),
        (["--tenant", "au", "--domain", "a.example", "--address", "somewhere"], "IP address"),
    ],
)
def test_a_wrong_word_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], why: str
) -> None:
    assert main(["init", str(tmp_path / "new"), *words]) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def parse_terms(text: str) -> set[str]:
    """Terms of a contract's template, all of which stand in comments."""
    found, section = set(), ""
    for line in text.splitlines():
        section = line[3:-1] if line.startswith("# [") else section
        if re.fullmatch(r"# [a-z_]+ = \d+", line):
            found.add(f"{section}.{line[2:].partition(' ')[0]}")
    return found


def test_a_tenant_is_added_in_a_free_slot_and_only_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "new"
    assert main(["init", str(directory)]) == 0
    words = ["tenant", "add", "au", "--domain", "au.example", "--address", "127.0.1.20", "-C", str(directory)]
    assert main(words) == 0
    template = directory / "contracts/au.toml"
    assert parse_terms(template.read_text()) == set(TERMS)
    assert str(template) in capsys.readouterr().err
    assert main(words) == 2
    again = ["tenant", "add", "uq", "--domain", "uq.example", "--address", "127.0.1.20", "-C", str(directory)]
    assert main(again) == 2
    assert "each tenant has its own" in capsys.readouterr().err
    assert main(["tenant", "list", "--json", "-C", str(directory)]) == 0
    (row,) = json.loads(capsys.readouterr().out)["tenants"]
    assert (row["tenant"], row["slot"], row["names"][0]) == ("au", 0, "mx.au.example")


def test_settings_are_checked_and_shown_with_their_origin(six: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "-C", str(six)]) == 0
    assert main(["config", "show", "--json", "--tenant", "kddi", "-C", str(six)]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows = {row["setting"]: row for row in document["settings"]}
    assert rows["courier.port"]["origin"].startswith("tenants/kddi.toml:")
    assert rows["mx.mode"] == {"tenant": "kddi", "setting": "mx.mode", "value": "default", "origin": "default"}


def test_a_stopped_installation_is_told_so_by_status_and_by_commands(
    six: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--json", "-C", str(six)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [(row["tenant"], row["state"]) for row in document["tenants"]] == [(name, "stopped") for name in SIX]
    assert main(["account", "list", "kddi", "-C", str(six)]) == 3
    assert "start it: bulkhead run" in capsys.readouterr().err
    assert main(["account", "list", "kdd", "-C", str(six)]) == 2
    assert "did you mean kddi?" in capsys.readouterr().err


def test_a_check_of_stopped_cells_says_so_once_a_tenant(six: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fsck", "--all", "--json", "-C", str(six)]) == 3
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [(row["tenant"], row["compartment"]) for row in checks] == [(name, "cell") for name in SIX]
    assert main(["exposure", "--all", "-C", str(six)]) == 3
    assert len(capsys.readouterr().err.splitlines()) == 6
