"""Malformed mail: always taken, always fetched whole, and no obstacle to listing, searching, sorting or previews."""

import re

import pytest
from tests.access.cell import Cell, Raw

from bulkhead.gate.message import HEADER_MAX

MULTI = b"Subject: m\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
NESTED = b"".join(
    b"Content-Type: multipart/mixed; boundary=x%dx\r\n\r\n--x%dx\r\n" % (level, level) for level in range(10_000)
)
MALFORMED = {
    "10,000 nested multiparts": b"Subject: deep\r\n" + NESTED + b"\r\nneedle\r\n",
    "10,000 nested messages": b"Content-Type: message/rfc822\r\n\r\n" * 10_000 + b"Subject: core\r\n\r\nneedle\r\n",
    "100,000 parts": MULTI + b"--b\r\n\r\nx\r\n" * 100_000 + b"--b--\r\n",
    "a boundary that never comes": MULTI + b"needle\r\n" * 10_000,
    "an 8-bit boundary": MULTI.replace(b"=b", b'="\xe5\xa2\x83"')
    + b"--\xe5\xa2\x83\r\n\r\nneedle\r\n--\xe5\xa2\x83--\r\n",
    "no empty line": b"Subject: x\r\nthis is no header field\r\nneither is this\r\n",
    "no header": b"\r\nneedle\r\n",
    "nothing but line ends": b"\r\n\r\n\r\n",
    "8-bit octets everywhere": bytes(range(128, 256)) * 20 + b"\r\n\r\n" + bytes(range(128, 256)) * 100,
    "base64 that is none": b"Subject: x\r\nContent-Transfer-Encoding: base64\r\n\r\n@@@=@=\r\nZZ=needle\r\n=\r\n",
    "a charset that is none": b"Subject: =?x-none?B?////?= =?utf-8?B?=?=\r\n"
    b"Content-Type: text/plain; charset=\"\0x\xff\"\r\n\r\n\xff\xfe",
    "ISO-2022-JP cut within a character": b"Subject: \x1b$B$\r\n"
    b"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B$",
    "a header of 1 MiB": b"Subject: long\r\n" + b"X-Filler: " + b"y" * (HEADER_MAX - 100) + b"\r\n\r\nneedle\r\n",
    "a header of 10 MB": b"Subject: x\r\n" + (b"X-Filler: " + b"y" * 900 + b"\r\n") * 11_000 + b"\r\nneedle\r\n",
    "10,000 addresses": b"To: " + b", ".join(b"u%d@list.example" % n for n in range(10_000)) + b"\r\n\r\n",
    "20,000 references": b"Subject: x\r\nReferences: " + b"<a@b> " * 20_000 + b"\r\n\r\nneedle\r\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def raw(cell: Cell) -> Raw:
    account = cell.add_account()
    for one in MALFORMED.values():
        cell.deliver(account, one.replace(b"\0", b""))
    raw = cell.raw(account)
    raw.command("SELECT INBOX")
    return raw


@pytest.mark.parametrize("number", range(1, len(MALFORMED) + 1), ids=list(MALFORMED))
def test_a_malformed_message_is_fetched_whole(raw: Raw, number: int) -> None:
    expected = list(MALFORMED.values())[number - 1].replace(b"\0", b"")
    lines = raw.command(f"FETCH {number} BODY.PEEK[]")
    body = lines[0].partition(b"}\r\n")[2][:-3]
    assert body.endswith(expected) and b" OK " in lines[-1]
    lines = raw.command(f"FETCH {number} (ENVELOPE BODYSTRUCTURE PREVIEW RFC822.SIZE BODY.PEEK[HEADER] BODY.PEEK[1])")
    assert b"BODYSTRUCTURE (" in lines[0] and b" OK " in lines[-1]


@pytest.mark.parametrize(
    "command",
    [
        "SEARCH TEXT needle", "SEARCH BODY needle", "SEARCH SUBJECT x", "SEARCH TO list.example",
        "SEARCH HEADER X-Filler y",
        "SORT (SUBJECT FROM DATE) UTF-8 ALL", "SORT (CC TO DISPLAYFROM) UTF-8 ALL", "THREAD REFERENCES UTF-8 ALL",
        "THREAD ORDEREDSUBJECT UTF-8 ALL", "FETCH 1:* PREVIEW", "FETCH 1:* ALL",
    ],
)  # fmt: skip
def test_malformed_messages_are_no_obstacle(raw: Raw, command: str) -> None:
    lines = raw.command(command)
    assert b" OK " in lines[-1], lines[-1]
    if command.startswith(("SORT", "THREAD")):
        assert sorted(map(int, re.findall(rb"\d+", lines[0]))) == list(range(1, len(MALFORMED) + 1))


def test_text_is_found_in_malformed_messages(raw: Raw) -> None:
    found = {int(n) for n in raw.command("SEARCH BODY needle")[0].split()[2:]}
    names = list(MALFORMED)
    for name in (
        "a boundary that never comes",
        "an 8-bit boundary",
        "no header",
        "a header of 1 MiB",
        "a header of 10 MB",
    ):
        assert names.index(name) + 1 in found, name
