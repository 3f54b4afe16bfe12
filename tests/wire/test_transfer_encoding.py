"""Content-Transfer-Encoding undone, however the octets are split."""

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.transfer_encoding import DECODERS, LINE_KEPT


def decode(encoding: str, *pieces: bytes) -> bytes:
    decoder = DECODERS[encoding]()
    return b"".join(decoder.feed(piece) for piece in pieces) + decoder.finish()


@pytest.mark.parametrize("encoding", ["7bit", "base64", "quoted-printable"])
@given(st.binary(max_size=300) | st.text("=AQ\r\n \t+x", max_size=60).map(str.encode), st.data())
def test_content_does_not_depend_on_how_octets_are_split(encoding: str, data: bytes, random: st.DataObject) -> None:
    at = random.draw(st.integers(0, len(data)))
    whole = decode(encoding, data)
    assert decode(encoding, data[:at], data[at:]) == whole
    assert decode(encoding, *(data[at : at + 1] for at in range(len(data)))) == whole


@given(st.binary(max_size=500))
def test_base64_comes_back(data: bytes) -> None:
    assert decode("base64", base64.encodebytes(data)) == data
    assert decode("base64", base64.b64encode(data).rstrip(b"=")) == data


def test_what_is_no_base64_is_passed_over() -> None:
    assert decode("base64", b"aG Vs\r\n!bG8=\r\n") == b"hello"
    assert decode("base64", b"aGk=aGk=") == b"hihi"
    assert decode("base64", b"A") == b"" and decode("base64", b"====") == b""


@given(st.binary(max_size=500))
def test_quoted_printable_comes_back(data: bytes) -> None:
    assert decode("quoted-printable", binascii.b2a_qp(data, istext=False)) == data


def test_quoted_printable_as_it_is_met() -> None:
    assert decode("quoted-printable", b"caf=C3=A9 =\r\nau lait \t\r\n=zz=3D=") == b"caf\xc3\xa9 au lait\r\n=zz="
    assert decode("quoted-printable", b"a=20\r\n") == b"a \r\n"


def test_a_line_without_end_is_not_kept_whole() -> None:
    decoder = DECODERS["quoted-printable"]()
    assert len(b"".join(decoder.feed(b"=41" * 1000) for _ in range(100))) > 100_000 - LINE_KEPT
