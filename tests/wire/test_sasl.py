"""PLAIN and LOGIN: what is taken, what is refused, what is never shown."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import LineTooLong, PeerError
from bulkhead.wire.sasl import FIELD_MAX, LINE_MAX, MECHANISMS, CancelledError, Challenge, Credentials, Login, Plain


def b64(octets: bytes) -> bytes:
    return base64.b64encode(octets)


def test_plain_with_an_initial_response_gives_credentials_at_once():
    # RFC 4616 section 4, both examples
    assert Plain().start(b64(b"\0tim\0tanstaaftanstaaf")) == Credentials("tim", "", b"tanstaaftanstaaf")
    assert Plain().start(b64(b"Ursel\0Kurt\0xipj3plmq")) == Credentials("Kurt", "Ursel", b"xipj3plmq")


def test_plain_without_one_asks_with_an_empty_challenge():
    mechanism = Plain()
    assert mechanism.start(None) == Challenge(b"")
    assert mechanism.respond(b64(b"\0a\0b")) == Credentials("a", "", b"b")


def test_login_asks_for_name_and_password():
    mechanism = Login()
    assert mechanism.start(None) == Challenge(b64(b"Username:"))
    assert mechanism.respond(b64(b"user@kddi.example")) == Challenge(b64(b"Password:"))
    assert mechanism.respond(b64("パスワード".encode())) == Credentials("user@kddi.example", "", "パスワード".encode())


def test_login_takes_the_name_as_initial_response():
    mechanism = Login()
    assert mechanism.start(b64(b"a")) == Challenge(b64(b"Password:"))
    assert mechanism.respond(b64(b"b")) == Credentials("a", "", b"b")


def test_a_password_is_not_shown():
    assert "secret" not in repr(Credentials("a", "", b"secret"))


@pytest.mark.parametrize("mechanism", [Plain, Login])
def test_an_asterisk_cancels(mechanism):
    exchange = mechanism()
    exchange.start(None)
    with pytest.raises(CancelledError):
        exchange.respond(b"*")


@pytest.mark.parametrize(
    "line",
    [
        b"AGEAY=",
        b"AGEAYg",
        b"AGEA\nYg==",
        b" AGEAYg==",
        b"AGEAYh==",
        b"AGEAYg===",
        b"AG-AY_==",
        b"!",
        b"=",
        b"",
        b64(b"a\0b"),
        b64(b"\0a\0b\0c"),
        b64(b"\0\0b"),
        b64(b"\0a\0"),
        b64(b"\0\xff\0b"),
        b64(b"\0a\r\n\0b"),
        b64(b"a\nb\0c\0d"),
    ],
)
def test_a_plain_message_that_is_not_exact_is_refused(line):
    with pytest.raises(PeerError):
        Plain().respond(line)


def test_each_field_of_512_octets_is_taken_and_one_more_is_not():
    full = [b"z" * FIELD_MAX, b"c" * FIELD_MAX, b"p" * FIELD_MAX]
    line = b64(b"\0".join(full))
    assert len(line) == LINE_MAX
    assert Plain().respond(line).password == full[2]
    for at in range(3):
        fields = [b"z", b"c", b"p"]
        fields[at] = b"x" * (FIELD_MAX + 1)
        with pytest.raises(PeerError):
            Plain().respond(b64(b"\0".join(fields)))
    with pytest.raises(LineTooLong):
        Plain().respond(b"A" * (LINE_MAX + 4))


def test_an_empty_initial_response_is_empty_and_refused():
    for mechanism in (Plain(), Login()):
        with pytest.raises(PeerError):
            mechanism.start(b"=")


@given(st.sampled_from(sorted(MECHANISMS)), st.lists(st.binary() | st.binary().map(b64), max_size=4))
def test_random_lines_raise_nothing_but_peer_errors(name, lines):
    mechanism = MECHANISMS[name]()
    try:
        step = mechanism.start(lines[0] if lines else None)
        for line in lines[1:]:
            if isinstance(step, Credentials):
                break
            step = mechanism.respond(line)
    except PeerError:
        pass


@given(st.text(min_size=1, max_size=50).filter(str.isprintable), st.binary(min_size=1, max_size=50))
def test_credentials_come_back_as_sent(authcid, password):
    if b"\0" not in password:
        assert Plain().start(b64(b"\0" + authcid.encode() + b"\0" + password)) == Credentials(authcid, "", password)
