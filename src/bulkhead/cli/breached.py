"""`credentials breached import`: a list of breached passwords made into the file that auth reads."""

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import say
from bulkhead.config import load_installation
from bulkhead.errors import ConfigError
from bulkhead.records.breached import BITS_MIN, BUCKET_MAX, BreachedHeader, password_digest
from bulkhead.supervisor.layout import breached_file

WORDS_MAX = 20_000_000  # of a plain list, which is sorted in memory
LINE_MAX = 1100
DIGEST_BYTES = 20
INDEX_BITS_MAX = 22
BUCKET_AIM = 256  # digests of one bucket
PIECE = 1 << 16  # digests of one write
_SHA1 = re.compile(rb"([0-9A-Fa-f]{40})(:\d+)?\s*")
_NTLM = re.compile(rb"[0-9A-Fa-f]{32}(:\d+)?\s*")
_RANGE = re.compile(r"([0-9A-Fa-f]{5})(\.txt)?")


def import_list(options: argparse.Namespace) -> int:
    """Write the file anew, whole or not at all, and say how to have it taken."""
    target = breached_file(load_installation(Path(options.directory)).directory)
    source, width = Path(options.source), 20 if options.full else 8
    began = time.monotonic()
    header = write_list(target, source, width)
    rate = header.count / max(time.monotonic() - began, 0.001)
    say(
        f"{header.count:,} breached passwords, {width} octets of each, sha256 {header.sha256.hex()}; {rate:,.0f}/s; "
        f"a password that is not listed is taken for one with probability {header.count / 2.0 ** (8 * width):.1e}"
    )
    say("a running installation takes it when `bulkhead run` gets SIGHUP")
    return ExitCode.OK


def write_list(target: Path, source: Path, width: int) -> BreachedHeader:
    """Make `target` from a file or folder, under its own name only once it is on disk. Raises ConfigError."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    with _alone(target.parent):
        return _write_list(target, source, width)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One import at a time: two would write one file. Raises ConfigError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigError(f"another command is importing into {folder}; wait for it") from None
    finally:
        os.close(descriptor)


def _write_list(target: Path, source: Path, width: int) -> BreachedHeader:
    new = target.with_suffix(".new")
    try:
        digests, about = open_source(source)
        bits = max(BITS_MIN, min(INDEX_BITS_MAX, (about // BUCKET_AIM).bit_length()))
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            header = _write(file, digests, width, bits)
            file.flush()
            os.fsync(file.fileno())
        new.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
    except OSError as error:
        raise ConfigError(f"{error.filename or target}: {error.strerror}") from None
    finally:
        new.unlink(missing_ok=True)
    return header


def _write(file: IO[bytes], digests: Iterator[bytes], width: int, bits: int) -> BreachedHeader:
    starts = array("Q", bytes(8 * ((1 << bits) + 1)))
    file.seek(BreachedHeader(width, bits, 0, 0, bytes(32)).digests_at)
    count, last, piece, digest = 0, b"", [], hashlib.sha256()
    shift, full = 32 - bits, 0
    for found in digests:
        kept = found[:width]
        if kept <= last:
            if kept < last:
                raise ConfigError("the hashes are not in ascending order; take the list that is ordered by hash")
            continue
        last = kept
        count += 1
        starts[(int.from_bytes(kept[:4], "big") >> shift) + 1] += 1
        piece.append(kept)
        if len(piece) == PIECE:
            file.write(joined := b"".join(piece))
            digest.update(joined)
            piece.clear()
    file.write(joined := b"".join(piece))
    digest.update(joined)
    if not count:
        raise ConfigError("there is no password in it")
    for bucket in range(1, len(starts)):
        full = max(full, starts[bucket])
        starts[bucket] += starts[bucket - 1]
    if full * width > BUCKET_MAX:
        raise ConfigError("the hashes are not those of passwords: too many begin alike")
    starts.byteswap()  # of a little-endian machine, as every one that Bulkhead runs on is
    digest.update(starts)
    header = BreachedHeader(width, bits, count, int(time.time() * 1000), digest.digest())
    file.seek(0)
    file.write(header.encode())
    file.write(starts)
    return header


def open_source(source: Path) -> tuple[Iterator[bytes], int]:
    """The source's digests in ascending order, and about how many. Raises ConfigError on a form that is not known."""
    if source.is_dir():
        return _ranges(source), sum(entry.stat().st_size for entry in os.scandir(source)) // 40
    with source.open("rb") as file:
        first = file.readline(LINE_MAX)
    if _NTLM.fullmatch(first):
        raise ConfigError(
            f"{source}: these are NTLM hashes, which no password here is compared with; take the SHA-1 list"
        )
    size = source.stat().st_size
    if _SHA1.fullmatch(first):
        return _hashes(source), size // 45
    return _words(source), size // 10


def _hashes(source: Path, prefix: bytes = b"") -> Iterator[bytes]:
    """Of lines of 40 hexadecimal digits less those of the prefix, then perhaps `:count`."""
    digits = 40 - len(prefix)
    with source.open("rb") as file:
        at = 0
        try:
            for line in file:
                at += 1
                if line[digits : digits + 1] not in (b":", b"\r", b"\n", b""):
                    raise ValueError
                found = bytes.fromhex((prefix + line[:digits]).decode("ascii"))
                if len(found) != DIGEST_BYTES:  # a file that was cut off ends in part of a line
                    raise ValueError
                yield found
        except ValueError:
            raise ConfigError(f"{source}:{at}: {digits} hexadecimal digits and perhaps :COUNT are wanted") from None


def _ranges(folder: Path) -> Iterator[bytes]:
    """Of a folder of ranges: a file for each five digits, with the other 35 of each hash."""
    found = {m[1].upper(): path for path in folder.iterdir() if (m := _RANGE.fullmatch(path.name))}
    if not found:
        raise ConfigError(f"{folder}: there is no file of a range (00000.txt to FFFFF.txt)")
    for prefix in sorted(found):
        yield from _hashes(found[prefix], prefix.encode())


def _words(source: Path) -> Iterator[bytes]:
    """Of a plain list, a password a line, in any order."""
    found = set()
    with source.open("rb") as file:
        for line in file:
            if word := line.rstrip(b"\r\n"):
                found.add(password_digest(word))
            if len(found) > WORDS_MAX:
                raise ConfigError(f"{source}: a plain list has at most {WORDS_MAX:,} passwords; take one of hashes")
    yield from sorted(found)
