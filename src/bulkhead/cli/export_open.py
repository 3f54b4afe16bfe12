"""`export open`: an export becomes Maildir, at whoever has both recovery keys. Needs no cell and no installation."""

import argparse
import fcntl
import os
import time
from pathlib import Path

from bulkhead.cli.exit_codes import ExitCode
from bulkhead.cli.output import print_json, printable, say
from bulkhead.cli.recovery import read_recovery_keys
from bulkhead.errors import ConfigError, Refused
from bulkhead.exports.clear import SCHEMA as FORM_CLEAR
from bulkhead.exports.clear import is_clear
from bulkhead.exports.opening import CLEAR, SEALED, AccountOpener, Opened
from bulkhead.exports.sealed import manifest_lines, read_export
from bulkhead.identifiers import parse_address, parse_tenant_id


def open_export(options: argparse.Namespace) -> int:
    """Write every account, or those named; 1 where a message did not open."""
    export, out = Path(options.export), Path(options.to)
    began = time.time()
    clear = is_clear(export)
    name, digest = read_export(export, FORM_CLEAR) if clear else read_export(export)
    if clear and not options.manifest:
        raise ConfigError(
            f"{export} is of form 1, in which addresses and flags are sealed to nobody: only the ledger shows whose it "
            "is. Give --manifest, the SHA-256 of its entry ExportWritten"
        )
    if options.manifest and options.manifest.lower() != digest:
        raise ConfigError(f"{export}: the manifest's SHA-256 is {digest}, and not the one that was asked for")
    tenant = parse_tenant_id(name)
    keys = read_recovery_keys(Path(options.partner_key), Path(options.operator_key), tenant)
    wanted = {parse_address(text).key for text in options.account}
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    guard = os.open(out, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{out} is being written by another command; wait for it") from None
        opener = AccountOpener(
            tenant, keys.partner, keys.operator, out, mbox=options.mbox, form=CLEAR if clear else SEALED
        )
        done = _open_all(export, opener, wanted, quiet=options.json)
    finally:
        os.close(guard)
    document = {
        "tenant": name, "directory": str(out), "accounts": len(done), "passed": sum(one.passed for one in done),
        "messages": sum(one.messages for one in done), "octets": sum(one.octets for one in done),
        "failures": sum(one.failures for one in done), "manifest": digest, "seconds": round(time.time() - began, 1),
    }  # fmt: skip
    if options.json:
        print_json(options.command, document)
    else:
        print(f"{out}: {len(done)} accounts ({document['passed']} were there), {document['messages']} messages")
        print(f"SHA-256 of the manifest: {digest}; compare with the entry ExportWritten of the ledger")
    if document["failures"]:
        say(f"{document['failures']} messages or names did not open: see the file `failures` of each account")
        return ExitCode.FINDING
    return ExitCode.OK


def _open_all(export: Path, opener: AccountOpener, wanted: set[str], *, quiet: bool) -> list[Opened]:
    done: list[Opened] = []
    met: set[str] = set()
    for sums, folder in manifest_lines(export / "manifest"):
        if wanted:
            key = parse_address(opener.address_of(export / folder)).key
            if key not in wanted:
                continue
            met.add(key)
        opened = opener.open(export / folder, sums)
        done.append(opened)
        if not quiet and not opened.passed:
            say(f"{printable(opened.address)}: {opened.messages} messages")
    if wanted - met:
        raise Refused(f"not in this export: {', '.join(sorted(wanted - met))}", code="no-such-address")
    return done
