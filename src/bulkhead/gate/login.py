"""From a login name and password to a session handle, by the two halves of the check.

The gate asks directory for the account (an unknown name gives a decoy), hands the password to auth, and redeems the
same nonce at keyring on its own edge. It admits only on both answers: neither half alone can let anyone in.
"""

import logging
import secrets

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import AccountId, Stamp
from bulkhead.boundary.messages.to_auth import Authenticate
from bulkhead.boundary.messages.to_directory import FindLogin, RenewBinding
from bulkhead.boundary.messages.to_keyring import RedeemLogin, Session
from bulkhead.errors import Error
from bulkhead.records.mailbox import FIRST_GENERATION, Binding
from bulkhead.wipe import wipe, wipe_fields

LOGIN_SECONDS = 60.0
LOGIN_NAME_MAX = 254
PASSWORD_MAX = 1024
_log = logging.getLogger("bulkhead.gate")


async def log_in(exchange: Exchange, login: str, password: bytes, scope: int, source: str) -> tuple[AccountId, Session]:
    """The account and its session on this channel. password: the caller's own, and overwritten here.

    Raises Refused (`bad-credentials`) after one fixed time whatever was wrong, TemporaryFailure when a half is away.
    """
    name = login if len(login.encode()) <= LOGIN_NAME_MAX else ""
    found = await exchange.to("directory").call(FindLogin(name))
    nonce = secrets.token_bytes(16)
    attempt = Authenticate(found.account, password[:PASSWORD_MAX] or b"\0", scope, source, nonce)
    try:
        await exchange.to("auth").call(attempt, timeout=LOGIN_SECONDS)
    finally:
        wipe_fields(attempt, attempt.secrets)
        wipe(password)
    session = await exchange.to("keyring").call(RedeemLogin(nonce, found.account, scope))
    await _tell_directory(exchange, session)
    return found.account, session


async def _tell_directory(exchange: Exchange, session: Session) -> None:
    """Bring directory the binding of a mailbox key that was renewed: it has no other way to hear of it.

    At every login, since nobody knows whether the one before got so far; directory writes only what is newer.
    """
    binding = session.binding
    try:
        if binding is not None and Binding(binding.record).generation > FIRST_GENERATION:
            await exchange.to("directory").call(RenewBinding(Stamp.fresh(exchange.me.compartment), binding))
    except Error as error:
        _log.warning("directory has not heard of a newer mailbox key: %s", error.public)
