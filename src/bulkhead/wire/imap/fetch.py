"""FETCH: what is asked, how far it must read, and the label each item bears in the answer.

Source: RFC 3501 sections 6.4.5 and 7.4.2; RFC 8474 section 4 (EMAILID, THREADID); RFC 8970 (PREVIEW); RFC 7162
section 3.1.4 (MODSEQ); RFC 3516 section 4.2 (BINARY).
"""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bulkhead.wire.imap.grammar import NUMBER_MAX, CommandError, Scanner
from bulkhead.wire.imap.limits import FETCH_FIELDS_MAX, FETCH_ITEMS_MAX, FETCH_PART_LEVELS_MAX, FIELD_NAME_MAX
from bulkhead.wire.imap.sources import SUMMARY_FIELDS, Source

_ITEM: Final = re.compile(rb"[A-Za-z0-9.]+")
_PARTIAL: Final = re.compile(rb"<([0-9]{1,10})\.([1-9][0-9]{0,9})>")
_LAZY: Final = re.compile(rb" \(LAZY\)", re.IGNORECASE)
_PLAIN_FIELD: Final = re.compile(rb"[!#$&'+,\-./0-9;<=>?@A-Z\[\]^_`a-z|}~]+")
_FIELD: Final = re.compile(rb"[\x21-\x39\x3b-\x7e]+")  # RFC 5322 section 3.6.8: ftext, no colon


class Attribute(Enum):
    """Items without parameters; the value is the label."""

    FLAGS = b"FLAGS"
    UID = b"UID"
    INTERNALDATE = b"INTERNALDATE"
    RFC822_SIZE = b"RFC822.SIZE"
    MODSEQ = b"MODSEQ"
    EMAILID = b"EMAILID"
    THREADID = b"THREADID"
    PREVIEW = b"PREVIEW"
    PREVIEW_LAZY = b"PREVIEW (LAZY)"  # only what is at hand (RFC 8970 section 3.1)
    ENVELOPE = b"ENVELOPE"
    BODY = b"BODY"
    BODYSTRUCTURE = b"BODYSTRUCTURE"


class SectionText(Enum):
    """What of a part is meant; WHOLE is the part, or the message, itself."""

    WHOLE = b""
    HEADER = b"HEADER"
    HEADER_FIELDS = b"HEADER.FIELDS"
    HEADER_FIELDS_NOT = b"HEADER.FIELDS.NOT"
    TEXT = b"TEXT"
    MIME = b"MIME"


@dataclass(frozen=True, slots=True)
class Section:
    """`1.2.HEADER.FIELDS (FROM)` taken apart: part numbers, text, field names in upper case."""

    part: tuple[int, ...] = ()
    text: SectionText = SectionText.WHOLE
    fields: tuple[bytes, ...] = ()

    @property
    def path(self) -> str:
        """The octets to read, as `summary.section_range` takes it; of HEADER.FIELDS the whole header."""
        words = [str(number) for number in self.part]
        if self.text in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
            words.append("HEADER")
        elif self.text is not SectionText.WHOLE:
            words.append(self.text.value.decode("ascii"))
        return ".".join(words)

    def __bytes__(self) -> bytes:
        """What stands between the brackets of the label."""
        words = [b"%d" % number for number in self.part]
        if self.text is not SectionText.WHOLE:
            words.append(self.text.value)
        fields = b" (%s)" % b" ".join(map(_render_field, self.fields)) if self.fields else b""
        return b".".join(words) + fields


@dataclass(frozen=True, slots=True)
class Partial:
    """`<origin.count>`: octets of the section, from 0."""

    origin: int
    count: int

    def window(self, size: int) -> range:
        """The octets to send of a section of `size` octets; empty when it begins past the end."""
        start = min(self.origin, size)
        return range(start, min(start + self.count, size))


@dataclass(frozen=True, slots=True)
class BodySection:
    """BODY[...], BODY.PEEK[...], or one of the three RFC822 forms: octets of the message.

    peek: reading does not set \\Seen. label: as in the answer, ready to send: `BODY[HEADER]<0>`.
    """

    section: Section
    partial: Partial | None
    peek: bool
    label: bytes


@dataclass(frozen=True, slots=True)
class BinarySection:
    """BINARY[part] or BINARY.PEEK[part]: the part's content with its transfer encoding undone; no part: the message."""

    part: tuple[int, ...]
    partial: Partial | None
    peek: bool
    label: bytes


@dataclass(frozen=True, slots=True)
class BinarySize:
    """BINARY.SIZE[part]: how many octets BINARY[part] has."""

    part: tuple[int, ...]
    label: bytes


FetchItem = Attribute | BodySection | BinarySection | BinarySize

MACROS: Final = {
    b"FAST": (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.RFC822_SIZE),
    b"ALL": (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.RFC822_SIZE, Attribute.ENVELOPE),
    b"FULL": (Attribute.FLAGS, Attribute.INTERNALDATE, Attribute.RFC822_SIZE, Attribute.ENVELOPE, Attribute.BODY),
}
ITEMS: Final[dict[bytes, FetchItem]] = {
    **{attribute.value: attribute for attribute in Attribute},
    b"RFC822": BodySection(Section(), None, False, b"RFC822"),
    b"RFC822.HEADER": BodySection(Section(text=SectionText.HEADER), None, True, b"RFC822.HEADER"),
    b"RFC822.TEXT": BodySection(Section(text=SectionText.TEXT), None, False, b"RFC822.TEXT"),
}
SECTION_TEXTS: Final = {text.value: text for text in SectionText if text is not SectionText.WHOLE}
ATTRIBUTE_SOURCES: Final = {
    Attribute.ENVELOPE: Source.SUMMARY,
    Attribute.BODY: Source.SUMMARY,
    Attribute.BODYSTRUCTURE: Source.SUMMARY,
    Attribute.PREVIEW: Source.BODY,
}


def item_label(item: FetchItem) -> bytes:
    """The item's name in a FETCH response."""
    if item is Attribute.PREVIEW_LAZY:
        return Attribute.PREVIEW.value
    return item.value if isinstance(item, Attribute) else item.label


def source_of_item(item: FetchItem, summary_fields: AbstractSet[bytes] = SUMMARY_FIELDS) -> Source:
    """How far into the message `item` has to read.

    summary_fields: upper-case names of the header fields that a summary holds.
    """
    if isinstance(item, Attribute):
        return ATTRIBUTE_SOURCES.get(item, Source.ARRAYS)
    if isinstance(item, BinarySection | BinarySize):
        return Source.BODY
    section = item.section
    if section.part:
        return Source.BODY
    if section.text is SectionText.HEADER_FIELDS:
        return Source.SUMMARY if summary_fields >= set(section.fields) else Source.HEADER
    return Source.HEADER if section.text in (SectionText.HEADER, SectionText.HEADER_FIELDS_NOT) else Source.BODY


def sets_seen(items: tuple[FetchItem, ...]) -> bool:
    """True if this FETCH sets \\Seen (RFC 3501 section 6.4.5)."""
    return any(isinstance(item, BodySection | BinarySection) and not item.peek for item in items)


def parse_fetch_items(scanner: Scanner) -> tuple[FetchItem, ...]:
    """The items at the scanner: a macro, one item, or a list of at most 100, each once. Raises CommandError."""
    if not scanner.accept(b"("):
        macro = scanner.accept_word(*MACROS)
        return MACROS[macro] if macro else (_parse_item(scanner),)
    items: dict[FetchItem, None] = {}
    asked = 0
    while True:
        asked += 1
        if asked > FETCH_ITEMS_MAX:
            raise CommandError("too many items to fetch")
        items[_parse_item(scanner)] = None
        if not scanner.accept(b" "):
            break
    scanner.expect(b")", "the end of the list of items")
    return tuple(items)


def _parse_item(scanner: Scanner) -> FetchItem:
    found = _ITEM.match(scanner.data, scanner.pos)
    if found is None:
        raise CommandError("expected an item to fetch")
    name = found[0].upper()
    scanner.pos = found.end()
    if name in (b"BODY", b"BODY.PEEK") and scanner.accept(b"["):
        section = parse_section(scanner)
        scanner.expect(b"]", "the end of the section")
        return _with_label(section, _parse_partial(scanner), peek=name == b"BODY.PEEK")
    if name in (b"BINARY", b"BINARY.PEEK", b"BINARY.SIZE"):
        return _parse_binary(scanner, name)
    if name == Attribute.PREVIEW.value:
        lazy = _LAZY.match(scanner.data, scanner.pos)
        scanner.pos = lazy.end() if lazy is not None else scanner.pos
        return Attribute.PREVIEW if lazy is None else Attribute.PREVIEW_LAZY
    item = ITEMS.get(name)
    if item is None:
        raise CommandError("no such item to fetch")
    return item


def _parse_binary(scanner: Scanner, name: bytes) -> BinarySection | BinarySize:
    """`[1.2]<0.2048>` after one of the three names; the size has no range (RFC 3516 section 7)."""
    scanner.expect(b"[", "a part in brackets")
    section = parse_section(scanner)
    if section.text is not SectionText.WHOLE:
        raise CommandError("only a part has content")
    scanner.expect(b"]", "the end of the part")
    if name == b"BINARY.SIZE":
        return BinarySize(section.part, b"BINARY.SIZE[%s]" % bytes(section))
    partial = _parse_partial(scanner)
    origin = b"" if partial is None else b"<%d>" % partial.origin
    return BinarySection(section.part, partial, name == b"BINARY.PEEK", b"BINARY[%s]%s" % (bytes(section), origin))


def _with_label(section: Section, partial: Partial | None, *, peek: bool) -> BodySection:
    origin = b"" if partial is None else b"<%d>" % partial.origin
    return BodySection(section, partial, peek, b"BODY[%s]%s" % (bytes(section), origin))


def _parse_partial(scanner: Scanner) -> Partial | None:
    if not scanner.at(b"<"):
        return None
    found = _PARTIAL.match(scanner.data, scanner.pos)
    if found is None or int(found[1]) > NUMBER_MAX or int(found[2]) > NUMBER_MAX:
        raise CommandError("expected a range of octets such as <0.2048>")
    scanner.pos = found.end()
    return Partial(int(found[1]), int(found[2]))


def parse_section(scanner: Scanner) -> Section:
    """What stands between the brackets of BODY[...]. At most 50 part levels and 200 fields. Raises CommandError."""
    part: list[int] = []
    while scanner.peek().isdigit():
        part.append(scanner.nz_number("a part number from 1"))
        if len(part) > FETCH_PART_LEVELS_MAX:
            raise CommandError("too many part levels")
        if not scanner.accept(b"."):
            return Section(tuple(part))
    if not part and scanner.at(b"]"):
        return Section()
    found = _ITEM.match(scanner.data, scanner.pos)
    text = SECTION_TEXTS.get(found[0].upper()) if found is not None else None
    if found is None or text is None or (text is SectionText.MIME and not part):
        raise CommandError("no such section of a message")
    scanner.pos = found.end()
    if text not in (SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT):
        return Section(tuple(part), text)
    scanner.space()
    return Section(tuple(part), text, _parse_fields(scanner))


def _parse_fields(scanner: Scanner) -> tuple[bytes, ...]:
    scanner.expect(b"(", "a list of header fields")
    fields: list[bytes] = []  # repeated as the client did, since the label repeats what was asked
    while True:
        fields.append(parse_field_name(scanner))
        if len(fields) > FETCH_FIELDS_MAX:
            raise CommandError("too many header fields")
        if not scanner.accept(b" "):
            break
    scanner.expect(b")", "the end of the list of header fields")
    return tuple(fields)


def parse_field_name(scanner: Scanner) -> bytes:
    """A header field's name in upper case, at most 256 octets. Raises CommandError."""
    name = scanner.astring("a header field's name", maximum=FIELD_NAME_MAX).removesuffix(b":")
    if _FIELD.fullmatch(name) is None:
        raise CommandError("no header field can have that name")
    return name.upper()


def _render_field(name: bytes) -> bytes:
    """A field name as an astring."""
    if _PLAIN_FIELD.fullmatch(name) is not None:
        return name
    return b'"%s"' % name.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
