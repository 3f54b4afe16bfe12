"""Address lists: RFC 5322's own examples, what Japanese carriers gave out, and what spammers send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.address_list import ADDRESSES_MAX, Address, parse_address_list

N = None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # RFC 5322 appendix A
        (b"John Doe <jdoe@machine.example>", [(b"John Doe", N, b"jdoe", b"machine.example")]),
        (
            b'"Joe Q. Public" <john.q.public@example.com>',
            [(b"Joe Q. Public", N, b"john.q.public", b"example.com")],
        ),
        (
            b"Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
            [
                (b"Mary Smith", N, b"mary", b"x.test"),
                (N, N, b"jdoe", b"example.org"),
                (b"Who?", N, b"one", b"y.test"),
            ],
        ),
        (
            b'<boss@nil.test>, "Giant; \\"Big\\" Box" <sysservices@example.net>',
            [(N, N, b"boss", b"nil.test"), (b'Giant; "Big" Box', N, b"sysservices", b"example.net")],
        ),
        (
            b"A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
            [
                (N, N, b"A Group", N),
                (b"Ed Jones", N, b"c", b"a.test"),
                (N, N, b"joe", b"where.test"),
                (b"John", N, b"jdoe", b"one.test"),
                (N, N, N, N),
            ],
        ),
        (b"Undisclosed recipients:;", [(N, N, b"Undisclosed recipients", N), (N, N, N, N)]),
        (
            b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>",
            [(b"Pete", N, b"pete", b"silly.test")],
        ),
        (
            b"(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
            [(N, N, b"Hidden recipients", N), (N, N, N, N)],
        ),
        (b"Joe Q. Public <john.q.public@example.com>", [(b"Joe Q. Public", N, b"john.q.public", b"example.com")]),
        (
            b"Mary Smith <@node.test,@b.test:mary@example.net>, , jdoe@test . example",
            [(b"Mary Smith", b"@node.test,@b.test", b"mary", b"example.net"), (N, N, b"jdoe", b"test.example")],
        ),
        (
            b"John Doe <jdoe@machine(comment).  example>",
            [(b"John Doe", N, b"jdoe", b"machine.example")],
        ),
        # Japanese carriers' local parts
        (b"foo..bar@docomo.ne.jp", [(N, N, b"foo..bar", b"docomo.ne.jp")]),
        (b"X <foo.@ezweb.ne.jp>", [(b"X", N, b"foo.", b"ezweb.ne.jp")]),
        (b'"foo..bar"@docomo.ne.jp', [(N, N, b"foo..bar", b"docomo.ne.jp")]),
        # names
        (b"gray@cac.washington.edu (Terry Gray)", [(b"Terry Gray", N, b"gray", b"cac.washington.edu")]),
        (b"=?utf-8?Q?a,_b?= <a@b>", [(b"=?utf-8?Q?a,_b?=", N, b"a", b"b")]),
        (b"\xe5\xa4\xaa <a@b>", [(b"\xe5\xa4\xaa", N, b"a", b"b")]),
        (b"A  B\tC <a@b>", [(b"A B C", N, b"a", b"b")]),
        (b'"A" B <a@b>', [(b"A B", N, b"a", b"b")]),
        # broken
        (b"foo", [(N, N, b"foo", b"MISSING_DOMAIN")]),
        (b'"Name" <>', [(b"Name", N, b"MISSING_MAILBOX", b"MISSING_DOMAIN")]),
        (b"a@", [(N, N, b"a", b"MISSING_DOMAIN")]),
        (b"@b", [(N, N, b"MISSING_MAILBOX", b"b")]),
        (b"<a@b", [(N, N, b"a", b"b")]),
        (b"X <a@b, c@d", [(b"X", N, b"a", b"b"), (N, N, b"c", b"d")]),
        (b"G: a@b", [(N, N, b"G", N), (N, N, b"a", b"b"), (N, N, N, N)]),
        (b'"open <a@b>', [(N, N, b"open <a@b>", b"MISSING_DOMAIN")]),
        (b"a@[192.0.2.1]", [(N, N, b"a", b"[192.0.2.1]")]),
        (b"a@b (never closed", [(b"never closed", N, b"a", b"b")]),
        (b"a@b; c@d", [(N, N, b"a", b"b"), (N, N, b"c", b"d")]),
        (b"<a@b> <c@d>", [(N, N, b"a", b"b")]),
        (b"a@b@c", [(N, N, b"a", b"bc")]),
        (b"", []),
        (b" , ,, ", []),
        (b"()", []),
    ],
)
def test_list_is_read(value: bytes, expected: list[Address]) -> None:
    assert parse_address_list(value) == expected


def test_list_ends_at_its_limit() -> None:
    assert len(parse_address_list(b"a@b," * ADDRESSES_MAX)) == ADDRESSES_MAX
    assert len(parse_address_list(b"a@b," * (ADDRESSES_MAX + 1))) == ADDRESSES_MAX
    assert len(parse_address_list(b"a@(x)b," * (ADDRESSES_MAX + 1))) == ADDRESSES_MAX
    assert len(parse_address_list(b"a:;" * (ADDRESSES_MAX + 1))) == ADDRESSES_MAX


PIECES = [
    b'"',
    b"\\",
    b"(",
    b")",
    b"<",
    b">",
    b"@",
    b",",
    b":",
    b";",
    b"[",
    b"]",
    b" ",
    b"a",
    b".",
    b"=?u?q?",
    b"?=",
    b"\xff",
]


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_any_specials_give_addresses_and_no_error(pieces: list[bytes]) -> None:
    for name, route, local, domain in parse_address_list(b"".join(pieces)):
        assert local is not None or (name, route, domain) == (None, None, None)
        assert domain is not None or (name, route) == (None, None)
