"""The checkpoint that the partner's witness cosigned last, as the live log carries it.

It lies in the file `cosigned` beside the log; where it is of the newest checkpoint, that carries the line too. What is
there at start is believed only when it verifies: it is evidence for readers, and nothing here rests on it.
"""

import logging

from bulkhead.errors import IntegrityError, Refused
from bulkhead.ledger.files import Files
from bulkhead.ledger.log import Log, replace_file
from bulkhead.ledger.note import (
    NOTE_MAX,
    Checkpoint,
    Note,
    NoteSignature,
    VerifierKey,
    parse_note,
    parse_verifier_key,
    verify_checkpoint,
    verify_cosignature,
)

COSIGNED = "cosigned"
_log = logging.getLogger("bulkhead.ledger")


class Cosignatures:
    """What the pinned witness signed. witness: its key as text; empty for none. Works on the log's thread."""

    def __init__(self, files: Files, log_key: VerifierKey, witness: str) -> None:
        self._files, self._log_key = files, log_key
        self.pin(witness)
        self.note, self.size, self.time = "", 0, 0
        try:
            data = files.read(COSIGNED, limit=NOTE_MAX)
        except FileNotFoundError:
            return
        try:
            note, checkpoint, time = self._verify(data)
        except (IntegrityError, Refused) as error:
            _log.warning("the cosigned checkpoint beside the log is not taken: %s", error.public)
            return
        self.note, self.size, self.time = note.encode().decode(), checkpoint.size, time

    def pin(self, witness: str) -> None:
        """Believe this witness from now on."""
        self._witness: VerifierKey | None = None
        if witness:
            try:
                self._witness = parse_verifier_key(witness)
            except IntegrityError as error:
                _log.error("pinned.ledger_witness is no witness key, and nobody can cosign: %s", error.public)

    def take(self, log: Log, data: bytes) -> None:
        """Carry a cosigned checkpoint, durable on return. Raises Refused, TemporaryFailure."""
        try:
            note, checkpoint, time = self._verify(data)
        except IntegrityError as error:
            raise Refused(error.public[:200], code="bad-cosignature") from None
        if (checkpoint.size, time) < (self.size, self.time):
            raise Refused("a newer cosignature is carried already", code="older-cosignature")
        if checkpoint.size > log.size or log.root_at(checkpoint.size) != checkpoint.root:
            raise Refused(
                f"this log has {log.size} entries, and they do not lead to the checkpoint of {checkpoint.size} that "
                "was cosigned under its key: it was put back or forked; keep both, raise the alarm",
                code="not-this-log",
            )
        replace_file(self._files, COSIGNED, note.encode())
        self.note, self.size, self.time = note.encode().decode(), checkpoint.size, time
        if log.note.text == note.text:
            log.cosign([line for line in note.signatures if line.name != self._log_key.name])

    def _verify(self, data: bytes) -> tuple[Note, Checkpoint, int]:
        """The note with the log's and the witness's lines alone; its checkpoint; when it was cosigned."""
        if self._witness is None:
            raise Refused("no witness is pinned: set pinned.ledger_witness", code="no-witness")
        note = parse_note(data)
        checkpoint = verify_checkpoint(note, self._log_key.name, self._log_key)
        time = verify_cosignature(note, self._witness)
        lines = (_line(note, self._log_key, b""), _line(note, self._witness, time.to_bytes(8, "big")))
        return Note(note.text, lines), checkpoint, time


def _line(note: Note, key: VerifierKey, begins: bytes) -> NoteSignature:
    """The key's line, of several the one that begins so; each has been verified."""
    return next(
        line for line in note.signatures
        if (line.name, line.key_id) == (key.name, key.key_id) and line.blob.startswith(begins)
    )  # fmt: skip
