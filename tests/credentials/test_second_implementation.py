"""Both ways, on real databases: the second implementation opens what Bulkhead made, which admits what the second made.

And what fails closed: a half in the place of another account, tenant, change, kind or version, each changed alone.
"""

import asyncio
import secrets
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tests.auth.test_app_passwords import make
from tests.auth.test_auth_imported import import_text, schemes
from tests.credentials import second_implementation as two
from tests.keyring.two_halves import ROOT_KEY, TENANT, TwoHalves, new_cell, opened, run, settled, stamp
from tests.records.record_second_reader import kdf, u32

from bulkhead.boundary.messages.to_auth import ChangePassword, ListAppPasswords, Scope, SetLoginState
from bulkhead.errors import Refused, TemporaryFailure
from bulkhead.identifiers import AccountId
from bulkhead.records.keyfile import KeySet

PASSWORD, NEW, OTHER = b"a password of somebody", b"the next one of the same", b"a password of another"
IMPORTED = b"test"
SSHA = "{SSHA}H/zrDv8FXUu1JmwvVYijfrYEF34jVZcO"
MD5_CRYPT = "{MD5-CRYPT}$1$GgvxyNz8$OjZhLh4P.gF1lxYEbLZ3e/"
WORDS = {"failure_seconds": 0.02}  # what is refused here is not timed


def second(root: Path) -> two.Tenant:
    return two.Tenant.of(root, TENANT.encode(), ROOT_KEY)


def fits(tenant: two.Tenant, account: bytes, generation: int, seed: bytes) -> bool:
    """Whether this seed is the one whose public key the account's binding has."""
    key = kdf(seed, "message", tenant.tenant, account, u32(generation))
    return X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw() == tenant.binding_key(account)


def closed(tenant: two.Tenant, account: bytes, password: bytes, scope: int = two.IMAP) -> bool:
    try:
        tenant.log_in(account, password, scope)
    except two.Closed:
        return True
    return False


def test_the_second_implementation_opens_what_auth_and_keyring_made(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, changed, submitter = [await cell.add_account(PASSWORD) for _ in range(2)] + [
            await cell.add_account(PASSWORD, Scope.SUBMIT)
        ]
        app = await make(cell, account, Scope.IMAP, main=PASSWORD)
        await cell.ask("cli", "auth", ChangePassword(stamp(), changed, PASSWORD, NEW))
        suspended = await cell.add_account(PASSWORD)
        await cell.ask("cli", "auth", SetLoginState(stamp(), suspended, 2))
        imported = [await import_text(cell, text) for text in (SSHA, MD5_CRYPT)]
        metadata = (await cell.log_in(account, PASSWORD)).metadata_key
        with closing(second(cell.root)) as tenant:
            generation, seed = tenant.log_in(account, PASSWORD, two.IMAP)
            assert fits(tenant, account, generation, seed)
            assert kdf(seed, "metadata", TENANT.encode(), account, u32(generation)) == metadata
            assert tenant.log_in(account, app, two.IMAP) == (generation, seed)
            assert closed(tenant, account, app, two.POP) and closed(tenant, account, NEW)
            assert fits(tenant, changed, *tenant.log_in(changed, NEW, two.POP)) and closed(tenant, changed, PASSWORD)
            assert tenant.log_in(submitter, PASSWORD, two.SUBMIT) == (1, b"")
            assert closed(tenant, submitter, PASSWORD) and closed(tenant, suspended, PASSWORD)
            for one in imported:
                assert fits(tenant, one, *tenant.log_in(one, IMPORTED, two.IMAP)) and closed(tenant, one, PASSWORD)
        assert await cell.admits(imported[0], IMPORTED)  # and it is stretched anew behind the login
        await settled(lambda: schemes(cell) == {"", "md5-crypt"})
        with closing(second(cell.root)) as tenant:
            assert not tenant.auth_half(imported[0], 0)[0][8]
            assert fits(tenant, imported[0], *tenant.log_in(imported[0], IMPORTED, two.IMAP))

    run(tmp_path / "cell", work)


def test_auth_and_keyring_admit_what_the_second_implementation_made(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, imported = await cell.add_account(PASSWORD), await cell.add_account(PASSWORD)
        metadata = (await cell.log_in(account, PASSWORD)).metadata_key
        for name in ("keyring", "auth"):
            await cell.restart(name)
        secret = secrets.token_bytes(16)
        with closing(second(cell.root)) as tenant:
            generation, seed = tenant.log_in(account, PASSWORD, two.IMAP)
            tenant.set_password(account, NEW, generation, seed, cost=(16, 2, 1))
            tenant.add_app_password(account, 5, secret, generation, seed, two.POP | two.SUBMIT, b"by another program")
            own = tenant.log_in(imported, PASSWORD, two.IMAP)
            digest = two.legacy_digest("md5-crypt", b"GgvxyNz8", IMPORTED)
            tenant.set_password(imported, digest, *own, legacy=(b"md5-crypt", b"GgvxyNz8"))
        assert (await cell.log_in(account, NEW)).metadata_key == metadata
        assert not await cell.admits(account, PASSWORD)
        typed = two.app_text(secret, 5).encode()
        assert (await cell.log_in(account, typed, Scope.POP)).metadata_key == metadata
        assert await cell.log_in(account, typed, Scope.SUBMIT, gate="submit")
        assert not await cell.admits(account, typed)  # for IMAP
        assert await cell.admits(imported, IMPORTED) and not await cell.admits(imported, PASSWORD)
        await settled(lambda: schemes(cell) == {""})  # both are brought to today's cost
        assert await cell.admits(account, NEW) and await cell.admits(imported, IMPORTED)
        listed = (await cell.ask("cli", "auth", ListAppPasswords(account))).rows
        assert [(row.cred, row.label) for row in listed] == [(5, "by another program")]

    run(tmp_path / "cell", work)


# --- what fails closed ---------------------------------------------------------------------------------------------


class Places:
    """One account's halves in a running cell, each of which can be replaced by one that was sealed elsewhere."""

    def __init__(self, cell: TwoHalves, tenant: two.Tenant, account: AccountId, other: AccountId) -> None:
        self.cell, self.tenant, self.account, self.other, self.tries = cell, tenant, account, other, 0

    def bid(self, name: str, account: AccountId) -> bytes:
        return two.row_of_credential(self.tenant.index(name), account, 0)

    def row(self, name: str) -> tuple[int, bytes]:
        database = getattr(self.tenant, name)
        return database.execute("SELECT g, record FROM half WHERE bid = ?", (self.bid(name, self.account),)).fetchone()

    def put(self, name: str, g: int, record: bytes) -> None:
        database = getattr(self.tenant, name)
        statement = "UPDATE half SET g = ?, record = ? WHERE bid = ?"
        database.execute(statement, (g, record, self.bid(name, self.account)))
        database.commit()

    async def admits(self, password: bytes = PASSWORD) -> bool:
        self.tries += 1
        try:
            await self.cell.log_in(self.account, password, source=f"2001:db8:{self.tries:x}::1")
        except Refused:
            return False
        except TemporaryFailure as error:
            assert error.code == "fault"
            return False
        return True

    def elsewhere(self, name: str) -> dict[str, tuple[int, bytes]]:
        """The half with the same key and content, but sealed for one other place; under its column's g."""
        kind, key_name = (two.AUTH_HALF, "auth") if name == "auth" else (two.KEYRING_HALF, "ring")
        g, record = self.row(name)
        version, key = self.tenant.newest(name, key_name)
        keys, at = {version: key}, (TENANT.encode(), self.bid(name, self.account), u32(g))
        body = two.opened(record, kind, keys, *at)

        def sealed(content: bytes = body, *, to: int = kind, n: int = version, place: tuple[bytes, ...] = at) -> bytes:
            return two.seal(to, n, key, secrets.token_bytes(12), content, *place)

        found = {
            "nothing": (g, sealed()),
            "tenant": (g, sealed(place=(b"other", *at[1:]))),
            "account": (g, sealed(place=(at[0], self.bid(name, self.other), at[2]))),
            "generation": (g, sealed(place=(*at[:2], u32(g + 1)))),
            "its column of the generation": (g + 1, record),
            "kind": (g, sealed(to=two.NOTE)),
            "kind, and not in the header": (g, record[:1] + sealed(to=two.NOTE)[1:]),
            "version": (g, record[:1] + b"\2" + record[2:]),
            "suite": (g, record[:2] + b"\2" + record[3:]),
            "key version": (g, record[:3] + u32(1) + record[7:]),  # whose key is the very same here
        }
        if name == "keyring":
            wrap_key = self.stretched()[1]
            inside = two.opened(body[35:], two.WRAP, {0: wrap_key}, *self.wrap_place(g))
            places = {"nothing": (), "tenant": (0, b"other"), "account": (1, self.other), "credential": (2, u32(1)),
                      "generation": (3, u32(g + 1))}  # fmt: skip
            for changed, place in places.items():
                at_wrap = list(self.wrap_place(g))
                if place:
                    at_wrap[place[0]] = place[1]
                wrap = two.seal(two.WRAP, 0, wrap_key, secrets.token_bytes(12), inside, *at_wrap)
                found[f"{changed} of the wrap"] = (g, sealed(body[:35] + wrap))
        return found

    def wrap_place(self, g: int) -> tuple[bytes, ...]:
        return TENANT.encode(), self.account, u32(0), u32(g)

    def stretched(self) -> tuple[bytes, bytes]:
        half, _ = self.tenant.auth_half(self.account, 0)
        return two.stretch(PASSWORD, half[6], half[3:6])


def with_both_versions(cell: TwoHalves) -> None:
    """Let version 2 of each sealing key be the same octets as version 1."""
    for name, key in (("auth", "auth"), ("keyring", "ring")):
        path = cell.root / name / "keys.sealed"
        keys = KeySet.open(path.read_bytes(), TENANT, name, ROOT_KEY)
        path.write_bytes(keys.with_key(key, 2, keys.get(key, 1)).seal(TENANT, name, 1, ROOT_KEY))


@pytest.mark.parametrize("name", ["auth", "keyring"])
def test_a_half_of_another_place_admits_nobody_each_bound_field_changed_alone(tmp_path: Path, name: str) -> None:
    async def work() -> None:
        cell = new_cell(tmp_path / "cell", auth=WORDS | {"cache_minutes": 0})
        with_both_versions(cell)
        async with opened(cell):
            account, other = await cell.add_account(PASSWORD), await cell.add_account(OTHER)
            with closing(second(cell.root)) as tenant:
                places = Places(cell, tenant, account, other)
                before = places.row(name)
                admitted, opens = [], []
                for changed, (g, record) in places.elsewhere(name).items():
                    places.put(name, g, record)
                    admitted += [changed] if await places.admits() else []
                    opens += [] if closed(tenant, account, PASSWORD) else [changed]
                    places.put(name, *before)
                    assert await places.admits(), changed
                alone = ["nothing"] if name == "auth" else ["nothing", "nothing of the wrap"]
                assert admitted == opens == alone

    asyncio.run(work())


def test_a_half_of_before_a_change_admits_nobody_unless_both_are_put_back(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account, other = await cell.add_account(PASSWORD), await cell.add_account(OTHER)
        with closing(second(cell.root)) as tenant:
            places = Places(cell, tenant, account, other)
            names = ("auth", "keyring")
            old = {name: places.row(name) for name in names}
            await cell.ask("cli", "auth", ChangePassword(stamp(), account, PASSWORD, NEW))
            new = {name: places.row(name) for name in names}
            for name in names:
                places.put(name, *old[name])
                assert not await places.admits() and not await places.admits(NEW)
                assert closed(tenant, account, PASSWORD) and closed(tenant, account, NEW)
                places.put(name, *new[name])
            assert await places.admits(NEW) and not await places.admits()
            for name in names:  # who can write both databases can go back: docs/credentials.md says so
                places.put(name, *old[name])
            assert await places.admits() and not await places.admits(NEW)

    run(tmp_path / "cell", work, auth=WORDS | {"cache_minutes": 0})
