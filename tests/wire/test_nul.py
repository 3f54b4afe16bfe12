"""A message without NUL: what is encoded, and what cannot be."""

import email
import email.policy
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import Refused
from bulkhead.wire.nul import GROWTH, ROOM, without_nul

OCTETS = st.binary(max_size=300).map(lambda octets: octets.replace(b"--", b"\0"))


@given(st.lists(OCTETS, min_size=1, max_size=5), st.sampled_from([b"7bit", b"8BIT", b"binary", b""]))
def test_every_part_has_its_octets_once_decoded(contents: list[bytes], encoding: bytes) -> None:
    field = b"Content-Transfer-Encoding: " + encoding + b"\r\n" if encoding else b""
    parts = b"".join(b"--x\r\n" + field + b"Content-Type: a/b\r\n\r\n" + octets + b"\r\n" for octets in contents)
    message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + parts + b"--x--\r\n"
    encoded = without_nul(message)
    assert b"\0" not in encoded and len(encoded) <= len(message) * (1 + GROWTH[0] / GROWTH[1]) + ROOM
    found = email.message_from_bytes(encoded, policy=email.policy.default.clone(linesep="\r\n")).get_payload()
    for octets, part in zip(contents, found, strict=True):
        if b"\0" in octets:
            assert part["Content-Transfer-Encoding"] == "base64" and part.get_payload(decode=True) == octets


def test_an_attached_message_is_encoded_within() -> None:
    inner = b"Subject: x\r\nContent-Transfer-Encoding:\r\n binary\r\nX: y\r\n\r\na\0"
    encoded = without_nul(b"Content-Type: message/rfc822\r\n\r\n" + inner)
    assert encoded.endswith(b"\r\n\r\nSubject: x\r\nContent-Transfer-Encoding: base64\r\nX: y\r\n\r\nYQA=\r\n")


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: \0\r\n\r\nx",
        b"Content-Transfer-Encoding: base64\r\n\r\nAA\0A",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n\0\r\n--x\r\n\r\na\r\n--x--\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\na\0",
        b"\0",
    ],
)
def test_nul_where_no_encoding_can_be_is_refused(message: bytes) -> None:
    with pytest.raises(Refused, match="NUL"):
        without_nul(message)


@given(
    st.lists(st.sampled_from([b"\r\n", b"\0", b"--x", b"Content-Type: multipart/mixed; boundary=x", b"a"]), max_size=30)
)
def test_what_is_encoded_never_holds_nul(tokens: list[bytes]) -> None:
    with suppress(Refused):
        assert b"\0" not in without_nul(b"".join(tokens))
