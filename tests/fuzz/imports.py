"""What reads foreign files of accounts: lines and dialects, passwords as text, and the reader's own messages."""

from typing import Any

from tests.fuzz.harness import Harness, Pieces, nothing

from bulkhead.errors import PeerError
from bulkhead.imports.dialects import DialectReader
from bulkhead.imports.digest_text import parse_password
from bulkhead.imports.lines import LineSplitter
from bulkhead.imports.rows import FRAME_MAX, FrameReader, write_frame
from bulkhead.records.legacy import Recipe


def file(pieces: Pieces) -> Any:
    """Accounts and refusals, each of which fits a frame, with rising lines."""
    splitter, reader = LineSplitter(), DialectReader()
    events: list[Any] = []
    for piece in pieces:
        for line in splitter.receive(piece):
            events += reader.receive(line)
    for line in splitter.end():
        events += reader.receive(line)
    events += reader.end()
    lines = [event.line for event in events]
    assert lines == sorted(set(lines))
    for event in events:
        assert len(write_frame(event)) <= FRAME_MAX
        assert list(FrameReader().receive(write_frame(event))) == [event]
    return events, reader.dialect


def password(data: bytes) -> None:
    """A recipe within its caps, clear text within its length, or a refusal."""
    try:
        imported = parse_password(data.decode("utf-8", "surrogateescape"), clear=bool(len(data) & 1))
    except PeerError:
        return
    assert 0 < len(imported.octets) <= 1024
    if imported.recipe is not None:
        assert len(imported.octets) == imported.recipe.octets
        assert Recipe.of(imported.recipe.legacy()) == imported.recipe


def rows(pieces: Pieces) -> Any:
    """Messages, or the end of the import."""
    frames, heard = FrameReader(), []
    try:
        for piece in pieces:
            for message in frames.receive(piece):
                heard.append(message)
    except PeerError as error:
        return heard, error.public
    return heard, frames.is_empty


IMPORTS = (
    Harness("import-file", nothing, file), Harness("import-password", password), Harness("import-rows", nothing, rows),
)  # fmt: skip
