"""The sealed form: cut off at any octet it goes on, and nothing but its own form is read."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.exports.sealed import (
    AccountWriter,
    Head,
    Manifest,
    RowPage,
    check_account,
    folder_of,
    manifest_lines,
    read_export,
    read_head,
    read_places,
    read_rows,
)
from bulkhead.exports.sealing import RecoveryKeys, Seals
from bulkhead.identifiers import TenantId, new_id
from bulkhead.records.backup import Recipients
from bulkhead.records.mailbox import Holder
from bulkhead.records.recovery_file import RecoveryPrivateKey

ACCOUNT = bytes(16)
KEYS = RecoveryKeys(
    RecoveryPrivateKey(TenantId("t0"), Holder.PARTNER, 1, X25519PrivateKey.generate()),
    RecoveryPrivateKey(TenantId("t0"), Holder.OPERATOR, 1, X25519PrivateKey.generate()),
)
SEALS = Seals(TenantId("t0"), Recipients(KEYS.partner.public(), KEYS.operator.public()), 1)
HEAD = Head(ACCOUNT, "a@t0.example", 2, 0, 1, (), (), (), ())  # type: ignore[arg-type]


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 7):
        yield data[at : at + 7]


def add(writer: AccountWriter, email: bytes, data: bytes, size: int | None = None) -> None:
    asyncio.run(writer.add_parts(email, len(data) if size is None else size, _pieces(data)))


def finished(export: Path) -> str:
    with AccountWriter(export, ACCOUNT, SEALS) as writer:
        for number in range(3):
            if bytes([number]) * 16 not in writer.places:
                add(writer, bytes([number]) * 16, b"%d" % number * 30)
        writer.begin_rows()
        writer.add_rows(RowPage(new_id(), ()))  # type: ignore[arg-type]
        return writer.finish(HEAD).hex()


@pytest.mark.parametrize("name", ["parts", "index"])
def test_an_account_cut_at_any_octet_goes_on_and_is_the_same(tmp_path: Path, name: str) -> None:
    finished(tmp_path)
    folder = tmp_path / folder_of(ACCOUNT)
    whole = {file: (folder / file).read_bytes() for file in ("parts", "index")}
    for cut in range(len(whole[name])):
        for file, data in whole.items():
            (folder / file).write_bytes(data[:cut] if file == name else data)
        check_account(folder, finished(tmp_path))
        places = read_places(folder / "index")
        parts = (folder / "parts").read_bytes()
        assert {parts[place.offset : place.offset + place.size] for place in places.values()} == {
            b"%d" % number * 30 for number in range(3)
        }


def test_rows_and_head_open_with_both_keys_and_have_no_address_in_clear(tmp_path: Path) -> None:
    finished(tmp_path)
    folder = tmp_path / folder_of(ACCOUNT)
    assert read_head(folder, TenantId("t0"), KEYS) == HEAD
    assert len(list(read_rows(folder, TenantId("t0"), KEYS))) == 1
    for path in folder.iterdir():
        assert b"t0.example" not in path.read_bytes()
    (folder / "head").write_bytes((folder / "rows").read_bytes())
    with pytest.raises(IntegrityError, match="another place"):
        read_head(folder, TenantId("t0"), KEYS)


def test_parts_of_another_size_than_said_are_not_kept(tmp_path: Path) -> None:
    with AccountWriter(tmp_path, ACCOUNT, SEALS) as writer:
        add(writer, bytes(16), b"first")
        with pytest.raises(IntegrityError):
            add(writer, bytes([1]) * 16, b"short", 9)
        add(writer, bytes([2]) * 16, b"third")
        writer.begin_rows()
        writer.finish(HEAD)
    assert (tmp_path / folder_of(ACCOUNT) / "parts").read_bytes() == b"firstthird"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_rows_of_any_octets_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp() / "acc"
    folder.mkdir(exist_ok=True)
    (folder / "rows").write_bytes(data)
    try:
        list(read_rows(folder, TenantId("t0"), KEYS))
    except IntegrityError:
        pass


@pytest.mark.parametrize(
    "line",
    ["0" * 64 + "  ../../etc\n", "0" * 63 + f"  {folder_of(ACCOUNT)}\n", "0" * 64 + f"  /{folder_of(ACCOUNT)}\n",
     "0" * 64 + f"  accounts/zz/{folder_of(ACCOUNT).rpartition('/')[2]}\n"],
)  # fmt: skip
def test_a_manifest_leads_nowhere_but_to_folders_of_accounts(tmp_path: Path, line: str) -> None:
    (tmp_path / "manifest").write_text(line)
    with pytest.raises(IntegrityError):
        list(manifest_lines(tmp_path / "manifest"))


def test_a_manifest_that_was_cut_off_goes_on_and_a_whole_one_begins_anew(tmp_path: Path) -> None:
    export = tmp_path / "export"
    Manifest(export, "t0", 1).add(ACCOUNT, bytes(32))
    with (export / "manifest").open("ab") as stream:
        stream.write(b"0" * 10)
    with pytest.raises(IntegrityError, match="not whole"):
        read_export(export)
    manifest = Manifest(export, "t0", 2)
    assert manifest.done == {folder_of(ACCOUNT)}
    manifest.add(bytes([1]) * 16, bytes(32))
    digest = manifest.finish({"accounts": 2})
    assert read_export(export) == ("t0", digest.hex()) and len(list(manifest_lines(export / "manifest"))) == 2
    assert not Manifest(export, "t0", 3).done


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mail").write_text("mine")
    with pytest.raises(ConfigError, match="neither empty nor an export"):
        Manifest(tmp_path, "t0", 1)
    (tmp_path / "mail").unlink()
    Manifest(tmp_path, "t0", 1)
    with pytest.raises(ConfigError, match="an export of t0"):
        Manifest(tmp_path, "t1", 1)
    (tmp_path / "export.json").write_text(json.dumps({"schema": 1, "tenant": "t0"}))
    with pytest.raises(ConfigError, match="no form"):
        read_export(tmp_path)
