"""submit on real sockets: who may log in and how, under which addresses one sends, where each copy goes."""

import asyncio
import base64
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.gate.cell import DOMAIN, HOSTNAMES, PASSWORD, TENANT, Cell, Client, Test, run_with

from bulkhead.boundary.messages.facts import SessionEnded
from bulkhead.boundary.messages.to_auth import Scope
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import QueueId, new_id
from bulkhead.records.forward import Forward
from bulkhead.records.queued import QueuedEnvelope, open_queue_header, open_queue_key_box

USER = f"user@{DOMAIN}"
NAME = HOSTNAMES["submit"]
MESSAGE = (
    b"From: user@kddi.example\r\nBcc: hidden@elsewhere.example\r\nDate: Thu, 1 Jan 2026 00:00:00 +0900\r\n"
    b"Message-ID: <mine@kddi.example>\r\nSubject: hello\r\n\r\nbody\r\n.\xff\r\n"
)
Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def go(test: Test, **changes: Any) -> None:
        async def with_user(cell: Cell) -> None:
            cell.add("user")
            await test(cell)

        run_with(with_user, "submit", ["submissions", "submission"], **changes)

    return go


def plain(authcid: str = USER, password: str = PASSWORD, authzid: str = "") -> str:
    return base64.b64encode(f"{authzid}\0{authcid}\0{password}".encode()).decode()


async def hello(cell: Cell, listener: str = "submissions") -> Client:
    client = await Client.open(cell.ports[listener], tls=NAME if listener == "submissions" else "")
    await client.expect("EHLO laptop.example", "250-")
    return client


async def logged_in(cell: Cell) -> Client:
    client = await hello(cell)
    await client.expect(f"AUTH PLAIN {plain()}", "235 2.7.0")
    return client


def keywords(answer: str) -> list[str]:
    return [line[4:] for line in answer.split(" / ")][1:]


def test_auth_is_offered_inside_tls_only_and_starttls_outside_only(run: Run) -> None:
    async def test(cell: Cell) -> None:
        common = ["PIPELINING", "SIZE 36700160", "8BITMIME", "ENHANCEDSTATUSCODES"]
        common += ["CHUNKING", "SMTPUTF8", "LIMITS RCPTMAX=100", "DSN"]
        client = await Client.open(cell.ports["submission"])
        assert keywords(await client.say("EHLO laptop.example")) == [*common, "STARTTLS"]
        await client.expect("MAIL FROM:<user@kddi.example>", "530 5.7.0")
        await client.expect(f"AUTH PLAIN {plain()}", "538 5.7.11")
        await client.start_tls(NAME)
        assert keywords(await client.say("EHLO laptop.example")) == [*common, "AUTH PLAIN LOGIN"]
        await client.expect("MAIL FROM:<user@kddi.example>", "530 5.7.0")
        await client.expect(f"AUTH PLAIN {plain()}", "235 2.7.0")
        implicit = await Client.open(cell.ports["submissions"], tls=NAME)
        assert keywords(await implicit.say("EHLO laptop.example")) == [*common, "AUTH PLAIN LOGIN"]
        assert len(cell.logins) == 1

    run(test)


def test_both_mechanisms_log_in_with_and_without_an_initial_response(run: Run) -> None:
    def b64(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    async def test(cell: Cell) -> None:
        exchanges = [
            [(f"AUTH PLAIN {plain()}", "235")],
            [("AUTH PLAIN", "334 "), (plain(authzid=USER), "235")],
            [("AUTH LOGIN", "334 VXNlcm5hbWU6"), (b64(USER), "334 UGFzc3dvcmQ6"), (b64(PASSWORD), "235")],
            [(f"auth login {b64(USER)}", "334 UGFzc3dvcmQ6"), (b64(PASSWORD), "235")],
        ]
        for exchange in exchanges:
            client = await hello(cell)
            for line, start in exchange:
                await client.expect(line, start)
            await client.expect(f"AUTH PLAIN {plain()}", "503")
            await client.expect("QUIT", "221")
        assert [login.scope for login in cell.logins] == [Scope.SUBMIT] * 4
        assert {login.source for login in cell.logins} == {"127.0.0.1"}
        await asyncio.sleep(0.05)
        assert len(cell.ended) == 4

    run(test)


def test_what_is_no_login_is_refused_and_the_session_goes_on_until_too_many(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("other")
        attempts = [
            ([f"AUTH PLAIN {plain(password='wrong')}"], "535 5.7.8"),
            ([f"AUTH PLAIN {plain(authcid='nobody@kddi.example')}"], "535 5.7.8"),
            ([f"AUTH PLAIN {plain(authzid=f'other@{DOMAIN}')}"], "535 5.7.8"),
            (["AUTH PLAIN", "*"], "501 5.7.0"),
            (["AUTH LOGIN", "*"], "501 5.7.0"),
            (["AUTH PLAIN", "not base64!"], "501 5.5.2"),
            (["AUTH PLAIN YWJj"], "501 5.5.2"),
            (["AUTH CRAM-MD5"], "504 5.5.4"),
            (["AUTH PLAIN ="], "501 5.5.2"),
        ]
        for lines, start in attempts:
            client = await hello(cell)
            for line in lines[:-1]:
                await client.expect(line, "334")
            await client.expect(lines[-1], start)
            await client.expect("MAIL FROM:<user@kddi.example>", "530 5.7.0")
            await client.close()
        client = await hello(cell)
        for _ in range(2):
            await client.expect(f"AUTH PLAIN {plain(password='wrong')}", "535 5.7.8")
        await client.send(f"AUTH PLAIN {plain(password='wrong')}\r\n".encode())
        assert re.fullmatch(rb"535 5\.7\.8 [^\r]*\r\n421 4\.3\.2 [^\r]*\r\n", await client.rest())
        assert cell.logins == []

    run(test)


@pytest.mark.parametrize("failure", [TemporaryFailure("away"), IntegrityError("bits flipped")], ids=["away", "broken"])
def test_a_half_that_cannot_answer_is_454_and_no_failed_login(run: Run, failure: Any) -> None:
    async def test(cell: Cell) -> None:
        cell.auth_failure = failure
        client = await hello(cell)
        await client.expect(f"AUTH PLAIN {plain()}", "454 4.7.0")
        cell.auth_failure = None
        await client.expect(f"AUTH PLAIN {plain()}", "235")

    run(test)


def test_auth_alone_admits_nobody_without_keyrings_own_answer(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.logins = _Forgetful()
        client = await hello(cell)
        await client.expect(f"AUTH PLAIN {plain()}", "535 5.7.8")

    run(test)


class _Forgetful(list):  # type: ignore[type-arg]
    """auth says yes; keyring never hears of it."""

    def append(self, item: object) -> None:
        pass


def test_the_sender_must_be_an_address_of_the_account(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("other")
        client = await logged_in(cell)
        await client.expect(f"MAIL FROM:<other@{DOMAIN}>", "553 5.7.1")
        await client.expect("MAIL FROM:<user@elsewhere.example>", "553 5.7.1")
        await client.expect("MAIL FROM:<>", "553 5.7.1")
        await client.expect(f"RCPT TO:<{USER}>", "503")
        await client.expect(f"MAIL FROM:<{USER}>", "250 2.1.0")

    run(test)


def test_local_recipients_reach_store_and_all_others_the_queue(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("friend")
        client = await logged_in(cell)
        local, remote = [f"friend@{DOMAIN}", USER], ["a@elsewhere.example", "B@elsewhere.example"]
        for recipients in (local, remote, [*local, *remote]):
            answer = await client.deliver(USER, recipients, MESSAGE)
            assert re.fullmatch(r"250 2\.6\.0 Accepted as [0-9a-f]{16}", answer)
        assert [address for address, _ in cell.messages()] == local * 2
        assert [(request.reverse_path, list(request.recipients)) for request, _ in cell.outbound()] == [
            (USER, remote)
        ] * 2
        received = (
            rb"Received: from laptop\.example\r\n\tby smtp\.kddi\.example with ESMTPSA id [0-9a-f]{16};\r\n\t[^\r]+\r\n"
        )
        for message in [message for _, message in cell.outbound()]:
            assert message.endswith(MESSAGE) and re.fullmatch(received, message.removesuffix(MESSAGE))
        for message in [message for _, message in cell.messages()]:
            head = message.removesuffix(MESSAGE)
            assert message.endswith(MESSAGE)
            assert re.fullmatch(rb"Return-Path: <user@kddi\.example>\r\n" + received, head)
        assert b"127.0.0.1" not in b"".join(message for _, message in cell.messages())

    run(test)


def test_date_and_message_id_are_added_only_where_they_are_missing(run: Run) -> None:
    async def test(cell: Cell) -> None:
        client = await logged_in(cell)
        date, message_id = b"Date: Thu, 1 Jan 2026 00:00:00 +0900\r\n", b"Message-Id: <mine@kddi.example>\r\n"
        for fields in (b"", date, message_id, date + message_id):
            sent = b"Subject: x\r\n" + fields + b"\r\nDate: in the body\r\nMessage-ID: in the body\r\n"
            assert (await client.deliver(USER, [USER], sent)).startswith("250")
            message = cell.messages()[-1][1]
            assert message.endswith(sent)
            header = message.partition(b"\r\n\r\n")[0] + b"\r\n"
            assert len(re.findall(rb"(?mi)^date: ", header)) == 1
            assert len(re.findall(rb"(?mi)^message-id: <[^>]+>\r$", header)) == 1
        assert b"@smtp.kddi.example>" in cell.messages()[0][1]

    run(test)


def test_a_full_local_mailbox_keeps_a_mixed_message_out_of_the_queue(run: Run) -> None:
    async def test(cell: Cell) -> None:
        friend = cell.add("friend")
        client = await logged_in(cell)
        await client.expect(f"MAIL FROM:<{USER}>", "250")
        await client.expect(f"RCPT TO:<friend@{DOMAIN}>", "250")
        await client.expect("RCPT TO:<a@elsewhere.example>", "250")
        await client.expect("DATA", "354")
        cell.full.add(friend.id)
        await client.send(MESSAGE + b".\r\n")
        assert (await client.reply())[0].startswith("552 5.2.2")
        assert cell.queued == [] and cell.deliveries == []

    run(test)


def test_a_store_that_fails_once_the_queue_has_the_message_is_waited_for(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulkhead.gate.delivery.PATIENCE_STEP_SECONDS", 0.05)

    async def test(cell: Cell) -> None:
        client = await logged_in(cell)
        cell.store_failure = TemporaryFailure("disk")
        answer = asyncio.create_task(client.deliver(USER, [USER, "a@elsewhere.example"], MESSAGE))
        while len(cell.attempts) < 3:
            await asyncio.sleep(0.02)
        cell.store_failure = None
        assert (await answer).startswith("250")
        assert len(cell.queued) == len(cell.deliveries) == 1
        assert len(set(cell.attempts)) == 1
        cell.store_failure = TemporaryFailure("disk")
        assert (await client.deliver(USER, [USER], MESSAGE)).startswith("451 4.3.0")

    run(test)


def test_mail_to_somebody_who_forwards_elsewhere_goes_to_the_queue_by_the_statement(run: Run) -> None:
    async def test(cell: Cell) -> None:
        friend = cell.add("friend")
        client = await logged_in(cell)
        path = f"fwd-r@{DOMAIN}"
        said = Forward(TENANT, friend.id, QueueId(new_id()), "x@far.example", path, 1)
        cell.forwards[friend.address] = said.sign(Ed25519PrivateKey.generate())
        assert (await client.deliver(USER, [friend.address], MESSAGE)).startswith("250")
        ((request, sealed),) = cell.forwarded
        assert request.statement == cell.forwards[friend.address]
        key = open_queue_key_box(request.box, cell.queue_seed.message_private_key(), TENANT, said.id)
        envelope, header = QueuedEnvelope.split(open_queue_header(key, said.id, sealed[: request.header_size]))
        assert (envelope.reverse_path, envelope.recipients) == (path, ("x@far.example",))
        assert header.startswith(f"Delivered-To: {friend.address}\r\nReceived: ".encode())
        assert cell.deliveries == cell.queued == []
        cell.queue_failure = Refused("so many a day", code="sent-too-much")
        assert (await client.deliver(USER, [friend.address], MESSAGE)).startswith("250")
        assert [address for address, _ in cell.messages()] == [friend.address]
        cell.queue_failure = TemporaryFailure("away")
        assert (await client.deliver(USER, [friend.address], MESSAGE)).startswith("451")
        assert len(cell.deliveries) == 1

    run(test)


def test_a_login_that_keyring_ends_is_told_421_at_once_and_sends_nothing_more(run: Run) -> None:
    async def test(cell: Cell) -> None:
        client = await logged_in(cell)
        other = await hello(cell)
        (handle,) = cell.gate._state._live
        await client.expect(f"MAIL FROM:<{USER}>", "250")
        cell.exchanges["keyring"].tell(cell.gate.me, SessionEnded(handle, "stopped"))
        assert (await asyncio.wait_for(client.rest(), 2)).startswith(b"421 4.3.2")
        await other.expect("NOOP", "250")
        await other.expect(f"AUTH PLAIN {plain()}", "235")
        assert cell.ended == []

    run(test)


def test_a_transaction_whose_login_ends_in_its_midst_is_not_sent_as_nobodys(run: Run) -> None:
    async def test(cell: Cell) -> None:
        async def resolve_once_it_ended(cell: Cell, channel: Any, request: Any, body: Any) -> Any:
            (handle,) = cell.gate._state._live
            cell.exchanges["keyring"].tell(cell.gate.me, SessionEnded(handle, "stopped"))
            while cell.gate._state._live:
                await asyncio.sleep(0)
            return original(cell, channel, request, body)

        handlers = dict(cell.holders()["directory"])
        kind = next(kind for kind in handlers if kind.__name__ == "ResolveRecipient")
        original, handlers[kind] = handlers[kind], resolve_once_it_ended
        cell.exchanges["directory"].serve(cell, handlers)
        client = await logged_in(cell)
        text = MESSAGE.replace(b"\xff", b"")
        whole = f"MAIL FROM:<{USER}>\r\nRCPT TO:<a@elsewhere.example>\r\nBDAT {len(text)} LAST\r\n".encode() + text
        await client.send(whole)
        assert b"451 4.7.0" in await asyncio.wait_for(client.rest(), 5)
        assert cell.queued == cell.deliveries == []

    run(test)


def test_logins_end_with_the_keyring_that_granted_them(run: Run) -> None:
    async def test(cell: Cell) -> None:
        client = await logged_in(cell)
        cell.connect("keyring")
        assert (await asyncio.wait_for(client.rest(), 2)).startswith(b"421")
        again = await logged_in(cell)
        assert (await again.deliver(USER, [USER], MESSAGE)).startswith("250")

    run(test)


def test_an_end_that_arrives_before_its_login_is_not_forgotten(run: Run) -> None:
    async def test(cell: Cell) -> None:
        redeem = Cell.redeem

        def redeem_and_end(cell: Cell, channel: Any, request: Any, body: Any) -> Any:
            session = redeem(cell, channel, request, body)
            loop = asyncio.get_running_loop()
            loop.call_soon(cell.exchanges["keyring"].tell, channel, SessionEnded(session.handle, "stopped"))
            return session

        exchange = cell.exchanges["keyring"]
        handlers = dict(cell.holders()["keyring"])
        handlers[next(kind for kind in handlers if kind.__name__ == "RedeemLogin")] = redeem_and_end
        exchange.serve(cell, handlers)
        client = await hello(cell)
        await client.send(f"AUTH PLAIN {plain()}\r\n".encode())
        assert b"421 4.3.2" in await asyncio.wait_for(client.rest(), 2)

    run(test)


def test_a_connection_without_a_login_does_not_outlive_its_time_however_busy_it_is(run: Run) -> None:
    async def test(cell: Cell) -> None:
        client = await hello(cell)
        patient = await logged_in(cell)
        loop = asyncio.get_running_loop()
        started = loop.time()
        heard = asyncio.create_task(client.rest())
        while not heard.done():
            client.writer.write(b"NOOP\r\n")
            await asyncio.sleep(0.1)
        replies = (await heard).splitlines()
        assert replies[-1].startswith(b"421 4.4.2") and len(replies) > 2
        assert 0.8 < loop.time() - started < 20
        await asyncio.sleep(0.3)
        await patient.expect("NOOP", "250")

    run(test, preauth_seconds=1)


def test_no_password_reaches_the_log(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test(cell: Cell) -> None:
        client = await logged_in(cell)
        await client.deliver(USER, [USER], MESSAGE)
        cell.auth_failure = TemporaryFailure("away")
        await (await hello(cell)).say(f"AUTH PLAIN {plain()}")

    caplog.set_level("DEBUG")
    run(test)
    for secret in (PASSWORD, plain(), USER, "hello"):
        assert secret not in caplog.text


def test_the_sender_is_told_of_local_delivery_and_wishes_for_others_go_into_the_sealed_envelope(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("friend")
        client = await logged_in(cell)
        await client.expect(f"MAIL FROM:<{USER}> RET=FULL ENVID=my+2Bid", "250")
        await client.expect(f"RCPT TO:<friend@{DOMAIN}> NOTIFY=SUCCESS ORCPT=rfc822;pal@{DOMAIN}", "250")
        await client.expect("RCPT TO:<a@elsewhere.example> NOTIFY=NEVER", "250")
        await client.expect("RCPT TO:<b@elsewhere.example>", "250")
        await client.expect("DATA", "354")
        await client.send(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert (await client.reply())[0].startswith("250 2.6.0")
        (first, told), (second, notice) = cell.messages()
        assert (first, second) == (f"friend@{DOMAIN}", USER) and told.endswith(MESSAGE)
        assert notice.startswith(b"Return-Path: <>\r\n") and b"\r\nAction: delivered\r\n" in notice
        assert b"Original-Envelope-Id: my+id\r\n" in notice
        assert f"Original-Recipient: rfc822; pal@{DOMAIN}\r\n".encode() in notice
        (envelope,) = cell.envelopes()
        assert (envelope.ret, envelope.envid, envelope.utf8) == ("FULL", "my+2Bid", False)
        assert [wish.notify for wish in envelope.wishes] == [8, 0]

    run(test)


def test_nobody_is_told_of_a_delivery_that_did_not_ask(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("friend")
        client = await logged_in(cell)
        assert (await client.deliver(USER, [f"friend@{DOMAIN}"], MESSAGE)).startswith("250 ")
        assert [address for address, _ in cell.messages()] == [f"friend@{DOMAIN}"]

    run(test)


def test_a_notice_that_cannot_be_delivered_does_not_fail_the_message(run: Run) -> None:
    async def test(cell: Cell) -> None:
        cell.add("friend")
        client = await logged_in(cell)
        await client.expect(f"MAIL FROM:<{USER}>", "250")
        await client.expect(f"RCPT TO:<friend@{DOMAIN}> NOTIFY=SUCCESS", "250")
        cell.directory_failure = TemporaryFailure("away")
        await client.expect("DATA", "354")
        await client.send(MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        assert (await client.reply())[0].startswith("250 2.6.0")
        assert len(cell.messages()) == 1

    run(test)


def test_the_queue_learns_whose_mail_it_is_and_its_limit_is_told(run: Run) -> None:
    async def test(cell: Cell) -> None:
        client = await logged_in(cell)
        assert (await client.deliver(USER, ["a@elsewhere.example"], MESSAGE)).startswith("250 ")
        assert cell.queued[0][0].account == cell.accounts[USER].id
        cell.queue_failure = Refused("enough", code="sent-too-much")
        assert (await client.deliver(USER, ["a@elsewhere.example"], MESSAGE)).startswith("450 4.7.1")
        assert len(cell.queued) == 1

    run(test)
