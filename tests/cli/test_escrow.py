"""Sealed keys in the escrow are whole whatever cuts off who replaces them, and destroyed ones come back by nothing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bulkhead.cli import escrow
from bulkhead.cli.escrow import destroy_escrow, escrow_file, missing_escrow, receipt_file, replace_escrow

OLD, NEW = (b"old keys" * 9, b"old receipt"), (b"new keys" * 9, b"new receipt")
STEPS = ("open", "write", "fsync", "rename", "unlink")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    replace_escrow(tmp_path / "t0", "auth", *OLD)
    replace_escrow(tmp_path / "t0", "keyring", *OLD)
    return tmp_path / "t0"


def _read(folder: Path) -> tuple[bytes, bytes]:
    return escrow_file(folder, "auth").read_bytes(), receipt_file(folder, "auth").read_bytes()


def _cut_off(work: Callable[[], None], after: int) -> bool:
    """Do it in a process that ends before the system call of that number; whether it came to its own end."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1] == 0
    count = 0

    def counted(call: Any) -> Any:
        def step(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count > after:
                os._exit(1)
            return call(*arguments, **named)

        return step

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    try:
        work()
    finally:
        os._exit(0)


def test_a_replacement_cut_off_at_any_step_leaves_the_older_or_the_newer_keys_with_their_own_receipt(
    folder: Path,
) -> None:
    seen = set()
    for after in range(200):
        replace_escrow(folder, "auth", *OLD)
        done = _cut_off(lambda: replace_escrow(folder, "auth", *NEW), after)
        seen.add(_read(folder))
        assert _read(folder) in (OLD, NEW)
        assert not missing_escrow(folder, ("auth", "keyring"))
        replace_escrow(folder, "auth", *NEW)
        assert _read(folder) == NEW
        assert sorted(path.name for path in folder.iterdir() if path.name.startswith("auth")) == [
            "auth.keys", "auth.receipt",
        ]  # fmt: skip
        if done:
            break
    assert seen == {OLD, NEW}


def test_a_destruction_cut_off_at_any_step_leaves_the_keys_or_says_that_they_are_missing(folder: Path) -> None:
    for after in range(200):
        replace_escrow(folder, "auth", *OLD)
        done = _cut_off(lambda: destroy_escrow(folder, "auth"), after)
        if missing_escrow(folder, ("auth", "keyring")):
            assert not escrow_file(folder, "auth").exists()
        else:
            assert _read(folder) == OLD
        destroy_escrow(folder, "auth")
        assert missing_escrow(folder, ("auth", "keyring")) == ("auth",)
        assert not [path for path in folder.iterdir() if OLD[0] in path.read_bytes() and path.name.startswith("auth")]
        if done:
            break
    assert after > 5


def test_what_a_cut_off_replacement_left_is_destroyed_with_the_keys(folder: Path) -> None:
    (folder / "auth.new").write_bytes(NEW[0])
    destroy_escrow(folder, "auth")
    assert not (folder / "auth.new").exists()
    assert not escrow_file(folder, "auth").exists()


def test_a_folder_that_never_had_keys_misses_none(tmp_path: Path) -> None:
    assert missing_escrow(tmp_path / "none", ("auth",)) == ()


def test_keys_are_overwritten_before_they_are_unlinked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = folder / "link"
    os.link(folder / "auth.keys", other)
    monkeypatch.setattr(escrow.secrets, "token_bytes", lambda size: b"\0" * size)
    destroy_escrow(folder, "auth")
    assert other.read_bytes() == b"\0" * len(OLD[0])
