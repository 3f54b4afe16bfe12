"""What shows that a backup is the cell's own: every changed octet, and everything put in its place, is named."""

import asyncio
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.live import Live

from bulkhead.boundary.messages.to_ledger import Event
from bulkhead.cli import doctor
from bulkhead.cli.backup_receipt import RECEIPT, Receipt
from bulkhead.cli.backup_store import MANIFEST, SETTINGS, Manifest, Shelf
from bulkhead.cli.backup_target import DirectoryTarget
from bulkhead.cli.backup_verify import check_hashes, check_receipts
from bulkhead.cli.recovery import read_recovery_keys
from bulkhead.cli.rehearsal import Rehearsal, destroy_scratch, rehearse
from bulkhead.cli.restore_files import read_escrow
from bulkhead.cli.restore_proof import HOLDERS, Anchor, check_pinned, prove, settings_of, witness_of
from bulkhead.config import Tenant, load_installation
from bulkhead.errors import ConfigError, Error, IntegrityError
from bulkhead.identifiers import TenantId
from bulkhead.records.backup import Head, PrivateKeys, Recipients, StreamOpener, StreamSealer, read_lead
from bulkhead.supervisor.layout import Layout

T0 = TenantId("t0")


class Copies:
    """Two backups of a cell, the second of which relies on the first, their escrow and both keys."""

    def __init__(self, base: Path) -> None:
        live = Live(base / "here", tenants=1)
        try:
            (mailbox,) = live.add("t0", ["anna"])
            made = []
            for _ in range(2):
                live.deliver(mailbox)
                live.wait_subject(mailbox, "hello")
                made.append(live.json("backup", "run", "t0", "--to", str(base / "backups"))["backups"][0]["backup"])
        finally:
            live.stop()
        self.base, self.earlier, self.backup = base, *made
        self.installation = load_installation(live.directory)
        self.tenant: Tenant = self.installation.tenant("t0")
        self.layout = Layout(live.directory, T0)
        both = read_recovery_keys(self.layout.recovery_key("partner"), self.layout.recovery_key("operator"), T0)
        self.keys = PrivateKeys(both.partner.private_key, both.operator.private_key)
        self.shelf = Shelf(DirectoryTarget(base / "backups"), T0)
        self.escrow = live.directory / "escrow" / "t0"
        self.log = self.layout.home("ledger") / "log"
        needed = sorted((self.shelf_folder(self.backup)).iterdir())
        relied = [self.shelf_folder(self.earlier) / name for name in (MANIFEST, RECEIPT, "store.stream")]
        self.files = [*needed, *relied, *sorted(self.escrow.iterdir())]

    def shelf_folder(self, backup: str) -> Path:
        return self.base / "backups" / "t0" / backup

    def prove(self, anchor: Anchor, *, tenant: Tenant | None = None) -> str:
        manifest = self.shelf.manifest(self.backup)
        sets = {name: read_escrow(self.escrow, name, self.keys, self.layout) for name in HOLDERS}
        own = tenant or settings_of(self.installation, self.shelf, manifest)[0]
        check_pinned(own, sets, self.keys)
        return prove(witness_of(own, sets, self.escrow, anchor), self.shelf, manifest, self.escrow)

    def whole(self) -> None:
        """What `backup verify` and the first step of a restore look at. Raises Error."""
        problems = check_receipts(self.shelf, self.backup, self.tenant) or check_hashes(self.shelf, self.backup)[0]
        if problems:
            raise IntegrityError("\n".join(problems))
        self.prove(Anchor(own=True))


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    return Copies(tmp_path_factory.mktemp("p"))


@pytest.fixture
def undone(copies: Copies) -> Iterator[Callable[[Path, bytes], None]]:
    """Writes a file, and puts back at the end what it was."""
    kept: dict[Path, bytes] = {}

    def put(path: Path, content: bytes) -> None:
        kept.setdefault(path, path.read_bytes())
        path.chmod(0o600)
        path.write_bytes(content)

    yield put
    for path, content in kept.items():
        path.write_bytes(content)
    copies.whole()


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_every_flipped_bit_of_a_backup_and_of_its_escrow_is_found_and_its_file_is_named(
    copies: Copies, data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(copies.files))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, min(len(whole), 400) - 1))
    changed = bytearray(whole)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    path.chmod(0o600)
    path.write_bytes(changed)
    try:
        with pytest.raises(Error) as caught:
            copies.whole()
        named = {path.name, path.with_suffix(".keys").name} if path.parent == copies.escrow else {path.name}
        if path.name == MANIFEST:
            named.add(f"manifest.json of backup {path.parent.name}")
        assert any(name in caught.value.public for name in named), caught.value.public
    finally:
        path.write_bytes(whole)


def test_a_whole_backup_is_shown_by_its_receipt_by_the_log_and_by_the_key_that_the_partner_noted(
    copies: Copies,
) -> None:
    assert copies.prove(Anchor(own=True)) == "receipt"
    assert copies.prove(Anchor(log=copies.log)) == "log"
    assert copies.prove(Anchor(log_key=copies.tenant.settings.text("pinned.ledger_key"))) == "receipt"
    with pytest.raises(ConfigError, match="nothing here shows"):
        copies.prove(Anchor())
    with pytest.raises(IntegrityError, match="--log-key is not the ledger's key"):
        copies.prove(Anchor(log_key="A" * 43 + "="))
    assert copies.prove(Anchor(nothing=True)) == "nothing"


@pytest.mark.parametrize("name", ["auth.stream", SETTINGS])
def test_what_somebody_else_sealed_to_the_public_keys_is_refused_though_its_manifest_agrees(
    copies: Copies, undone: Callable[[Path, bytes], None], name: str
) -> None:
    folder, manifest = copies.shelf_folder(copies.backup), copies.shelf.manifest(copies.backup)
    if name == SETTINGS:
        forged = (folder / SETTINGS).read_bytes() + b"# changed\n"
        other = replace(manifest, settings=hashlib.sha256(forged).hexdigest())
    else:
        forged = _sealed_by_somebody(copies)
        digest = hashlib.sha256(forged).hexdigest()
        streams = [replace(s, octets=len(forged), sha256=digest) if s.file == name else s for s in manifest.streams]
        other = replace(manifest, streams=tuple(streams))
    undone(folder / name, forged)
    undone(folder / MANIFEST, other.encode())
    for anchor in (Anchor(own=True), Anchor(log=copies.log)):
        with pytest.raises(IntegrityError, match=r"manifest\.json of backup .* is not the one that the ledger noted"):
            copies.prove(anchor)


def test_an_earlier_backup_that_this_one_relies_on_is_held_against_the_ledger_too(
    copies: Copies, undone: Callable[[Path, bytes], None]
) -> None:
    path = copies.shelf_folder(copies.earlier) / MANIFEST
    other: Manifest = replace(copies.shelf.manifest(copies.earlier), build="another")
    undone(path, other.encode())
    with pytest.raises(IntegrityError, match=f"manifest.json of backup {copies.earlier} is not the one"):
        copies.prove(Anchor(log=copies.log))


def test_a_backup_without_receipt_is_shown_by_the_log_alone(
    copies: Copies, undone: Callable[[Path, bytes], None]
) -> None:
    undone(copies.shelf_folder(copies.backup) / RECEIPT, b"{}\n")
    assert copies.prove(Anchor(log=copies.log)) == "log"
    with pytest.raises(IntegrityError, match="this is no receipt of the ledger"):
        copies.prove(Anchor(own=True))


def test_a_receipt_whose_entry_is_not_in_the_tree_is_refused(
    copies: Copies, undone: Callable[[Path, bytes], None]
) -> None:
    path = copies.shelf_folder(copies.backup) / RECEIPT
    receipt = Receipt.decode(path.read_bytes())
    undone(path, replace(receipt, index=receipt.index - 1).encode())
    with pytest.raises(IntegrityError, match="not in the tree"):
        copies.prove(Anchor(own=True))


def test_keys_in_the_escrow_that_the_ledger_does_not_know_are_refused_by_name(
    copies: Copies, undone: Callable[[Path, bytes], None]
) -> None:
    for name in ("directory.keys", "directory.receipt"):
        shutil.copy(copies.escrow / name, copies.base / name)
    head = Head(T0, "directory", "somebody", "keys", 1, "0", {}, {})
    octets = (copies.base / "directory.keys").read_bytes()
    plain = _plain_keys(copies, octets)
    undone(copies.escrow / "directory.keys", _seal(copies, head, "keys", plain))
    with pytest.raises(
        IntegrityError, match=r"directory\.keys, .*the ledger does not know the sealed keys of directory"
    ):
        copies.prove(Anchor(log=copies.log))


def test_settings_that_trust_another_key_are_refused_by_the_name_of_the_key(copies: Copies) -> None:
    values = {**copies.tenant.settings.values, "pinned.binding_key": "A" * 43 + "="}
    other = replace(copies.tenant, settings=replace(copies.tenant.settings, values=values))
    with pytest.raises(IntegrityError, match=r"pinned\.binding_key is not the key of this backup"):
        copies.prove(Anchor(own=True), tenant=other)


def test_a_test_restore_opens_everything_and_leaves_nothing(copies: Copies, tmp_path: Path) -> None:
    anchor = Anchor(log=copies.log)
    made = [
        asyncio.run(rehearse(copies.installation, copies.shelf, backup, copies.keys, copies.escrow, anchor, tmp_path))
        for backup in (copies.earlier, copies.backup, copies.backup)
    ]
    assert [(one.problems, one.accounts, one.messages) for one in made] == [((), 1, 1), ((), 1, 2), ((), 1, 2)]
    assert made[1].content == made[2].content != made[0].content
    assert Rehearsal.decode(made[1].encode()) == made[1]
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["t0.lock"]


def test_what_a_killed_test_restore_left_is_destroyed_by_the_next(copies: Copies, tmp_path: Path) -> None:
    layout = Layout(tmp_path, T0)
    key, record = layout.root_key("auth"), layout.home("auth") / "auth.sqlite"
    for path in (key, record):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"secret")
    beside = tmp_path / "beside"
    beside.hardlink_to(key)  # what was overwritten shows in every name
    destroy_scratch(layout)
    assert not key.exists() and not record.exists()
    assert beside.read_bytes() != b"secret" and len(beside.read_bytes()) == 6


def test_a_test_restore_names_what_does_not_open(
    copies: Copies, undone: Callable[[Path, bytes], None], tmp_path: Path
) -> None:
    path = copies.escrow / "auth.keys"
    undone(path, path.read_bytes()[:-1])
    again = rehearse(
        copies.installation, copies.shelf, copies.backup, copies.keys, copies.escrow, Anchor(log=copies.log), tmp_path
    )
    assert "auth.keys" in asyncio.run(again).problems[0]


def test_doctor_finds_a_test_restore_that_failed_or_is_too_old(copies: Copies, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(days_ago: float, *, sound: bool) -> list[doctor.State]:
        details = {"backup": "b", "messages": 5, "sound": sound, "restored": True}
        event = Event("BackupVerified", int((time.time() - 86_400 * days_ago) * 1000), "cli", b"", details)
        monkeypatch.setattr(doctor, "last_tried", lambda *_: event)
        return [finding.state for finding in doctor._test_restore(copies.layout, copies.tenant, 31)]

    assert found(30, sound=True) == [doctor.State.OK]
    assert found(32, sound=True) == found(1, sound=False) == [doctor.State.BAD]
    monkeypatch.undo()
    assert [f.state for f in doctor._test_restore(copies.layout, copies.tenant, 31)] == [doctor.State.UNPROVEN]


def _seal(copies: Copies, head: Head, name: str, content: bytes) -> bytes:
    both = read_recovery_keys(copies.layout.recovery_key("partner"), copies.layout.recovery_key("operator"), T0)
    sealer = StreamSealer(head, Recipients(both.partner.public(), both.operator.public()))
    pieces = [sealer.begin(), *sealer.file(name, len(content)), *sealer.update(content), *sealer.end()]
    return b"".join(pieces)


def _sealed_by_somebody(copies: Copies) -> bytes:
    head = Head(T0, "auth", copies.backup, "stream", 1, "0", {}, {})
    return _seal(copies, head, "auth.sqlite", b"of somebody's own making")


def _plain_keys(copies: Copies, octets: bytes) -> bytes:
    lead = read_lead(octets)
    return b"".join(piece for _, _, piece in StreamOpener(lead, copies.keys).files([octets[lead.length :]]))
