"""From a login name and password to a session handle, by the two halves of the check.

The gate asks directory for the account (an unknown name gives a decoy), hands the password to auth, and redeems the
same nonce at keyring on its own edge. It admits only on both answers: neither half alone can let anyone in.
"""

import secrets

from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.fields import AccountId
from bulkhead.boundary.messages.to_auth import Authenticate
from bulkhead.boundary.messages.to_directory import FindLogin
from bulkhead.boundary.messages.to_keyring import RedeemLogin, Session

LOGIN_SECONDS = 60.0
LOGIN_NAME_MAX = 254
PASSWORD_MAX = 1024


async def log_in(exchange: Exchange, login: str, password: bytes, scope: int, source: str) -> tuple[AccountId, Session]:
    """The account and its session on this channel.

    Raises Refused (`bad-credentials`) after one fixed time whatever was wrong, TemporaryFailure when a half is away.
    """
    name = login if len(login.encode()) <= LOGIN_NAME_MAX else ""
    found = await exchange.to("directory").call(FindLogin(name))
    nonce = secrets.token_bytes(16)
    attempt = Authenticate(found.account, password[:PASSWORD_MAX] or b"\0", scope, source, nonce)
    await exchange.to("auth").call(attempt, timeout=LOGIN_SECONDS)
    session = await exchange.to("keyring").call(RedeemLogin(nonce, found.account, scope))
    return found.account, session
