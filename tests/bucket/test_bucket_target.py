"""A bucket keeps what it was given: nothing written over, nothing deleted before its date, no lie unnoticed."""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from tests.bucket.conftest import Storage

from bulkhead.bucket.target import BucketTarget
from bulkhead.cli.backup_target import EXISTS, HELD, MISSING, write_object
from bulkhead.errors import ConfigError, IntegrityError, Refused, TemporaryFailure

BACKUP = "t0/20261122T000000Z-00000000"
NAME = f"{BACKUP}/store.stream"


@pytest.fixture
def target(storage: Storage, request: pytest.FixtureRequest) -> Iterator[BucketTarget]:
    yield storage.target(request.node.name[:60])
    storage.proxy.broken = lambda octets: octets


def test_an_object_reads_as_it_was_written_from_any_offset(target: BucketTarget) -> None:
    content = os.urandom(3_000_000)
    assert write_object(target, NAME, content) == hashlib.sha256(content).hexdigest()
    assert b"".join(target.pieces(NAME)) == content
    assert b"".join(target.pieces(NAME, 1_000_001, 7)) == content[1_000_001:1_000_008]
    assert b"".join(target.pieces(NAME, len(content) + 1)) == b""
    assert target.files(BACKUP) == {"store.stream": len(content)}
    assert target.folders("t0") == [BACKUP.partition("/")[2]]
    with pytest.raises(IntegrityError) as missing:
        list(target.pieces(f"{BACKUP}/none"))
    assert missing.value.code == MISSING


def test_an_object_of_several_parts_is_whole_and_locked(storage: Storage, target: BucketTarget) -> None:
    content = os.urandom(11_000_000)
    made = target.create(NAME)
    for start in range(0, len(content), 1 << 18):
        made.write(content[start : start + (1 << 18)])
    assert target.files(BACKUP) == {}  # no object before its last part
    assert made.done() == hashlib.sha256(content).hexdigest()
    assert b"".join(target.pieces(NAME)) == content
    head = storage.client.head_object(Bucket="locked", Key=f"{target.bucket.prefix}{NAME}")
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=29)


def test_an_object_is_neither_written_over_nor_deleted_before_its_date(target: BucketTarget) -> None:
    write_object(target, NAME, b"first")
    with pytest.raises(Refused) as exists:
        write_object(target, NAME, b"second")
    assert exists.value.code == EXISTS
    with pytest.raises(Refused, match="is locked until 20") as held:
        target.remove(BACKUP, ("store.stream",))
    assert held.value.code == HELD
    assert b"".join(target.pieces(NAME)) == b"first"


def test_the_storage_itself_refuses_to_delete_a_locked_version(storage: Storage, target: BucketTarget) -> None:
    write_object(target, NAME, b"first")
    (version,) = storage.client.list_object_versions(Bucket="locked", Prefix=target.bucket.prefix)["Versions"]
    with pytest.raises(Refused, match="does not let these credentials"):
        target.call("delete_object", NAME, VersionId=version["VersionId"])


def test_a_version_put_over_it_and_a_delete_marker_hide_nothing(storage: Storage, target: BucketTarget) -> None:
    write_object(target, NAME, b"first")
    key = f"{target.bucket.prefix}{NAME}"
    storage.client.put_object(Bucket="locked", Key=key, Body=b"forged")
    storage.client.delete_object(Bucket="locked", Key=key)
    assert b"".join(target.pieces(NAME)) == b"first"
    assert target.files(BACKUP) == {"store.stream": 5}
    assert target.folders("t0") == [BACKUP.partition("/")[2]]


def test_a_bucket_without_object_lock_is_refused_by_name_unless_none_is_wanted(storage: Storage) -> None:
    with pytest.raises(ConfigError, match="s3://open/x has no object lock"):
        write_object(storage.target("x", name="open"), NAME, b"content")
    without = storage.target("x", name="open", lock_mode="none")
    write_object(without, NAME, b"content")
    without.remove(BACKUP, ())
    assert without.folders("t0") == []


def test_a_bucket_that_is_not_there_is_named(storage: Storage) -> None:
    with pytest.raises(ConfigError, match=r"s3://nowhere/x.*NoSuchBucket.*look at backup.bucket"):
        storage.target("x", name="nowhere", lock_mode="none").folders("t0")


def test_what_a_later_backup_relies_on_is_locked_longer(storage: Storage, target: BucketTarget) -> None:
    write_object(target, NAME, b"content")
    storage.target(target.bucket.prefix.rstrip("/"), lock_days=90).hold([NAME, f"{BACKUP}/none"])
    head = storage.client.head_object(Bucket="locked", Key=f"{target.bucket.prefix}{NAME}")
    assert head["ObjectLockRetainUntilDate"] > datetime.now(UTC) + timedelta(days=89)
    target.hold([NAME])  # never shorter
    again = storage.client.head_object(Bucket="locked", Key=f"{target.bucket.prefix}{NAME}")
    assert again["ObjectLockRetainUntilDate"] == head["ObjectLockRetainUntilDate"]


def test_parts_of_an_upload_that_was_cut_short_are_swept_when_they_are_old(
    storage: Storage, target: BucketTarget
) -> None:
    made = target.create(NAME)
    made.write(bytes(6 << 20))  # and the process is gone; moto dates every upload 2010
    assert storage.client.list_multipart_uploads(Bucket="locked", Prefix=target.bucket.prefix)["Uploads"]
    assert target.sweep("other", 7) == 0
    assert target.sweep("t0", 7) == 1
    assert not storage.client.list_multipart_uploads(Bucket="locked", Prefix=target.bucket.prefix).get("Uploads")
    assert target.folders("t0") == []


def test_an_upload_that_is_given_up_leaves_nothing(storage: Storage, target: BucketTarget) -> None:
    made = target.create(NAME)
    made.write(bytes(6 << 20))
    made.close()
    made.close()
    assert not storage.client.list_multipart_uploads(Bucket="locked", Prefix=target.bucket.prefix).get("Uploads")


def test_a_connection_that_breaks_while_an_object_is_read_is_made_again(storage: Storage, target: BucketTarget) -> None:
    content = os.urandom(6_000_000)
    write_object(target, NAME, content)
    passed = 0

    def every_two_million(octets: bytes) -> bytes | None:
        nonlocal passed
        passed += len(octets)
        if passed > 2_000_000:
            passed = 0
            return None
        return octets

    storage.proxy.broken = every_two_million
    before = storage.proxy.connections
    assert b"".join(target.pieces(NAME)) == content
    assert storage.proxy.connections - before >= 3


def test_a_server_whose_answers_never_come_ends_an_upload_with_an_error_and_no_object(
    storage: Storage, target: BucketTarget
) -> None:
    made = target.create(NAME)
    storage.proxy.broken = lambda _: None
    with pytest.raises(TemporaryFailure) as failed:
        made.write(bytes(6 << 20))
    assert failed.value.code == "storage"
    storage.proxy.broken = lambda octets: octets
    made.close()
    assert target.files(BACKUP) == {}


def test_an_answer_that_is_lost_after_the_object_was_taken_is_not_taken_for_another_object(
    storage: Storage, target: BucketTarget
) -> None:
    made = target.create(NAME)
    made.write(b"content")
    lost = 0

    def lose_one(octets: bytes) -> bytes | None:
        nonlocal lost
        lost += 1
        return None if lost == 1 else octets

    storage.proxy.broken = lose_one
    assert made.done() == hashlib.sha256(b"content").hexdigest()
    assert b"".join(target.pieces(NAME)) == b"content"
    assert lost > 1


def test_octets_that_the_server_changes_have_another_hash(storage: Storage, target: BucketTarget) -> None:
    digest = write_object(target, NAME, b"a" * 100_000)
    storage.proxy.broken = lambda octets: octets.replace(b"aaaaaaaa", b"aaaabaaa", 1)
    assert hashlib.sha256(b"".join(target.pieces(NAME))).hexdigest() != digest
