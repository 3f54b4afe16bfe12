"""COMPRESS=DEFLATE (RFC 4978) on a real session."""

import random
import zlib

import pytest
from tests.access.cell import Account, Cell, message
from tests.access.deflated import Deflated


def test_a_session_goes_on_compressed_both_ways(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    assert b" COMPRESS=DEFLATE" in raw.command("CAPABILITY")[0]
    client = Deflated(raw)
    assert b"COMPRESS" not in client.command("CAPABILITY")[0]
    assert b" NO [COMPRESSIONACTIVE] " in client.command("COMPRESS DEFLATE")[-1]
    body = random.Random(1).randbytes(300_000).hex().encode() + b"\r\n"
    cell.deliver(account, message("large", body))
    assert b" OK " in client.command("SELECT INBOX")[-1]
    assert body in b"".join(client.command("FETCH 1 BODY[]"))
    size = len(body)
    client.send(b"a APPEND INBOX {%d}\r\n" % size)
    assert client.line().startswith(b"+")
    client.send(body + b"\r\n")
    assert b" OK [APPENDUID " in client.until(b"a ")[-1]


def test_idle_tells_compressed(cell: Cell, account: Account) -> None:
    client = Deflated(cell.raw(account))
    client.command("SELECT INBOX")
    client.send(b"i IDLE\r\n")
    assert client.line().startswith(b"+")
    cell.deliver(account, message())
    assert client.line() == b"* 1 EXISTS\r\n"
    client.send(b"DONE\r\n")
    assert b"i OK" in client.until(b"i ")[-1]


def test_what_comes_with_the_command_is_taken_for_compressed(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    raw.send(b"c COMPRESS DEFLATE\r\nd NOOP\r\n")
    assert raw.line().startswith(b"c OK")
    told = zlib.decompressobj(-15).decompress(raw.file.read())
    assert told.startswith(b"* BYE ") and b"NOOP" not in told


def test_octets_that_are_not_compressed_end_the_session(cell: Cell, account: Account) -> None:
    client = Deflated(cell.raw(account))
    client.sock.sendall(b"\xff" * 100)
    assert client.line().startswith(b"* BYE ")


def test_a_bomb_is_cut_short_and_holds_nobody_up(cell: Cell, account: Account) -> None:
    client, other = Deflated(cell.raw(account)), cell.raw(account)
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(bomb.compress(bytes(1 << 20)) for _ in range(100)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    client.sock.sendall(packed)
    assert b" OK " in other.command("NOOP")[-1]
    assert client.line().startswith(b"* BYE ")


@pytest.mark.parametrize("command", ["COMPRESS", "COMPRESS GZIP", "COMPRESS DEFLATE now"])
def test_only_deflate_is_known(cell: Cell, account: Account, command: str) -> None:
    assert b" BAD " in cell.raw(account).command(command)[-1]


def test_compression_comes_after_login(cell: Cell) -> None:
    raw = cell.raw()
    assert b"COMPRESS" not in raw.greeting and b" BAD " in raw.command("COMPRESS DEFLATE")[-1]
