"""Each dialect as its server writes it, and files that no server wrote."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.errors import PeerError
from bulkhead.imports.dialects import DIALECTS, DialectReader
from bulkhead.imports.lines import LINE_MAX, LineSplitter
from bulkhead.imports.rows import FRAME_MAX, AccountLine, BadLine, FileEnd, FrameReader, Message, write_frame

SSHA = "{SSHA}H/zrDv8FXUu1JmwvVYijfrYEF34jVZcO"
SHA512 = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
PBKDF2 = (
    "$pbkdf2-sha512$25000$LyWE0HrP2RsjZCxlDGFMKQ$1vC5Ohk2mCS9b6akqsEfgeb4l74SF8XjH.SljXf3dMLHdlY1GK9ojcCKts6/asR4aPqBmk"
    "74nCDddU3tvSCJvw"
)
MIB, GIB = 1 << 20, 1 << 30


def read(data: bytes, dialect: str = "auto", skip: int = 0, chunk: int = 1 << 16) -> list[AccountLine | BadLine]:
    splitter, reader = LineSplitter(), DialectReader(dialect, skip)
    events: list[AccountLine | BadLine] = []
    for start in range(0, len(data), chunk):
        for line in splitter.receive(data[start : start + chunk]):
            events += reader.receive(line)
    for line in splitter.end():
        events += reader.receive(line)
    return [*events, *reader.end()]


def told(data: bytes, dialect: str = "auto") -> list[tuple[object, ...]]:
    """(line, address, scheme, quota, status) of an account, (line, reason) of another line."""
    return [
        (e.line, e.address, e.scheme, e.quota_bytes, e.status) if isinstance(e, AccountLine) else (e.line, e.reason)
        for e in read(data, dialect)
    ]


def test_csv_has_a_header_or_the_usual_columns() -> None:
    data = (
        "\ufeffAddress,name,password,quota,status\r\n"
        f"a@b.example,A,{SSHA},1G,active\r\n"
        '"c@b.example",C,"with, comma and ""quotes""",,suspended\r\n'
        "\r\n"
        "d@b.example,D,{PLAIN}{x},5,dormant\r\n"
    )
    assert told(data.encode()) == [
        (2, "a@b.example", "sha1", GIB, "active"),
        (3, "c@b.example", "plain", 0, "suspended"),
        (5, "d@b.example", "plain", 5, "dormant"),
    ]
    assert [e.octets for e in read(data.encode())[1:] if isinstance(e, AccountLine)] == [
        b'with, comma and "quotes"', b"{x}",
    ]  # fmt: skip
    assert told(b"a@b.example,secret\nc@b.example,secret,1M") == [
        (1, "a@b.example", "plain", 0, "active"), (2, "c@b.example", "plain", MIB, "active"),
    ]  # fmt: skip


def test_json_lines_have_known_keys_and_say_what_is_left_out() -> None:
    lines = [
        {"address": "a@b.example", "password": SSHA, "quota_bytes": 7, "status": "suspended"},
        {"address": "c@b.example", "password": "clear", "aliases": ["x@b.example"]},
        {"address": "d@b.example", "password": "clear", "colour": "red"},
    ]
    events = read("\n".join(map(json.dumps, lines)).encode())
    assert [e.line for e in events] == [1, 2, 3]
    assert isinstance(events[1], AccountLine)
    assert "without its aliases" in events[1].note
    assert isinstance(events[2], BadLine)
    assert "red" not in events[2].reason


def test_passwd_files_of_dovecot() -> None:
    data = f"""# comment
a@b.example:{SSHA}:1000:1000::/home/a::userdb_quota_rule=*:storage=1G
c@b.example:{{PLAIN}}se cret:::::
d@b.example:{SHA512}::::::userdb_quota_rule=*:storage=2048
e@b.example:{{SCRAM-SHA-256}}4096,abc=,def=,ghi=::::::
f:{SSHA}::::::
g@b.example
"""
    assert told(data.encode(), "dovecot") == [
        (2, "a@b.example", "sha1", GIB, "active"),
        (3, "c@b.example", "plain", 0, "active"),
        (4, "d@b.example", "sha512-crypt", 2 * MIB, "active"),
        (5, read(data.encode())[3].reason),  # type: ignore[union-attr]  # a refusal
        (6, "has no valid address, user@domain"),
        (7, "is no line of a passwd-file: user:password:..."),
    ]
    assert "SCRAM verifier" in read(data.encode())[3].reason  # type: ignore[union-attr]  # a refusal


def test_the_table_mailbox_of_postfix_admin() -> None:
    head = "username,password,name,maildir,quota,local_part,domain,created,modified,active\n"
    row = '"a@b.example","{}","A, B","b.example/a/","1048576","a","b.example","2020","2020","{}"\n'
    bcrypt = "$2y$05$11ipvo5dR6CwkzwmhwM26OXgzXwhV2PyPuLV.Qi31ILcRcThQpEiW"
    data = head + row.format(bcrypt, 1) + row.format(SHA512, 0) + row.format("clear", 1)
    assert told(data.encode()) == [
        (2, "a@b.example", "bcrypt", MIB, "active"),
        (3, "a@b.example", "sha512-crypt", MIB, "suspended"),
        (4, "has a password that names no scheme; this dialect has digests only"),
    ]


def test_an_export_of_modoboa() -> None:
    data = (
        "domain; b.example; 0; 0; True\n"
        f"account; a@b.example; {{SHA512-CRYPT}}{SHA512}; A; B; True; SimpleUsers; a@b.example; 10\n"
        f"account; c; {SSHA}; C; D; False; SimpleUsers; c@b.example; 0\n"
        "alias; x@b.example; True; a@b.example\n"
    )
    assert told(data.encode()) == [
        (1, "is no account but domain, which is not imported"),
        (2, "a@b.example", "sha512-crypt", 10 * MIB, "active"),
        (3, "c@b.example", "sha1", 0, "suspended"),
        (4, "is no account but alias, which is not imported"),
    ]


def test_users_of_wildduck() -> None:
    users = [
        {"_id": {"$oid": "5"}, "username": "a", "address": "a@b.example", "password": PBKDF2,
         "quota": {"$numberLong": "1073741824"}, "disabled": False},
        {"_id": {"$oid": "6"}, "username": "c", "address": "c@b.example", "password": PBKDF2, "suspended": True},
        {"_id": {"$oid": "7"}, "username": "d", "address": "d@b.example", "password": "clear"},
        {"_id": {"$oid": "8"}, "username": "e", "address": "e@b.example", "password": None},
    ]  # fmt: skip
    got = told("\n".join(map(json.dumps, users)).encode())
    assert got[:2] == [
        (1, "a@b.example", "pbkdf2-sha512", GIB, "active"), (2, "c@b.example", "pbkdf2-sha512", 0, "suspended"),
    ]  # fmt: skip
    assert [len(row) for row in got[2:]] == [2, 2]


def test_ldif_and_zmprov_of_zimbra() -> None:
    ssha512 = "{SSHA512}" + base64.b64encode(bytes(64) + b"salt").decode()
    coded = base64.b64encode(ssha512.encode()).decode()
    ldif = (
        "version: 1\n\ndn: uid=a,ou=people,dc=b,dc=example\nmail: a@b.example\nmail: alias@b.example\n"
        f"userPassword:: {coded[:40]}\n {coded[40:]}\nzimbraMailQuota: 1048576\nzimbraAccountStatus: active\n\n"
        f"dn: uid=c\nzimbraMailDeliveryAddress: c@b.example\nuserPassword: {ssha512}\nzimbraAccountStatus: closed\n\n"
        "dn: uid=d\nmail: d@b.example\n"
    )
    assert told(ldif.encode()) == [
        (3, "a@b.example", "sha512", MIB, "active"),
        (11, "has a status that is not imported: neither active, suspended nor dormant"),
        (16, "has no password; this account needs a new password"),
    ]
    zmprov = (
        f"# name a@b.example\nuserPassword: {ssha512}\nzimbraAccountStatus: locked\nzimbraMailAlias: x@b.example\n"
        f"# name c@b.example\nuserPassword: {ssha512}\nzimbraNotes: a\n"
    )
    assert told(zmprov.encode()) == [
        (1, "a@b.example", "sha512", 0, "suspended"), (5, "c@b.example", "sha512", 0, "active"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"a@b.example,", "no password"),
        (b"a@b.example", "1 fields"),
        (b"a@b.example,pass\0word", "NUL"),
        (b"a@b.example," + b"x" * 1025, "1 to 1024 octets"),
        (b"a@b.example," + b"x" * (1 << 20), "longer than 16384 octets"),
        (b"a@b.example,one,two,three,four", "5 fields and not 4"),
        (b'a@b.example,"no end', "quote"),
        (b'"a@b.example"x,secret', "quote"),
        (b"a@b@c.example,secret", "no valid address"),
        (b"@b.example,secret", "no valid address"),
        (b"a\xff@b.example,secret", "no valid address"),
        (b"a@b.example,secret,many", "quota"),
        (b"a@b.example,secret,99999999999G", "quota above"),
        (b"a@b.example,secret,1,deleted", "status"),
        (b"a@b.example,sec\rret", "quote|line"),
    ],
)
def test_a_line_that_is_no_account_is_told_by_its_number_and_the_next_one_is_read(line: bytes, why: str) -> None:
    import re

    events = read(b"first@b.example,secret,1\n" + line + b"\nlast@b.example,secret\n", "csv")
    assert [(e.line, type(e)) for e in events] == [(1, AccountLine), (2, BadLine), (3, AccountLine)]
    assert isinstance(events[1], BadLine)
    assert re.search(why, events[1].reason)
    assert "secret" not in events[1].reason
    assert "xxx" not in events[1].reason


def test_octets_of_a_password_come_through_whatever_they_are() -> None:
    password = bytes(b for b in range(1, 256) if b not in b'\r\n",')
    (event,) = read(b"a@b.example," + password, "csv")
    assert isinstance(event, AccountLine)
    assert event.octets == password


def test_a_run_that_goes_on_skips_lines_and_still_knows_the_header() -> None:
    data = b"password,address\n" + b"".join(b"secret,u%d@b.example\n" % i for i in range(10))
    assert [e.line for e in read(data, skip=5)] == list(range(6, 12))
    ldif = b"\n".join(b"dn: uid=%d\nmail: u%d@b.example\nuserPassword: {PLAIN}x\n" % (i, i) for i in range(4))
    assert [e.line for e in read(ldif, skip=5)] == [9, 13]


FILES = [
    b"address,password\r\na@b.example,{PLAIN}x\r\nbad\r\n" + b"y" * (LINE_MAX + 9) + b"\nc@b.example,x",
    b"\xef\xbb\xbfdn: uid=a\nmail: a@b.example\nuserPassword:: e1BMQUlOfXg=\n\n# name c@b.example\nuserPassword: x\n",
]


@pytest.mark.parametrize("data", FILES)
def test_accounts_do_not_depend_on_how_octets_are_split(data: bytes) -> None:
    whole = read(data)
    assert len(whole) >= 2
    for chunk in (1, 2, 3, 7, 4096):
        assert read(data, chunk=chunk) == whole


@given(st.binary(max_size=400), st.sampled_from(DIALECTS), st.integers(1, 50))
def test_any_octets_are_accounts_and_refusals_that_fit_a_frame(data: bytes, dialect: str, chunk: int) -> None:
    for event in read(data, dialect, chunk=chunk):
        assert len(write_frame(event)) <= FRAME_MAX
        assert list(FrameReader().receive(write_frame(event))) == [event]


@given(
    st.lists(st.sampled_from([
        "a@b.example", ",", ":", ";", '"', "{SSHA}", "{", "}", "\n", " ", "userPassword:: ", "mail: ", "dn: x",
        "account",
        '{"address": "a@b.example", "password": "x"}', "=", "1G", "\ufeff", "# name ", "$6$",
    ]), max_size=40),
    st.sampled_from(DIALECTS),
)  # fmt: skip
def test_any_mixture_of_what_files_are_made_of_is_read(parts: list[str], dialect: str) -> None:
    for event in read("".join(parts).encode(), dialect):
        assert len(write_frame(event)) <= FRAME_MAX


@given(st.binary(max_size=200), st.integers(1, 20))
def test_frames_are_messages_or_a_peer_error_and_nothing_else(data: bytes, chunk: int) -> None:
    frames = FrameReader()
    try:
        for start in range(0, len(data), chunk):
            list(frames.receive(data[start : start + chunk]))
    except PeerError:
        pass


def test_frames_come_back_however_they_are_split() -> None:
    messages: list[Message] = [BadLine(1, 2, "why"), FileEnd(1, "csv"), *read(b"a@b.example,secret")]
    data = b"".join(map(write_frame, messages))
    for chunk in range(1, len(data)):
        frames = FrameReader()
        got = [m for start in range(0, len(data), chunk) for m in frames.receive(data[start : start + chunk])]
        assert got == messages
        assert frames.is_empty
