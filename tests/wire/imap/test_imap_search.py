from array import array
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.imap.flags import FlagNames
from bulkhead.wire.imap.grammar import CommandError, Condition, Scanner
from bulkhead.wire.imap.search import (
    SEARCH_KEYS,
    Age,
    And,
    Dated,
    DateField,
    DateTest,
    HasEmailId,
    HasField,
    HasFlag,
    InBody,
    InText,
    Larger,
    ModSeq,
    Not,
    Numbers,
    Or,
    SearchKey,
    SearchProgram,
    Smaller,
    Uids,
    parse_search,
)
from bulkhead.wire.imap.search_plan import Columns, candidates, cheapest_first, compile_search, source_of_key
from bulkhead.wire.imap.search_returns import ReturnOption, Returns
from bulkhead.wire.imap.sequence import ALL, SAVED, SequenceSet
from bulkhead.wire.imap.sources import Source

DAY = date(1994, 2, 1)


def parse(text: bytes) -> SearchProgram:
    scanner = Scanner(text)
    program = parse_search(scanner)
    scanner.end()
    return program


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"ALL", And(())),
        (b"seen", HasFlag(b"\\Seen")),
        (b"UNKEYWORD x", Not(HasFlag(b"x"))),
        (b"NEW", And((HasFlag(b"\\Recent"), Not(HasFlag(b"\\Seen"))))),
        (b"OLD", Not(HasFlag(b"\\Recent"))),
        (b"1:*", Numbers(ALL)),
        (b"UID 3", Uids(SequenceSet(((3, 3),)))),
        (b"LARGER 5", Larger(5)),
        (b"SMALLER 0", Smaller(0)),
        (b'SINCE "1-Feb-1994"', Dated(DateField.INTERNAL, DateTest.SINCE, DAY)),
        (b"SENTBEFORE 01-feb-1994", Dated(DateField.SENT, DateTest.BEFORE, DAY)),
        (b"FROM x", HasField(b"FROM", "x")),
        (b'HEADER x-y ""', HasField(b"X-Y", "")),
        (b'TEXT "a b"', InText("a b")),
        (b"OR SEEN NOT (DRAFT BODY x)", Or((HasFlag(b"\\Seen"), Not(And((HasFlag(b"\\Draft"), InBody("x"))))))),
        (b"MODSEQ 5", ModSeq(5)),
        (b"YOUNGER 3600", Age(3600, older=False)),
        (b"OLDER 60", Age(60, older=True)),
        (b"$", Numbers(SAVED)),
        (b"UID $", Uids(SAVED)),
        (b"EMAILID eml_a1", HasEmailId(b"eml_a1")),
        (b"THREADID x-1", Not(And(()))),
        (b"SEEN DRAFT", And((HasFlag(b"\\Seen"), HasFlag(b"\\Draft")))),
    ],
)
def test_a_program_is_parsed_to_its_tree(text: bytes, key: SearchKey) -> None:
    assert parse(text) == SearchProgram(key)


def test_every_key_of_the_standard_has_a_row() -> None:
    words = (
        b"ALL ANSWERED BCC BEFORE BODY CC DELETED DRAFT EMAILID FLAGGED FROM HEADER KEYWORD LARGER MODSEQ NEW NOT OLD"
        b" OLDER ON OR RECENT SEEN SENTBEFORE SENTON SENTSINCE SINCE SMALLER SUBJECT TEXT THREADID TO UID UNANSWERED"
        b" UNDELETED UNDRAFT UNFLAGGED UNKEYWORD UNSEEN YOUNGER"
    )
    assert set(SEARCH_KEYS) == set(words.split())


@pytest.mark.parametrize("charset", ["UTF-8", "ISO-2022-JP", "Shift_JIS", "EUC-JP"])
def test_a_string_is_read_in_its_charset(charset: str) -> None:
    octets = "会議のお知らせ".encode(charset)
    program = parse(b"CHARSET %s SUBJECT {%d+}\r\n%s" % (charset.encode(), len(octets), octets))
    assert program.key == HasField(b"SUBJECT", "会議のお知らせ")


def test_an_unknown_charset_or_text_outside_it_names_those_we_read() -> None:
    for text in (b"CHARSET KOI9 SUBJECT x", b"SUBJECT {1+}\r\n\xff", b"CHARSET EUC-JP SUBJECT {1+}\r\n\xff"):
        with pytest.raises(CommandError) as caught:
            parse(text)
        assert caught.value.condition is Condition.NO
        assert caught.value.response_code.startswith(b"BADCHARSET (US-ASCII UTF-8 ISO-2022-JP")


def test_return_options_are_read_and_none_means_all() -> None:
    assert parse(b"RETURN (MIN max COUNT) SEEN").returns == Returns(
        frozenset((ReturnOption.MIN, ReturnOption.MAX, ReturnOption.COUNT))
    )
    assert parse(b"RETURN () SEEN").returns == Returns(frozenset((ReturnOption.ALL,)))
    assert parse(b"RETURN () CHARSET UTF-8 SEEN").key == HasFlag(b"\\Seen")


def test_names_of_a_charset_that_mailers_use_are_taken() -> None:
    for name in (b"x-sjis", b"shift-jis", b"CP932", b"utf8", b'"EUC-JP"', b"us-ascii", b"iso-2022-jp"):
        assert parse(b"CHARSET %s SUBJECT x" % name).key == HasField(b"SUBJECT", "x")


def test_a_bad_charset_is_kept_for_later_where_the_result_would_be_saved() -> None:
    program = parse(b"RETURN (SAVE) CHARSET KOI9 SUBJECT x")
    assert program.refused is not None and program.refused.response_code.startswith(b"BADCHARSET")
    with pytest.raises(CommandError):
        parse(b"RETURN (COUNT) CHARSET KOI9 SUBJECT x")
    with pytest.raises(CommandError):
        parse(b"RETURN (SAVE) FOO")


@pytest.mark.parametrize(
    ("text", "indexes"),
    [
        (b"1:3", range(3)),
        (b"3:1", range(3)),
        (b"4:9", range(3, 5)),
        (b"6:9", range(5, 5)),
        (b"-1:-2", range(3, 5)),
        (b"-2:-1", range(3, 5)),
        (b"-4:-9", range(2)),
        (b"-6:-9", range(0)),
    ],
)
def test_a_window_counts_from_either_end(text: bytes, indexes: range) -> None:
    window = parse(b"RETURN (PARTIAL %s) ALL" % text).returns
    assert window is not None and window.window is not None
    assert window.window.of(5) == indexes and bytes(window.window) == text


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (b"SAVE", [0, 1, 2, 3, 4]),
        (b"SAVE MIN", [0]),
        (b"SAVE MAX", [4]),
        (b"SAVE MIN MAX", [0, 4]),
        (b"SAVE MIN COUNT", [0, 1, 2, 3, 4]),
        (b"SAVE ALL MAX", [0, 1, 2, 3, 4]),
        (b"SAVE PARTIAL 2:3", [1, 2]),
        (b"SAVE PARTIAL -1:-2 MIN", [0, 3, 4]),
        (b"SAVE COUNT PARTIAL 2:3", [0, 1, 2, 3, 4]),
    ],
)
def test_what_is_saved_follows_from_the_other_options(options: bytes, kept: list[int]) -> None:
    returns = parse(b"RETURN (%s) ALL" % options).returns
    assert returns is not None and returns.saves
    assert returns.named(5) == kept and returns.named(0) == []


@pytest.mark.parametrize(
    "text",
    [b"", b"FOO", b"NOT", b"OR SEEN", b"()", b"(SEEN", b"SEEN)", b"SEEN  DRAFT", b"ON 31-Feb-1994", b"ON x",
     b"LARGER x", b"LARGER 9223372036854775808",
     b"YOUNGER 0", b"OLDER x", b"EMAILID a.b", b"$,1", b"RETURN (PARTIAL 0:1) SEEN", b"RETURN (PARTIAL 1:-2) SEEN",
     b"RETURN (PARTIAL) SEEN", b"RETURN (PARTIAL 1:2 PARTIAL 1:2) SEEN", b"RETURN (ALL PARTIAL 1:2) SEEN",
     b"RETURN (PARTIAL 1:4294967296) SEEN", b"RETURN (FOO) SEEN", b"RETURN SEEN", b"CHARSET",
     b'HEADER "a:b c" x', b"0"],
)  # fmt: skip
def test_what_is_no_program_is_refused(text: bytes) -> None:
    with pytest.raises(CommandError):
        parse(text)


@given(st.lists(st.sampled_from([*sorted(SEARCH_KEYS), b"(", b")", b"x", b"1:*", b"1-Feb-1994", b"{1+}\r\n\xff"])))
def test_random_words_are_a_program_or_refused(words: list[bytes]) -> None:
    try:
        program = parse(b" ".join(words))
    except CommandError:
        return
    cheapest_first(program.key)


def test_50_levels_are_taken_and_one_more_is_not() -> None:
    assert parse(b"NOT " * 50 + b"SEEN")
    assert parse(b"(" * 50 + b"SEEN" + b")" * 50)
    for text in (b"NOT " * 51 + b"SEEN", b"(" * 51 + b"SEEN" + b")" * 51, b"OR SEEN " * 51 + b"SEEN"):
        with pytest.raises(CommandError, match="too deep"):
            parse(text)


def test_1000_keys_are_taken_and_one_more_is_not() -> None:
    assert parse(b" ".join([b"SEEN"] * 1000))
    with pytest.raises(CommandError, match="too many"):
        parse(b" ".join([b"SEEN"] * 1001))


def test_a_string_of_1000_octets_is_taken_and_one_more_is_not() -> None:
    assert parse(b"BODY " + b"x" * 1000)
    with pytest.raises(CommandError, match="longer"):
        parse(b"BODY " + b"x" * 1001)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (b"SEEN SINCE 1-Feb-1994 LARGER 3 UID 1:*", Source.ARRAYS),
        (b"SUBJECT x SENTON 1-Feb-1994", Source.SUMMARY),
        (b"HEADER Received x", Source.HEADER),
        (b"OR SEEN NOT BODY x", Source.BODY),
        (b"TEXT x", Source.BODY),
    ],
)
def test_a_program_reads_no_further_than_it_must(text: bytes, source: Source) -> None:
    assert source_of_key(parse(text).key) is source


def test_keys_are_ordered_cheapest_first_and_flattened() -> None:
    key = cheapest_first(parse(b"BODY x (HEADER Received y (SUBJECT z)) NOT NOT SEEN").key)
    assert isinstance(key, And)
    assert [source_of_key(item) for item in key.keys] == [Source.ARRAYS, Source.SUMMARY, Source.HEADER, Source.BODY]


class Text:
    """One message; counts how far it was read."""

    def __init__(self, fields: dict[bytes, str], body: str, sent: date | None = None) -> None:
        self.fields, self.body, self.sent, self.read = fields, body, sent, Source.ARRAYS

    def email_id(self) -> bytes:
        return self.fields.get(b"EMAILID", "").encode()

    def sent_day(self) -> date | None:
        return self.sent

    def field(self, name: bytes) -> Sequence[str] | None:
        return [self.fields[name]] if name in self.fields else []

    def header_text(self) -> str:
        return "\n".join(f"{name.decode()}: {value}" for name, value in self.fields.items())

    def body_text(self) -> str:
        self.read = Source.BODY
        return self.body


TEXTS = [
    Text({b"FROM": "Alice", b"SUBJECT": "会議"}, "one two", date(1994, 2, 1)),
    Text({b"FROM": "Bob", b"SUBJECT": "CAFÉ", b"RECEIVED": "x"}, "three", date(1994, 2, 2)),
    Text({b"FROM": "alice"}, "four"),
]
COLUMNS = Columns(
    array("I", [3, 5, 9]),
    array("Q", [1, 0, 1 | 1 << 5]),
    array("Q", [10, 20, 30]),
    array("q", [760060799, 760060800, 760147200]),  # the last second of 31 January 1994 UTC, the next, a day later
    FlagNames([b"Work"]).bit,
)


def found(text: bytes, columns: Columns = COLUMNS) -> list[int]:
    """Numbers of the messages that match, by going from source to source as a session does."""
    key = cheapest_first(parse(text).key)
    test = compile_search(key, columns)
    hits = []
    for part in candidates(key, columns):
        for index in part:
            for source in Source:
                answer = test(index, source, None if source is Source.ARRAYS else TEXTS[index])
                if answer is not None:
                    break
            assert answer is not None
            if answer:
                hits.append(index + 1)
    return hits


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (b"ALL", [1, 2, 3]),
        (b"SEEN", [1, 3]),
        (b"UNSEEN", [2]),
        (b"KEYWORD work", [3]),
        (b"KEYWORD other", []),
        (b"RECENT", []),
        (b"2:*", [2, 3]),
        (b"UID 4:5,100:*", [2, 3]),
        (b"NOT UID 5", [1, 3]),
        (b"7", []),
        (b"LARGER 10 SMALLER 30", [2]),
        (b"ON 1-Feb-1994", [2]),
        (b"BEFORE 1-Feb-1994", [1]),
        (b"SINCE 1-Feb-1994", [2, 3]),
        (b"SENTON 1-Feb-1994", [1]),
        (b"SENTSINCE 1-Feb-1994", [1, 2]),
        (b"FROM alice", [1, 3]),
        (b'SUBJECT "caf\xc3\xa9"', [2]),
        (b'SUBJECT "\xe4\xbc\x9a\xe8\xad\xb0"', [1]),
        (b'HEADER Received ""', [2]),
        (b"BODY TWO", [1]),
        (b"TEXT four", [3]),
        (b"TEXT bob", [2]),
        (b"OR FROM bob BODY four", [2, 3]),
        (b"NOT (SEEN FROM alice)", [2]),
    ],
)
def test_a_search_finds_what_the_standard_says(text: bytes, numbers: list[int]) -> None:
    assert found(text) == numbers


def test_internal_dates_are_days_of_the_zone_that_is_shown() -> None:
    columns = Columns(COLUMNS.uids, COLUMNS.flags, COLUMNS.sizes, COLUMNS.dates, COLUMNS.flag_bit, 9 * 60)
    assert found(b"ON 1-Feb-1994", columns) == [1, 2]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [(b"YOUNGER 86399", [3]), (b"YOUNGER 86400", [2, 3]), (b"OLDER 86400", [1, 2]), (b"NOT OLDER 86401", [2, 3])],
)
def test_age_is_counted_in_seconds_from_now(text: bytes, numbers: list[int]) -> None:
    assert found(text, replace(COLUMNS, now=760147200)) == numbers


def test_a_body_is_not_read_when_something_cheaper_decides() -> None:
    for text in TEXTS:
        text.read = Source.ARRAYS
    assert found(b"BODY four FROM alice UNSEEN") == []
    assert found(b"OR BODY four FROM alice 1") == [1]
    assert [text.read for text in TEXTS] == [Source.ARRAYS] * 3


def test_only_messages_that_must_be_named_are_candidates() -> None:
    assert candidates(parse(b"2:3 UID 1:5 SEEN").key, COLUMNS) == [range(1, 2)]
    assert candidates(parse(b"OR 1 2").key, COLUMNS) == [range(3)]


def test_an_empty_mailbox_has_no_candidates() -> None:
    empty = Columns(array("I"), array("Q"), array("Q"), array("q"), COLUMNS.flag_bit)
    assert candidates(parse(b"1:*").key, empty) == []
    assert found(b"ALL", empty) == []
