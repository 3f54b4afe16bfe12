"""A bucket as a target for backups: its settings, and this process' end of the pipes to the one that reaches it."""

import contextlib
import ipaddress
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bulkhead.bucket.carrier import ERRORS
from bulkhead.bucket.frames import receive, send
from bulkhead.bucket.target import HOST_CA_FILE, Bucket
from bulkhead.config import Installation
from bulkhead.errors import ConfigError, TemporaryFailure

SCHEME = "s3://"
KEY_FILE_MAX = 4096
DEFAULT_REGION = "us-east-1"
BLOB = 8 << 20  # of one frame
CLOSE_SECONDS = 30.0
_ENVIRONMENT = {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}  # the settings say it all


def bucket_of(installation: Installation, text: str) -> Bucket:
    """The bucket that `s3://NAME/PREFIX` and the settings say. Raises ConfigError."""
    settings = installation.settings
    name, _, prefix = text.removeprefix(SCHEME).partition("/")
    if not name:
        raise ConfigError(f"{text!r} names no bucket: s3://BUCKET or s3://BUCKET/PREFIX")
    region = settings.text("backup.bucket_region") or DEFAULT_REGION
    endpoint = settings.text("backup.bucket_endpoint") or f"https://s3.{region}.amazonaws.com"
    _check_endpoint(endpoint)
    access_key, secret_key = _read_key(settings.text("backup.bucket_key_file"))
    prefix = prefix.strip("/")
    return Bucket(
        name, f"{prefix}/" if prefix else "", endpoint, region, access_key, secret_key,
        settings.text("backup.bucket_ca_file") or HOST_CA_FILE,
        settings.text("backup.lock_mode"), settings.integer("backup.lock_days"),
    )  # fmt: skip


def _check_endpoint(endpoint: str) -> None:
    """Raises ConfigError where the way there is not verified."""
    parts = urlsplit(endpoint)
    if parts.scheme == "https" and parts.hostname:
        return
    with contextlib.suppress(ValueError):
        if parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback:
            return
    raise ConfigError(f"backup.bucket_endpoint = {endpoint!r}: must be https://HOST, or http:// of a loopback address")


def _read_key(text: str) -> tuple[str, str]:
    """(access key, secret key) from a file of two lines that nobody else may read."""
    path = Path(text)
    if not text or not path.is_absolute():
        raise ConfigError(
            "backup.bucket_key_file must name a file, an absolute path: the access key, then the secret key"
        )
    try:
        with path.open("rb") as file:
            mode, content = stat.S_IMODE(path.stat().st_mode), file.read(KEY_FILE_MAX)
        if mode & 0o077:
            raise ConfigError(f"{path} is open to others (mode {mode:04o}): chmod 0600 {path}")
        access_key, secret_key = content.decode("ascii").split()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; backup.bucket_key_file names it") from None
    except ValueError:
        raise ConfigError(f"{path}: must be two lines, the access key and the secret key") from None
    return access_key, secret_key


class CarriedBucket:
    """Target, in a process of its own (bulkhead.bucket.carrier), which is started when it is first needed."""

    def __init__(self, bucket: Bucket) -> None:
        self.where, self._bucket = bucket.where, bucket
        self._process: subprocess.Popen[bytes] | None = None
        self._alone = threading.Lock()

    def folders(self, under: str) -> list[str]:
        """Target.folders."""
        return [str(name) for name in self.ask({"do": "folders", "under": under})[0]["names"]]

    def files(self, folder: str) -> dict[str, int]:
        """Target.files."""
        return {str(k): int(v) for k, v in self.ask({"do": "files", "folder": folder})[0]["files"].items()}

    def create(self, name: str) -> "_Carried":
        """Target.create."""
        return _Carried(self, int(self.ask({"do": "create", "name": name})[0]["number"]))

    def pieces(self, name: str, offset: int = 0, octets: int | None = None) -> Iterator[bytes]:
        """Target.pieces."""
        opened = self.ask({"do": "open", "name": name, "offset": offset, "octets": octets})[0]["number"]
        try:
            while piece := self.ask({"do": "next", "number": opened})[1]:
                yield piece
        finally:
            self.ask({"do": "leave", "number": opened})

    def remove(self, folder: str, first: Sequence[str]) -> None:
        """Target.remove."""
        self.ask({"do": "remove", "folder": folder, "first": list(first)})

    def hold(self, names: Sequence[str]) -> None:
        """Target.hold."""
        self.ask({"do": "hold", "names": list(names)})

    def sweep(self, under: str, days: int) -> int:
        """Target.sweep."""
        return int(self.ask({"do": "sweep", "under": under, "days": days})[0]["gone"])

    def close(self) -> None:
        """Target.close."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None and process.stdout is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    def ask(self, head: dict[str, Any], blob: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """One request, one answer. Raises what the other process raised; TemporaryFailure where it is gone."""
        with self._alone:
            if self._process is None:
                self._process = self._start()
                self._exchange(self._process, asdict(self._bucket), b"")
            return self._exchange(self._process, head, blob)

    def _exchange(
        self, process: "subprocess.Popen[bytes]", head: dict[str, Any], blob: bytes
    ) -> tuple[dict[str, Any], bytes]:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a process without pipes")
        try:
            send(process.stdin, head, blob)
            answer, octets = receive(process.stdout)
        except (OSError, EOFError, ValueError):
            raise TemporaryFailure(
                f"{self.where}: the process that reaches the bucket is gone", code="storage"
            ) from None
        if "error" in answer:
            kind = ERRORS.get(str(answer["error"]), TemporaryFailure)
            raise kind(str(answer.get("public", "")), code=str(answer.get("code", "")))
        return answer, octets

    @staticmethod
    def _start() -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-I", "-m", "bulkhead.bucket.carrier"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_ENVIRONMENT, cwd="/",
        )  # fmt: skip


class _Carried:
    """NewObject, at the other end."""

    def __init__(self, target: CarriedBucket, number: int) -> None:
        self._target, self._number, self.octets, self._open = target, number, 0, True

    def write(self, piece: bytes) -> None:
        """NewObject.write."""
        for start in range(0, len(piece), BLOB):
            part = piece[start : start + BLOB]
            self._target.ask({"do": "write", "number": self._number}, part)
            self.octets += len(part)

    def done(self) -> str:
        """NewObject.done."""
        return str(self._target.ask({"do": "done", "number": self._number})[0]["sha256"])

    def close(self) -> None:
        """NewObject.close."""
        if self._open:
            self._open = False
            with contextlib.suppress(TemporaryFailure):
                self._target.ask({"do": "close", "number": self._number})
