"""Charsets of Japanese mail, wrong labels, and no import after the module is loaded."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.charset import codec, decode

PROBE = """
import sys
from bulkhead.wire import charset, encoded_word, search_text
armed = True
def hook(event, args):
    if armed and event in ("open", "import"):
        raise SystemExit(f"{event} {args[0]}")
sys.addaudithook(hook)
for label in list(charset._CODECS) + ["unknown-1"]:
    for data in (b"a", bytes(range(256)), b"\\x1b$B$\\"-!\\x1b(B \\x1b$(Dab\\x1b$(Q.!\\x1b$A00", b"\\xe3\\x81\\x82"):
        charset.decode(data, label)
armed = False
"""


def test_iso_2022_jp_reads_row_13_and_half_width_kana() -> None:
    assert decode(b"\x1b$B-!-b\x1b(B", "iso-2022-jp") == "①№"
    assert decode(b"\x1b(I6^\x1b(B", "iso-2022-jp") == "ｶﾞ"
    assert decode(b'\x1b$B$"4A;z\x1b(B.', "ISO-2022-JP") == "あ漢字."


def test_every_jis_code_that_python_knows_is_read_alike() -> None:
    for row in range(0x21, 0x75):
        for cell in range(0x21, 0x7F):
            escaped = b"\x1b$B" + bytes((row, cell)) + b"\x1b(B"
            try:
                known = escaped.decode("iso2022_jp")
            except UnicodeError:
                continue
            ours = decode(escaped, "iso-2022-jp")
            # cp932 maps these few as Windows does; the letters are the same
            if known not in "\\~―〜‖−¢£¬＼":
                assert ours == known


def test_ibm_extension_in_its_nec_rows_is_read() -> None:
    sjis = "髙﨑".encode("cp932")
    jis = b"\x79\x2d"  # NEC selected IBM extension, row 89
    assert decode(b"\x1b$B" + jis + b"\x1b(B", "iso-2022-jp") == b"\xed\x4c".decode("cp932")
    assert decode(sjis, "shift_jis") == "髙﨑"


def test_line_end_returns_to_ascii() -> None:
    assert decode(b'\x1b$B$"\r\nabc\x1b$B$$\x1b(B', "iso-2022-jp") == "あ\r\nabcい"


def test_escapes_that_a_gateway_removed_are_put_back() -> None:
    assert decode(b"re: $B%F%9%H(B 1", "iso-2022-jp") == "re: テスト 1"
    assert decode(b"costs $B 5 (B", "iso-2022-jp") == "costs $B 5 (B"


def test_half_of_a_character_becomes_a_replacement() -> None:
    assert decode(b'\x1b$B$"%\x1b(B', "iso-2022-jp") == "あ\ufffd"


def test_eight_bit_kana_in_iso_2022_jp_is_read() -> None:
    assert decode(b"\xb6\xde", "iso-2022-jp") == "ｶﾞ"


@pytest.mark.parametrize("label", ["us-ascii", "iso-8859-1", "shift_jis", "x-unknown", "", "utf-8", "iso-2022-jp"])
def test_utf_8_under_a_wrong_label_is_read(label: str) -> None:
    text = "日本語のメールです。" + "が" * 3
    assert decode(text.encode(), label) == text


def test_iso_2022_jp_without_a_label_is_read() -> None:
    assert decode(b'\x1b$B$"\x1b(B') == "あ"


def test_shift_jis_and_euc_jp_without_a_label_are_told_apart() -> None:
    text = "会議の日程を変更しました"
    assert decode(text.encode("cp932"), "us-ascii") == text
    assert decode(text.encode("euc_jp"), "x-unknown") == text


def test_euc_jp_with_row_13_is_read() -> None:
    assert decode(b"\xad\xa1\xa4\xa2", "euc-jp") == "①あ"


def test_latin_1_without_a_label_is_read() -> None:
    assert decode(b"caf\xe9 au lait") == "café au lait"


def test_label_is_looked_up_in_a_closed_table() -> None:
    assert codec(' "UTF-8"') == "utf-8"
    for label in ("zlib", "rot13", "unicode_escape", "idna", "../x", "base64", "punycode"):
        assert codec(label) is None


def test_no_label_makes_a_locked_process_open_or_import_anything() -> None:
    run = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, run.stderr) == (0, "")


@given(
    st.binary(max_size=200), st.sampled_from(["", "utf-8", "iso-2022-jp", "euc-jp", "hz-gb-2312", "utf-7", "utf-16"])
)
def test_decode_never_raises(data: bytes, label: str) -> None:
    assert isinstance(decode(data, label), str)


@given(
    st.lists(
        st.sampled_from(
            [b"\x1b$B", b"\x1b(B", b"\x1b(I", b"\x1b$(D", b"\x1b", b"$B", b"(B", b"%", b"a", b"\n", b"\xb1"]
        )
    )
)
def test_broken_escapes_never_raise(pieces: list[bytes]) -> None:
    assert isinstance(decode(b"".join(pieces), "iso-2022-jp"), str)


def test_iso_2022_jp_gives_every_character_as_windows_does() -> None:
    """Read run by run as EUC-JP, or code by code: the same characters as CP932 has for JIS X 0208 and row 13."""
    for row in range(0x21, 0x7F):
        for cell in range(0x21, 0x7F):
            lead = ((row - 0x21) >> 1) + (0x81 if row < 0x5F else 0xC1)
            trail = cell + ((0x1F if cell < 0x60 else 0x20) if row & 1 else 0x7E)
            expected = bytes((lead, trail)).decode("cp932", "replace")
            text = decode(b"\x1b$B" + bytes((row, cell)) + b"\x1b(B", "iso-2022-jp")
            assert text == expected or "\ufffd" in expected
