"""`ledger DIR verify|prove --key` and `ledger FILE check --key`: at the partner, with its own key alone."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_json, say
from bulkhead.config import write_file
from bulkhead.errors import ConfigError, IntegrityError, Refused
from bulkhead.ledger.alarm import ALARMS, Alarm
from bulkhead.ledger.answer import ANSWER_MAX, check_entries
from bulkhead.ledger.files import DirectoryFiles
from bulkhead.ledger.merkle import leaf_hash
from bulkhead.ledger.note import (
    NOTE_MAX,
    Checkpoint,
    SignatureType,
    VerifierKey,
    parse_note,
    parse_verifier_key,
    verify_checkpoint,
    verify_cosignature,
)
from bulkhead.ledger.proof import Consistency, ExportTree, Inclusion, parse_proof
from bulkhead.ledger.span import PROCESSES_MAX, processors
from bulkhead.ledger.verify import VerifiedLog, parse_signed, verify_export, verify_signed

KEY_TEXT_MAX = 1024


def alarm_of(error: IntegrityError) -> Alarm:
    """The alarm that an error is; what has no name of its own is damage."""
    return next((alarm for alarm in Alarm if alarm.value == error.code), Alarm.DAMAGED)


def named(error: IntegrityError) -> IntegrityError:
    """The error with the alarm's name in front, and what to do."""
    alarm = alarm_of(error)
    return IntegrityError(f"{alarm.value}: {error.public}\n-> {ALARMS[alarm].advice}", code=alarm.value)


@contextmanager
def telling(options: argparse.Namespace, nothing: dict[str, Any]) -> Iterator[None]:
    """Name the alarm of whatever does not match: in the JSON document too, whose other keys are `nothing`."""
    try:
        yield
    except IntegrityError as error:
        if options.json:
            print_json(options.command, {**nothing, "alarm": alarm_of(error).value, "problem": error.public})
        raise named(error) from None


def verify(options: argparse.Namespace) -> int:
    """Check an export."""
    nothing = dict.fromkeys(("origin", "size", "root", "extends", "cosigned")) | {"tenant": options.tenant}
    with telling(options, nothing):
        key = public_key(options.key, SignatureType.LOG)
        witness = [public_key(options.witness, SignatureType.COSIGNATURE)] if options.witness else []
        earlier = kept_checkpoint(options.since, key) if options.since else None
        found = verified(Path(options.tenant), key, witness, earlier, options.processes)
    checkpoint = found.checkpoint
    if options.keep:
        write_file(Path(options.keep), found.note.encode().decode(), replace=True)
    cosigned = found.cosigned[witness[0].name] if witness else None
    if options.json:
        print_json(options.command, {
            **nothing, "origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(),
            "extends": earlier.size if earlier else None, "cosigned": cosigned, "alarm": None, "problem": None,
        })  # fmt: skip
        return ExitCode.OK
    print(f"{options.tenant}: {checkpoint.size} entries of {checkpoint.origin} are in the tree that its key signed")
    print(f"root {checkpoint.root.hex()}")
    if earlier:
        print(f"the {earlier.size} entries seen before are its beginning")
    else:
        say("keep this checkpoint (--keep FILE), and give it next time (--since FILE): "
            "only that shows that history was not rewritten in between")  # fmt: skip
    return ExitCode.OK


def verified(
    directory: Path, key: VerifierKey, witnesses: list[VerifierKey], earlier: Checkpoint | None, processes: int = 1
) -> VerifiedLog:
    """The whole export, checked. processes: 0 for as many as there are processors."""
    if not 0 <= processes <= PROCESSES_MAX:
        raise ConfigError(f"--processes is 0 to {PROCESSES_MAX}")
    files = DirectoryFiles(str(directory))
    try:
        return verify_export(
            files, key.name, key, witnesses=witnesses, previous=earlier, processes=processes or processors()
        )
    finally:
        files.close()


def prove(options: argparse.Namespace) -> tuple[Inclusion | Consistency, int]:
    """The proof from an export, checked, and the size of its tree."""
    key = public_key(options.key, SignatureType.LOG)
    files = DirectoryFiles(options.tenant)
    try:
        note = parse_signed(files.read("checkpoint", limit=NOTE_MAX), "checkpoint", key)
        checkpoint = verify_signed(note, "checkpoint", key.name, key)
        tree = ExportTree(files, checkpoint.size)
        if options.since:
            seen = kept_checkpoint(options.since, key)
            if seen.size > checkpoint.size:
                raise IntegrityError(
                    f"checkpoint: size {checkpoint.size} is smaller than {seen.size} of {options.since}",
                    code=Alarm.ROLLBACK.value,
                )
            return tree.prove_extension(seen, note, key), checkpoint.size
        if not 0 <= options.index < checkpoint.size:
            raise Refused(f"the log has no entry {options.index}", code="no-such-entry")
        return tree.prove_entry(options.index, note, key), checkpoint.size
    finally:
        files.close()


def check(options: argparse.Namespace) -> int:
    """Check a proof's file."""
    key = public_key(options.key, SignatureType.LOG)
    data = _read(Path(options.tenant), ANSWER_MAX)
    if data.startswith(b"{"):
        return _check_answer(options, data, key)
    try:
        proof = parse_proof(data)
        cosigned = None
        if options.witness:
            cosigned = verify_cosignature(proof.note, public_key(options.witness, SignatureType.COSIGNATURE))
        if isinstance(proof, Inclusion):
            checkpoint = proof.check(key)
            said = {"proves": "inclusion", "index": proof.index, "entry": proof.entry.decode("utf-8", "replace")}
            text = f"entry {proof.index} of {checkpoint.size} of {checkpoint.origin}: {said['entry']}"
        else:
            if not options.since:
                raise ConfigError("a proof of consistency needs --since FILE, the earlier checkpoint")
            checkpoint = proof.check(key, kept_checkpoint(options.since, key))
            said = {"proves": "consistency", "old": proof.old}
            text = f"the first {proof.old} of {checkpoint.size} entries of {checkpoint.origin} are those of then"
    except IntegrityError as error:
        raise IntegrityError(f"{options.tenant}: {error.public}", code=error.code) from None
    if options.json:
        nothing = dict.fromkeys(("index", "entry", "old", "next"))
        document = {"origin": checkpoint.origin, "size": checkpoint.size, "cosigned": cosigned}
        print_json(options.command, {**nothing, **said, **document})
    else:
        print(text)
    return ExitCode.OK


def _check_answer(options: argparse.Namespace, data: bytes, key: VerifierKey) -> int:
    """A page of entries as the console's API gave it."""
    try:
        page = check_entries(data, key)
    except IntegrityError as error:
        raise IntegrityError(f"{options.tenant}: {error.public}", code=error.code) from None
    following = page.first + len(page.entries)
    if options.json:
        print_json(options.command, {
            "proves": "entries", "origin": page.checkpoint.origin, "size": page.checkpoint.size, "index": page.first,
            "next": following, "entry": None, "old": None, "cosigned": None,
        })  # fmt: skip
    else:
        print(f"entries {page.first} to {following - 1} of {page.checkpoint.size} of {page.checkpoint.origin}")
    return ExitCode.OK


def public_key(given: str, kind: SignatureType) -> VerifierKey:
    """A public key, as text or from a file. Raises ConfigError."""
    there = given.count("+") < 2 or Path(given).exists()
    text = _read(Path(given), KEY_TEXT_MAX).decode("ascii", errors="replace") if there else given
    try:
        key = parse_verifier_key(text.strip())
    except IntegrityError as error:
        raise ConfigError(f"{given[:80]}: {error.public}") from None
    if key.type is not kind:
        raise ConfigError(f"{key.name}: this takes the key of a {kind.name.lower()}, not of a {key.type.name.lower()}")
    return key


def kept_checkpoint(name: str, key: VerifierKey) -> Checkpoint:
    """A checkpoint kept in a file, verified. Raises IntegrityError naming the file."""
    try:
        return verify_checkpoint(parse_note(_read(Path(name), NOTE_MAX)), key.name, key)
    except IntegrityError as error:
        raise IntegrityError(f"{name}: {error.public}", code=error.code) from None


def proof_document(tenant: str, proof: Inclusion | Consistency, size: int) -> dict[str, Any]:
    """What `prove --json` prints."""
    document: dict[str, Any] = {
        "tenant": tenant, "size": size, "hashes": [value.hex() for value in proof.hashes],
        "checkpoint": proof.note.encode().decode(), "index": None, "old": None, "entry": None, "leaf": None,
    }  # fmt: skip
    if isinstance(proof, Consistency):
        return document | {"old": proof.old}
    return document | {
        "index": proof.index, "entry": proof.entry.decode("utf-8", "replace"), "leaf": leaf_hash(proof.entry).hex(),
    }  # fmt: skip


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ConfigError(f"{path} has more than {limit} octets: not what belongs here")
    return data
