"""The first look at a search's messages lets through every message that the real test finds."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from bulkhead.access.search_text import ReadText
from bulkhead.wire.imap.search import And, HasField, Not, Or, SearchKey
from bulkhead.wire.imap.search_plan import Columns, compile_search
from bulkhead.wire.imap.search_screen import screen_of
from bulkhead.wire.imap.sources import Source
from bulkhead.wire.summary import Glance, summarize

_FIELDS = st.sampled_from([b"From", b"To", b"Cc", b"Subject", b"Reply-To"])
_WORDS = st.sampled_from(
    [
        b"john.doe@example.com", b"john (c) . doe @ example . com", b'"jo\\hn"@example.com', b'"john".doe@example.com',
        b"=?utf-8?b?am9obg==?=", b"=?utf-8?q?jo?=\r\n =?utf-8?q?hn?=", b"jo\r\n hn", b"JOHN", b"j\0ohn", b"caf\xc3\xa9",
        b"\x1b$B8+\x1b(B", b"\xef\xbd\x8aohn", b"Fw: john", b"<doe@example.com>", b"a:john,doe;",
    ]
)  # fmt: skip
_HEADER = st.lists(st.tuples(_FIELDS, st.lists(_WORDS, min_size=1, max_size=3)), max_size=5).map(
    lambda fields: b"".join(name + b": " + b" ".join(words) + b"\r\n" for name, words in fields)
)
_NEEDLES = st.sampled_from(
    ["john", "jo hn", "john.doe", "doe@example", "john@example.com", "doe@example.com", "caf", "é", "見", "", "absent"]
)
_LEAF = st.builds(lambda field, text: HasField(field.upper(), text), _FIELDS, _NEEDLES)
_KEYS: st.SearchStrategy[SearchKey] = st.recursive(
    _LEAF,
    lambda inner: (
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(Not, inner)
    ),
    max_leaves=4,
)


@given(_HEADER, _KEYS)
def test_no_message_that_matches_is_screened_out(header: bytes, key: SearchKey) -> None:
    summary = summarize(header + b"\r\nbody\r\n")
    test = compile_search(key, Columns(*[array("I", [1])] * 4, flag_bit=lambda name: 0))
    screen, glance = screen_of(key), Glance.of(summary.encode())
    assert glance is not None and glance.whole
    if screen is not None and test(0, Source.SUMMARY, ReadText(bytes(16), summary)):
        assert screen(glance.fields)


def test_a_plain_field_without_the_needle_is_screened_out() -> None:
    screen = screen_of(And((HasField(b"SUBJECT", "harbour"), HasField(b"X-OTHER", "x"))))
    assert screen is not None
    assert not screen(b"Subject: garden\r\nFrom: harbour@example.com\r\n")
    assert screen(b"Subject: the Harbour\r\n")


def test_nothing_is_told_before_the_real_test_where_a_key_reads_otherwise() -> None:
    assert screen_of(Not(HasField(b"SUBJECT", "a"))) is None
    assert screen_of(HasField(b"SUBJECT", "")) is None
    assert screen_of(HasField(b"SUBJECT", "見")) is None
    assert screen_of(HasField(b"X-OTHER", "a")) is None
    assert screen_of(Or((HasField(b"SUBJECT", "a"), HasField(b"X-OTHER", "a")))) is None
