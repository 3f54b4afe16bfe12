import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.imap.fetch import (
    MACROS,
    Attribute,
    BodySection,
    FetchItem,
    Partial,
    Section,
    SectionText,
    item_label,
    parse_fetch_items,
    sets_seen,
    source_of_item,
)
from bulkhead.wire.imap.grammar import CommandError, Scanner
from bulkhead.wire.imap.sources import Source


def parse(text: bytes) -> tuple[FetchItem, ...]:
    scanner = Scanner(text)
    items = parse_fetch_items(scanner)
    scanner.end()
    return items


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (b"flags", b"FLAGS"),
        (b"RFC822.SIZE", b"RFC822.SIZE"),
        (b"BODY", b"BODY"),
        (b"BODYSTRUCTURE", b"BODYSTRUCTURE"),
        (b"RFC822", b"RFC822"),
        (b"RFC822.HEADER", b"RFC822.HEADER"),
        (b"RFC822.TEXT", b"RFC822.TEXT"),
        (b"BODY[]", b"BODY[]"),
        (b"BODY.PEEK[]<5.10>", b"BODY[]<5>"),
        (b"body.peek[header]", b"BODY[HEADER]"),
        (b"BODY.PEEK[HEADER.FIELDS (From Subject from)]", b"BODY[HEADER.FIELDS (FROM SUBJECT FROM)]"),
        (b'BODY[HEADER.FIELDS.NOT ("x(y")]<0.1>', b'BODY[HEADER.FIELDS.NOT ("X(Y")]<0>'),
        (b"BODY[1.2.MIME]", b"BODY[1.2.MIME]"),
        (b"BODY[3]", b"BODY[3]"),
        (b"BODY[4.1.HEADER]", b"BODY[4.1.HEADER]"),
        (b"BODY[TEXT]", b"BODY[TEXT]"),
    ],
)
def test_an_item_bears_the_label_of_the_standard(text: bytes, label: bytes) -> None:
    (item,) = parse(text)
    assert item_label(item) == label


def test_macros_are_their_items_and_stand_alone() -> None:
    assert parse(b"fast") == MACROS[b"FAST"]
    assert parse(b"ALL")[-1] is Attribute.ENVELOPE
    assert parse(b"FULL")[-1] is Attribute.BODY
    with pytest.raises(CommandError):
        parse(b"(FAST)")


def test_repeated_items_are_asked_once() -> None:
    assert parse(b"(UID FLAGS UID)") == (Attribute.UID, Attribute.FLAGS)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"()",
        b"FOO",
        b"(FLAGS",
        b"(FLAGS  UID)",
        b"BODY.PEEK",
        b"BODY[",
        b"BODY[MIME]",
        b"BODY[0]",
        b"BODY[1.]",
        b"BODY[.1]",
        b"BODY[1.0]",
        b"BODY[FOO]",
        b"BODY[HEADER.FIELDS]",
        b"BODY[HEADER.FIELDS ()]",
        b'BODY[HEADER.FIELDS ("")]',
        b'BODY[HEADER.FIELDS ("a b")]',
        b"BODY[]<0>",
        b"BODY[]<0.0>",
        b"BODY[]<0.4294967296>",
        b"BODY[]<4294967296.1>",
        b"RFC822.PEEK",
    ],
)
def test_what_is_no_item_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError):
        parse(text)


SECTIONS = st.builds(
    Section,
    st.lists(st.integers(1, 2**32 - 1), min_size=1, max_size=5).map(tuple),
    st.sampled_from([SectionText.WHOLE, SectionText.HEADER, SectionText.TEXT, SectionText.MIME]),
) | st.builds(
    Section,
    st.just(()),
    st.sampled_from([SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT]),
    st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=":"), min_size=1, max_size=9),
        min_size=1,
        max_size=4,
        unique_by=str.upper,
    ).map(lambda names: tuple(name.upper().encode() for name in names)),
)


@given(SECTIONS)
def test_a_rendered_section_is_parsed_back(section: Section) -> None:
    (item,) = parse(b"BODY[%s]" % bytes(section))
    assert isinstance(item, BodySection)
    assert item.section == section


@given(st.binary(max_size=30))
def test_random_bytes_are_items_or_refused(text: bytes) -> None:
    for start in (b"", b"(", b"BODY[", b"BODY[HEADER.FIELDS ("):
        try:
            parse(start + text)
        except CommandError as error:
            assert error.public


def test_100_items_are_taken_and_one_more_is_not() -> None:
    assert parse(b"(" + b" ".join([b"UID"] * 100) + b")")
    with pytest.raises(CommandError, match="too many"):
        parse(b"(" + b" ".join([b"UID"] * 101) + b")")


def test_200_fields_are_taken_and_one_more_is_not() -> None:
    fields = [b"F%d" % n for n in range(201)]
    assert parse(b"BODY[HEADER.FIELDS (%s)]" % b" ".join(fields[:200]))
    with pytest.raises(CommandError, match="too many"):
        parse(b"BODY[HEADER.FIELDS (%s)]" % b" ".join(fields))


def test_50_part_levels_are_taken_and_one_more_is_not() -> None:
    assert parse(b"BODY[%s]" % b".".join([b"1"] * 50))
    with pytest.raises(CommandError, match="too many"):
        parse(b"BODY[%s]" % b".".join([b"1"] * 51))


def test_a_field_name_has_256_octets_and_not_one_more() -> None:
    assert parse(b"BODY[HEADER.FIELDS (%s)]" % (b"a" * 256))
    with pytest.raises(CommandError):
        parse(b"BODY[HEADER.FIELDS (%s)]" % (b"a" * 257))


def test_reading_without_peek_sets_seen() -> None:
    assert sets_seen(parse(b"(FLAGS BODY[TEXT])"))
    assert sets_seen(parse(b"RFC822"))
    assert sets_seen(parse(b"RFC822.TEXT"))
    assert not sets_seen(parse(b"(FLAGS BODY.PEEK[] RFC822.HEADER BODY)"))


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (b"FLAGS", Source.ARRAYS),
        (b"RFC822.SIZE", Source.ARRAYS),
        (b"EMAILID", Source.ARRAYS),
        (b"ENVELOPE", Source.SUMMARY),
        (b"BODYSTRUCTURE", Source.SUMMARY),
        (b"BODY", Source.SUMMARY),
        (b"BODY[HEADER.FIELDS (From Subject)]", Source.SUMMARY),
        (b"BODY[HEADER.FIELDS (From Received)]", Source.HEADER),
        (b"BODY[HEADER.FIELDS.NOT (From)]", Source.HEADER),
        (b"BODY[HEADER]", Source.HEADER),
        (b"RFC822.HEADER", Source.HEADER),
        (b"BODY[TEXT]", Source.BODY),
        (b"BODY[1.MIME]", Source.BODY),
        (b"BODY[]", Source.BODY),
    ],
)
def test_an_item_reads_no_further_than_it_must(text: bytes, source: Source) -> None:
    (item,) = parse(text)
    assert source_of_item(item) is source


def test_a_partial_is_cut_to_the_section() -> None:
    assert Partial(0, 10).window(4) == range(4)
    assert Partial(3, 10).window(20) == range(3, 13)
    assert not Partial(9, 10).window(4)


def test_a_section_is_a_path_to_its_octets() -> None:
    assert Section((1, 2), SectionText.MIME).path == "1.2.MIME"
    assert Section((), SectionText.HEADER_FIELDS, (b"TO",)).path == "HEADER"
    assert Section().path == ""
