"""What a part's header says of it, and where its parts lie."""

import pytest

from bulkhead.wire.header import scan_fields
from bulkhead.wire.mime import PARAMETERS_MAX, STRING_MAX, Content, Parameters, parse_content, parse_parameters, scan


@pytest.mark.parametrize(
    ("value", "parameters"),
    [
        (b"a/b; c=d", ((b"c", b"d"),)),
        (b'a/b; c="d e"; f=g', ((b"c", b"d e"), (b"f", b"g"))),
        (b'a/b; c="d\\"e;"', ((b"c", b'd"e;'),)),
        (b'a/b; c="open', ((b"c", b"open"),)),
        (b"a/b;c = d ; e=f", ((b"c", b"d"), (b"e", b"f"))),
        (b"a/b; name=my file.pdf; x=y", ((b"name", b"my file.pdf"), (b"x", b"y"))),
        (b"text/plain; charset=us-ascii (Plain text)", ((b"charset", b"us-ascii"),)),
        (b"a/b; name=copy(1).pdf", ((b"name", b"copy(1).pdf"),)),
        (b"a/b; c=", ((b"c", b""),)),
        (b"a/b; c; d=e", ((b"d", b"e"),)),
        (b"a/b;;; c=d;", ((b"c", b"d"),)),
        # RFC 2231 section 4.1: kept piece by piece
        (
            b"a/b; title*0*=us-ascii'en'This%20is%20even%20more%20; title*1*=%2A%2A%2Afun; title*2=\"it!\"",
            (
                (b"title*0*", b"us-ascii'en'This%20is%20even%20more%20"),
                (b"title*1*", b"%2A%2A%2Afun"),
                (b"title*2", b"it!"),
            ),
        ),
        (b"a/b", ()),
    ],
)
def test_parameters_are_read(value: bytes, parameters: Parameters) -> None:
    assert parse_parameters(value) == parameters


def test_parameters_are_limited_in_number_and_length() -> None:
    assert len(parse_parameters(b"a/b" + b"; c=d" * (PARAMETERS_MAX + 1))) == PARAMETERS_MAX
    assert parse_parameters(b"a/b; c=" + b"d" * (STRING_MAX + 1)) == ((b"c", b"d" * STRING_MAX),)


def content(header: bytes) -> Content:
    return parse_content(header, scan_fields(header, 0, len(header)))


@pytest.mark.parametrize("value", [b"", b"text", b"/", b"text/", b"/plain", b"(x)", b'"text"/plain', b"multipart"])
def test_type_that_cannot_be_read_is_plain_text(value: bytes) -> None:
    assert content(b"Content-Type: " + value + b"; charset=utf-8\r\n") == Content()


def test_first_field_of_a_name_counts() -> None:
    assert content(b"Content-Type: a/b\r\nContent-Type: c/d\r\n").media == b"a"


def test_every_content_field_is_read() -> None:
    assert content(
        b"Content-Type: A/B; c=d\r\nContent-Transfer-Encoding: BASE64 (x)\r\nContent-ID: <i@d>\r\n"
        b"Content-Description: some\r\n text\r\nContent-MD5: m==\r\nContent-Disposition: attachment;\r\n filename=f\r\n"
        b"Content-Language: en, ja-JP\r\nContent-Location: u\r\n"
    ) == Content(
        b"A", b"B", ((b"c", b"d"),), b"BASE64", b"<i@d>", b"some text", b"m==", b"attachment", ((b"filename", b"f"),),
        (b"en", b"ja-JP"), b"u",
    )  # fmt: skip


def test_parts_of_a_digest_are_messages_unless_they_say_otherwise() -> None:
    root = scan(
        b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\ny\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\nz\r\n--b--\r\n"
    )
    assert [part.message is not None for part in root.children] == [True, False]


def test_bare_line_feeds_end_boundary_lines_too() -> None:
    data = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n"
    assert [data[part.body : part.end] for part in scan(data).children] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"a/b; c=d", b"d"),
        (b"a/b; C=d", b"d"),
        (b"a/b; c*=us-ascii'en'd%20e", b"d e"),
        (b"a/b; c*=d", b"d"),
        (b"a/b; c*1=e; c*0=d", b"de"),
        (b"a/b; c*0*=utf-8''d%2B; c*1=%41; c*2*=%41", b"d+%41A"),
        (b"a/b; c*1=e", None),
        (b"a/b; c*x=e", None),
        (b"a/b; cd=e", None),
        (b"a/b; c*0=x; c=d", b"d"),
    ],
)
def test_parameter_is_put_together_from_its_pieces(field: bytes, value: bytes | None) -> None:
    assert content(b"Content-Type: " + field + b"\r\n").parameter(b"c") == value


def test_boundary_in_pieces_is_used() -> None:
    data = b"Content-Type: multipart/mixed; boundary*0=b; boundary*1=c\r\n\r\n--bc\r\n\r\none\r\n--bc--"
    assert [data[part.body : part.end] for part in scan(data).children] == [b"one"]
