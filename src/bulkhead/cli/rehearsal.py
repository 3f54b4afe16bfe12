"""A backup restored for trial: into a scratch cell that no process serves, every record opened, then destroyed.

It takes both recovery keys, and the scratch has everything that the cell had. So it runs where both may lie for a
while: at the partner's, or on a host kept for it, and not where the cell runs (docs/backup.md). The scratch is a
private directory; nothing of it listens, for nothing of it is started. What a killed one left is destroyed by the next.
"""

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulkhead.cli.backup_store import Shelf
from bulkhead.cli.output import say
from bulkhead.cli.restore import Restoring
from bulkhead.cli.restore_acts import Report
from bulkhead.cli.restore_files import Source
from bulkhead.cli.restore_log import walk_log
from bulkhead.cli.restore_proof import Anchor, digest_of, settings_of
from bulkhead.cli.secret_file import make_private_folder
from bulkhead.config import Installation
from bulkhead.directory.check import check_directory
from bulkhead.directory.schema import DATABASE as DIRECTORY_DATABASE
from bulkhead.errors import ConfigError, Error, IntegrityError
from bulkhead.holder.keys import KEY_FILE
from bulkhead.ledger.create import LOG, origin_of, signer_of
from bulkhead.records.backup import PrivateKeys
from bulkhead.store.restore import content_of
from bulkhead.supervisor.layout import Layout
from bulkhead.supervisor.process import hold_lock

SCHEMA = "bulkhead/backup-rehearsal/1"
SCRATCH = "scratch"  # below the installation
RESULT_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of it. content: a hash of all messages (store.restore.content_of)."""

    tenant: str
    backup: str
    manifest: str  # SHA-256
    made: int  # when the restore was tried, ms
    seconds: float
    octets: int
    accounts: int
    messages: int
    content: str
    problems: tuple[str, ...]

    def encode(self) -> bytes:
        """JSON, one line."""
        document = {"schema": SCHEMA, **{name: getattr(self, name) for name in self.__slots__}}
        return json.dumps(document, sort_keys=True).encode() + b"\n"

    @classmethod
    def decode(cls, octets: bytes) -> "Rehearsal":
        """What another host wrote. Raises ConfigError."""
        try:
            document: dict[str, Any] = json.loads(octets)
            if document.pop("schema") != SCHEMA:
                raise ValueError
            made = cls(**{**document, "problems": tuple(map(str, document["problems"]))})
            bytes.fromhex(made.manifest)
            if min(int(made.made), int(made.octets), int(made.accounts), int(made.messages)) < 0:
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ConfigError("that is no result of a test restore") from None
        return made


async def rehearse(
    installation: Installation, shelf: Shelf, backup: str, keys: PrivateKeys, escrow: Path, anchor: Anchor, root: Path
) -> Rehearsal:
    """Restore into a scratch cell below `root`, look at everything, destroy it.

    Raises ConfigError where the trial cannot be made; what is wrong with the backup is in the result.
    """
    began, manifest = time.monotonic(), shelf.manifest(backup)
    layout = Layout(root.absolute(), shelf.tenant)
    make_private_folder(layout.directory)
    problems: list[str] = []
    report, content = Report(backup), (0, "")
    with contextlib.closing(hold_lock(layout, "try a restore")):
        destroy_scratch(layout)
        try:
            tenant, text = settings_of(installation, shelf, manifest)
            work = Restoring(layout, tenant, Source(shelf, manifest, keys), escrow)
            own = Anchor(not text, anchor.log, anchor.log_key, anchor.nothing)
            work.prove(own)
            make_private_folder(layout.cell)
            report = await work.run([anchor.log] if anchor.log else [], history_intact=True)
            problems += _problems(layout, work)
            content = content_of(layout.home("store"))
        except IntegrityError as error:
            problems.append(error.public)
        finally:
            destroy_scratch(layout)
    octets = sum(stream.octets for stream in manifest.streams)
    return Rehearsal(
        shelf.tenant, backup, digest_of(manifest), int(time.time() * 1000), round(time.monotonic() - began, 3), octets,
        report.accounts, content[0], content[1], tuple(problems),
    )  # fmt: skip


def _problems(layout: Layout, work: Restoring) -> Sequence[str]:
    """What the restore itself has not looked at: auth, keyring and store it has opened and read whole."""
    problems = list(check_directory(layout.home("directory") / DIRECTORY_DATABASE).problems)
    origin = origin_of(layout.tenant, work.tenant.settings.text("ledger.origin"))
    try:
        walk_log(layout.home("ledger") / LOG, signer_of(work.sets["ledger"], origin), origin, lambda _, __: None)
    except Error as error:
        problems.append(f"ledger: {error.public}")
    return problems


def destroy_scratch(layout: Layout) -> None:
    """Overwrite the keys of a scratch cell, then remove it; nothing where there is none."""
    custody = layout.root_key("x").parent
    keys = [*custody.glob("*"), *layout.cell.glob(f"*/{KEY_FILE}")]
    for path in keys:
        path.chmod(0o600)
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(descriptor, secrets.token_bytes(os.fstat(descriptor).st_size))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for path in (custody, layout.cell):
        if path.exists():
            shutil.rmtree(path)


def read_result(path: Path) -> Rehearsal:
    """A result as another host wrote it. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            return Rehearsal.decode(file.read(RESULT_MAX))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def row_of(result: Rehearsal) -> Mapping[str, Any]:
    """For --json."""
    return {"accounts": result.accounts, "messages": result.messages, "content": result.content}


def tell(result: Rehearsal) -> None:
    """To whoever waits."""
    say(
        f"{result.tenant}: {result.backup} was restored in {result.seconds:.1f} s: {result.accounts:,} accounts, "
        f"{result.messages:,} messages, content {result.content[:16]}; the scratch cell is destroyed"
    )
