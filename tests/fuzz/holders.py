"""What holders and the command line read: frames and messages of edges, records, the ledger, configuration."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz.harness import Harness, Pieces, nothing

from bulkhead.boundary.codec import (
    FrameReader,
    decode_credit,
    decode_failure,
    decode_hello,
    decode_with,
    union_decoder,
)  # fmt: skip
from bulkhead.boundary.messages.registry import requests_of
from bulkhead.boundary.peers import PEERS
from bulkhead.config.load import load_installation
from bulkhead.errors import BoundaryViolation, ConfigError, IntegrityError, PeerError
from bulkhead.ledger.event import encode_event, parse_event
from bulkhead.ledger.note import parse_checkpoint, parse_note, parse_verifier_key
from bulkhead.ledger.tiles import encode_bundle, parse_bundle, parse_tile_path
from bulkhead.records.lease import LeaseAsk
from bulkhead.records.page import Page
from bulkhead.records.queued import QueuedEnvelope
from bulkhead.records.record import HEADER_BYTES, Kind, Suite, encode_header, read_header
from bulkhead.records.recovery_file import read_recovery_private, read_recovery_public
from bulkhead.records.signed import read_fields
from bulkhead.records.standby import read_lead, read_piece
from bulkhead.standby import frames as link_frames
from bulkhead.standby.frames import ANSWERS, REQUESTS
from bulkhead.standby.place import read_have

_DECODERS = [union_decoder(requests_of(peering)) for peering in PEERS]


def frames(pieces: Pieces) -> Any:
    """The frames of an edge."""
    reader, found = FrameReader(), []
    try:
        for piece in pieces:
            reader.receive_data(piece)
            while (frame := reader.next_frame()) is not None:
                found.append((frame.kind, frame.call, bytes(frame.payload)))
    except BoundaryViolation as error:
        found.append((type(error), error.public, b""))
    return found


def payloads(data: bytes) -> None:
    """At every receiver a message or a violation."""
    readers: list[Callable[[bytes], Any]] = [decode_hello, decode_failure, decode_credit]
    readers += [lambda payload, decoder=decoder: decode_with(decoder, payload) for decoder in _DECODERS]
    for read in readers:
        try:
            read(data)
        except BoundaryViolation:
            pass


def records(data: bytes) -> None:
    """Records that are not sealed, or whose seal was opened: a value or IntegrityError."""
    for read in (Page.decode, QueuedEnvelope.split):
        try:
            read(data)
        except IntegrityError:
            pass
    for kind in Kind:
        try:
            header = read_header(data, kind)
            assert encode_header(kind, Suite(header.suite), header.key_version) == data[:HEADER_BYTES]
        except IntegrityError:
            pass
        for count in (1, 4):
            try:
                read_fields(data, kind, count)
            except IntegrityError:
                pass


def ledger(data: bytes) -> None:
    """Events, notes, checkpoints, keys, tiles: a value that is written as it was read, or IntegrityError."""
    try:
        assert encode_event(parse_event(data)) == data
    except (IntegrityError, PeerError):
        pass
    try:
        note = parse_note(data)
        assert note.encode() == data
        parse_checkpoint(note.text)
    except IntegrityError:
        pass
    for width in (1, 2, 256):
        try:
            entries = parse_bundle(data, width)
            assert data.startswith(encode_bundle(entries)) and len(entries) == width
        except IntegrityError:
            pass
    text = data.decode("latin-1")
    try:
        assert parse_tile_path(text).path == text
    except IntegrityError:
        pass
    for read in (parse_verifier_key, parse_checkpoint):
        try:
            read(text)
        except IntegrityError:
            pass


def recovery_file(data: bytes) -> None:
    """A key, or an error that says what is wrong with the file."""
    text = data.decode("utf-8", "replace")
    for read in (read_recovery_private, read_recovery_public):
        try:
            read(text)
        except (IntegrityError, ConfigError):
            pass


def configuration(data: bytes) -> None:
    """An installation or ConfigError: the input is bulkhead.toml, a line of `===`, and a tenant's file."""
    installation, _, tenant = data.partition(b"\n===\n")
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "tenants").mkdir()
        (root / "bulkhead.toml").write_bytes(installation)
        (root / "tenants" / "kddi.toml").write_bytes(tenant)
        try:
            load_installation(root)
        except ConfigError as error:
            assert error.public and len(error.public) < 1 << 16


def standby_link(pieces: Pieces) -> Any:
    """The frames of a standby's link, from either side; a piece's octets as one."""
    events: list[Any] = []
    for takes in (REQUESTS, ANSWERS):
        parser, octets = link_frames.FrameParser(takes), b""
        try:
            for piece in pieces:
                parser.receive_data(piece)
                while (event := parser.next_event()) is not None:
                    if isinstance(event, link_frames.Octets):
                        octets += event.data
                    else:
                        events += [octets, event]
                        octets = b""
        except PeerError as error:
            events.append(error.public)
        events.append(octets)
    return events


def standby_texts(data: bytes) -> None:
    """What either side of the link, or of the place, says within a frame: a value, or an error of the tree."""
    for read in (
        link_frames.read_done, link_frames.read_refused, link_frames.Where.decode, link_frames.parse_stream,
        read_lead, read_piece, LeaseAsk.decode,
    ):  # fmt: skip
        try:
            read(data)
        except (PeerError, IntegrityError):
            pass
    lineage, segments = read_have(data)
    assert all(0 <= number < 1 << 63 for number in (lineage, *segments))


HOLDERS = (
    Harness("standby-link", nothing, standby_link),
    Harness("standby-texts", standby_texts),
    Harness("frames", nothing, frames),
    Harness("payloads", payloads),
    Harness("records", records),
    Harness("ledger", ledger),
    Harness("recovery-file", recovery_file),
    Harness("configuration", configuration),
)
