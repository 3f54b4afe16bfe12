"""A real process appending to a real directory, killed with SIGKILL at a random moment."""

import subprocess
import sys
from pathlib import Path
from time import sleep

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.ledger.simulated_disk import SimulatedDisk

from bulkhead.ledger.export import exported_files, write_export
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import create_log, open_log
from bulkhead.ledger.note import NoteSigner, parse_checkpoint
from bulkhead.ledger.verify import verify_export

ORIGIN = "bulkhead.example/stnet"
SIGNER = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
APPENDER = """
import sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.log import open_log
from bulkhead.ledger.note import NoteSigner
signer = NoteSigner(sys.argv[2], Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
log = open_log(DirectoryFiles(sys.argv[1]), signer, sys.argv[2])
while True:
    log.append([b"entry %d" % i for i in range(log.size, log.size + 97)])
    sys.stdout.write(f"{log.size}\\n")
    sys.stdout.flush()
"""


def test_every_entry_acknowledged_before_a_kill_is_there_after_it(tmp_path: Path) -> None:
    create_log(DirectoryFiles(str(tmp_path)), SIGNER, ORIGIN)
    seen = None
    for life in range(6):
        process = subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path), ORIGIN], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        sleep(0.02 + 0.023 * life)
        process.kill()
        told = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        files = DirectoryFiles(str(tmp_path))
        log = open_log(files, SIGNER, ORIGIN)
        assert not told or log.size >= int(told[-1])
        assert list(log.entries(0, log.size)) == [b"entry %d" % i for i in range(log.size)]
        copied = SimulatedDisk()
        write_export(exported_files(log), copied)
        verify_export(copied, ORIGIN, SIGNER.verifier, previous=seen)
        seen = parse_checkpoint(log.note.text)
        log.close()
    assert seen is not None
    assert seen.size > 1024
