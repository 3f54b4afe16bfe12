"""A log of so many entries, really built: what it takes to append, export, prove, verify and watch it.

    python -m bench.ledger_verify [--entries 10000000] [--directory DIR] [--log-directory DIR] [--write FILE]

Durable appends are measured in --directory; the large log and its export lie in --log-directory, which may be in
memory where the disk's syncs are not the question. Its groups have 1,000 entries. Verification,
proofs and the witness are `bulkhead ledger ...` in processes of their own, as a partner runs them, without an
installation. Every figure is of one run; the load average says how busy the machine was.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.ledger_append import measure
from bench.machine import describe
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bulkhead.ledger.event import EVENTS, Event, SubjectId, encode_event
from bulkhead.ledger.export import exported_files, write_export
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import Log, create_log, open_log
from bulkhead.ledger.note import NoteSigner, SignatureType, encode_signer

ORIGIN, GROUP, NEW = "bulkhead.example/bench", 1000, 1000
GROUPS = ((1, 300), (10, 300), (100, 200), (1000, 50))
_AT = 1_700_000_000_000


def entry(number: int) -> bytes:
    """One of the events that a cell writes most: a password set, with the account's subject and a request id."""
    return b"".join((_PARTS[0], b"%d" % (_AT + number), _PARTS[1], b"%032x" % number, _PARTS[2], b"%032x" % number,
                     _PARTS[3]))  # fmt: skip


def _parts() -> list[bytes]:
    """The event's one byte form around its time, its request id and its subject."""
    details = {"change": 3, "compartment": "auth", "cred": 0, "request": "c" * 32}
    event = Event(EVENTS["PasswordSet"], _AT, "cell", (SubjectId(b"\xdd" * 16),), details)
    cut = encode_event(event).replace(b"%d" % _AT, b"|").replace(b"c" * 32, b"|").replace(b"d" * 32, b"|")
    return cut.split(b"|")


_PARTS = _parts()


def build(log: Log, entries: int) -> dict[str, Any]:
    """Append until the log has so many."""
    wall, cpu = time.perf_counter(), time.process_time()
    first, octets = log.size, 0
    while log.size < entries:
        batch = [entry(number) for number in range(log.size, min(entries, log.size + GROUP))]
        octets += sum(map(len, batch))
        log.append(batch)
    wall, cpu, count = time.perf_counter() - wall, time.process_time() - cpu, log.size - first
    return {
        "entries": count, "octets_an_entry": round(octets / count, 1), "seconds": round(wall, 1),
        "cpu_seconds": round(cpu, 1), "entries_a_second": round(count / wall), "group": GROUP,
    }  # fmt: skip


def export(log: Log, directory: Path, since: int = 0) -> dict[str, Any]:
    """Write what is new behind `since`."""
    wall = time.perf_counter()
    files = DirectoryFiles(str(directory))
    write_export(exported_files(log, since=since), files)
    files.close()
    wall = time.perf_counter() - wall
    found = [path for path in directory.rglob("*") if path.is_file()]
    return {
        "seconds": round(wall, 1), "files": len(found), "octets": sum(path.stat().st_size for path in found),
        "since": since,
    }  # fmt: skip


def partner(*words: str | Path) -> dict[str, Any]:
    """Run a command in a process of its own: what it said, seconds, CPU seconds and the most memory of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = time.perf_counter()
    line: Sequence[str] = [sys.executable, "-c", _RUN, "ledger", *map(str, words), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stderr)
    said, _, memory = done.stdout.strip().rpartition("\n")
    document = json.loads(said)
    return {
        "seconds": round(wall, 2), "load_average": os.getloadavg()[0], "memory_mib": round(int(memory) / 1024, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "size": document.get("size"), "hashes": len(document.get("hashes", ())),
    }  # fmt: skip


_RUN = (
    "import sys, resource\n"
    "from bulkhead.cli.main import main\n"
    "status = main(sys.argv[1:])\n"
    "most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))\n"
    "print(most)\n"
    "sys.exit(status)\n"
)


def whole(entries: int, place: str, log_place: str) -> dict[str, Any]:
    """Every figure."""
    with tempfile.TemporaryDirectory(dir=log_place) as directory:
        root = Path(directory)
        found: dict[str, Any] = {"machine": describe(Path(place)), "appends": []}
        for group, appends in GROUPS:
            with tempfile.TemporaryDirectory(dir=place) as log_directory:
                found["appends"].append(measure(Path(log_directory), group, appends))
        found["log_file_system"] = describe(root)["file_system"]
        found |= _of_log(root, entries)
        found["load_average_after"] = os.getloadavg()[0]
        return found


def _of_log(root: Path, entries: int) -> dict[str, Any]:
    signer = NoteSigner(ORIGIN, Ed25519PrivateKey.generate())
    witness = root / "witness.key"
    witness.write_text(encode_signer(NoteSigner("witness", Ed25519PrivateKey.generate(), SignatureType.COSIGNATURE)))
    witness.chmod(0o400)
    for name in ("log", "export"):
        (root / name).mkdir()
    files = DirectoryFiles(str(root / "log"))
    create_log(files, signer, ORIGIN)
    log = open_log(files, signer, ORIGIN)
    key, copy = str(signer.verifier), root / "export"
    found: dict[str, Any] = {"build": build(log, entries), "export": export(log, copy)}
    kept, proof = root / "kept", root / "proof"
    found["verify_1_process"] = _rate(partner(copy, "verify", "--key", key, "--processes", "1", "--keep", kept))
    found["verify_2_processes"] = _rate(partner(copy, "verify", "--key", key, "--processes", "2"))
    watch = (copy, "watch", "--key", key, "--witness-key", witness, "--late", "0")
    found["first_cosignature"] = _rate(partner(*watch))
    found["more"] = build(log, entries + NEW)
    found["export_of_more"] = export(log, copy, since=entries)
    found["cosignature_of_more"] = partner(*watch)
    found["inclusion_proof"] = partner(copy, "prove", str(entries // 3), "--key", key, "--to", proof)
    found["inclusion_proof"]["file_octets"] = proof.stat().st_size
    found["inclusion_proof"]["proof_octets"] = 32 * found["inclusion_proof"]["hashes"]
    found["consistency_proof"] = partner(copy, "prove", "--from", kept, "--key", key, "--to", proof)
    found["consistency_proof"]["file_octets"] = proof.stat().st_size
    log.close()
    start = time.perf_counter()
    open_log(DirectoryFiles(str(root / "log")), signer, ORIGIN).close()
    found["open_ms"] = round((time.perf_counter() - start) * 1000, 1)
    return found


def _rate(run: dict[str, Any]) -> dict[str, Any]:
    return run | {"entries_a_second": round(run["size"] / run["seconds"])}


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--directory", default=".")
    parser.add_argument("--log-directory")
    parser.add_argument("--write")
    options = parser.parse_args()
    text = (
        json.dumps(whole(options.entries, options.directory, options.log_directory or options.directory), indent=1)
        + "\n"
    )
    sys.stdout.write(text)
    if options.write:
        Path(options.write).write_text(text)


if __name__ == "__main__":
    main()
