"""IMAP4rev2 (RFC 9051) and UTF8=ACCEPT (RFC 6855) on real sessions."""

import pytest
from tests.access.cell import Account, Cell, Raw, message


@pytest.fixture
def raw(cell: Cell, account: Account) -> Raw:
    cell.deliver(account, *(message(str(n)) for n in range(1, 4)))
    raw = cell.raw(account)
    assert raw.command("ENABLE IMAP4rev2")[0] == b"* ENABLED IMAP4REV2\r\n"
    return raw


def test_rev2_select_tells_the_name_and_nothing_recent(cell: Cell, account: Account, raw: Raw) -> None:
    text = b"".join(raw.command("SELECT inbox"))
    assert b'* LIST () "/" INBOX\r\n' in text and b"* 3 EXISTS\r\n" in text and b"[UIDNEXT 4]" in text
    assert b"RECENT" not in text.upper() and b"UNSEEN" not in text
    assert b"RECENT" not in b"".join(raw.command("FETCH 1:* FLAGS")).upper()
    cell.deliver(account, message())
    assert raw.command("NOOP")[:-1] == [b"* 4 EXISTS\r\n"]
    assert raw.command("EXAMINE Trash")[0].startswith(b"* OK [CLOSED] ")


def test_rev2_search_is_always_answered_as_esearch(raw: Raw) -> None:
    raw.command("SELECT INBOX")
    assert raw.command("SEARCH 2:3")[0] == b'* ESEARCH (TAG "T4") ALL 2:3\r\n'
    assert raw.command("UID SEARCH SUBJECT none")[0] == b'* ESEARCH (TAG "T5") UID\r\n'
    assert raw.command("SEARCH RETURN (COUNT) CHARSET UTF-8 SUBJECT 2")[0] == b'* ESEARCH (TAG "T6") COUNT 1\r\n'


def test_rev2_names_are_utf8_and_one_in_another_form_is_told_as_it_is_kept(raw: Raw) -> None:
    assert b" OK" in raw.command('CREATE "Entwürfe"')[-1]
    assert '* LIST () "/" "Entwürfe" ("OLDNAME" ("Entwu\u0308rfe"))\r\n'.encode() in raw.command(
        'SELECT "Entwu\u0308rfe"'
    )


def test_octets_with_nul_are_appended_and_come_back_decoded(raw: Raw) -> None:
    header = b"Subject: x\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    raw.send(b"a APPEND INBOX ~{%d+}\r\n%s\r\n" % (len(header) + 4, header + b"\0-\xe4\n"))
    assert b"a OK [APPENDUID " in raw.until(b"a ")[-1]
    raw.command("SELECT INBOX")
    lines = raw.command("FETCH 4 (BINARY.PEEK[1] BINARY.SIZE[1] BODY.PEEK[1])")
    assert lines[0].startswith(b"* 4 FETCH (BINARY[1] ~{4}\r\n\0-\xe4\n BINARY.SIZE[1] 4 BODY[1] {10}\r\nAC3kCg==\r\n")
    assert b"\0" not in raw.command("FETCH 4 BODY.PEEK[]")[0]


@pytest.mark.parametrize("text", [b"Subject: \0\r\n\r\nx", b"Content-Transfer-Encoding: base64\r\n\r\nAA\0A", b"\0"])
def test_nul_that_no_encoding_can_hold_is_refused(raw: Raw, text: bytes) -> None:
    raw.send(b"a APPEND INBOX ~{%d+}\r\n%s\r\n" % (len(text), text))
    assert raw.until(b"a ")[-1].startswith(b"a NO [UNKNOWN-CTE] ")


def test_utf8_is_accepted_in_names_and_messages(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    assert raw.command("ENABLE UTF8=ACCEPT")[0] == b"* ENABLED UTF8=ACCEPT\r\n"
    assert b" OK" in raw.command('CREATE "日本語"')[-1]
    body = "From: 用@example.jp\r\nSubject: 件名\r\n\r\n本文\r\n".encode()
    raw.send('a APPEND "日本語" UTF8 (~{%d+}\r\n'.encode() % len(body) + body + b")\r\n")
    assert b"a OK [APPENDUID " in raw.until(b"a ")[-1]
    assert b" OK [READ-WRITE]" in raw.command('SELECT "日本語"')[-1]
    assert raw.command('SEARCH SUBJECT "件名"')[0] == b"* SEARCH 1\r\n"
    assert b" BAD " in raw.command("SEARCH CHARSET UTF-8 ALL")[-1]
    assert "用@example.jp".encode() not in raw.command("FETCH 1 FLAGS")[0]
    assert body in raw.command("FETCH 1 BODY[]")[0]
    plain = cell.raw(account)  # a client that knows nothing of it reads the same octets
    assert b" OK [READ-WRITE]" in plain.command("SELECT &ZeVnLIqe-")[-1]
    assert body in plain.command("FETCH 1 BODY[]")[0]
    assert b"{6}\r\n" + "件名".encode() in plain.command("FETCH 1 ENVELOPE")[0]


def test_names_in_utf8_are_no_names_before_it_is_enabled(cell: Cell, account: Account) -> None:
    raw = cell.raw(account)
    assert b" BAD " in raw.command('CREATE "日本語"')[-1]
    raw.command("ENABLE UTF8=ACCEPT")
    assert b" BAD " in raw.command(b'CREATE "\xff"')[-1]


@pytest.mark.parametrize("name", ["IMAP4rev2", "UTF8=ACCEPT"])
def test_names_are_listed_in_utf8_once_that_is_enabled(cell: Cell, account: Account, name: str) -> None:
    raw = cell.raw(account)
    assert f" {name} ".encode() in raw.command("CAPABILITY")[0]
    raw.command("CREATE &ZeVnLIqe-/a")
    raw.command("SUBSCRIBE &ZeVnLIqe-/a")
    assert b" &ZeVnLIqe-/a\r\n" in raw.command('LIST "" *a')[0]
    raw.command(f"ENABLE {name}")
    for command in ('LIST "日本語/" *', 'LSUB "" "日本語/%"'):
        assert raw.command(command)[0].endswith(' "/" "日本語/a"\r\n'.encode()), command
    assert raw.command('STATUS "日本語/a" (MESSAGES SIZE)')[0] == '* STATUS "日本語/a" (MESSAGES 0 SIZE 0)\r\n'.encode()
    assert raw.command('GETQUOTAROOT "日本語/a"')[0] == '* QUOTAROOT "日本語/a" ""\r\n'.encode()


def test_rev2_tells_the_name_that_a_mailbox_got_where_it_was_written_in_another_form(raw: Raw) -> None:
    kept = '* LIST () "/" "é" ("OLDNAME" ("e\u0301"))\r\n'.encode()
    assert raw.command('CREATE "e\u0301"')[0] == kept
    assert len(raw.command('RENAME "é" b')) == 1
    assert raw.command('RENAME b "e\u0301"')[0] == kept
