"""What is wiped is gone where it lay, and nothing else is."""

import secrets

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.boundary.codec import FrameKind, FrameReader, encode, frame
from bulkhead.boundary.messages.to_auth import Authenticate, ChangePassword, SetPassword
from bulkhead.boundary.messages.to_keyring import AddHalf, CheckCached, CheckHalf
from bulkhead.wipe import cut_head, join_tail, wipe, wipe_fields, wipe_text


def test_the_octets_named_are_zeros_afterwards_and_the_others_are_as_they_were() -> None:
    data = secrets.token_bytes(64)
    before = bytes(bytearray(data))
    wipe(data, 8, 24)
    assert data == before[:8] + bytes(16) + before[24:]
    wipe(data)
    assert data == bytes(64)


@given(st.binary(min_size=1, max_size=80), st.lists(st.binary(max_size=40), max_size=6), st.integers(0, 400))
def test_what_is_cut_and_joined_is_what_came(head: bytes, tails: list[bytes], at: int) -> None:
    buffer, whole = bytearray(head), b"".join((head, *tails))
    for tail in tails:
        join_tail(buffer, tail)
    assert buffer == whole
    end = min(at, len(whole))
    assert (cut_head(buffer, end), buffer) == (whole[:end], whole[end:])


def test_of_a_long_rest_only_the_head_is_overwritten_and_nothing_is_copied() -> None:
    buffer = bytearray(b"secret\n" + bytes(range(256)) * 32)
    assert cut_head(buffer, 7) == b"secret\n"
    assert buffer == bytes(range(256)) * 32


def test_a_text_of_ascii_is_overwritten_and_another_is_left() -> None:
    text, other = "".join(("AUTH PLAIN ", "c2VjcmV0")), "".join(("gr\u00fc", "n"))
    wipe_text(text)
    wipe_text(other)
    wipe_text("")
    assert text == "\0" * 19
    assert other == "gr\u00fcn"


def test_nothing_and_single_octets_which_all_share_are_left_alone() -> None:
    wipe(None)
    wipe(b"")
    one = bytes([65])
    wipe(one)
    assert one == b"A" == bytes([65])


def test_a_frame_is_wiped_where_it_was_read_and_the_next_one_is_not() -> None:
    for cut in (0, 5):  # read whole, or with a rest that was kept
        stream = frame(FrameKind.REQUEST, 1, b"secret!!") + frame(FrameKind.REQUEST, 2, b"next")
        reader = FrameReader()
        for piece in (stream[:cut], stream[cut:]):
            if piece:
                reader.receive_data(piece)
                received = reader.next_frame()
        assert received is not None and received.payload == b"secret!!"
        reader.wipe_last()
        assert b"secret!!" not in bytes(reader._inbox)
        following = reader.next_frame()
        assert following is not None and following.payload == b"next"


def test_every_message_with_a_password_or_what_is_made_of_it_names_those_fields_as_secrets() -> None:
    named = {
        message.__name__: message.secrets
        for message in (Authenticate, SetPassword, CheckHalf, CheckCached, AddHalf, ChangePassword)
    }
    assert named == {
        "Authenticate": ("password",), "SetPassword": ("password",), "CheckHalf": ("tight", "wrap_key", "x"),
        "CheckCached": ("x",), "AddHalf": ("tight", "wrap_key", "main_tight", "main_wrap_key"),
        "ChangePassword": ("old", "new"),
    }  # fmt: skip


def test_fields_of_a_decoded_message_are_wiped_and_what_it_was_decoded_from_is_not() -> None:
    sent = encode(CheckCached(secrets.token_bytes(16), 0, secrets.token_bytes(32), 1, secrets.token_bytes(16)))
    message = msgspec.msgpack.decode(sent, type=CheckCached)
    account = bytes(bytearray(message.account))
    wipe_fields(message, message.secrets)
    assert message.x == bytes(32) and message.account == account
    assert msgspec.msgpack.decode(sent, type=CheckCached).x != bytes(32)
