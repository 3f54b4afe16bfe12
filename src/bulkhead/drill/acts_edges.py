"""Hostile acts through honest neighbours: what a compromised compartment may ask over its own edges, and gets.

Each is a coroutine of the twin's exchange and its arguments, and gives what came of it as JSON. A refusal is an answer
with its code, never an exception: the drill counts what was given away.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import Request, Stamp
from bulkhead.boundary.messages.to_auth import Authenticate, Scope
from bulkhead.boundary.messages.to_directory import CheckSender, FindLogin, RecipientVerdict, ResolveRecipient
from bulkhead.boundary.messages.to_keyring import (
    ArrivedKey,
    CheckHalf,
    OpenArrived,
    OpenPages,
    OpenSlots,
    RedeemLogin,
    SlottedKey,
)
from bulkhead.boundary.messages.to_store import (
    Expunge,
    FlagMode,
    ListMailboxes,
    MessageRow,
    Part,
    ReadPart,
    ReadQuota,
    ReadRows,
    StoreFlags,
)
from bulkhead.errors import Error
from bulkhead.identifiers import AccountId, EmailId, MailboxId
from bulkhead.records.message import open_header

SECONDS = 20.0
HEADER_MAX = 1 << 20  # octets read of one header
MESSAGES_MAX = 2000  # of one live session
_SOURCE = "192.0.2.66"  # of the net that is for documentation: RFC 5737 section 3
_DELETED = 8
_EVERY_UID = ((1, 0xFFFFFFFF),)
Found = dict[str, Any]
Act = Callable[..., Awaitable[Found]]


async def _ask(exchange: Exchange, compartment: str, request: Request[Any]) -> tuple[str, Any]:
    """("succeeded", reply) or (the refusal's code, None)."""
    try:
        return "succeeded", await exchange.to(compartment).call(request, timeout=SECONDS)
    except Error as error:
        return error.code, None


async def _drain(exchange: Exchange, compartment: str, request: Request[Any]) -> tuple[str, bytes]:
    """The same for a reply with a body, of which at most a megabyte is taken."""
    try:
        _, reader = await exchange.to(compartment).open(request, timeout=SECONDS)
    except Error as error:
        return error.code, b""
    body = bytearray()
    try:
        async for chunk in reader:
            body += chunk
            if len(body) > HEADER_MAX:
                break
    except Error as error:
        return error.code, bytes(body)
    finally:
        reader.close()
    return "succeeded", bytes(body)


async def log_in(exchange: Exchange, address: str, password: str, scope: int = Scope.IMAP) -> Found:
    """Log a subscriber in who typed name and password here, as the gate itself would. scope: of Scope."""
    code, found = await _ask(exchange, "directory", FindLogin(address))
    if found is None:
        return {"answer": code}
    nonce = secrets.token_bytes(16)
    code, _ = await _ask(exchange, "auth", Authenticate(found.account, password.encode(), scope, _SOURCE, nonce))
    if code != "succeeded":
        return {"answer": code}
    code, session = await _ask(exchange, "keyring", RedeemLogin(nonce, found.account, scope))
    if session is None:
        return {"answer": code}
    return {"answer": code, "account": found.account.hex(), "handle": session.handle.hex()}


async def open_mail(exchange: Exchange, handle: str, account: str) -> Found:
    """Open every message that a live session of this worker can, and name one of them for somebody else to try."""
    own, owner = bytes.fromhex(handle), AccountId(bytes.fromhex(account))
    code, page = await _ask(exchange, "store", ListMailboxes(own))
    opened, example = 0, None
    for mailbox in page.rows if page is not None else ():
        code, rows = await _ask(exchange, "store", ReadRows(own, mailbox.mailbox, _EVERY_UID))
        for row in rows.rows[:MESSAGES_MAX] if rows is not None else ():
            header = await _open_one(exchange, own, owner, row)
            opened += bool(header)
            example = example or {
                "mailbox": mailbox.mailbox.hex(), "email": row.email.hex(), "uid": row.uid, "page": row.page,
                "sealed_key": row.sealed_key.hex(),
            }  # fmt: skip
    return {"answer": code, "opened": opened, "example": example}


async def _open_one(exchange: Exchange, handle: bytes, account: AccountId, row: MessageRow) -> bytes:
    """The header of one message in clear, or nothing."""
    keys = await _open_key(exchange, handle, row.email, row.sealed_key, row.page)
    if not keys[1]:
        return b""
    code, sealed = await _drain(exchange, "store", ReadPart(handle, row.email, Part.HEADER))
    return open_header(keys[1], account, EmailId(row.email), sealed) if code == "succeeded" else b""


async def _open_key(exchange: Exchange, handle: bytes, email: EmailId, sealed: bytes, page: int) -> tuple[str, bytes]:
    if page:
        code, reply = await _ask(exchange, "keyring", OpenSlots(handle, (SlottedKey(email, sealed),)))
        return code, (reply.keys[0] or b"") if reply is not None else b""
    code, reply = await _ask(exchange, "keyring", OpenArrived(handle, (ArrivedKey(email, sealed),)))
    return code, reply.keys[0].key if reply is not None and reply.keys[0] is not None else b""


async def reach_mail(
    exchange: Exchange, handle: str, mailbox: str, email: str, uid: int, page: int, sealed_key: str
) -> Found:
    """Go at one message of a stranger under a handle: list, read, open its key, flag it, delete it."""
    own, box, name = bytes.fromhex(handle), MailboxId(bytes.fromhex(mailbox)), EmailId(bytes.fromhex(email))
    uids = ((uid, uid),)
    tried = {
        "list rows": (await _ask(exchange, "store", ReadRows(own, box, uids)))[0],
        "read header": (await _drain(exchange, "store", ReadPart(own, name, Part.HEADER)))[0],
    }
    code, key = await _open_key(exchange, own, name, bytes.fromhex(sealed_key), page)
    tried["open key"] = code if key or code != "succeeded" else "does-not-open"
    flags = StoreFlags(Stamp.fresh("drill"), own, box, uids, FlagMode.ADD, _DELETED)
    tried["flag deleted"] = (await _drain(exchange, "store", flags))[0]
    expunge = Expunge(Stamp.fresh("drill"), own, box, uids, deleted_only=False)
    tried["delete"] = (await _drain(exchange, "store", expunge))[0]
    return {"answer": "succeeded", "tried": tried}


async def use_handle(exchange: Exchange, handle: str) -> Found:
    """Use a handle that belongs to somebody else: at store and at keyring."""
    own = bytes.fromhex(handle)
    tried = {
        "list mailboxes": (await _ask(exchange, "store", ListMailboxes(own)))[0],
        "read quota": (await _ask(exchange, "store", ReadQuota(own)))[0],
        "open pages": (await _ask(exchange, "keyring", OpenPages(own, (1,))))[0],
    }
    return {"answer": "succeeded", "tried": tried}


async def random_handles(exchange: Exchange, count: int) -> Found:
    """Guess handles at store; how many were served."""
    served = 0
    for start in range(0, count, 64):
        asked = [ListMailboxes(secrets.token_bytes(16)) for _ in range(min(64, count - start))]
        answers = await asyncio.gather(*(_ask(exchange, "store", request) for request in asked))
        served += sum(code == "succeeded" for code, _ in answers)
    return {"answer": "succeeded", "tried": count, "served": served}


async def enumerate_logins(exchange: Exchange, guesses: list[str]) -> Found:
    """Ask directory for login names, patterns too: every octet that came back, hex, and whether any answer differed.

    `told_apart` counts names that were refused or answered otherwise than the rest; a decoy answers like an account.
    """
    answers = [await _ask(exchange, "directory", FindLogin(guess)) for guess in guesses]
    again = [await _ask(exchange, "directory", FindLogin(guess)) for guess in guesses]
    same = [
        one[1] is not None and two[1] is not None and one[1] == two[1] for one, two in zip(answers, again, strict=True)
    ]
    usual = max(same.count(True), same.count(False))
    haul = "".join(reply.account.hex() for _, reply in answers if reply is not None)
    return {"answer": "succeeded", "asked": len(guesses), "told_apart": len(guesses) - usual, "haul": haul[:32768]}


async def guess_recipients(exchange: Exchange, guesses: list[str]) -> Found:
    """Ask directory where mail for an address goes: which guesses it confirmed, as any RCPT command would."""
    confirmed = 0
    for guess in guesses:
        _, reply = await _ask(exchange, "directory", ResolveRecipient(guess))
        confirmed += reply is not None and reply.verdict in {RecipientVerdict.LOCAL, RecipientVerdict.CLOSED}
    return {"answer": "succeeded", "asked": len(guesses), "confirmed": confirmed}


async def check_sender(exchange: Exchange, addresses: list[str]) -> Found:
    """Ask whether a made-up account owns an address; how many times the answer was yes."""
    answers = await asyncio.gather(
        *(_ask(exchange, "directory", CheckSender(AccountId(secrets.token_bytes(16)), a)) for a in addresses)
    )
    return {"answer": "succeeded", "allowed": sum(code == "succeeded" for code, _ in answers)}


async def guess_passwords(
    exchange: Exchange, addresses: list[str], passwords: list[str], scope: int = Scope.IMAP
) -> Found:
    """Try passwords online, past the gate's own limits; how many were accepted."""

    async def one(address: str, password: str) -> str:
        _, found = await _ask(exchange, "directory", FindLogin(address))
        if found is None:
            return "no-account"
        nonce = secrets.token_bytes(16)
        request = Authenticate(found.account, password.encode(), scope, _SOURCE, nonce)
        return (await _ask(exchange, "auth", request))[0]

    answers = await asyncio.gather(*(one(a, p) for a in addresses for p in passwords))
    return {"answer": "succeeded", "tried": len(answers), "accepted": answers.count("succeeded")}


async def redeem_guesses(exchange: Exchange, count: int) -> Found:
    """Redeem logins that nobody made, at keyring; how many sessions came of it."""
    requests = [
        RedeemLogin(secrets.token_bytes(16), AccountId(secrets.token_bytes(16)), Scope.IMAP) for _ in range(count)
    ]
    answers = await asyncio.gather(*(_ask(exchange, "keyring", request) for request in requests))
    return {"answer": "succeeded", "tried": count, "sessions": sum(code == "succeeded" for code, _ in answers)}


async def check_halves(exchange: Exchange, count: int) -> Found:
    """As auth: try tight tags and wrap keys at keyring; how many matched."""

    def request() -> CheckHalf:
        tight, wrap = secrets.token_bytes(32), secrets.token_bytes(32)
        account, nonce = AccountId(secrets.token_bytes(16)), secrets.token_bytes(16)
        return CheckHalf(account, 0, tight, wrap, Scope.IMAP, nonce)

    answers = await asyncio.gather(*(_ask(exchange, "keyring", request()) for _ in range(count)))
    return {"answer": "succeeded", "tried": count, "matched": sum(code == "succeeded" for code, _ in answers)}


async def break_the_rules(exchange: Exchange, compartment: str) -> Found:
    """Send a message that PEERS does not allow on this edge. Its receiver ends the edge and reports the sender."""
    code, _ = await _ask(exchange, compartment, ListMailboxes(secrets.token_bytes(16)))
    return {"answer": code}


ACTS: Mapping[str, Act] = {
    act.__name__: act
    for act in (
        log_in, open_mail, reach_mail, use_handle, random_handles, enumerate_logins, guess_recipients, check_sender,
        guess_passwords, redeem_guesses, check_halves, break_the_rules,
    )
}  # fmt: skip
