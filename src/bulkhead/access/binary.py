"""FETCH BINARY: a part with its transfer encoding undone (RFC 3516 section 4; RFC 9051 section 6.4.5).

A literal begins with its size, so a part is decoded once to measure it; what is small is then at hand, and what is
large is decoded again while it leaves. Memory is bounded by the piece whatever the part's size.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from bulkhead.access.mail import Message
from bulkhead.access.output import Output
from bulkhead.wire.imap.fetch import Partial
from bulkhead.wire.summary import Section, Summary
from bulkhead.wire.transfer_encoding import DECODERS

KEPT_MAX = 64 * 1024  # octets of decoded content that are kept between measuring and sending
_COMPOSITE = ("multipart/", "message/rfc822")


@dataclass(frozen=True, slots=True)
class Content:
    """Octets [start, stop) of a message and how they are encoded."""

    start: int
    stop: int
    encoding: str

    @property
    def known(self) -> bool:
        """Whether we can undo the encoding; else the answer is NO [UNKNOWN-CTE]."""
        return self.encoding in DECODERS


@dataclass(frozen=True, slots=True)
class Measured:
    """size: decoded octets that are asked for. nul: one of them is 0. octets: they themselves, where they are few."""

    size: int
    nul: bool
    octets: bytes | None


def content_of(part: tuple[int, ...], size: int, summary: Summary | None) -> Content | None:
    """The content of a part, None where there is none; without a number the message, `size` octets and no encoding."""
    if not part:
        return Content(0, size, "")
    number = ".".join(map(str, part))
    for section in summary.sections if summary is not None else ():
        if section.number == number:
            return Content(section.body, section.end, _encoding(section))
    return None


def _encoding(section: Section) -> str:
    """What holds parts cannot itself be encoded (RFC 2045 section 6.4)."""
    return "" if section.media.startswith(_COMPOSITE) else section.encoding.strip()


async def measure(message: Message, content: Content, partial: Partial | None, output: Output) -> Measured:
    """The decoded content, or the part of it that is asked for."""
    size, nul, kept = 0, False, bytearray()
    async with aclosing(decoded(message, content, partial)) as pieces:
        async for piece in pieces:
            size += len(piece)
            nul = nul or b"\0" in piece
            if size <= KEPT_MAX:
                kept += piece
            await output.breathe()
    return Measured(size, nul, bytes(kept) if size <= KEPT_MAX else None)


async def decoded(message: Message, content: Content, partial: Partial | None) -> AsyncGenerator[bytes, None]:
    """The decoded octets in pieces; of a partial no more is read than what leads to its end."""
    decoder = DECODERS[content.encoding]()
    window = partial.window(1 << 62) if partial is not None else range(1 << 62)
    at = 0
    async with aclosing(message.pieces(content.start, content.stop)) as pieces:
        async for piece in pieces:
            octets = decoder.feed(piece)
            wanted = octets[max(0, window.start - at) : max(0, window.stop - at)]
            if wanted:
                yield wanted
            at += len(octets)
            if at >= window.stop:
                return
    octets = decoder.finish()
    wanted = octets[max(0, window.start - at) : max(0, window.stop - at)]
    if wanted:
        yield wanted
