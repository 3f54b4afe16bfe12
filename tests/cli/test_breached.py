"""The importer of breached passwords: what it takes, what it refuses, and that the old list stays till then."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.cli.breached import _alone, write_list
from bulkhead.errors import ConfigError, IntegrityError
from bulkhead.records.breached import HEADER, BreachedHeader, BreachedList, common_digests, password_digest

WORDS = [f"word number {number}".encode() for number in range(3000)]
LISTED = sorted(password_digest(word) for word in WORDS)


def opened(path: Path) -> BreachedList:
    return BreachedList(os.open(path, os.O_RDONLY))


def check(path: Path) -> BreachedHeader:
    """Every word is found, none of three thousand others is, and the checksum fits."""
    found = opened(path)
    try:
        assert all(password_digest(word) in found for word in WORDS)
        assert not any(password_digest(word + b"?") in found for word in WORDS)
        assert found.header.count == len(WORDS)
        data, header = path.read_bytes(), found.header
        index, digests = data[header.index_at : header.digests_at], data[header.digests_at :]
        assert hashlib.sha256(digests + index).digest() == header.sha256
        return header
    finally:
        found.close()


@pytest.fixture
def hashes(tmp_path: Path) -> Path:
    """As Have I Been Pwned writes them, one file."""
    path = tmp_path / "pwned.txt"
    path.write_text("".join(f"{digest.hex().upper()}:{number}\r\n" for number, digest in enumerate(LISTED)))
    return path


@pytest.mark.parametrize("width", [8, 20])
def test_one_file_a_folder_of_ranges_and_a_plain_list_give_the_same_passwords(
    tmp_path: Path, hashes: Path, width: int
) -> None:
    folder, words = tmp_path / "ranges", tmp_path / "words"
    folder.mkdir()
    for digest in LISTED:
        text = digest.hex().upper()
        with (folder / f"{text[:5]}.txt").open("a") as file:
            file.write(f"{text[5:]}:7\n")
    words.write_bytes(b"\n".join([*reversed(WORDS), b"", WORDS[0]]))
    made = set()
    for source in (hashes, folder, words):
        target = tmp_path / "breached" / "passwords.list"
        write_list(target, source, width)
        header = check(target)
        assert header.width == width and target.stat().st_mode & 0o777 == 0o600
        made.add(target.read_bytes()[header.digests_at :])
    assert made == {b"".join(digest[:width] for digest in LISTED)}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("8846F7EAEE8FB117AD06BDD830B7586C:9\n", "NTLM"),
        ("F" * 40 + ":1\n" + "A" * 40 + ":1\n", "ascending"),
        ("A" * 40 + ":1\n" + "B" * 39 + "\n", ":2:"),
        ("A" * 40 + ":1\n" + "B" * 39 + "x:1\n", ":2:"),
        ("", "no password"),
    ],
)
def test_what_cannot_be_taken_is_refused_with_its_reason_and_the_old_list_stays(
    tmp_path: Path, hashes: Path, content: str, why: str
) -> None:
    target = tmp_path / "breached" / "passwords.list"
    write_list(target, hashes, 8)
    bad = tmp_path / "bad.txt"
    bad.write_text(content)
    with pytest.raises(ConfigError, match=why):
        write_list(target, bad, 8)
    with pytest.raises(ConfigError):
        write_list(target, tmp_path / "missing", 8)
    check(target)
    assert [path.name for path in target.parent.iterdir()] == ["passwords.list"]


def test_a_file_cut_or_of_another_kind_is_refused(tmp_path: Path, hashes: Path) -> None:
    target = tmp_path / "breached" / "passwords.list"
    write_list(target, hashes, 8)
    data = target.read_bytes()
    for bad in (b"", data[:63], data[:-1], data + b"x", b"X" + data[1:], data[:9] + b"\2" + data[10:]):
        target.write_bytes(bad)
        with pytest.raises(IntegrityError):
            opened(target)
    target.write_bytes(data[: HEADER.size] + b"\xff" * (len(data) - HEADER.size))
    found = opened(target)
    with pytest.raises(IntegrityError):
        assert LISTED[0] in found
    found.close()


@settings(max_examples=50, deadline=None)
@given(start=st.binary(max_size=80))
def test_no_bytes_at_the_start_of_a_file_do_more_than_be_refused(
    tmp_path_factory: pytest.TempPathFactory, start: bytes
) -> None:
    path = tmp_path_factory.mktemp("list") / "x"
    path.write_bytes(start)
    with pytest.raises(IntegrityError):
        opened(path)
    shutil.rmtree(path.parent)


def test_the_built_in_list_has_no_password_in_it() -> None:
    common = common_digests()
    assert len(common) == 10_000 and password_digest(b"password1")[:8] in common
    assert all(len(digest) == 8 for digest in common)


def test_the_command_writes_the_file_of_the_installation(tmp_path: Path, hashes: Path) -> None:
    from bulkhead.cli.main import main

    assert main(["init", str(tmp_path / "i"), "--example", "six-isps"]) == 0
    assert main(["credentials", "breached", "import", str(hashes), "-C", str(tmp_path / "i")]) == 0
    check(tmp_path / "i/breached/passwords.list")
    assert [path.name for path in (tmp_path / "i/breached").iterdir()] == ["passwords.list"]


@pytest.mark.parametrize("kept", [4, 20, 38])
def test_a_download_that_was_cut_off_within_a_line_is_refused_and_the_old_list_stays(
    tmp_path: Path, hashes: Path, kept: int
) -> None:
    target, cut = tmp_path / "breached" / "passwords.list", tmp_path / "cut.txt"
    write_list(target, hashes, 8)
    cut.write_text(hashes.read_text() + "F" * kept)
    with pytest.raises(ConfigError, match=rf"cut.txt:{len(WORDS) + 1}:"):
        write_list(target, cut, 8)
    check(target)


def test_two_imports_at_once_do_not_write_one_file(tmp_path: Path, hashes: Path) -> None:
    target = tmp_path / "breached" / "passwords.list"
    write_list(target, hashes, 8)
    under_way = target.with_suffix(".new")
    with _alone(target.parent):  # the other command
        under_way.write_bytes(b"half of it")
        with pytest.raises(ConfigError, match="another command"):
            write_list(target, hashes, 8)
        assert under_way.read_bytes() == b"half of it"
    write_list(target, hashes, 8)
    check(target)
