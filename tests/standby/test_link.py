"""The link between a carrier and a standby's receiver: real TLS on the loopback, cut, hostile, with other keys."""

import argparse
import asyncio
import contextlib
import hashlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.standby.shipped import KEYS, OPERATOR, PARTNER, STREAM, TENANT, Standby

from bulkhead.cli.pace import Pace
from bulkhead.cli.standby_link import CHANNELS, parse_address, serve
from bulkhead.cli.standby_ship import MESSAGES
from bulkhead.errors import ConfigError, IntegrityError, PeerError, Refused, TemporaryFailure
from bulkhead.identifiers import TenantId
from bulkhead.records.backup import Head, Recipients, RecoveryKey
from bulkhead.records.lease import LeaseAsk, grant_lease
from bulkhead.records.standby import (
    STANDBY,
    WHOLE,
    Keep,
    Mark,
    Op,
    Pages,
    Remove,
    Rename,
    Truncate,
    Write,
    begin_stream,
    seal_piece,
)
from bulkhead.standby import link as link_module
from bulkhead.standby import receive as receive_module
from bulkhead.standby.frames import (
    ANSWERS,
    Code,
    Frame,
    FrameParser,
    Kind,
    frame,
    open_frame,
    piece_frame,
    read_refused,
)
from bulkhead.standby.identity import Pinned, client_context, make_identity, server_context
from bulkhead.standby.inbox import Inbox
from bulkhead.standby.link import Address, LinkWay
from bulkhead.standby.place import Place, read_term
from bulkhead.standby.receive import Receiver
from bulkhead.standby.way import DirectoryWay, Way

ONE = STREAM.format(1)
STORE = CHANNELS.index("store") + 1


class Chain:
    """A stream's octets: the lead, then pieces."""

    def __init__(self, name: str = ONE, compartment: str = "store", tenant: TenantId = TENANT) -> None:
        recipients = Recipients(RecoveryKey(1, PARTNER.public_key()), RecoveryKey(1, OPERATOR.public_key()))
        self._head = Head(tenant, compartment, name, STANDBY, 0, "")
        self.name = name
        self.lead, self._key = begin_stream(self._head, recipients, KEYS.opening.public_key())
        self._before, self.number = hashlib.sha256(self.lead).digest(), 0

    def piece(self, octets: int = 100) -> bytes:
        return self.of([Write("x", 0, bytes(octets)), Mark(1)])

    def of(self, ops: list[Op]) -> bytes:
        self.number += 1
        piece = seal_piece(self._key, self._head, self.number, WHOLE, self._before, ops)
        self._before = hashlib.sha256(piece).digest()
        return piece


@dataclass
class Side:
    """One side's files."""

    path: Path
    pinned: Pinned

    @classmethod
    def make(cls, path: Path) -> "Side":
        private, public = make_identity(TENANT)
        path.write_bytes(private)
        return cls(path, Pinned.read(public))


class Cut:
    """A relay that ends a connection once so many octets went to the receiver. passed: in all."""

    def __init__(self, port: int) -> None:
        self._port, self.after, self.passed = port, -1, 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(self._copy(there, writer))
        self.tasks.add(back)
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                rest = data if self.after < 0 else data[: self.after]
                onward.write(rest)
                await onward.drain()
                self.passed += len(rest)
                if self.after >= 0:
                    self.after -= len(rest)
                    if not self.after:
                        self.after = -1
                        onward.close()
                        await asyncio.sleep(0.05)
                        break
        back.cancel()
        writer.transport.abort()
        onward.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()

    def close(self) -> None:
        self._server.close()
        for task in self.tasks:
            task.cancel()


@dataclass
class Ends:
    """A receiver that listens, and ways to it."""

    base: Path
    place: Place
    primary: Side
    standby: Side
    port: int
    receiver: Receiver
    ways: list[LinkWay] = field(default_factory=list)

    def way(self, *, port: int = 0, own: Side | None = None, peer: Side | None = None) -> LinkWay:
        pinned = (peer or self.standby).pinned
        address = Address("127.0.0.1", port or self.port, client_context((own or self.primary).path, pinned), pinned)
        self.ways.append(LinkWay(address, TENANT, CHANNELS))
        return self.ways[-1]

    async def raw(self, channel: int = STORE) -> "Raw":
        """A connection of somebody who has the primary's key and keeps to nothing."""
        context = client_context(self.primary.path, self.standby.pinned)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname="")
        raw = Raw(reader, writer)
        if channel >= 0:
            assert (await raw.ask(open_frame(channel, TENANT))).kind is Kind.DONE
        return raw

    def files(self) -> list[str]:
        """What is there outside of the sides' own files."""
        place = self.base / "place"
        return sorted(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()) if place.exists() else []


class Raw:
    """Frames as they are said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer, self._parser = reader, writer, FrameParser(ANSWERS)

    async def ask(self, *octets: bytes | memoryview) -> Frame:
        """The answer; raises EOFError where the receiver ends it."""
        for part in octets:
            self.writer.write(part)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while (event := self._parser.next_event()) is None:
                if not (data := await self.reader.read(1 << 16)):
                    break
                self._parser.receive_data(data)
            else:
                assert isinstance(event, Frame)
                return event
        raise EOFError

    async def refused(self, *octets: bytes | memoryview) -> Code:
        answer = await self.ask(*octets)
        assert answer.kind is Kind.REFUSED
        return read_refused(answer.body)[0]


@contextlib.asynccontextmanager
async def ends_of(base: Path, room: int = 1 << 30) -> AsyncIterator[Ends]:
    primary, standby = Side.make(base / "primary"), Side.make(base / "standby")
    place = Place(base / "place", TENANT)
    listener = socket.create_server(("127.0.0.1", 0))
    receiver = Receiver(Inbox(place, room), CHANNELS, server_context(standby.path, primary.pinned), primary.pinned)
    ends = Ends(base, place, primary, standby, listener.getsockname()[1], receiver)
    serving = asyncio.create_task(receiver.serve(listener))
    try:
        yield ends
    finally:
        for way in ends.ways:
            await way.close()
        serving.cancel()
        await asyncio.wait([serving])
        listener.close()


def test_each_holder_has_a_channel_and_keeps_its_number() -> None:
    assert sorted(CHANNELS) == sorted(MESSAGES)
    assert CHANNELS == ("directory", "auth", "keyring", "store", "queue", "incident", "ledger")


@pytest.mark.parametrize("mounted", [False, True])
async def test_what_is_sent_is_in_the_place_once_it_is_answered(tmp_path: Path, *, mounted: bool) -> None:
    async with ends_of(tmp_path) as ends:
        way: Way = DirectoryWay(ends.place) if mounted else ends.way()
        chain = Chain()
        assert await way.last("store", ONE) == 0
        await way.settle(b"settings")
        await way.begin("store", ONE, chain.lead)
        pieces = [chain.piece(octets) for octets in (1, 100_000, 3_000_000)]
        for number, piece in enumerate(pieces, 1):
            assert await way.add("store", ONE, number, piece) == b""
            assert (ends.place.path / "store" / ONE / f"{number:012d}.piece").read_bytes() == piece
        folder = ends.place.stream("store", ONE)
        assert [octets for *_, octets in folder.after(0, folder.lead().digest)] == pieces
        assert await way.last("store", ONE) == 3
        assert ends.place.read("tenant.toml") == b"settings"
        ends.place.write("have", b'{"lineage": 7, "segments": [2, 1]}')
        assert await way.have() == (7, (1, 2))


async def test_a_lease_is_asked_and_granted_through_the_link(tmp_path: Path) -> None:
    async with ends_of(tmp_path) as ends:
        way = ends.way()
        assert await way.granted(b"ask", time.monotonic() + 0.5) == b""
        assert ends.place.read("ask") == b"ask"
        ends.place.write("grant", hashlib.sha256(b"ask").digest() + b"granted")
        assert await way.granted(b"ask", time.monotonic() + 30) == b"granted"
        assert await way.granted(b"another", time.monotonic() + 0.5) == b""


async def test_a_promotion_is_in_the_answer_to_the_piece_that_came_after_it(tmp_path: Path) -> None:
    async with ends_of(tmp_path) as ends:
        way, chain = ends.way(), Chain()
        await way.begin("store", ONE, chain.lead)
        assert await way.add("store", ONE, 1, chain.piece()) == b""
        ends.place.supersede(KEYS.signing, 5)
        signed = await way.add("store", ONE, 2, chain.piece())
        assert read_term(KEYS.signing.public_key(), TENANT, signed) == 5
        assert await way.term() == signed


@pytest.mark.parametrize("after", [1, 400, 1300, 1700, 2000, 2300, 3000, 60_000, 250_001, 400_000])
async def test_a_stream_goes_on_wherever_its_connection_was_cut(tmp_path: Path, after: int) -> None:
    async with ends_of(tmp_path) as ends:
        cut, chain = Cut(ends.port), Chain()
        way = ends.way(port=await cut.start())
        cut.after = after
        done, number, piece = 0, 1, chain.piece(150_000)
        begun = False
        for _ in range(50):
            try:
                if not begun and await way.last("store", ONE) == 0 and not ends.place.streams("store"):
                    await way.begin("store", ONE, chain.lead)
                begun = True
                await way.add("store", ONE, number, piece)
            except (TemporaryFailure, Refused):
                continue
            done, number = done + 1, number + 1
            if done == 3:
                break
            piece = chain.piece(150_000)
        cut.close()
        folder = ends.place.stream("store", ONE)
        assert [number for number, *_ in folder.after(0, folder.lead().digest)] == [1, 2, 3]


async def test_a_piece_goes_on_at_the_octet_that_arrived_last(tmp_path: Path) -> None:
    async with ends_of(tmp_path) as ends:
        cut, chain = Cut(ends.port), Chain()
        way, piece = ends.way(port=await cut.start()), chain.piece(2_000_000)
        await way.begin("store", ONE, chain.lead)
        before = cut.passed
        cut.after = 1_500_000
        with pytest.raises(TemporaryFailure):
            await way.add("store", ONE, 1, piece)
        await way.add("store", ONE, 1, piece)
        cut.close()
        assert len(piece) <= cut.passed - before < len(piece) + 100_000  # TLS, a handshake, a record that was cut
        assert ends.place.stream("store", ONE).numbers() == [1]


async def test_a_piece_whose_answer_was_lost_is_not_sent_again(tmp_path: Path) -> None:
    async with ends_of(tmp_path) as ends:
        way, chain = ends.way(), Chain()
        await way.begin("store", ONE, chain.lead)
        piece = chain.piece(1_000_000)
        await way.add("store", ONE, 1, piece)
        cut = Cut(ends.port)
        again = ends.way(port=await cut.start())
        await again.add("store", ONE, 1, piece)
        assert cut.passed < 10_000
        with pytest.raises(Refused):
            await again.add("store", ONE, 1, Chain().piece(1_000_000))
        cut.close()


@pytest.mark.parametrize("wrong", ["the carrier's", "the receiver's"])
async def test_another_key_at_either_side_is_refused_before_any_octet_of_a_stream(tmp_path: Path, wrong: str) -> None:
    async with ends_of(tmp_path) as ends:
        thief = Side.make(tmp_path / "thief")
        way = ends.way(own=thief) if wrong == "the carrier's" else ends.way(peer=thief)
        with pytest.raises(TemporaryFailure):
            await way.settle(b"settings")
        with pytest.raises(TemporaryFailure):
            await way.begin("store", ONE, Chain().lead)
        assert ends.files() == []


async def test_whoever_shows_no_certificate_or_speaks_an_older_tls_is_refused(tmp_path: Path) -> None:
    async with ends_of(tmp_path) as ends:
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection("127.0.0.1", ends.port, ssl=bare, server_hostname="")
        with contextlib.suppress(OSError):
            writer.write(open_frame(0, TENANT) + frame(Kind.SETTINGS, b"settings"))
            assert await reader.read() == b""
        older = client_context(ends.primary.path, ends.standby.pinned)
        older.minimum_version = older.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", ends.port, ssl=older, server_hostname="")
        assert ends.files() == []


def test_a_certificate_that_another_key_signed_or_of_another_sort_is_not_pinned() -> None:
    first, second = make_identity(TENANT)[1], make_identity(TENANT)[1]
    for pem in (b"", b"noise", first + second, first[:-40], make_identity(TENANT)[0]):
        with pytest.raises(ConfigError):
            Pinned.read(pem)
    with pytest.raises(PeerError):
        Pinned.read(first).require(None)


async def test_a_hostile_primary_writes_nothing_outside_its_tenants_folder(tmp_path: Path) -> None:
    async with ends_of(tmp_path) as ends:
        chain, strange = Chain(), Chain(tenant=TenantId("docomo"))
        folder, piece = ONE.encode(), chain.piece()
        digest = hashlib.sha256(piece).digest()
        raw = await ends.raw()
        assert await raw.refused(frame(Kind.BEGIN, folder, strange.lead)) is Code.ORDER
        assert await raw.refused(frame(Kind.BEGIN, STREAM.format(2).encode(), chain.lead)) is Code.ORDER
        assert await raw.refused(*piece_frame(ONE, 1, piece, 0, digest)) is Code.ORDER  # of a stream that is not begun
        assert (await raw.ask(frame(Kind.BEGIN, folder, chain.lead))).kind is Kind.DONE
        assert await raw.refused(frame(Kind.BEGIN, folder, chain.lead)) is Code.ORDER
        for number, octets, offset, claimed in (
            (2, piece, 0, digest), (9, piece, 0, digest), (1, piece, 50, digest), (1, piece, 0, bytes(32)),
            (1, b"x" * 100, 0, hashlib.sha256(b"x" * 100).digest()),
            (1, strange.piece(), 0, b""),
        ):  # fmt: skip
            said = claimed or hashlib.sha256(octets).digest()
            assert await raw.refused(*piece_frame(ONE, number, octets, offset, said)) is Code.ORDER
        for octets in (
            frame(Kind.SETTINGS, b"x"), frame(Kind.ASK, b"x"), open_frame(STORE, TENANT), b"\xff" * 5,
            frame(Kind.WHERE, b"../../../../../etc/passwd"),
        ):  # fmt: skip
            with pytest.raises(EOFError):
                await (await ends.raw()).ask(octets)
        for octets in (frame(Kind.WHERE, folder), open_frame(99, TENANT), frame(Kind.TERM)):
            with pytest.raises(EOFError):
                await (await ends.raw(-1)).ask(octets)
        with pytest.raises(EOFError):
            await (await ends.raw(0)).ask(*piece_frame(ONE, 1, piece, 0, digest))
        assert await (await ends.raw(-1)).refused(open_frame(STORE, TenantId("docomo"))) is Code.TENANT
        assert ends.files() == [f"kddi/store/{ONE}/lead"]


@pytest.mark.parametrize("number", [b"Infinity", b"1e400", b"-1", b"2147483649", b"18446744073709551616", b"9" * 3000])
def test_a_number_that_no_primary_has_is_refused_by_whoever_grants(number: bytes) -> None:
    ask = LeaseAsk(TENANT, 7, 10, {"store": bytes(16)}).encode()
    with pytest.raises(IntegrityError):
        grant_lease(KEYS.signing, ask.replace(b'"term":7', b'"term":' + number))
    with pytest.raises(IntegrityError):
        Head.decode(Head(TENANT, "store", ONE, STANDBY, 7, "").encode().replace(b":7", b":Infinity"))


@pytest.mark.parametrize(
    "op",
    [
        Write("../x", 0, b"x"), Write("/etc/x", 0, b"x"), Write("a/../x", 0, b"x"), Write("x", 1 << 62, b"x"),
        Write("x", -1, b"x"), Write("x", (1 << 64) - 1, b"x"), Truncate("x", 1 << 63), Truncate("x", -1),
        Pages("x", 4096, 1 << 62, ()), Pages("x", 4096, 1, ((1 << 60, b"x"),)), Pages("x", 4096, 1, ((0, b"x"),)),
        Rename("x", "../x"), Remove("../x"), Keep("../x"), Keep("y"),
    ],
)  # fmt: skip
def test_a_stream_that_says_what_no_holder_does_ends_and_writes_nothing_elsewhere(tmp_path: Path, op: Op) -> None:
    standby, chain = Standby(tmp_path), Chain()
    folder = standby.place.stream("store", ONE)
    folder.begin(chain.lead)
    folder.add(1, chain.piece())
    standby.take()
    outside = tmp_path / "there" / "x"
    outside.write_bytes(b"outside")
    folder.add(2, chain.of([op]))
    assert standby.follower.step() == 0
    assert "store" in standby.follower.problems
    assert outside.read_bytes() == b"outside"
    assert (standby.home / "x").stat().st_size == 100


async def test_what_a_primary_lays_down_has_a_limit_and_room_that_comes_free_is_used(tmp_path: Path) -> None:
    async with ends_of(tmp_path, room=600_000) as ends:
        way, chain = ends.way(), Chain()
        await way.begin("store", ONE, chain.lead)
        for number in range(1, 5):
            await way.add("store", ONE, number, chain.piece(130_000))
        piece = chain.piece(130_000)
        with pytest.raises(TemporaryFailure, match="full"):
            await way.add("store", ONE, 5, piece)
        ends.place.stream("store", ONE).forget(3)
        await way.add("store", ONE, 5, piece)
        assert ends.place.stream("store", ONE).numbers() == [4, 5]


async def test_streams_that_never_became_whole_do_not_pile_up(tmp_path: Path) -> None:
    async with ends_of(tmp_path) as ends:
        way = ends.way()
        for number in range(1, 20):
            chain = Chain(STREAM.format(number))
            await way.begin("store", chain.name, chain.lead)
            await way.add("store", chain.name, 1, chain.piece())
        streams = ends.place.streams("store")
        assert len(streams) == 8
        assert streams[-1] == STREAM.format(19)


async def test_a_newer_connection_of_a_channel_ends_the_older_one(tmp_path: Path) -> None:
    async with ends_of(tmp_path) as ends:
        old = await ends.raw()
        chain = Chain()
        assert (await old.ask(frame(Kind.BEGIN, ONE.encode(), chain.lead))).kind is Kind.DONE
        piece = chain.piece(50_000)
        begin, rest = piece_frame(ONE, 1, piece, 0, hashlib.sha256(piece).digest())
        old.writer.write(begin + bytes(rest[:20_000]))  # and no more
        await old.writer.drain()
        way = ends.way()
        await way.add("store", ONE, 1, piece)
        with pytest.raises(EOFError):
            await old.ask(rest[20_000:])
        assert ends.place.stream("store", ONE).numbers() == [1]
        assert not list(ends.place.path.rglob("*.part"))


async def test_a_receiver_that_never_answers_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "ANSWER_SECONDS", 0.1)
    async with ends_of(tmp_path) as ends:
        monkeypatch.setattr(ends.receiver.inbox, "where", lambda *_: time.sleep(0.5))
        with pytest.raises(TemporaryFailure, match="does not answer"):
            await ends.way().last("store", ONE)


async def test_whoever_shows_nothing_is_gone_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive_module, "HANDSHAKE_SECONDS", 0.1)
    async with ends_of(tmp_path) as ends:
        idle = [await asyncio.open_connection("127.0.0.1", ends.port) for _ in range(receive_module.CONNECTIONS_OF_ONE)]
        for reader, writer in idle:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
        await ends.way().settle(b"settings")


async def test_a_pace_lets_its_octets_take_their_time_and_none_is_no_limit() -> None:
    began = time.monotonic()
    pace = Pace(1_000_000)
    await asyncio.gather(*(pace.spend(50_000) for _ in range(4)))
    assert time.monotonic() - began >= 0.19
    await asyncio.wait_for(Pace(0).spend(1 << 50), 30)


def test_a_receiver_does_not_start_with_what_it_cannot_use(tmp_path: Path) -> None:
    own, other = make_identity(TENANT)
    (tmp_path / "own").write_bytes(own)
    (tmp_path / "other").write_bytes(other)
    (tmp_path / "open").write_bytes(own)
    (tmp_path / "own").chmod(0o400)
    (tmp_path / "open").chmod(0o644)
    right = {"tenant": "kddi", "at": "127.0.0.1:1", "place": str(tmp_path / "place"), "room": "1",
             "identity": str(tmp_path / "own"), "peer": str(tmp_path / "other")}  # fmt: skip
    for wrong in (
        {"at": "localhost"}, {"at": "nowhere:4190"}, {"room": "0"}, {"room": "-1"}, {"identity": ""}, {"peer": ""},
        {"identity": str(tmp_path / "open")}, {"identity": str(tmp_path / "none")}, {"peer": "/dev/zero"},
        {"identity": str(tmp_path / "other")}, {"peer": str(tmp_path / "own")}, {"place": str(tmp_path / "own")},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            serve(argparse.Namespace(**right | wrong))


@pytest.mark.parametrize("text", ["", "host", "host:0", "host:65536", "host:x", "[::1]", "a b:1", "user@host:1", ":1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


def test_addresses_are_read() -> None:
    assert parse_address("standby.example:4190") == ("standby.example", 4190)
    assert parse_address("[2001:db8::1]:4190") == ("2001:db8::1", 4190)
