"""Signed notes, checkpoints and cosignatures of the log. PURE.

    <origin>\\n<size>\\n<base64 root>\\n[extension lines]\\n— <name> base64(u32 key id | signature)\\n...

Sources: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint, https://c2sp.org/tlog-cosignature.
Signatures are Ed25519 (RFC 8032): type 0x01 by the log over the text, type 0x04 by a witness over
`cosignature/v1\\ntime <seconds>\\n` and the text. Parsing is strict: one byte form for each value, and every
fault raises IntegrityError. A signature by an unknown key is ignored; one by a known key that fails spoils the note.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bulkhead.errors import IntegrityError
from bulkhead.ledger.merkle import HASH_BYTES, TREE_SIZE_MAX

NOTE_MAX = 16 * 1024  # bytes
SIGNATURES_MAX = 32
KEY_NAME_MAX = 255  # bytes
ORIGIN_MAX = 255  # bytes
SIGNATURE_BYTES = 64
PUBLIC_KEY_BYTES = 32
TIME_MAX = 2**63 - 1

_DASH = "\u2014 "
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_VERIFIER_KEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+(.+)")


class SignatureType(Enum):
    """The signature type byte of signed-note."""

    LOG = 0x01
    COSIGNATURE = 0x04


def decode_base64(text: str) -> bytes:
    """The bytes of canonical base64 (RFC 4648 section 4). Raises IntegrityError on any other spelling."""
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        raise IntegrityError("base64 is malformed") from None
    if b64encode(data).decode("ascii") != text:
        raise IntegrityError("base64 is not in its one canonical form")
    return data


def _check_key_name(name: str) -> None:
    if not name or len(name.encode()) > KEY_NAME_MAX or "+" in name or not name.isprintable() or " " in name:
        raise IntegrityError("a key name has 1 to 255 bytes, no space, no '+' and no control character")


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key by which notes are checked. public: 32 bytes (RFC 8032 section 5.1.2)."""

    name: str
    public: bytes
    type: SignatureType = SignatureType.LOG

    def __post_init__(self) -> None:
        _check_key_name(self.name)
        if len(self.public) != PUBLIC_KEY_BYTES:
            raise IntegrityError("an Ed25519 public key has 32 bytes")

    @property
    def key_id(self) -> int:
        """The first four bytes of SHA-256(name | LF | type | public key) as u32 (signed-note)."""
        material = self.name.encode() + b"\n" + bytes([self.type.value]) + self.public
        return int.from_bytes(sha256(material).digest()[:4], "big")

    def __str__(self) -> str:
        """The text form `name+keyid+base64(type | public key)` (signed-note, verifier keys)."""
        return f"{self.name}+{self.key_id:08x}+{b64encode(bytes([self.type.value]) + self.public).decode('ascii')}"

    def verify(self, message: bytes, signature: bytes) -> None:
        """Return only if `signature` is this key's over `message`. Raises IntegrityError."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise IntegrityError(f"the signature by {self.name} does not verify") from None


def parse_verifier_key(text: str) -> VerifierKey:
    """The key of VerifierKey's text form. Raises IntegrityError."""
    match = _VERIFIER_KEY.fullmatch(text) if len(text) <= 2 * KEY_NAME_MAX else None
    if not match:
        raise IntegrityError("a verifier key has the form name+keyid+base64")
    material = decode_base64(match[3])
    try:
        key = VerifierKey(match[1], material[1:], SignatureType(material[0]))
    except (IndexError, ValueError):
        raise IntegrityError("the verifier key's signature type is not known here") from None
    if key.key_id != int(match[2], 16):
        raise IntegrityError("the verifier key's id does not belong to its name and key")
    return key


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """A private key with the name and type under which it signs."""

    name: str
    private: Ed25519PrivateKey
    type: SignatureType = SignatureType.LOG

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, self.private.public_key().public_bytes_raw(), self.type)


_SIGNER_HEAD = "PRIVATE+KEY+"


def encode_signer(signer: NoteSigner) -> str:
    """A private key as one line, `PRIVATE+KEY+name+keyid+base64(type | seed)`, the form of Go's note package."""
    material = bytes([signer.type.value]) + signer.private.private_bytes_raw()
    return f"{_SIGNER_HEAD}{signer.name}+{signer.verifier.key_id:08x}+{b64encode(material).decode('ascii')}\n"


def parse_signer(text: str) -> NoteSigner:
    """The key of encode_signer's line. Raises IntegrityError, which holds nothing of the key."""
    match = _VERIFIER_KEY.fullmatch(text.removesuffix("\n").removeprefix(_SIGNER_HEAD))
    if not match or not text.startswith(_SIGNER_HEAD):
        raise IntegrityError("a signer's key has the form PRIVATE+KEY+name+keyid+base64")
    material = decode_base64(match[3])
    try:
        private = Ed25519PrivateKey.from_private_bytes(material[1:])
        signer = NoteSigner(match[1], private, SignatureType(material[0]))
    except (IndexError, ValueError):
        raise IntegrityError("the signer's key is of no type that is known here") from None
    if signer.verifier.key_id != int(match[2], 16):
        raise IntegrityError("the signer's key id does not belong to its name and key")
    return signer


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line; `blob` is what follows the key id."""

    name: str
    key_id: int
    blob: bytes

    def encode(self) -> str:
        """The line, with its newline."""
        data = self.key_id.to_bytes(4, "big") + self.blob
        return f"{_DASH}{self.name} {b64encode(data).decode('ascii')}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note: nothing in it is trusted before a verification returned."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        """The note's bytes."""
        return (self.text + "\n" + "".join(line.encode() for line in self.signatures)).encode()


def _parse_signature(line: str) -> NoteSignature:
    name, _, body = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH):
        raise IntegrityError("a signature line begins with an em dash and a space")
    _check_key_name(name)
    data = decode_base64(body)
    if len(data) <= 4:
        raise IntegrityError("a signature line holds a key id and a signature")
    return NoteSignature(name, int.from_bytes(data[:4], "big"), data[4:])


def parse_note(data: bytes) -> Note:
    """The note in `data`, at most NOTE_MAX bytes and SIGNATURES_MAX signatures. Raises IntegrityError."""
    if len(data) > NOTE_MAX:
        raise IntegrityError(f"a note has at most {NOTE_MAX} bytes")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError:
        raise IntegrityError("a note is UTF-8") from None
    if any(c < " " and c != "\n" for c in whole):
        raise IntegrityError("a note has no control character but newline")
    body, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise IntegrityError("a note is text, an empty line and signature lines")
    lines = tail[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise IntegrityError(f"a note has at most {SIGNATURES_MAX} signatures")
    return Note(body + "\n", tuple(_parse_signature(line) for line in lines))


def carries_signature(note: Note, key: VerifierKey) -> bool:
    """Whether a line says that the key signed; whether it did, only a verification tells."""
    return any(line.name == key.name and line.key_id == key.key_id for line in note.signatures)


def _own_signatures(note: Note, key: VerifierKey) -> list[bytes]:
    blobs = [line.blob for line in note.signatures if line.name == key.name and line.key_id == key.key_id]
    if not blobs:
        raise IntegrityError(f"the note carries no signature by {key.name} (key id {key.key_id:08x})")
    return blobs


def verify_note(note: Note, key: VerifierKey) -> None:
    """Return only if the log's key signed the note. Raises IntegrityError."""
    if key.type is not SignatureType.LOG:
        raise ValueError("verify_cosignature checks witness keys")
    for blob in _own_signatures(note, key):
        key.verify(note.text.encode(), blob)


def sign_note(text: str, signer: NoteSigner) -> Note:
    """`text` (ending in a newline) signed by the log."""
    if signer.type is not SignatureType.LOG or not text.endswith("\n"):
        raise ValueError("a note's text ends in a newline and is signed by a log's key")
    blob = signer.private.sign(text.encode())
    return Note(text, (NoteSignature(signer.name, signer.verifier.key_id, blob),))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head. origin: the log's name, 1 to 255 bytes in one line.   root: 32 bytes.   extensions: opaque lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The note text that is signed."""
        lines = (self.origin, str(self.size), b64encode(self.root).decode("ascii"), *self.extensions)
        return "".join(line + "\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint in a note's text. Raises IntegrityError."""
    lines = text.split("\n")
    if len(lines) < 4 or lines.pop() or not all(lines):
        raise IntegrityError("a checkpoint is origin, size and root, each on a line of its own")
    origin, size, root, *extensions = lines
    if len(origin.encode()) > ORIGIN_MAX or not origin.isprintable():
        raise IntegrityError("a checkpoint's origin has 1 to 255 printable bytes")
    if not _SIZE.fullmatch(size) or int(size) > TREE_SIZE_MAX:
        raise IntegrityError("a checkpoint's size is a decimal number below 2**63 without leading zeroes")
    value = decode_base64(root)
    if len(value) != HASH_BYTES:
        raise IntegrityError("a checkpoint's root has 32 bytes")
    return Checkpoint(origin, int(size), value, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> Note:
    """The checkpoint as a note signed by the log. Raises IntegrityError where a field has no valid form."""
    parse_checkpoint(checkpoint.text())
    return sign_note(checkpoint.text(), signer)


def verify_checkpoint(note: Note, origin: str, key: VerifierKey) -> Checkpoint:
    """The checkpoint of a note that the log `origin` signed. Raises IntegrityError."""
    verify_note(note, key)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != origin:
        raise IntegrityError(f"the checkpoint is of the log {checkpoint.origin}, not of {origin}")
    return checkpoint


def _cosigned_message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def cosign(note: Note, witness: NoteSigner, *, time: int) -> NoteSignature:
    """The witness's cosignature/v1 line. time: POSIX seconds, 1 to 2**63 - 1.

    The caller has verified the checkpoint and that it extends the last one cosigned. Raises IntegrityError where the
    note is no checkpoint.
    """
    if witness.type is not SignatureType.COSIGNATURE or not 0 < time <= TIME_MAX:
        raise ValueError("a cosignature has a witness key and a time")
    parse_checkpoint(note.text)
    signature = witness.private.sign(_cosigned_message(note.text, time))
    return NoteSignature(witness.name, witness.verifier.key_id, time.to_bytes(8, "big") + signature)


def verify_cosignature(note: Note, key: VerifierKey) -> int:
    """The latest time, POSIX seconds, at which the witness cosigned this note. Raises IntegrityError."""
    if key.type is not SignatureType.COSIGNATURE:
        raise ValueError("verify_note checks a log's key")
    parse_checkpoint(note.text)
    times: list[int] = []
    for blob in _own_signatures(note, key):
        time = int.from_bytes(blob[:8], "big")
        if len(blob) != 8 + SIGNATURE_BYTES or time > TIME_MAX:
            raise IntegrityError(f"the cosignature by {key.name} is malformed")
        key.verify(_cosigned_message(note.text, time), blob[8:])
        times.append(time)
    return max(times)


def add_signatures(note: Note, lines: Sequence[NoteSignature]) -> Note:
    """The note with further signature lines, each line once. Raises IntegrityError past the limits of a note."""
    signatures = (*note.signatures, *(line for line in dict.fromkeys(lines) if line not in note.signatures))
    grown = Note(note.text, signatures)
    parse_note(grown.encode())
    return grown
