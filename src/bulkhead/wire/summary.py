"""The summary of a message: all that IMAP asks of its structure, made once at delivery.

Afterwards nothing parses MIME again: ENVELOPE, BODY and BODYSTRUCTURE are stored as they are sent, and a section is a
range of octets. `summarize` never raises on a message and works in time proportional to its size; its limits are
those of `header`, `address_list`, `mime` and `envelope`.
"""

from collections.abc import Collection
from typing import Final

import msgspec

from bulkhead.errors import IntegrityError
from bulkhead.wire.envelope import Renderer
from bulkhead.wire.header import unfold
from bulkhead.wire.internet_date import parse_date
from bulkhead.wire.mime import Part, scan

LISTED_MAX: Final = 16 * 1024  # octets of all fields kept in a summary
LISTED_VERSION: Final = 1
# Fields that clients list folders with, by version. A set never changes: a new one gets the next number.
LISTED: Final = {
    1: frozenset(
        b"from to cc bcc reply-to sender subject date message-id in-reply-to references mime-version content-type "
        b"content-transfer-encoding content-disposition list-id list-post list-unsubscribe x-priority importance "
        b"priority x-msmail-priority disposition-notification-to x-mailer user-agent resent-from resent-to resent-date "
        b"auto-submitted precedence newsgroups x-spam-flag x-spam-status".split()
    )
}
_TEXT_LABEL_MAX = 64  # octets kept of an encoding or a charset label


class Section(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One numbered part (RFC 3501 section 6.4.5). All positions are octets from the message's first.

    Its MIME header is [mime, body), its content [body, end). For a message/rfc822 part `text` is where the text of the
    attached message begins, so that its HEADER is [body, text) and its TEXT [text, end); for any other part it is -1.
    media: lower case, such as "text/html"; encoding: lower case; charset: the label as written or "".
    """

    number: str
    mime: int
    body: int
    end: int
    text: int = -1
    media: str = ""
    encoding: str = ""
    charset: str = ""


class Summary(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a message without opening it.

    size, header_size: octets (RFC822.SIZE; the header with its empty line). date: unix seconds of the Date field and
    date_offset its minutes from UTC, or None and 0. fields: the listed header fields as they stand, in order, at most
    16 KiB; they are all there of each name in LISTED[listed] but those in `omitted`.
    """

    size: int
    header_size: int
    envelope: bytes
    body: bytes
    bodystructure: bytes
    sections: tuple[Section, ...]
    fields: bytes
    omitted: tuple[bytes, ...] = ()
    listed: int = LISTED_VERSION
    date: int | None = None
    date_offset: int = 0

    def encode(self) -> bytes:
        """The summary as MessagePack, an array: fields are only ever added at its end."""
        return _ENCODER.encode(self)

    @staticmethod
    def decode(data: bytes) -> "Summary":
        """The summary of encode's bytes. Raises IntegrityError on any other bytes."""
        try:
            return _DECODER.decode(data)
        except msgspec.DecodeError as error:
            raise IntegrityError("a message summary cannot be read", detail=str(error)) from None

    def holds_fields(self, names: Collection[bytes]) -> bool:
        """Whether `fields` answers for all of `names` (any case), so that the header need not be opened."""
        complete = LISTED.get(self.listed, frozenset())
        return all((low := name.lower()) in complete and low not in self.omitted for name in names)


class Glance(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first fields of an encoded summary, as listings and searches ask for them; what is Raw is not decoded."""

    size: int
    header_size: int
    envelope: bytes
    body: bytes
    bodystructure: bytes
    sections: msgspec.Raw
    fields: bytes
    omitted: tuple[bytes, ...] = ()
    listed: int = 0

    @staticmethod
    def of(data: bytes) -> "Glance | None":
        """What the bytes of Summary.encode begin with; None of any other bytes."""
        try:
            return _GLANCE.decode(data)
        except msgspec.DecodeError:
            return None

    @property
    def whole(self) -> bool:
        """Whether `fields` has everything of every field that is listed now."""
        return not self.omitted and self.listed == LISTED_VERSION


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Summary)
_GLANCE = msgspec.msgpack.Decoder(Glance)


def summarize(message: bytes) -> Summary:
    """The summary of a message as it is stored."""
    root = scan(message)
    renderer = Renderer(message)
    envelope = renderer.envelope(root)
    body, bodystructure = renderer.structure(root)
    sections: list[Section] = []
    _number(root, "", sections)
    fields, omitted = _listed_fields(message, root)
    moment = _date(message, root)
    return Summary(
        len(message),
        root.body,
        envelope,
        body,
        bodystructure,
        tuple(sections),
        fields,
        omitted,
        LISTED_VERSION,
        moment[0] if moment else None,
        moment[1] if moment else 0,
    )


def section_range(summary: Summary, section: str) -> tuple[int, int] | None:
    """The octets of the message that BODY[section] names, or None where there is no such part.

    section: "", "HEADER", "TEXT", a part number such as "1.2", or a number with ".MIME", ".HEADER" or ".TEXT"
    (the last two only of a message/rfc822 part); case does not matter. HEADER.FIELDS is `header.field_block` of the
    HEADER range. Source: RFC 3501 section 6.4.5.
    """
    name = section.upper()
    if name == "":
        return 0, summary.size
    if name == "HEADER":
        return 0, summary.header_size
    if name == "TEXT":
        return summary.header_size, summary.size
    number, _, kind = name.rpartition(".")
    if kind not in _KINDS:
        number, kind = name, ""
    for part in summary.sections:
        if part.number == number:
            return _part_range(part, kind)
    return None


_KINDS = frozenset(("MIME", "HEADER", "TEXT"))


def _part_range(part: Section, kind: str) -> tuple[int, int] | None:
    if kind == "":
        return part.body, part.end
    if kind == "MIME":
        return part.mime, part.body
    if part.text < 0:
        return None
    return (part.body, part.text) if kind == "HEADER" else (part.text, part.end)


def _number(part: Part, prefix: str, sections: list[Section]) -> None:
    """Number the parts of the message that `part` is: a message that is no multipart has the one part 1."""
    if part.children:
        for index, child in enumerate(part.children, 1):
            number = f"{prefix}{index}"
            _add(child, number, sections)
            if child.children:
                _number(child, f"{number}.", sections)
    else:
        _add(part, f"{prefix}1", sections)


def _add(part: Part, number: str, sections: list[Section]) -> None:
    content = part.content
    sections.append(
        Section(
            number,
            part.start,
            part.body,
            part.end,
            part.message.body if part.message else -1,
            (content.media + b"/" + content.subtype).lower().decode("ascii", "replace"),
            content.encoding[:_TEXT_LABEL_MAX].lower().decode("ascii", "replace"),
            (content.parameter(b"charset") or b"")[:_TEXT_LABEL_MAX].decode("ascii", "replace"),
        )
    )
    if part.message is not None:
        _number(part.message, f"{number}.", sections)


def _listed_fields(message: bytes, root: Part) -> tuple[bytes, tuple[bytes, ...]]:
    """The listed fields as they stand, and the names that did not fit whole.

    A name that does not fit is left out altogether, so that what is there of a name is always all of it.
    """
    names = LISTED[LISTED_VERSION]
    listed = [field for field in root.fields if field[0] in names]
    omitted: set[bytes] = set()
    if sum([end - start for _, start, _, end in listed]) > LISTED_MAX:
        sizes: dict[bytes, int] = {}
        for name, start, _, end in listed:
            sizes[name] = sizes.get(name, 0) + end - start
        left = LISTED_MAX
        for name in sorted(sizes, key=lambda key: (sizes[key], key)):
            left -= sizes[name]
            if left < 0:
                omitted.add(name)
    block = b"".join([message[start:end] for name, start, _, end in listed if name not in omitted])
    if block and not block.endswith(b"\n"):
        block += b"\r\n"
    return block, tuple(sorted(omitted))


def _date(message: bytes, root: Part) -> tuple[int, int] | None:
    for name, _, value, end in root.fields:
        if name == b"date":
            return parse_date(unfold(message[value:end]))
    return None
