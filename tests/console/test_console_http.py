"""HTTP as the console takes it: bytes however split, limits at and past them, what smuggles, random bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkhead.console.http import BODY_MAX, FIELDS_MAX, HEAD_MAX, TARGET_MAX, HttpError, HttpReceiver, HttpRequest
from bulkhead.errors import PeerError

HOST = b"Host: console.kddi.example\r\n"
GET = b"GET /v1/status?x=1 HTTP/1.1\r\n" + HOST + b"Authorization: Bearer abc\r\n\r\n"
POST = b"POST /v1/bulk HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /v1/bulk HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"


def requests_of(*parts: bytes) -> list[HttpRequest]:
    receiver, found = HttpReceiver(), []
    for part in parts:
        if part:
            receiver.receive_data(part)
        while (request := receiver.next_event()) is not None:
            found.append(request)
            receiver.answer(200, [], b"{}", last=False)
            assert receiver.begin_next()
    return found


def refusal(data: bytes) -> tuple[int, str]:
    with pytest.raises(HttpError) as error:
        requests_of(data)
    return error.value.status, error.value.code


def test_requests_do_not_depend_on_how_bytes_are_split() -> None:
    stream = GET + POST + CHUNKED + GET
    whole = requests_of(stream)
    assert [(one.method, one.path, one.body) for one in whole] == [
        ("GET", "/v1/status", b""), ("POST", "/v1/bulk", b"hello"), ("POST", "/v1/bulk", b"hello"),
        ("GET", "/v1/status", b""),
    ]  # fmt: skip
    assert whole[0].query == "x=1" and whole[0].fields["authorization"] == "Bearer abc"
    for cut in range(len(stream)):
        assert requests_of(stream[:cut], stream[cut:]) == whole
    assert requests_of(*(stream[at : at + 1] for at in range(len(stream)))) == whole


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length : 5\r\n",
        b"Content-Length:\x0b5\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n",
        b"Host: other.example\r\n",
        b"X: a\x00b\r\n",
        b"X\xff: a\r\n",
    ],
)
def test_what_smuggles_a_request_ends_the_connection(fields: bytes) -> None:
    receiver = HttpReceiver()
    receiver.receive_data(b"POST /v1/bulk HTTP/1.1\r\n" + HOST + fields + b"\r\nhello" + GET)
    with pytest.raises(HttpError) as error:
        receiver.next_event()
        receiver.next_event()
    assert error.value.status in (400, 501)
    answer = receiver.answer(error.value.status, [], b"", last=False)
    assert b"connection: close" in answer.lower() and not receiver.begin_next()


def test_one_length_said_twice_is_one_length() -> None:
    """RFC 9112 section 6.3 allows it; nobody behind us reads the request again."""
    stream = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 5\r\n\r\nhello" + GET
    assert [one.body for one in requests_of(stream)] == [b"hello", b""]


def test_each_limit_at_it_and_past_it() -> None:
    long = b"/" + b"a" * (TARGET_MAX - 1)
    assert requests_of(b"GET " + long + b" HTTP/1.1\r\n" + HOST + b"\r\n")[0].path == long.decode()
    assert refusal(b"GET " + long + b"a HTTP/1.1\r\n" + HOST + b"\r\n") == (414, "too-long")
    many = b"".join(b"X%d: 1\r\n" % number for number in range(FIELDS_MAX - 1))
    assert len(requests_of(b"GET / HTTP/1.1\r\n" + HOST + many + b"\r\n")[0].fields) == FIELDS_MAX
    assert refusal(b"GET / HTTP/1.1\r\n" + HOST + many + b"Y: 1\r\n\r\n") == (431, "too-many-fields")
    assert refusal(b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * HEAD_MAX)[0] == 431
    length = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n"
    assert len(requests_of(length % BODY_MAX, b"a" * BODY_MAX)[0].body) == BODY_MAX
    assert refusal(length % (BODY_MAX + 1)) == (413, "too-large")
    receiver = HttpReceiver()
    receiver.receive_data(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + b"a" * 65536 + b"\r\n"
    with pytest.raises(HttpError) as error:
        for _ in range(BODY_MAX // 65536 + 1):
            receiver.receive_data(piece)
            receiver.next_event()
    assert error.value.status == 413


def test_other_versions_absolute_targets_bodies_of_get_and_wild_targets_are_refused() -> None:
    assert refusal(b"GET / HTTP/1.0\r\n" + HOST + b"\r\n")[0] == 505
    assert refusal(b"GET / HTTP/2.0\r\n" + HOST + b"\r\n")[0] in (400, 505)
    assert refusal(b"GET http://a/ HTTP/1.1\r\n" + HOST + b"\r\n") == (400, "bad-target")
    assert refusal(b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n") == (400, "bad-target")
    assert refusal(b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na") == (400, "unexpected-body")
    assert refusal(b"GET / HTTP/1.1\r\n\r\n")[0] == 400
    assert refusal(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n")[0] == 400


def test_a_client_that_waits_for_100_is_told_once_and_only_where_its_head_is_good() -> None:
    receiver = HttpReceiver()
    receiver.receive_data(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert receiver.next_event() is None and receiver.wants_continue() and not receiver.wants_continue()
    assert receiver.go_on().startswith(b"HTTP/1.1 100 ")
    receiver.receive_data(b"ok")
    request = receiver.next_event()
    assert request is not None and request.body == b"ok"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([GET, POST, CHUNKED, HOST, b"\r\n"])), max_size=6))
def test_random_bytes_raise_peer_errors_only(parts: list[bytes]) -> None:
    try:
        requests_of(*parts)
    except PeerError as error:
        assert isinstance(error, HttpError) and 400 <= error.status < 600
