"""A holder's key file: opened by its own root key only, and every other case said clearly, with no key in any text."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.host import Host
from bulkhead.boundary.terms import Channel
from bulkhead.errors import ConfigError, Error, IntegrityError
from bulkhead.holder.keys import KEY_FILE, KEY_FILE_MAX, open_key_file
from bulkhead.identifiers import TenantId
from bulkhead.records.keyfile import KeySet
from bulkhead.records.opener import Opener
from bulkhead.records.record import Kind, seal

ROOT, SECRET = b"root-key-of-kddi-32-bytes-long!!", b"index-key-of-kddi-32-bytes-long!"
KEYS = KeySet().with_key("index", 1, SECRET)


def host(*, tenant: str = "kddi", compartment: str = "auth", root_key: bytes | None = ROOT) -> Host:
    channel = Channel(compartment, 0, 1)
    return Host(channel, TenantId(tenant), {}, Exchange(channel, lambda *_: None), root_key=root_key)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    KEY_FILE.write_bytes(KEYS.seal(TenantId("kddi"), "auth", 1, ROOT))
    return tmp_path


def failure(asked: Host) -> Error:
    with pytest.raises(Error) as caught:
        open_key_file(asked)
    error = caught.value
    shown = "".join(traceback.format_exception(error)) + repr(error) + error.public + error.detail + repr(asked)
    for secret in (ROOT, SECRET):
        assert secret.decode() not in shown and secret.hex() not in shown
    assert error.__suppress_context__ or error.__context__ is None
    return error


def test_the_key_set_opens_under_its_root_key_and_shows_no_key(home: Path) -> None:
    keys = open_key_file(host()).keys
    assert keys.current("index") == (1, SECRET)
    assert SECRET.decode() not in repr(keys) + str(keys) + repr(keys.keys[0]) + repr(host())


@pytest.mark.parametrize(
    "asked",
    [
        host(root_key=b"another root key of 32 bytes....."[:32]),
        host(tenant="stnet"),
        host(compartment="keyring"),
    ],
    ids=["root key", "tenant", "compartment"],
)
def test_a_key_file_of_another_root_key_tenant_or_compartment_does_not_open(home: Path, asked: Host) -> None:
    error = failure(asked)
    assert isinstance(error, IntegrityError)
    assert error.public.startswith(f"{asked.channel.compartment}/keys.sealed: ")
    assert f"the root key of {asked.tenant}" in error.public and "restore it from a backup" in error.public


def _flip(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        *(_flip(at) for at in (0, 1, 2, 3, 7, 19, -17, -2)),
        *(lambda d: d[:-1], lambda d: d[:5], lambda d: b"", lambda d: d + b"\0", lambda d: d + bytes(2 * KEY_FILE_MAX)),
    ],
)
def test_a_damaged_key_file_does_not_open(home: Path, damage: Callable[[bytes], bytes]) -> None:
    KEY_FILE.write_bytes(damage(KEY_FILE.read_bytes()))
    assert isinstance(failure(host()), IntegrityError)


def test_a_key_file_of_an_unknown_layout_inside_does_not_open(home: Path) -> None:
    KEY_FILE.write_bytes(seal(Kind.KEY_SET, 1, ROOT, b"\x93\x01\x02\x03", (b"kddi", b"auth")))
    assert isinstance(failure(host()), IntegrityError)


def test_a_missing_key_file_and_an_unreadable_one_say_what_to_do(home: Path) -> None:
    KEY_FILE.unlink()
    error = failure(host())
    assert isinstance(error, ConfigError)
    assert error.public == "auth/keys.sealed: No such file or directory; restore it from a backup"
    KEY_FILE.mkdir()
    error = failure(host())
    assert isinstance(error, ConfigError)
    assert error.public == "auth/keys.sealed: Is a directory; restore it from a backup"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_key_file_of_another_user_says_so(home: Path) -> None:
    KEY_FILE.chmod(0)
    assert failure(host()).public == "auth/keys.sealed: Permission denied; let its user read it"


def test_a_holder_without_a_root_key_says_so(home: Path) -> None:
    error = failure(host(root_key=None))
    assert isinstance(error, ConfigError) and "`bulkhead cell run kddi`" in error.public


def test_what_was_made_of_a_key_goes_before_its_destruction_returns(home: Path) -> None:
    keys = open_key_file(host())
    sealed = seal(Kind.AUTH_HALF, 1, SECRET, b"body", (b"kddi", bytes(16), bytes((0, 0, 0, 1))))
    opener = Opener(Kind.AUTH_HALF, TenantId("kddi"), keys, "index")
    keys.on_change(opener.forget)
    assert opener.open(sealed, bytes(16), 1) == (b"body", 1)
    assert opener._ready
    keys.destroy("index", 1, bytes(32))
    assert not opener._ready
    with pytest.raises(IntegrityError):
        opener.open(sealed, bytes(16), 1)
