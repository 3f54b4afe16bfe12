"""Names of files and directories: safe, apart, and read back; and a folder that is written again."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.exports.maildir import (
    MaildirFolder,
    account_directory,
    base_name,
    flag_letters,
    folder_directory,
    is_ours,
    letters_for,
)

NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=400)
EMAIL = bytes(range(16))


@given(NAMES)
def test_no_mailbox_name_leads_out_of_its_maildir(name: str) -> None:
    directory = folder_directory(name)
    assert re.fullmatch(r"\.[\x20-\x7e]+", directory) and len(directory) <= 255
    assert "/" not in directory and "\\" not in directory and ".." not in directory


@given(NAMES, NAMES)
def test_two_names_have_two_directories(one: str, other: str) -> None:
    assert (folder_directory(one) == folder_directory(other)) == (one == other)


@given(NAMES)
def test_no_address_leads_out_of_the_export(address: str) -> None:
    directory = account_directory(address)
    assert re.fullmatch(r"[A-Za-z0-9@_+=%~-][A-Za-z0-9@._+=%~-]*", directory) and len(directory) <= 255


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("Sent", ".Sent"), ("a/b", ".a.b"), ("受信", ".&U9dP4Q-"), ("v1.2", ".v1%2e2"), ("100%", ".100%25"),
        ("..", ".%2e%2e"), ("../x", ".%2e%2e.x"), ("a\0b", ".a&AAA-b"), ("back\\slash", ".back%5cslash"),
    ],
)  # fmt: skip
def test_names_are_written_as_maildir_programs_read_them(name: str, directory: str) -> None:
    assert folder_directory(name) == directory


def test_names_longer_than_a_file_name_stay_apart() -> None:
    one, other = folder_directory("x" * 299 + "a"), folder_directory("x" * 299 + "b")
    assert one != other and max(len(one), len(other)) <= 255


def test_flags_are_letters_in_ascending_order_and_only_26_keywords_have_one() -> None:
    letters = letters_for(range(5, 40))
    assert len(letters) == 26
    assert flag_letters(0x1F | 1 << 5 | 1 << 30 | 1 << 31, letters) == "DFRSTaz"


def test_a_message_of_another_size_leaves_nothing(tmp_path: Path) -> None:
    folder = MaildirFolder(tmp_path)
    with pytest.raises(ValueError, match="not as long"):
        folder.add(base_name(1, 1, EMAIL, 5), "S", 1, iter([b"four"]), 5)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_writing_again_replaces_what_has_other_flags_and_leaves_what_others_put_there(tmp_path: Path) -> None:
    name = base_name(-5, 1, EMAIL, 4)
    assert is_ours(name) and not is_ours("1700000000.M1P2.host,S=4")
    MaildirFolder(tmp_path).add(name, "", 1, iter([b"four"]), 4)
    (tmp_path / "cur" / "1700000000.M1P2.host,S=4:2,").write_bytes(b"else")
    (tmp_path / "tmp" / name).write_bytes(b"cut off")
    folder = MaildirFolder(tmp_path)
    folder.add(name, "S", 1, iter([b"four"]), 4)
    folder.finish()
    found = {path.name for path in (tmp_path / "cur").iterdir()}
    assert found == {"1700000000.M1P2.host,S=4:2,", f"{name}:2,S"}
    assert not list((tmp_path / "tmp").iterdir())
