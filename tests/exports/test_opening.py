"""Exports made here of known messages and keys: two generations, cuts, a killed command, what does not open."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bulkhead.boundary.messages.to_keyring import ExportedKey
from bulkhead.boundary.messages.to_store import ExportedRow, MailboxRow, NamedRow, Role
from bulkhead.errors import Refused
from bulkhead.exports import opening
from bulkhead.exports.maildir import MaildirFolder
from bulkhead.exports.opening import AccountOpener, Opened
from bulkhead.exports.sealed import AccountWriter, Head, Manifest, RowPage, folder_of, manifest_lines
from bulkhead.exports.sealing import Seals
from bulkhead.identifiers import AccountId, EmailId, TenantId, new_id
from bulkhead.records.backup import Recipients
from bulkhead.records.mailbox import Binding, Holder, MailboxRecord, new_mailbox_record, sign_binding
from bulkhead.records.message import seal_key_box, seal_parts
from bulkhead.records.name import NameKind, SealedName, seal_name
from bulkhead.records.recovery_file import RecoveryPrivateKey, write_recovery_private
from bulkhead.records.seed import MailboxSeed, new_secret
from bulkhead.records.slot import seal_slot

TENANT, SIGNER = TenantId("t0"), Ed25519PrivateKey.generate()
PARTNER = RecoveryPrivateKey(TENANT, Holder.PARTNER, 1, X25519PrivateKey.generate())
OPERATOR = RecoveryPrivateKey(TENANT, Holder.OPERATOR, 1, X25519PrivateKey.generate())
SEALS = Seals(TENANT, Recipients(PARTNER.public(), OPERATOR.public()), 1)


@dataclass(frozen=True)
class Made:
    """An export of one account: what its messages are, by UID; the old one in `old` is under the first generation."""

    export: Path
    account: AccountId
    messages: dict[int, bytes]


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _named(seed: MailboxSeed, kind: NameKind, name: str) -> SealedName:
    return seal_name(seed.metadata_key(), seed.generation, seed.account, kind, name)


def _row(writer: AccountWriter, seed: MailboxSeed, uid: int, message: bytes, *, filed: bool, flags: int) -> ExportedRow:
    email, key = EmailId(new_id()), new_secret()
    head, _, body = message.partition(b"\r\n\r\n")
    parts = seal_parts(key, seed.account, email, b"", head + b"\r\n\r\n", body)
    asyncio.run(writer.add_parts(email, len(parts.header) + len(parts.body), _whole(parts.header + parts.body)))
    binding = Binding(sign_binding(seed, SIGNER, key_version=1).record)
    bound = binding.verify(SIGNER.public_key(), TENANT, seed.account)
    sealed = (
        seal_slot(seed.slot_key(), seed.generation, seed.account, email, key)
        if filed
        else seal_key_box(bound, email, key)
    )
    sizes = len(parts.header), len(parts.body)
    return ExportedRow(uid, flags, 1, "", email, len(message), uid, filed, sealed, *sizes)


def make(export: Path, count: int = 6, lines: int = 1, *, chain: bool = False) -> Made:
    """chain: the older generation opens by the newer one alone."""
    account = AccountId(new_id())
    first = MailboxSeed(TENANT, account, 1, new_secret())
    second = MailboxSeed(TENANT, account, 2, new_secret())
    binding = sign_binding(second, SIGNER, key_version=1).record
    records: list[tuple[int, MailboxRecord]] = [
        (2, new_mailbox_record(second, PARTNER.public(), OPERATOR.public(), previous=first))
    ]
    if not chain:
        records.insert(0, (1, new_mailbox_record(first, PARTNER.public(), OPERATOR.public())))
    messages = {uid: b"Subject: %d\r\n\r\n" % uid + b"line\r\n" * lines * uid for uid in range(1, count + 1)}
    manifest = Manifest(export, TENANT, 1)
    with AccountWriter(export, account, SEALS) as writer:
        inbox, old = new_id(), new_id()
        writer.begin_rows()
        for uid, message in messages.items():
            seed = first if uid % 2 else second
            row = _row(writer, seed, uid, message, filed=uid % 3 == 0, flags=1 << 5)
            writer.add_rows(RowPage(old if uid % 2 else inbox, (row,)))  # type: ignore[arg-type]
        name, keyword = _named(first, NameKind.FOLDER, "古い/箱"), _named(second, NameKind.KEYWORD, "Later")
        mailboxes = (
            MailboxRow(inbox, Role.INBOX, b"", 7, 99, 0, 0, 0, 0, 0, 1),  # type: ignore[arg-type]
            MailboxRow(old, 0, name.tag + name.record, 8, 98, 0, 0, 0, 0, 0, 1),  # type: ignore[arg-type]
        )
        keys = tuple(ExportedKey(account, generation, record.encode(), binding) for generation, record in records)
        keywords = (NamedRow(5, keyword.tag, keyword.record),)
        manifest.add(account, writer.finish(Head(account, "a@t0.example", 2, 0, 1, keys, mailboxes, keywords, ())))
    manifest.finish({})
    return Made(export, account, messages)


def open_account(made: Made, out: Path) -> Opened:
    ((sums, folder),) = manifest_lines(made.export / "manifest")
    assert folder == folder_of(made.account)
    return AccountOpener(TENANT, PARTNER, OPERATOR, out).open(made.export / folder, sums)


def written(out: Path) -> dict[int, bytes]:
    files = [path for path in out.glob("a@t0.example/Maildir/**/cur/*") if path.is_file()]
    found = {int(path.name.split(".U")[1].split("E")[0]): path.read_bytes() for path in files}
    assert len(found) == len(files)
    return found


@pytest.mark.parametrize("chain", [False, True])
def test_mail_and_names_of_every_generation_open(tmp_path: Path, chain: bool) -> None:
    made = make(tmp_path / "export", chain=chain)
    done = open_account(made, tmp_path)
    assert (done.messages, done.failures) == (6, 0) and written(tmp_path) == made.messages
    told = json.loads((tmp_path / "a@t0.example/mailboxes.json").read_bytes())
    assert [row["name"] for row in told["mailboxes"]] == ["INBOX", "古い/箱"] and told["keywords"] == ["Later"]
    assert open_account(made, tmp_path).passed


class _Cut(Exception):
    """The process ends here."""


def test_an_account_cut_after_any_message_is_whole_after_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(tmp_path / "export")
    add = MaildirFolder.add
    for cut in range(len(made.messages)):
        left = iter(range(cut))

        def adds(
            self: MaildirFolder, name: str, flags: str, date: int, pieces: Iterator[bytes], size: int, left: Any = left
        ) -> str:
            if next(left, None) is None:
                (self.path / "tmp" / name).write_bytes(b"half")
                raise _Cut
            return add(self, name, flags, date, pieces, size)

        with monkeypatch.context() as patched:
            patched.setattr(MaildirFolder, "add", adds)
            with pytest.raises(_Cut):
                open_account(made, tmp_path / str(cut))
        assert not (tmp_path / str(cut) / "a@t0.example/mailboxes.json").exists()
        assert not open_account(made, tmp_path / str(cut)).passed
        assert written(tmp_path / str(cut)) == made.messages
        assert not list((tmp_path / str(cut)).glob("**/tmp/*"))


def test_a_command_that_is_killed_goes_on_and_gives_the_same(tmp_path: Path) -> None:
    made, out = make(tmp_path / "export", 60, 2000), tmp_path / "out"
    keys = []
    for key in (PARTNER, OPERATOR):
        path = tmp_path / f"{key.holder.name.lower()}.key"
        path.write_text(write_recovery_private(key))
        path.chmod(0o600)
        keys += [f"--{key.holder.name.lower()}-key", str(path)]
    command = [sys.executable, "-m", "bulkhead.cli.main", "export", "open", str(made.export), "--to", str(out), *keys]
    killed = 0
    for messages in (1, 7, 20):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if sum(1 for _ in out.glob("*/Maildir/**/cur/*")) >= messages:
                os.kill(process.pid, signal.SIGKILL)
                break
        killed += process.wait() == -signal.SIGKILL
        for path in out.glob("*/Maildir/**/cur/*.bulkhead*"):  # older whole ones would end the next wait at once
            path.unlink()
        (out / "a@t0.example" / "mailboxes.json").unlink(missing_ok=True)
    assert killed
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert written(out) == made.messages
    sums = (out / "a@t0.example/SHA256SUMS").read_text().splitlines()
    assert sorted(line.partition("  ")[0] for line in sums) == sorted(
        hashlib.sha256(message).hexdigest() for message in made.messages.values()
    )


def test_a_message_that_does_not_open_is_told_and_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make(tmp_path / "export")
    real = opening.read_places
    monkeypatch.setattr(opening, "read_places", lambda path: dict(list(real(path).items())[1:]))
    done = open_account(made, tmp_path)
    assert (done.messages, done.failures) == (5, 1)
    assert "removed while the export was made" in (tmp_path / "a@t0.example/failures").read_text()
    assert written(tmp_path) == {uid: made.messages[uid] for uid in range(2, 7)}


@pytest.mark.parametrize("holder", list(Holder))
def test_a_key_of_another_version_is_asked_for_by_its_version(tmp_path: Path, holder: Holder) -> None:
    made = make(tmp_path / "export")
    ((sums, folder),) = manifest_lines(made.export / "manifest")
    keys = {key.holder: key for key in (PARTNER, OPERATOR)}
    keys[holder] = RecoveryPrivateKey(TENANT, holder, 2, X25519PrivateKey.generate())
    with pytest.raises(Refused, match=f"version 1 of the {holder.name.lower()}'s"):
        AccountOpener(TENANT, *keys.values(), tmp_path / "out").open(made.export / folder, sums)
    assert not (tmp_path / "out").exists()
