"""Objects in a bucket that are only added: the first version of a name counts, and is locked until a date.

A version put over a locked one, or a delete marker before it, hides it from whoever asks for the newest; here the
oldest version is what a name means, so neither takes a backup away. The storage is not believed: that a lock is in
force is read back after each object.
"""

import base64
import contextlib
import hashlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bulkhead.errors import ConfigError, Error, IntegrityError, Refused, TemporaryFailure

HOST_CA_FILE = "/etc/ssl/certs/ca-certificates.crt"
PIECE = 1 << 20
PART_BYTES = 32 << 20
PARTS_MAX = 10_000  # of S3
LARGER_FROM, LARGER = 5000, 8  # from this part on, parts are so many times as large: 1.3 TiB in all
PAGES_MAX = 10_000  # of a listing, 1,000 names each
TRIES = 5
CONNECT_SECONDS, READ_SECONDS = 10, 60
MODES = {"compliance": "COMPLIANCE", "governance": "GOVERNANCE"}
_UNKNOWN = {"NoSuchBucket", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidBucketName", "PermanentRedirect"}
_CONFLICT = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload", "412", "409"}
_DENIED = {"AccessDenied", "403", "InvalidRequest", "MethodNotAllowed", "ObjectLocked"}


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, how it is reached, and how long what is put there is locked. prefix: empty, or ends in a slash."""

    name: str
    prefix: str
    endpoint: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    ca_file: str = HOST_CA_FILE  # whoever runs as nobody has to be able to read it
    lock_mode: str = "compliance"  # or governance, or none
    lock_days: int = 30
    part_bytes: int = PART_BYTES

    @property
    def where(self) -> str:
        """As it is named on a command line."""
        return f"s3://{self.name}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class _Version:
    """One version of an object; marker: a delete marker."""

    name: str
    version: str
    octets: int
    marker: bool = False

    @property
    def named(self) -> dict[str, str]:
        """As a request names it; an object in a bucket without versions has one that must not be named."""
        return {} if self.version == "null" else {"VersionId": self.version}


class BucketTarget:
    """Target, of a bucket (cli/backup_target.py)."""

    def __init__(self, bucket: Bucket) -> None:
        session = importlib.import_module("botocore.session").Session()
        exceptions = importlib.import_module("botocore.exceptions")
        self._client_error, self._any_error = exceptions.ClientError, exceptions.BotoCoreError
        config = importlib.import_module("botocore.config").Config(
            signature_version="s3v4", connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, proxies={},
            retries={"mode": "standard", "total_max_attempts": TRIES}, s3={"addressing_style": "path"},
            request_checksum_calculation="when_required", response_checksum_validation="when_required",
        )  # fmt: skip
        try:
            self.client = session.create_client(
                "s3", region_name=bucket.region, endpoint_url=bucket.endpoint, verify=bucket.ca_file,
                aws_access_key_id=bucket.access_key, aws_secret_access_key=bucket.secret_key, config=config,
            )  # fmt: skip
        except (ValueError, self._any_error) as error:
            raise ConfigError(f"{bucket.where}: {error}; look at the settings of backup.bucket") from None
        self.bucket, self.where = bucket, bucket.where
        self._checked = False

    def folders(self, under: str) -> list[str]:
        """Target.folders."""
        prefix = f"{self.bucket.prefix}{under}/"
        found: set[str] = set()
        for page in self._pages(Prefix=prefix, Delimiter="/"):
            found |= {entry["Prefix"][len(prefix) : -1] for entry in page.get("CommonPrefixes", ())}
        return sorted(found)

    def files(self, folder: str) -> dict[str, int]:
        """Target.files."""
        prefix = f"{self.bucket.prefix}{folder}/"
        return {one.name[len(prefix) :]: one.octets for one in _oldest(self._versions(prefix)).values()}

    def create(self, name: str) -> "NewUpload":
        """Target.create. Raises ConfigError where the bucket locks nothing, though it is to."""
        self._check_lock()
        if self._find(name) is not None:
            raise Refused(f"{self.where}/{name} exists already; nothing is written over", code="exists")
        return NewUpload(self, name)

    def pieces(self, name: str, offset: int = 0, octets: int | None = None) -> Iterator[bytes]:
        """Target.pieces. A connection that breaks is made again, TRIES times without an octet between."""
        found = self._find(name)
        if found is None:
            raise IntegrityError(f"{self.where}/{name}: no such object", code="missing")
        end, tries = found.octets if octets is None else min(found.octets, offset + octets), 0
        while offset < end:
            try:
                span = f"bytes={offset}-{end - 1}"
                body = self.call("get_object", name, **found.named, Range=span)["Body"]
                with contextlib.closing(body):
                    while offset < end and (piece := body.read(min(PIECE, end - offset))):
                        offset, tries = offset + len(piece), 0
                        yield piece
                cut: object = "it ended early"
            except self._any_error as error:
                cut = error
            tries += 1
            if offset < end and tries >= TRIES:
                raise TemporaryFailure(f"{self.where}/{name}: cannot be read on from {offset}: {cut}", code="storage")

    def remove(self, folder: str, first: Sequence[str]) -> None:
        """Target.remove: every version. Raises Refused (`held`) before anything is gone, where one is locked yet."""
        prefix = f"{self.bucket.prefix}{folder}/"
        versions = list(self._versions(prefix))
        for one in versions:
            until = None if one.marker else self._locked_until(one)
            if until is not None and until > datetime.now(UTC):
                text = f"{self.where}/{folder} is locked until {until:%Y-%m-%dT%H:%M:%SZ}"
                raise Refused(text, code="held")
        order = {f"{prefix}{name}": place for place, name in enumerate(first)}
        for one in sorted(versions, key=lambda one: order.get(one.name, len(order))):
            self.call("delete_object", one.name[len(self.bucket.prefix) :], **one.named)

    def hold(self, names: Sequence[str]) -> None:
        """Target.hold. Raises Refused where the credentials may not lengthen a lock."""
        if self.bucket.lock_mode == "none":
            return
        for name in names:
            found = self._find(name)
            if found is not None:
                self._lock(found, name)

    def sweep(self, under: str, days: int) -> int:
        """Target.sweep: the parts of uploads that were cut short."""
        before, gone = datetime.now(UTC) - timedelta(days=days), 0
        prefix = f"{self.bucket.prefix}{under}/"
        try:
            for page in self._walk("list_multipart_uploads", {"Prefix": prefix}, _UPLOADS):
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] < before and upload["Key"].startswith(prefix):
                        self.call(
                            "abort_multipart_upload", upload["Key"][len(self.bucket.prefix) :],
                            UploadId=upload["UploadId"],
                        )  # fmt: skip
                        gone += 1
        except Refused as error:
            raise Refused(f"{error.public}; have the bucket's lifecycle end incomplete uploads", code="held") from None
        return gone

    def lock_date(self) -> datetime | None:
        """Until when what is put now is locked."""
        if self.bucket.lock_mode == "none":
            return None
        return (datetime.now(UTC) + timedelta(days=self.bucket.lock_days)).replace(microsecond=0)

    def confirm(self, name: str, octets: int, sha256: str, until: datetime | None, *, conflict: bool) -> None:
        """See that an object is there, whole and locked. conflict: it was there before, or an answer was lost."""
        found = self._find(name)
        if conflict and found is not None and self._digest(name, found, octets) != sha256:
            raise Refused(f"{self.where}/{name} exists already; nothing is written over", code="exists")
        if found is None or found.octets != octets:
            raise TemporaryFailure(f"{self.where}/{name} is not there whole after it was put", code="storage")
        if until is None:
            return
        if (held := self._locked_until(found)) is None or held < until:
            self._lock(found, name)
        if (held := self._locked_until(found)) is None or held < until:
            raise IntegrityError(
                f"{self.where}/{name} is not locked, though that was asked for; allow s3:GetObjectRetention and "
                "s3:PutObjectRetention, or use storage that locks objects"
            )

    def call(self, operation: str, name: str = "", **arguments: Any) -> Mapping[str, Any]:
        """One request, tried again by the library. Raises from the error tree."""
        if name:
            arguments["Key"] = f"{self.bucket.prefix}{name}"
        try:
            answer: Mapping[str, Any] = getattr(self.client, operation)(Bucket=self.bucket.name, **arguments)
            return answer
        except self._client_error as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            raise self._said(code, f"{self.where}{'/' * bool(name)}{name}: {operation}: {code}") from None
        except self._any_error as error:
            raise TemporaryFailure(f"{self.where}: {operation}: {error}", code="storage") from None

    @staticmethod
    def _said(code: str, text: str) -> Error:
        if code in _UNKNOWN:
            return ConfigError(f"{text}; look at backup.bucket, its endpoint, region and key file")
        if code in _CONFLICT:
            return Refused(text, code="exists")
        if code in _DENIED:
            return Refused(f"{text}: the storage does not let these credentials do that", code="held")
        if code in {"NoSuchKey", "NoSuchVersion", "404"}:
            return IntegrityError(text, code="missing")
        return TemporaryFailure(text, code="storage")

    def _check_lock(self) -> None:
        """Raises ConfigError where the bucket is to lock and does not. Once a process."""
        if self._checked or self.bucket.lock_mode == "none":
            return
        try:
            answer = self.call("get_object_lock_configuration")
            enabled = answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
        except (Refused, TemporaryFailure) as error:
            if "ObjectLockConfigurationNotFound" not in error.public and error.code == "storage":
                raise
            enabled = False
        if not enabled:
            raise ConfigError(
                f"{self.where} has no object lock: make a bucket that has it, allow "
                's3:GetBucketObjectLockConfiguration, or set backup.lock_mode = "none" and know that whoever has its '
                "key can delete every backup"
            )
        self._checked = True

    def _find(self, name: str) -> _Version | None:
        key = f"{self.bucket.prefix}{name}"
        return _oldest(self._versions(key)).get(key)

    def _versions(self, prefix: str) -> Iterator[_Version]:
        """Every version and delete marker below, of one name the newest first."""
        for page in self._pages(Prefix=prefix):
            for row in page.get("Versions", ()):
                yield _Version(str(row["Key"]), str(row["VersionId"]), int(row["Size"]))
            for row in page.get("DeleteMarkers", ()):
                yield _Version(str(row["Key"]), str(row["VersionId"]), 0, marker=True)

    def _pages(self, **arguments: str) -> Iterator[Mapping[str, Any]]:
        return self._walk("list_object_versions", arguments, _VERSIONS)

    def _walk(
        self, operation: str, arguments: Mapping[str, str], markers: Mapping[str, str]
    ) -> Iterator[Mapping[str, Any]]:
        after: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            page = self.call(operation, **arguments, **after)
            yield page
            if not page.get("IsTruncated"):
                return
            after = {ask: str(page[told]) for told, ask in markers.items() if page.get(told)}
        raise TemporaryFailure(f"{self.where}: a listing does not end", code="storage")

    def _locked_until(self, one: _Version) -> datetime | None:
        head = self.call("head_object", one.name[len(self.bucket.prefix) :], **one.named)
        until = head.get("ObjectLockRetainUntilDate")
        return until if isinstance(until, datetime) else None

    def _lock(self, found: _Version, name: str) -> None:
        held, until = self._locked_until(found), self.lock_date()
        if until is not None and (held is None or held < until):
            retention = {"Mode": MODES[self.bucket.lock_mode], "RetainUntilDate": until}
            self.call("put_object_retention", name, **found.named, Retention=retention)

    def _digest(self, name: str, found: _Version, octets: int) -> str:
        if found.octets != octets:
            return ""
        digest = hashlib.sha256()
        for piece in self.pieces(name):
            digest.update(piece)
        return digest.hexdigest()


class NewUpload:
    """An object on its way: one request where it is small, else in parts, which are no object until the last."""

    def __init__(self, target: BucketTarget, name: str) -> None:
        self._target, self._name, self.octets = target, name, 0
        self._until, self._hash, self._kept = target.lock_date(), hashlib.sha256(), bytearray()
        self._upload, self._parts = "", list[dict[str, Any]]()

    def write(self, piece: bytes) -> None:
        """NewObject.write."""
        self._hash.update(piece)
        self.octets += len(piece)
        self._kept += piece
        while len(self._kept) > self._part_bytes():
            self._send(self._part_bytes())

    def done(self) -> str:
        """NewObject.done."""
        digest, conflict = self._hash.hexdigest(), False
        try:
            if self._upload:
                self._send(len(self._kept))
                self._target.call(
                    "complete_multipart_upload", self._name, UploadId=self._upload,
                    MultipartUpload={"Parts": self._parts}, IfNoneMatch="*",
                )  # fmt: skip
                self._upload = ""
            else:
                body = bytes(self._kept)
                self._target.call(
                    "put_object", self._name, Body=body, IfNoneMatch="*", **_checksum(body), **self._locking()
                )
        except Refused as error:  # of ours, where the answer to an earlier try was lost; of another, where not
            if error.code != "exists":
                raise
            conflict = True
        self._target.confirm(self._name, self.octets, digest, self._until, conflict=conflict)
        return digest

    def close(self) -> None:
        """NewObject.close."""
        upload, self._upload = self._upload, ""
        if upload:
            with contextlib.suppress(Error):  # what stays is swept by `backup prune`
                self._target.call("abort_multipart_upload", self._name, UploadId=upload)

    def _send(self, octets: int) -> None:
        if not self._upload:
            begun = self._target.call(
                "create_multipart_upload", self._name, ChecksumAlgorithm="SHA256", **self._locking()
            )
            self._upload = str(begun["UploadId"])
        number = len(self._parts) + 1
        if number > PARTS_MAX:
            raise ConfigError(f"{self._name} is larger than {self.octets} octets, which no bucket takes as one object")
        body, checksum = bytes(memoryview(self._kept)[:octets]), dict[str, str]()
        del self._kept[:octets]
        checksum = _checksum(body)
        sent = self._target.call(
            "upload_part", self._name, UploadId=self._upload, PartNumber=number, Body=body, **checksum
        )
        self._parts.append(
            {"PartNumber": number, "ETag": sent["ETag"], "ChecksumSHA256": checksum["ChecksumSHA256"]}
        )  # fmt: skip

    def _part_bytes(self) -> int:
        return self._target.bucket.part_bytes * (LARGER if len(self._parts) >= LARGER_FROM else 1)

    def _locking(self) -> dict[str, Any]:
        if self._until is None:
            return {}
        mode = MODES[self._target.bucket.lock_mode]
        return {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": self._until}


_VERSIONS = {"NextKeyMarker": "KeyMarker", "NextVersionIdMarker": "VersionIdMarker"}
_UPLOADS = {"NextKeyMarker": "KeyMarker", "NextUploadIdMarker": "UploadIdMarker"}


def _checksum(body: bytes) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")
    return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": digest}


def _oldest(versions: Iterator[_Version]) -> dict[str, _Version]:
    """By name the version that came first; a listing has a name's newest first."""
    return {one.name: one for one in versions if not one.marker}
