"""The partner's own list of addresses and bindings: made by a running cell, read with the partner's key alone."""

import hashlib
import json
from pathlib import Path

import pytest
from tests.cli.conftest import Live

from bulkhead.cli.main import main
from bulkhead.config import load_installation

pytestmark = pytest.mark.timeout(120)
A, B, X, TEAM = "bind-a@kddi.example", "bind-b@kddi.example", "bind-x@kddi.example", "bind-t@kddi.example"


def test_two_lists_say_what_was_added_changed_and_taken_away_and_every_binding_is_signed(
    live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tenant = load_installation(live.directory).tenant("kddi")
    key = ["--partner-key", str(live.directory / "recovery/kddi/partner.key")]
    pinned = tenant.settings.text("pinned.binding_key")
    for address in (A, B):
        assert live.add(address).status == 0
    assert live("account", "alias", "kddi", A, X).status == 0
    first, second = tmp_path / "1", tmp_path / "2"
    made = live("domain", "bindings", "kddi", "--to", str(first), "--json").json
    for words in (
        ("account", "unalias", "kddi", X), ("account", "forward", "kddi", A, B), ("group", "add", "kddi", TEAM),
        ("group", "join", "kddi", TEAM, B),
    ):  # fmt: skip
        assert live(*words).status == 0
    assert live("domain", "bindings", "kddi", "--to", str(second)).status == 0
    assert live("domain", "bindings", "kddi", "--to", str(second)).status == 2
    events = live("ledger", "kddi", "list", "--json").json["entries"]
    told = [str(entry["details"]) for entry in events if entry["kind"] == "BindingsListed"]
    listed = [made["sha256"], hashlib.sha256(second.read_bytes()).hexdigest()]
    assert all(digest in text for digest, text in zip(listed, told[-2:], strict=True))
    capsys.readouterr()
    assert main(["bindings", "diff", "kddi", str(first), str(second), *key]) == 1
    assert capsys.readouterr().out.splitlines() == [f"forwards\t{A}", f"kind\t{X}", f"added\t{TEAM}"]
    assert main(["bindings", "diff", "kddi", str(second), str(first), *key]) == 1
    assert f"taken away\t{TEAM}" in capsys.readouterr().out
    assert main(["bindings", "diff", "kddi", str(first), str(first), *key]) == 0
    verify = ["bindings", "verify", "kddi", str(second), *key, "--binding-key"]
    assert main([*verify, pinned, "--digest", listed[-1]]) == 0
    assert main([*verify, pinned, "--digest", listed[-2]]) == 5
    other = load_installation(live.directory).tenant("stnet").settings.text("pinned.binding_key")
    assert main([*verify, other]) == 5
    for octet in (10, 400, len(second.read_bytes()) // 2):
        changed = bytearray(second.read_bytes())
        changed[octet] ^= 1
        (tmp_path / "3").write_bytes(changed)
        assert main(["bindings", "verify", "kddi", str(tmp_path / "3"), *key, "--binding-key", pinned]) == 5
    operator = ["--partner-key", str(live.directory / "recovery/kddi/operator.key")]
    assert main(["bindings", "diff", "kddi", str(first), str(second), *operator]) == 2
    assert json.dumps(A).encode() not in first.read_bytes()
