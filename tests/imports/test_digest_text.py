"""What an export says of a password: read, or refused with a reason that shows nothing of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import PeerError
from bulkhead.imports.digest_text import parse_password
from bulkhead.records.legacy import Recipe, Scheme

SECRET = "9d4e1e23bd5b727046a9e3b4b7db57bd8d6ee684"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{SCRAM-SHA-256}4096,LfNGSFqiFykEZ1xDAYlnKQ==,HACN", "SCRAM verifier"),
        ("{SCRAM-SHA-1}4096,GetyLXdBuHzf1FWf8SLz2Q==,NA/Oqm", "SCRAM verifier"),
        ("{CRAM-MD5}e02d374fde0dc75a17a557039a3a5338", "challenge"),
        ("{DIGEST-MD5}77c1a8c437c9b08ba2f460fe5d58db5d", "challenge"),
        ("{NTLM}0cb6948805f797bf2a82807973b89537", "challenge"),
        ("{CRYPT}//EsnG9FLTKjo", "eight octets"),
        ("{DES-CRYPT}//EsnG9FLTKjo", "eight octets"),
        ("{CRYPT}$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7", "not taken"),
        ("$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D", "not taken"),
        ("$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "not taken"),
        ("$argon2d$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "not taken"),
        ("$2b$13$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "13 as cost: 4 to 12"),
        ("{PBKDF2}$1$salt$1000001$" + SECRET, "1,000,001 iterations"),
        ("{PBKDF2}$1$salt$0$" + SECRET, "0 iterations"),
        ("$argon2id$v=19$m=999999,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "999,999 KiB"),
        ("{SHA}" + SECRET[:-2], "base 64|length"),
        ("{SSHA}qUqP5cyxm6YcTAhz05Hph5gvu9M=", "length does not fit"),
        ("{SHA.HEX}zz4e1e23bd5b727046a9e3b4b7db57bd8d6ee684", "hexadecimal"),
        ("{SHA512-CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "not written as one"),
        ("{BLF-CRYPT.HEX}" + SECRET, "never written in HEX"),
        ("{WHATEVER}" + SECRET, "not known, WHATEVER"),
        ("{" + SECRET, "names no scheme"),
        (SECRET, "names no scheme"),
        ("{PLAIN}", "1 to 1024 octets"),
        ("{PLAIN}" + "x" * 1025, "1 to 1024 octets"),
        ("{PLAIN}a\0b", "NUL"),
        ("{SHA}" + "A" * 1025, "more than 1024 characters"),
        ("", "no password"),
        ("{PLAIN}\ud800", "half a character"),
    ],
)
def test_what_is_not_taken_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(PeerError, match=why) as refused:
        parse_password(text, clear=False)
    assert SECRET[:12] not in refused.value.public
    assert "SodiumChloride" not in refused.value.public


def test_a_long_digest_of_a_thousand_rounds_by_default_and_a_clear_text_in_octets() -> None:
    imported = parse_password("{CRYPT}$6$a$" + "." * 86, clear=False)
    assert imported.recipe == Recipe(Scheme.SHA512_CRYPT, b"a", 5000)
    assert imported.octets == bytes(64)
    assert parse_password("pässword", clear=True).octets == "pässword".encode()
    assert parse_password("\udcff\udcfe", clear=True).octets == b"\xff\xfe"
    assert parse_password("{plain}{SHA}", clear=False).octets == b"{SHA}"
    assert parse_password("$ecret", clear=True).octets == b"$ecret"
    with pytest.raises(PeerError):
        parse_password("$6$not whole", clear=True)


@given(st.text(max_size=200), st.booleans())
def test_any_text_is_a_password_within_its_limits_or_refused(text: str, clear: bool) -> None:
    check(text, clear=clear)


@given(
    st.sampled_from(
        ["{CRYPT}$6$", "{SSHA}", "{MD5}", "{PBKDF2}$1$", "$2b$", "$argon2id$v=19$m=", "pbkdf2_sha256$", "$5$"]
    ),
    st.text("$=,./abAB019+{}", max_size=120),
)
def test_anything_behind_a_known_beginning_is_a_digest_within_its_caps_or_refused(start: str, rest: str) -> None:
    check(start + rest, clear=False)


def check(text: str, *, clear: bool) -> None:
    try:
        imported = parse_password(text, clear=clear)
    except PeerError:
        return
    assert 0 < len(imported.octets) <= 1024
    if imported.recipe is not None:
        assert len(imported.octets) == imported.recipe.octets
        assert Recipe.of(imported.recipe.legacy()) == imported.recipe
