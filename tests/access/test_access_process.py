"""The access process: certificate and limits taken over while sessions live, and a log that names nobody."""

import contextlib
import copy
import logging
import ssl
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.access.cell import NAME, PASSWORD, Account, Cell, message

from bulkhead.access import fetch
from bulkhead.cli.certificates import issue, make_ca


def test_a_reload_gives_new_connections_the_new_certificate_and_limits(cell: Cell, account: Account) -> None:
    old = cell.raw(account)
    ca = make_ca("Another CA", now=datetime.now(UTC))
    settings: dict[str, Any] = copy.deepcopy(cell.settings)
    settings["access"] |= {"append_bytes_max": 100_000, "errors_max": 1}
    (cell.root / "access" / "gate.pem").write_text(issue(ca, [NAME], ["127.0.0.1"], now=datetime.now(UTC)))

    async def reload(to: dict[str, Any]) -> None:
        with contextlib.chdir(cell.root / "access"):
            await cell.services["access"].reload(to)

    cell.front.run(reload(settings))
    try:
        with pytest.raises(ssl.SSLCertVerificationError):
            cell.raw()
        cell.client_tls = ssl.create_default_context(cadata=ca.pem)
        raw = cell.raw(account)
        assert b"NO [TOOBIG]" in raw.command("APPEND INBOX {100001}")[-1]
        assert b" OK " in old.command("NOOP")[-1]
    finally:
        cell.client_tls = ssl.create_default_context(cadata=ca.pem)
        cell.front.run(reload(cell.settings))


def test_a_fault_of_ours_is_answered_logged_by_place_and_ends_no_session(
    cell: Cell, account: Account, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cell.deliver(account, message("private subject", b"private body\r\n"))
    raw, pop = cell.raw(account), cell.pop(account)
    raw.command("SELECT INBOX")

    def broken(*_: Any) -> None:
        raise RuntimeError("private subject of " + account.address)

    monkeypatch.setattr(fetch, "in_whole_batches", broken)
    with caplog.at_level(logging.DEBUG):
        assert b"NO [SERVERBUG]" in raw.command("FETCH 1 BODY[]")[-1]
        assert b" OK " in raw.command("FETCH 1 FLAGS")[-1]
        assert pop.retr(1)
        cell.raw().command(f"LOGIN {account.address} wrong-secret")
    assert "RuntimeError at " in caplog.text
    for secret in (account.address, "private", PASSWORD, "wrong-secret"):
        assert secret not in caplog.text


def test_sessions_that_left_leave_nothing_behind(cell: Cell, account: Account) -> None:
    worker = cell.services["access"].worker
    for raw in [cell.raw(account) for _ in range(10)]:
        raw.command("SELECT INBOX")
        raw.send(b"Z LOGOUT\r\n")
        raw.until(b"Z OK")
        assert raw.line() == b""
    pop = cell.pop(account)
    pop.quit()
    for _ in range(100):
        if account.id not in {live.mailboxes.account.id for live in imap_sessions(worker)}:
            break
        cell.counts()
    assert cell.pop(account).stat()[0] == 0
    assert account.id not in {live.mailboxes.account.id for live in imap_sessions(worker)}


def imap_sessions(worker: Any) -> list[Any]:
    return [session for session in worker._live.values() if hasattr(session, "mailboxes")]
