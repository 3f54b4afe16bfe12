"""Root keys in a file and in a token: what a change cut short leaves, and that a destroyed one opens nothing."""

import asyncio
import contextlib
import secrets
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from tests.live import PORTS, free_network

from bulkhead.boundary.messages.fields import Done
from bulkhead.boundary.messages.to_auth import DestroyKey
from bulkhead.cli.init import make_installation
from bulkhead.cli.make_tenant import NewTenant
from bulkhead.cli.rotate import Rotation, _Rotating
from bulkhead.config import load_installation, set_value
from bulkhead.errors import ConfigError
from bulkhead.identifiers import DomainName, TenantId
from bulkhead.supervisor import custody as custody_module
from bulkhead.supervisor.custody import WRAPPED, Custody
from bulkhead.supervisor.layout import Layout

KDDI = TenantId("kddi")
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    directory = tmp_path / "i"
    make_installation(
        directory, "A carrier", [NewTenant(KDDI, 0, DomainName("kddi.example"), f"{free_network()}.1", "", PORTS)]
    )
    return directory


def custody_of(directory: Path) -> Custody:
    tenant = load_installation(directory).tenant(KDDI)
    return Custody(Layout(directory, KDDI), tenant)


@pytest.fixture
def token(installation: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SoftHSM token of this test, and the installation set to it."""
    if not MODULE.exists() or shutil.which("softhsm2-util") is None:
        pytest.skip("needs SoftHSM: apt-get install softhsm2")
    pytest.importorskip("pkcs11", reason="needs python-pkcs11: docs/dependencies.md")
    tokens, pin = tmp_path / "tokens", tmp_path / "pin"
    tokens.mkdir()
    pin.write_text("1234\n")
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    command = ["softhsm2-util", "--init-token", "--free", "--label", "cells", "--pin", "1234", "--so-pin", "5678"]
    subprocess.run(command, check=True, capture_output=True)
    file = "tenants/kddi.toml"
    values = {"mode": "pkcs11", "module": str(MODULE), "token": "cells", "pin_file": str(pin)}
    for name, value in values.items():
        set_value(installation, file, f"custody.{name}", value)
    return installation


def change(custody: Custody) -> bytes:
    key = custody.prepare("auth")
    custody.adopt("auth")
    return key


def test_a_root_key_that_was_prepared_is_offered_beside_the_old_one_and_is_the_same_when_asked_again(
    installation: Path,
) -> None:
    custody = custody_of(installation)
    (old,) = custody.read("auth")
    new = custody.prepare("auth")
    assert new != old and custody.prepare("auth") == new
    assert custody.read("auth") == [old, new]
    custody.adopt("auth")
    assert custody.read("auth") == [new]
    custody.adopt("auth")
    assert custody.read("auth") == [new]
    assert custody.mode_of("auth") == "file"


def test_a_change_of_a_file_cut_between_overwriting_and_renaming_still_offers_the_new_key(installation: Path) -> None:
    custody = custody_of(installation)
    new = custody.prepare("auth")
    root = installation / "custody" / "kddi" / "auth.root"
    root.chmod(0o600)
    root.write_bytes(secrets.token_bytes(32))
    assert custody.read("auth")[-1] == new


def test_a_root_key_of_another_length_is_refused(installation: Path) -> None:
    root = installation / "custody" / "kddi" / "auth.root"
    root.chmod(0o600)
    root.write_bytes(bytes(31))
    with pytest.raises(ConfigError, match="32 bytes"):
        custody_of(installation).read("auth")


def test_a_token_keeps_what_opens_the_file_and_a_copy_of_the_file_is_worthless_once_it_is_destroyed(
    token: Path, tmp_path: Path
) -> None:
    custody = custody_of(token)
    root = token / "custody" / "kddi" / "auth.root"
    (old,) = custody.read("auth")  # of custody `file`, until the next one
    assert custody.mode_of("auth") == "file"
    first = change(custody)
    assert custody.read("auth") == [first] and custody.mode_of("auth") == "pkcs11"
    assert root.read_bytes().startswith(WRAPPED.encode()) and first.hex().encode() not in root.read_bytes()
    assert first != old and first not in root.read_bytes()
    copy = tmp_path / "copy"
    shutil.copy(root, copy)
    second = change(custody)
    assert custody.read("auth") == [second]
    root.chmod(0o600)
    shutil.copy(copy, root)
    with pytest.raises(ConfigError, match="0 keys named bulkhead/kddi/auth/"):
        custody.read("auth")


def test_a_wrapped_root_key_of_another_label_or_with_one_changed_bit_does_not_open(token: Path) -> None:
    custody = custody_of(token)
    change(custody)
    root = token / "custody" / "kddi" / "auth.root"
    good = root.read_text()
    mark, label, wrapped = good.strip().split("\n")
    root.chmod(0o600)
    for bad in (f"{mark}\n{label}x\n{wrapped}\n", f"{mark}\n{label}\n{wrapped[:-1]}{int(wrapped[-1], 16) ^ 1:x}\n"):
        root.write_text(bad)
        with pytest.raises(ConfigError, match="custody pkcs11"):
            custody.read("auth")
    root.write_text(good)
    assert len(custody.read("auth")) == 1


def test_a_token_that_is_not_there_is_said_with_no_pin_in_the_text(token: Path) -> None:
    custody = custody_of(token)
    change(custody)
    set_value(token, "tenants/kddi.toml", "custody.token", "another")
    with pytest.raises(ConfigError, match="the token did not do it") as caught:
        custody_of(token).read("auth")
    assert "1234" not in str(caught.value)


def test_no_mode_claims_that_it_proves_everything(token: Path) -> None:
    set_value(token, "tenants/kddi.toml", "custody.mode", "file")
    for mode in ("file", "pkcs11"):
        set_value(token, "tenants/kddi.toml", "custody.mode", mode)
        keeper = custody_of(token).keeper
        assert keeper.name == mode and keeper.unproven


def test_two_commands_at_once_leave_the_root_key_that_the_key_file_is_under(
    installation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, write, under = threading.Barrier(2), custody_module._write, []

    def write_slowly(path: Path, flags: int, content: bytes) -> None:
        if path.suffix == ".made":
            with contextlib.suppress(threading.BrokenBarrierError):  # the other is kept out
                both.wait(1.0)
        write(path, flags, content)

    monkeypatch.setattr(custody_module, "_write", write_slowly)
    loaded = load_installation(installation)

    class Asked:
        """A road whose compartment takes every root key."""

        installation = loaded
        tenant = loaded.tenant(KDDI)
        layout = Layout(loaded.directory, KDDI)

        async def ask(self, _: str, request: DestroyKey) -> Done:
            under.append(bytes(bytearray(request.root)))
            await asyncio.sleep(0.05)
            return Done()

    def command() -> None:
        asyncio.run(_Rotating(Asked(), "auth", Rotation(True, 0))._change_root(1))  # type: ignore[arg-type]  # what it uses

    threads = [threading.Thread(target=command) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert custody_of(installation).read("auth") == [under[-1]]
    assert len(under) == 2
