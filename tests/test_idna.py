"""Host names in other scripts: the A-labels of registries, and what none of them gives out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import PeerError
from bulkhead.identifiers import parse_domain
from bulkhead.idna import to_ascii


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("日本語。jp", "xn--wgv71a119e.jp"),
        ("ドメイン名例.JP", "xn--eckwd4c7cu47r2wf.jp"),
        ("ソニー・東芝.jp", "xn--3ck2aykd0280eqc8a.jp"),
        ("ﾃｽﾄ.jp", "xn--zckzah.jp"),
        ("ｔｅｓｔ.jp", "test.jp"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("βόλος.example", "xn--nxasmm1c.example"),
        ("ΒΌΛΟΣ.example", "xn--nxasmq6b.example"),
        ("فارسی.example", "xn--mgbug7c06b.example"),
        ("paral·lel.example", "xn--parallel-koa.example"),
    ],
)
def test_a_name_is_the_one_that_registries_mean(name, wire):
    assert parse_domain(name) == wire


@pytest.mark.parametrize(
    "name",
    [
        "☃.example", "😀.example", "a\u200db.example", "\u0301a.example", "ー・.example", "・.example", "l·a.example",
        "א1٣۳.example", "אa.example", "-ü.example", "ü-.example", "ab--ü.example", "ü\u00ad.example", "½.example",
        "ü" * 60 + ".example", "ü..example", "\u115f.example", "\ufe0f.example", "x\u3000y.example", "ǆ\u0378.example",
    ],
)  # fmt: skip
def test_a_name_that_no_registry_gives_out_is_refused(name):
    with pytest.raises(PeerError):
        parse_domain(name)


@given(st.text(max_size=80))
def test_any_text_becomes_a_name_of_us_ascii_or_a_peer_error(text):
    try:
        name = to_ascii(text)
    except PeerError:
        return
    assert name.isascii()
    assert to_ascii(name) == name
