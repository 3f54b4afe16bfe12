"""Aliases, groups, forwards and switches in a running cell: mail by SMTP, logins by IMAP."""

import asyncio
import imaplib
import smtplib
import ssl
import time

import pytest
from tests.cli.conftest import Live

from bulkhead.boundary.messages.to_auth import MatchAuth
from bulkhead.boundary.messages.to_keyring import MatchKeyring
from bulkhead.cli.account_steps import require_account, set_halves
from bulkhead.cli.road import open_road
from bulkhead.config import load_installation
from bulkhead.courier.notices import SUBJECTS
from bulkhead.demo.endpoints import Endpoint, endpoints_of
from bulkhead.errors import TemporaryFailure
from bulkhead.holder.account_states import AccountState
from bulkhead.identifiers import AccountId, parse_address

pytestmark = pytest.mark.timeout(120)
PASSWORD = "correct horse battery"
A, B, TEAM, ALIAS = "routes-a@kddi.example", "routes-b@kddi.example", "routes@kddi.example", "routes-x@kddi.example"


def _endpoint(live: Live) -> Endpoint:
    return endpoints_of(load_installation(live.directory))["kddi"]


def _imap(live: Live) -> imaplib.IMAP4_SSL:
    endpoint, context = _endpoint(live), ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return imaplib.IMAP4_SSL(endpoint.address, endpoint.imaps, ssl_context=context, timeout=20)


def _send(live: Live, recipient: str, subject: str) -> int:
    """The reply code to RCPT TO, or to the message."""
    endpoint = _endpoint(live)
    with smtplib.SMTP(endpoint.address, endpoint.mx, timeout=20) as client:
        client.ehlo("far.example")
        client.mail("someone@far.example")
        code, _ = client.rcpt(recipient)
        if code != 250:
            return code
        return client.data(f"Subject: {subject}\r\n\r\nbody\r\n".encode())[0]


def _inbox(live: Live, address: str) -> list[str]:
    with _imap(live) as client:
        client.login(address, PASSWORD)
        client.select("INBOX", readonly=True)
        found = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1]
        subjects = sorted(part[1].decode().partition(":")[2].strip() for part in found if isinstance(part, tuple))
        return [one for one in subjects if one not in SUBJECTS.values()]  # the account is told when it is told


def test_mail_goes_by_alias_group_and_forward_and_not_where_it_is_switched_off(live: Live) -> None:
    for address in (A, B):
        assert live.add(address).status == 0
    for words in (
        ("account", "alias", "kddi", A, ALIAS), ("group", "add", "kddi", TEAM), ("group", "join", "kddi", TEAM, A),
        ("group", "join", "kddi", TEAM, B),
    ):  # fmt: skip
        assert live(*words).status == 0, words
    assert [_send(live, ALIAS, "alias"), _send(live, TEAM, "group")] == [250, 250]
    assert live("account", "forward", "kddi", A, B, "--no-copy").status == 0
    assert _send(live, A, "forwarded") == 250
    assert live("account", "forward", "kddi", A, "x@elsewhere.example").status == 4
    assert _inbox(live, A) == ["alias", "group"]
    assert _inbox(live, B) == ["forwarded", "group"]
    assert live("account", "services", "kddi", B, "--off", "receive", "--reason", "test").status == 0
    assert (_send(live, B, "refused"), _send(live, TEAM, "group again")) == (550, 250)
    assert _send(live, A, "kept") == 250  # its forward's only target takes nothing
    assert _inbox(live, A) == ["alias", "group", "group again", "kept"]


def test_a_login_that_is_switched_off_ends_sessions_and_outlives_a_suspension(live: Live) -> None:
    address = "routes-c@kddi.example"
    assert live.add(address).status == 0
    client = _imap(live)
    client.login(address, PASSWORD)
    assert live("account", "services", "kddi", address, "--off", "login").status == 0
    with pytest.raises((imaplib.IMAP4.error, OSError)):
        for _ in range(600):
            client.noop()
            time.sleep(0.1)
    for command in ("suspend", "activate"):
        assert live("account", command, "kddi", address, "--reason", "test").status == 0
    with pytest.raises(imaplib.IMAP4.error):
        _inbox(live, address)
    assert live("account", "services", "kddi", address, "--on", "login").status == 0
    assert _inbox(live, address) == []
    assert live("account", "services", "kddi", address).status == 2
    assert live("account", "services", "kddi", address, "--on", "login", "--off", "login").status == 2


def test_a_login_that_is_switched_on_again_opens_though_the_command_was_cut_off(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = "routes-cut@kddi.example"
    assert live.add(address).status == 0
    assert live("class", "define", "kddi", "routes-cut", "--quota", "0").status == 0

    async def cut(*_: object) -> None:
        raise TemporaryFailure("cut off here")

    for opening in (("services", "kddi", address, "--on", "login"), ("class", "kddi", address, "routes-cut")):
        assert live("account", "services", "kddi", address, "--off", "login").status == 0
        with monkeypatch.context() as patched:
            patched.setattr("bulkhead.cli.routes.set_halves", cut)
            assert live("account", *opening).status != 0
        with pytest.raises(imaplib.IMAP4.error):
            _inbox(live, address)
        assert live("account", *opening).status == 0
        assert _inbox(live, address) == []


def test_a_suspension_by_which_an_older_build_kept_a_login_off_opens_none(live: Live) -> None:
    address = "routes-old@kddi.example"
    assert live.add(address).status == 0
    assert live("account", "services", "kddi", address, "--off", "login").status == 0

    async def states(*asked: int) -> set[int]:
        async with open_road(str(live.directory), "kddi") as road:
            account = AccountId((await require_account(road, parse_address(address))).account)
            for state in asked:
                await set_halves(road, account, state)
            found = await road.ask("auth", MatchAuth(account)), await road.ask("keyring", MatchKeyring(account))
            return {records.halves[0] for records in found}

    assert asyncio.run(states(AccountState.SWITCHED_ON, AccountState.SUSPENDED)) == {AccountState.SUSPENDED}
    assert live("account", "activate", "kddi", address, "--reason", "test").status == 0
    assert asyncio.run(states()) == {AccountState.SWITCHED_OFF}
    assert live("account", "services", "kddi", address, "--on", "login").status == 0
    assert _inbox(live, address) == []


def test_quota_and_class_reach_store(live: Live) -> None:
    address = "routes-d@kddi.example"
    assert live.add(address).status == 0
    assert live("account", "quota", "kddi", address, "300").status == 0
    assert _send(live, address, "x" * 500) in {452, 552}
    assert live("class", "define", "kddi", "roomy", "--quota-bytes", "1000000").status == 0
    assert live("account", "class", "kddi", address, "roomy").status == 0
    assert _send(live, address, "x" * 500) == 250
    shown = live("account", "show", "kddi", address, "--json").json
    assert (shown["class"], shown["quota_bytes"], shown["off"]) == ("roomy", 1_000_000, [])
