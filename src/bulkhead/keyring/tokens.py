"""One-time tokens: whoever brings one may set one password. In memory only; a restart voids them.

A token holds the account's seed for at most 10 minutes. It is spent when the change that used it is complete, not when
its half is added, so that a change cut short can be tried again.
"""

import asyncio
import secrets
from dataclasses import dataclass, field

from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import AccountId
from bulkhead.records.seed import MailboxSeed

TOKEN_SECONDS = 600.0
TOKENS_MAX = 65_536


@dataclass(slots=True)
class Setup:
    """What a token allows: a half for this seed's account. g: of the half it added last, 0 before."""

    token: bytes = field(repr=False)
    seed: MailboxSeed = field(repr=False)
    request_id: bytes
    g: int = 0


class Tokens:
    """Tokens that live."""

    def __init__(self) -> None:
        self._by_token: dict[bytes, Setup] = {}
        self._by_request: dict[bytes, Setup] = {}

    def issue(self, request_id: bytes, seed: MailboxSeed) -> bytes:
        """A new token; asked again by the same request, the same. Raises TemporaryFailure when too many live."""
        if (issued := self.issued(request_id)) is not None:
            return issued
        if len(self._by_token) >= TOKENS_MAX:
            raise TemporaryFailure("too many passwords wait to be set", code="busy")
        setup = Setup(secrets.token_bytes(16), seed, request_id)
        self._by_token[setup.token] = self._by_request[request_id] = setup
        asyncio.get_running_loop().call_later(TOKEN_SECONDS, self._expire, setup.token)
        return setup.token

    def issued(self, request_id: bytes) -> bytes | None:
        """The token that this request got, while it lives."""
        setup = self._by_request.get(request_id)
        return None if setup is None else setup.token

    def find(self, token: bytes, account: AccountId) -> Setup:
        """What the token allows for this account. Raises Refused (`bad-token`)."""
        setup = self._by_token.get(token)
        if setup is None or setup.seed.account != account:
            raise Refused("the token is not valid: it is for one account, once, within 10 minutes", code="bad-token")
        return setup

    def spend(self, account: AccountId, g: int) -> None:
        """The change that set half g is complete: its token is spent."""
        for setup in [s for s in self._by_token.values() if s.seed.account == account and 0 < s.g == g]:
            self._void(setup)

    def void(self, account: AccountId) -> None:
        """Void every token of an account."""
        for setup in [s for s in self._by_token.values() if s.seed.account == account]:
            self._void(setup)

    def _expire(self, token: bytes) -> None:
        """The timer knows the token alone: the seed must not live on in it."""
        setup = self._by_token.get(token)
        if setup is not None:
            self._void(setup)

    def _void(self, setup: Setup) -> None:
        self._by_token.pop(setup.token, None)
        self._by_request.pop(setup.request_id, None)
