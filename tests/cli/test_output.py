"""What commands print."""

import json

import pytest

from bulkhead.cli.output import paths_of, print_json, print_table, printable, size_text, time_text
from bulkhead.cli.tree import Command

COMMAND = Command(("x", "y"), "Does it.", "m:f", json_keys={"a": "", "a[].b": "", "c": ""})


def test_a_document_begins_with_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(COMMAND, {"a": [{"b": 1}], "c": "千"})
    assert json.loads(capsys.readouterr().out) == {"schema": "bulkhead/x-y/1", "a": [{"b": 1}], "c": "千"}


def test_an_undocumented_key_is_our_bug() -> None:
    with pytest.raises(ValueError, match=r"a\[\]\.z"):
        print_json(COMMAND, {"a": [{"b": 1, "z": 2}]})


def test_paths_name_keys_inside_lists_and_objects() -> None:
    assert list(paths_of({"a": [{"b": {"c": 1}}], "d": [1]})) == ["a", "a[].b", "a[].b.c", "d"]


def test_no_cell_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A",), [("\x1b[2Jx\r\ny",)])
    assert capsys.readouterr().out == "A\n?[2Jx??y\n"


def test_columns_align_with_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "N"), [("電子", 5), ("ab", 100)])
    assert capsys.readouterr().out == "NAME    N\n電子    5\nab    100\n"


def test_a_table_goes_on_page_after_page_under_one_head(capsys: pytest.CaptureFixture[str]) -> None:
    widths = print_table(("A", "B"), [("long cell", "x")])
    print_table(("A", "B"), [("s", "y")], widths=widths)
    assert capsys.readouterr().out == "A          B\nlong cell  x\ns          y\n"


def test_numbers_and_times_are_readable() -> None:
    assert (printable(1234567), printable(99_999), printable(None)) == ("1,234,567", "99999", "-")
    assert (size_text(0), size_text(1 << 30), size_text(1536)) == ("0 B", "1.0 GiB", "1.5 KiB")
    assert (time_text(0), time_text(1_795_308_707_571)) == ("-", "2026-11-22T00:51:47Z")
