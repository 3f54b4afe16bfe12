"""BINARY (RFC 3516): parts with their transfer encoding undone."""

import base64
import random

import pytest
from tests.access.cell import Account, Cell, Raw

LARGE = random.Random(2).randbytes(200_000)
PARTS = (
    ("text/plain; charset=utf-8", "quoted-printable", b"caf=C3=A9=\r\n!\r\n"),
    ("application/octet-stream", "base64", base64.encodebytes(b"a\0b")),
    ("image/png", "base64", base64.encodebytes(LARGE)),
    ("text/plain", "x-uuencode", b"begin 644 x\r\n"),
    ("text/plain", "7bit", b"plain\r\n"),
)
MESSAGE = (
    b'From: a@example.org\r\nSubject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\n'
    + b"".join(
        b"--x\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n%s\r\n"
        % (kind.encode(), encoding.encode(), body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        for kind, encoding, body in PARTS
    )
    + b"--x--\r\n"
)


@pytest.fixture
def raw(cell: Cell, account: Account) -> Raw:
    cell.deliver(account, MESSAGE)
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    return raw


def test_a_part_is_sent_decoded(raw: Raw) -> None:
    assert raw.command("FETCH 1 BINARY.PEEK[1]")[0] == "* 1 FETCH (BINARY[1] {8}\r\ncafé!\r\n)\r\n".encode()
    assert raw.command("FETCH 1 BINARY.PEEK[5]")[0] == b"* 1 FETCH (BINARY[5] {7}\r\nplain\r\n)\r\n"
    line = raw.command("FETCH 1 (UID BINARY.PEEK[3])")[0]
    assert line == b"* 1 FETCH (UID 1 BINARY[3] ~{200000}\r\n" + LARGE + b")\r\n"


def test_octets_with_nul_go_as_literal8(raw: Raw) -> None:
    assert raw.command("FETCH 1 BINARY.PEEK[2]")[0] == b"* 1 FETCH (BINARY[2] ~{3}\r\na\0b)\r\n"


def test_a_range_is_of_the_decoded_octets(raw: Raw) -> None:
    assert raw.command("FETCH 1 BINARY.PEEK[1]<3.2>")[0] == "* 1 FETCH (BINARY[1]<3> {2}\r\né)\r\n".encode()
    assert raw.command("FETCH 1 BINARY.PEEK[1]<99.2>")[0] == b"* 1 FETCH (BINARY[1]<99> {0}\r\n)\r\n"
    line = raw.command("FETCH 1 BINARY.PEEK[3]<100000.70000>")[0]
    assert line.endswith(b"{70000}\r\n" + LARGE[100_000:170_000] + b")\r\n")


def test_sizes_are_of_the_decoded_octets(raw: Raw) -> None:
    line = raw.command("FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[3] BINARY.SIZE[9])")[0]
    assert line == b"* 1 FETCH (BINARY.SIZE[1] 8 BINARY.SIZE[3] 200000 BINARY.SIZE[9] 0)\r\n"


def test_an_encoding_that_nobody_knows_is_refused(raw: Raw) -> None:
    for item in ("BINARY[4]", "BINARY.SIZE[4]"):
        lines = raw.command(f"FETCH 1 {item}")
        assert b" NO [UNKNOWN-CTE] " in lines[-1]
    assert b"FETCH (BODY[4] {13}" in raw.command("FETCH 1 BODY.PEEK[4]")[0]


def test_a_part_that_is_not_there_is_nil_and_no_part_is_the_message(raw: Raw) -> None:
    assert raw.command("FETCH 1 BINARY.PEEK[9]")[0] == b"* 1 FETCH (BINARY[9] NIL)\r\n"
    whole = raw.command("FETCH 1 BINARY.PEEK[]")[0]
    assert whole == raw.command("FETCH 1 BODY.PEEK[]")[0].replace(b"BODY", b"BINARY")


def test_reading_content_sets_seen_and_peeking_does_not(raw: Raw) -> None:
    assert b"\\Seen" not in b"".join(
        raw.command("FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[1])") + raw.command("FETCH 1 FLAGS")
    )
    assert b"\\Seen" in raw.command("FETCH 1 BINARY[1]")[0]


@pytest.mark.parametrize(
    "item", ["BINARY", "BINARY[HEADER]", "BINARY[1.MIME]", "BINARY[0]", "BINARY[1.]", "BINARY.SIZE[1]<0.1>", "BINARY[1"]
)
def test_what_is_not_the_grammar_is_refused(raw: Raw, item: str) -> None:
    assert b" BAD " in raw.command(f"FETCH 1 {item}")[-1]
