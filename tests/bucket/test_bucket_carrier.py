"""The process that reaches a bucket: verified, without the command's environment, and its end is an error."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.bucket.conftest import Storage

from bulkhead.bucket.frames import receive, send
from bulkhead.cli.backup_bucket import CarriedBucket, bucket_of
from bulkhead.cli.backup_target import MISSING, has_target, open_target, write_object
from bulkhead.cli.init import make_installation
from bulkhead.config import Installation, load_installation, set_value
from bulkhead.errors import ConfigError, IntegrityError, Refused, TemporaryFailure

NAME = "t0/20261122T000000Z-00000000/store.stream"


@pytest.fixture
def installation(storage: Storage, tmp_path: Path) -> Iterator[Installation]:
    make_installation(tmp_path / "here", "Operator", [])
    key_file = tmp_path / "bucket.key"
    key_file.write_text("access\nsecret\n")
    key_file.chmod(0o600)
    ca_file = Path("/tmp") / f"ca-{os.getpid()}.pem"  # the process is nobody's, and has to read it
    ca_file.write_bytes(storage.ca_file.read_bytes())
    for name, value in {
        "bucket": f"s3://locked/{tmp_path.name}", "bucket_endpoint": f"https://127.0.0.1:{storage.peer.https}",
        "bucket_key_file": str(key_file), "bucket_ca_file": str(ca_file),
    }.items():  # fmt: skip
        set_value(tmp_path / "here", "bulkhead.toml", f"backup.{name}", value)
    yield load_installation(tmp_path / "here")
    ca_file.unlink()


@pytest.fixture
def target(installation: Installation) -> Iterator[CarriedBucket]:
    assert has_target(installation)
    target = open_target(installation, "")
    assert isinstance(target, CarriedBucket)
    yield target
    target.close()


def test_a_bucket_named_by_the_settings_keeps_objects_and_gives_them_back_over_tls(target: CarriedBucket) -> None:
    content = os.urandom(9_000_000)
    digest = write_object(target, NAME, content)
    assert b"".join(target.pieces(NAME)) == content
    assert b"".join(target.pieces(NAME, 5, 10)) == content[5:15]
    assert target.files(NAME.rpartition("/")[0]) == {"store.stream": len(content)}
    assert (target.folders("t0"), target.sweep("t0", 7), len(digest)) == (["20261122T000000Z-00000000"], 0, 64)
    target.hold([NAME])
    with pytest.raises(Refused, match="is locked until"):
        target.remove(NAME.rpartition("/")[0], ())
    with pytest.raises(Refused, match="exists already"):
        write_object(target, NAME, b"other")
    with pytest.raises(IntegrityError) as missing:
        list(target.pieces(f"{NAME}.none"))
    assert missing.value.code == MISSING


def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(installation: Installation) -> None:
    bucket = dataclasses.replace(bucket_of(installation, "s3://locked/x"), ca_file="/etc/ssl/certs/ca-certificates.crt")
    target = CarriedBucket(bucket)
    with pytest.raises(TemporaryFailure, match="certificate"):
        target.folders("t0")
    target.close()


def test_a_process_that_dies_is_an_error_and_the_next_request_has_a_fresh_one(target: CarriedBucket) -> None:
    made = target.create(NAME)
    process = target._process
    assert process is not None
    process.kill()
    with pytest.raises(TemporaryFailure, match="is gone"):
        made.write(b"content")
    made.close()
    target.close()
    assert target.folders("t0") == []


def test_it_runs_as_nobody_and_without_the_commands_environment(target: CarriedBucket) -> None:
    target.folders("t0")
    assert target._process is not None
    proc = Path(f"/proc/{target._process.pid}")
    environment = {line.partition(b"=")[0] for line in (proc / "environ").read_bytes().split(b"\0") if line}
    assert environment <= {b"AWS_CONFIG_FILE", b"AWS_SHARED_CREDENTIALS_FILE"}
    assert b"secret" not in (proc / "cmdline").read_bytes()
    if os.geteuid() == 0:
        (uids,) = [line for line in (proc / "status").read_text().splitlines() if line.startswith("Uid:")]
        assert uids.split()[1:] == ["65534"] * 4


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("bucket_endpoint", "http://s3.example.org", "must be https://"),
        ("bucket_key_file", "relative", "an absolute path"),
        ("bucket", "https://bucket", "must be s3://"),
        ("directory", "/srv/backups", "are both set"),
    ],
)
def test_a_setting_that_is_not_safe_is_refused_by_name(
    installation: Installation, name: str, value: str, said: str
) -> None:
    set_value(installation.directory, "bulkhead.toml", f"backup.{name}", value)
    with pytest.raises(ConfigError, match=said):
        open_target(load_installation(installation.directory), "")


def test_a_key_file_that_others_may_read_is_refused(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "bucket.key").chmod(0o640)
    with pytest.raises(ConfigError, match="open to others"):
        open_target(installation, "")


def test_a_frame_longer_than_its_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "frame"
    with path.open("wb") as file:
        send(file, {"do": "x"}, b"blob")
    with path.open("rb") as file:
        assert receive(file) == ({"do": "x"}, b"blob")
    path.write_bytes(b"\xff" * 8)
    with path.open("rb") as file, pytest.raises(ValueError, match="larger than its limit"):
        receive(file)
