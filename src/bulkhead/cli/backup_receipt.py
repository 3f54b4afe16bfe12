"""That the ledger noted a backup, or sealed keys: its entry and the proof of it, kept beside what it is about.

A receipt holds for whoever has the log's public key and nothing else: a backup whose manifest is in none was not made
by its cell.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from bulkhead.boundary.messages.to_ledger import ProveInclusion, ReadEntries
from bulkhead.cli.ledger import read_checkpoint
from bulkhead.cli.road import Road
from bulkhead.errors import IntegrityError
from bulkhead.ledger.event import Event, parse_event
from bulkhead.ledger.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from bulkhead.ledger.note import VerifierKey, parse_note, verify_checkpoint

SCHEMA = "bulkhead/backup-receipt/1"
RECEIPT = "receipt.json"  # of a backup, in its folder
RECEIPT_MAX = 64 << 10  # octets


@dataclass(frozen=True, slots=True)
class Receipt:
    """One entry of the log, with its proof below a signed checkpoint."""

    index: int
    entry: bytes
    proof: tuple[bytes, ...]
    checkpoint: str

    def encode(self) -> bytes:
        """JSON, keys in order, one line."""
        document = {
            "schema": SCHEMA, "index": self.index, "entry": self.entry.decode(),
            "proof": [value.hex() for value in self.proof], "checkpoint": self.checkpoint,
        }  # fmt: skip
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"

    @classmethod
    def decode(cls, octets: bytes) -> "Receipt":
        """The receipt, unchecked but for its form. Raises IntegrityError."""
        try:
            document = json.loads(octets[:RECEIPT_MAX])
            proof = tuple(bytes.fromhex(value) for value in document["proof"])
            receipt = cls(int(document["index"]), document["entry"].encode(), proof, str(document["checkpoint"]))
            whole = receipt.encode() == octets
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise IntegrityError("this is no receipt of the ledger") from None
        if not whole or receipt.index < 0 or any(len(value) != HASH_BYTES for value in proof):
            raise IntegrityError("this is no receipt of the ledger in its one form")
        return receipt

    def check(self, key: VerifierKey) -> Event:
        """The event that the log of this key has. Raises IntegrityError."""
        checkpoint = verify_checkpoint(parse_note(self.checkpoint.encode()), key.name, key)
        try:
            verify_inclusion(leaf_hash(self.entry), self.index, checkpoint.size, list(self.proof), checkpoint.root)
        except (IntegrityError, ValueError):
            raise IntegrityError("its entry is not in the tree of its checkpoint") from None
        return parse_event(self.entry)


async def receipt_of(road: Road, index: int) -> Receipt:
    """The receipt of an entry that a running ledger has."""
    checkpoint, text = await read_checkpoint(road)
    entry = (await road.ask("ledger", ReadEntries(index, 1))).entries[0]
    proof = (await road.ask("ledger", ProveInclusion(index, checkpoint.size))).hashes
    return Receipt(index, entry, tuple(proof), text)


@dataclass(slots=True)
class Noted:
    """What a log says was backed up and escrowed. size: entries that were looked at, from the first on."""

    size: int = 0
    backups: dict[str, set[str]] = field(default_factory=dict)
    escrowed: set[tuple[str, str]] = field(default_factory=set)

    def visit(self, index: int, entry: bytes) -> None:
        """Take an entry in."""
        self.size = index + 1
        self.take(parse_event(entry))

    def take(self, event: Event) -> None:
        """What one event says."""
        details = event.details
        match event.kind.name:
            case "BackupMade" | "RestoreBegun":  # the entry of the backup restored may have been lost with the cell
                for name, digest in (("backup", "sha256"), ("later", "later_sha256")):
                    self.backups.setdefault(str(details.get(name)), set()).add(str(details.get(digest)))
            case "KeysEscrowed":
                self.escrowed |= {(name, str(value)) for name, value in details.items() if len(str(value)) == 64}


class Witness:
    """Says whether the ledger noted something: by a log at hand, or by a receipt under the log's key.

    log: of the newest log at hand, or None.
    """

    def __init__(self, key: VerifierKey, log: Noted | None) -> None:
        self._key, self._log = key, log

    def require_backup(self, backup: str, digest: str, receipt: bytes | None) -> str:
        """`log` or `receipt`. digest: SHA-256 of the manifest. Raises IntegrityError where the ledger has none such."""
        known, by = self._known(receipt, lambda noted: backup in noted.backups)
        if backup not in known.backups:
            raise IntegrityError(
                f"the ledger does not know backup {backup}: nobody can say who made it. Take one that it knows; "
                "--without-ledger takes it all the same"
            )
        if digest not in known.backups[backup]:
            raise IntegrityError(
                f"manifest.json of backup {backup} is not the one that the ledger noted: it was put there by somebody "
                "else. Keep it, raise the alarm, take another backup"
            )
        return by

    def require_escrow(self, compartment: str, digest: str, receipt: bytes | None) -> None:
        """digest: SHA-256 of the file of sealed keys. Raises IntegrityError."""
        wanted = (compartment, digest)
        known, _ = self._known(receipt, lambda noted: wanted in noted.escrowed)
        if receipt is None and (self._log is None or not self._log.escrowed):
            raise IntegrityError(
                f"nothing notes the sealed keys of {compartment}; builds before this one noted none. Where the cell "
                "still runs: bulkhead upgrade there, and take what it writes; --without-ledger takes them all the same"
            )
        if wanted not in known.escrowed:
            raise IntegrityError(
                f"the ledger does not know the sealed keys of {compartment}: they were put there by somebody else. "
                "Name the right folder with --keys; --without-ledger takes them all the same"
            )

    def _known(self, receipt: bytes | None, has: Callable[[Noted], bool]) -> tuple[Noted, str]:
        if self._log is not None and has(self._log):
            return self._log, "log"
        found = Noted()
        if receipt is not None:
            read = Receipt.decode(receipt)
            event = read.check(self._key)
            if self._log is None or read.index >= self._log.size:  # what a longer log lacks is of another history
                found.take(event)
        return found, "receipt"
