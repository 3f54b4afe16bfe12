"""Grants alone: the limit, replacement, what a departure takes along."""

import asyncio

import pytest

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.messages.to_store import Grant
from bulkhead.errors import Refused
from bulkhead.store import grants as grants_module
from bulkhead.store.grants import READ, WRITE, Grants

KEYRING, ACCESS = Channel("keyring", 0, 1), Channel("access", 0, 1)


def grant(number: int, expires: int = 100, worker: int = 0) -> Grant:
    return Grant(number.to_bytes(16, "big"), b"a" * 16, READ, "access", worker, 1, expires)


def test_one_past_the_limit_is_refused_unless_expired_ones_make_room(monkeypatch):
    monkeypatch.setattr(grants_module, "GRANTS_MAX", 3)

    async def main() -> None:
        grants = Grants()
        grants.give(KEYRING, tuple(grant(number) for number in range(3)), True, 50)
        with pytest.raises(Refused):
            grants.give(KEYRING, (grant(3),), True, 50)
        grants.give(KEYRING, (grant(3, 300),), True, 100)
        assert len(grants) == 1

    asyncio.run(main())


def test_a_grant_repeated_replaces_the_old_one():
    async def main() -> None:
        grants = Grants()
        grants.give(KEYRING, (grant(1),), True, 0)
        grants.give(KEYRING, (grant(1, worker=7),), True, 0)
        with pytest.raises(Refused):
            grants.check(ACCESS, grant(1).handle, READ, 0)
        assert grants.depart(ACCESS) == []
        assert grants.depart(Channel("access", 7, 1)) == [grant(1).handle]
        assert len(grants) == 1  # its process may come back with another edge
        grants.drop_channel(Channel("access", 7, 1))
        assert len(grants) == 0

    asyncio.run(main())


def test_a_grant_is_served_until_it_expires_and_not_at_that_moment():
    async def main() -> None:
        grants = Grants()
        grants.give(KEYRING, (grant(1, 100),), True, 0)
        assert grants.check(ACCESS, grant(1).handle, READ, 99).account == b"a" * 16
        with pytest.raises(Refused) as refused:
            grants.check(ACCESS, grant(1).handle, WRITE, 99)
        assert refused.value.code == "no-right"
        with pytest.raises(Refused) as refused:
            grants.check(ACCESS, grant(1).handle, READ, 100)
        assert refused.value.code == "no-session"

    asyncio.run(main())
