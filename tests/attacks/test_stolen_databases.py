"""What a thief of databases and keys learns of passwords: of one holder nothing, of both the weak ones, dearly.

The tenant is real: auth and keyring made its files. Its Argon2id is cheap (8 KiB, one pass), by the parameter that
auth's process.start has for tests; no setting makes it so.
"""

import asyncio
import hashlib
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.attacks.offline import Attack, Found, Loot, Salt, guessed_salts, steal
from tests.auth.test_app_passwords import make
from tests.auth.test_auth_imported import set_imported
from tests.credentials import second_implementation as two
from tests.keyring.test_rotation import NEXT_ROOT, destroy, rotate
from tests.keyring.two_halves import (
    CHEAP,
    ROOT_KEY,
    TENANT,
    TwoHalves,
    copy_of,
    files_of,
    new_cell,
    opened,
    settled,
    stamp,
)

from bulkhead.boundary.messages.to_auth import ChangePassword, Scope, SetLoginState
from bulkhead.boundary.messages.to_keyring import SetHalfState
from bulkhead.identifiers import AccountId
from bulkhead.records.common_passwords import common_passwords
from bulkhead.records.credential import StretchParameters

LIST = common_passwords(30)
COST = (CHEAP.memory_kib, CHEAP.time_cost, CHEAP.lanes)
LEGACY = (
    ("md5", b"pepper"), ("sha1", b""), ("sha256", b"salt"), ("sha512", b"salt"), ("md5-crypt", b"GgvxyNz8"),
    ("sha256-crypt", (1000).to_bytes(4, "big") + b"saltstring"),
    ("pbkdf2-sha256", (1000).to_bytes(4, "big") + bytes((32,)) + b"salt"),
)  # fmt: skip
HOLDERS = ("auth", "keyring")
ROOTS = dict.fromkeys(HOLDERS, ROOT_KEY)


@dataclass
class Town:
    """A populated tenant, stolen while it ran. weak: whose password of today is in the list, imported ones too."""

    before: Path  # the thief's copy
    after: Path  # of the same tenant, after a rotation
    nobody: list[bytes] = field(default_factory=list)  # files of another one, in which nobody has a usual password
    weak: dict[AccountId, bytes] = field(default_factory=dict)
    legacy: dict[AccountId, bytes] = field(default_factory=dict)  # the imported digest
    strong: dict[AccountId, bytes] = field(default_factory=dict)

    def mine(self, *names: str, keys: bool = True) -> Loot:
        return steal(self.before, TENANT.encode(), names, {name: ROOT_KEY for name in names if keys})


async def populate(cell: TwoHalves, town: Town) -> None:
    for number in range(20):
        account = await set_imported(cell, "plain", b"", LIST[number])  # a list of today lets nobody choose it
        town.weak[account] = LIST[number]
    for _ in range(10):
        password = secrets.token_urlsafe(15).encode()
        town.strong[await cell.add_account(password)] = password
    for number, (scheme, salt) in enumerate(LEGACY):
        digest = two.legacy_digest(scheme, salt, LIST[number])
        account = await set_imported(cell, scheme, salt, bytes(digest))
        town.weak[account], town.legacy[account] = LIST[number], digest
    changed = next(iter(town.weak))
    town.strong[changed] = b"nobody guesses this one"
    await cell.ask("cli", "auth", ChangePassword(stamp(), changed, town.weak.pop(changed), town.strong[changed]))
    suspended = next(iter(town.weak))
    await cell.ask("cli", "auth", SetLoginState(stamp(), suspended, 2))
    await cell.ask("cli", "keyring", SetHalfState(stamp(), suspended, 2))
    for account in list(town.strong)[:3]:
        await make(cell, account, Scope.IMAP | Scope.SUBMIT, main=town.strong[account], label="a telephone")
    for account in list(town.weak)[5:9]:
        assert await cell.admits(account, town.weak[account])
    await settled(lambda: not cell.database("auth").read("SELECT * FROM change"))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    root = tmp_path_factory.mktemp("town")
    town = Town(root / "before", root / "cell")

    async def work() -> None:
        async with opened(new_cell(town.after, auth={"failure_seconds": 0.02, "cache_minutes": 0})) as cell:
            await populate(cell, town)
            copy_of(cell, town.before)  # while it runs: the write-ahead logs are not empty
            assert all((town.before / name / f"{name}.sqlite-wal").stat().st_size for name in HOLDERS)
            for name in HOLDERS:
                await rotate(cell, name, emergency=True)
                await destroy(cell, name, 1)

        async with opened(new_cell(root / "nobody")) as cell:
            account = await cell.add_account(strong := secrets.token_bytes(20))
            await make(cell, account, main=strong, label="a telephone")
            await cell.ask("cli", "auth", ChangePassword(stamp(), account, strong, secrets.token_bytes(20)))
            town.nobody += [content for name, content in files_of(cell.root).items() if "sqlite" in name]

    asyncio.run(work())
    return town


@contextmanager
def attacking(town: Town, loot: Loot) -> Iterator[Attack]:
    with ExitStack() as stack:
        for database in loot.databases.values():
            stack.callback(database.close)
        yield Attack(loot, town.nobody)


def test_what_is_shipped_costs_what_the_page_says() -> None:
    shipped = StretchParameters()
    assert (shipped.memory_kib, shipped.time_cost, shipped.lanes) == (19 * 1024, 2, 1)


def test_auths_database_and_keys_confirm_no_guess(town: Town) -> None:
    with attacking(town, town.mine("auth")) as attack:
        assert attack.loot.closed == 0 and len(attack.loot.salts) == 37
        assert attack.run(LIST, attack.loot.salts) == []
        assert attack.stretches == 37 * len(LIST)


def test_the_attack_would_see_a_hash_of_what_a_password_becomes_if_auth_had_one(town: Town) -> None:
    loot = town.mine("auth")
    victim = loot.salts[0]
    tight, _ = two.stretch(b"12345678", victim.salt, victim.cost)
    loot.files["planted"] = secrets.token_bytes(100) + hashlib.sha256(tight).digest()[:16] + secrets.token_bytes(100)
    with attacking(town, loot) as attack:
        legacy = Salt(b"other", loot.salts[1].salt, victim.cost)
        assert attack.run(LIST, [Salt(victim.of, victim.salt, victim.cost), legacy]) == [
            Found(victim.of, b"12345678", "tight")
        ]


def test_keyrings_database_and_keys_confirm_no_guess(town: Town) -> None:
    with attacking(town, town.mine("keyring")) as attack:
        loot = attack.loot
        assert loot.closed == 0 and len(loot.wraps) == 40 and len(loot.accounts) == 37 and not loot.salts
        words = [*dict.fromkeys(town.weak.values())][:4]
        assert attack.run(words, guessed_salts(loot, COST)) == []


def test_both_databases_without_a_key_confirm_no_guess(town: Town) -> None:
    with attacking(town, town.mine(*HOLDERS, keys=False)) as attack:
        loot = attack.loot
        assert not loot.opened and loot.closed == 40 + 3 + 40 + 37
        assert attack.run(LIST[:6], guessed_salts(loot, COST)) == []


def test_both_with_their_keys_give_the_weak_ones_alone_at_one_argon2id_a_guess(town: Town) -> None:
    """The positive control of every test here, and the limit of the design."""
    with attacking(town, town.mine(*HOLDERS)) as attack:
        loot = attack.loot
        found = attack.run(LIST, loot.salts)
        index = loot.keys["auth"]["index"][1]
        rows = {two.row_of_credential(index, account, 0): account for account in town.weak}
        assert {rows[one.of]: one.word for one in found if one.of in rows} == town.weak  # the suspended one too
        assert {one.of for one in found} == rows.keys() | set(town.weak)
        assert {one.by for one in found} == {"tight", "wrap"}
        assert attack.stretches == len(loot.salts) * len(LIST)


def test_an_imported_digest_is_no_cheaper_to_guess_at_than_any_password(town: Town) -> None:
    with attacking(town, town.mine(*HOLDERS)) as attack:
        assert not any(attack.holds(digest) for digest in town.legacy.values())
        index = attack.loot.keys["auth"]["index"][1]
        rows = {two.row_of_credential(index, account, 0) for account in town.legacy}
        salts = [salt for salt in attack.loot.salts if salt.of in rows]
        assert {salt.cost for salt in salts} == {COST} and all(salt.legacy[0] for salt in salts)
        found = attack.run(LIST[: len(LEGACY)], salts)
        assert {one.of for one in found} >= rows  # by what comes behind Argon2id, and by nothing before it
        assert {one.by for one in found} == {"tight", "wrap"}


def test_databases_of_before_a_rotation_open_nothing_with_every_key_of_after(town: Town, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(town.before, mixed)
    for name in HOLDERS:
        shutil.copy(town.after / name / "keys.sealed", mixed / name)
    after = dict.fromkeys(HOLDERS, NEXT_ROOT)
    with attacking(town, steal(mixed, TENANT.encode(), HOLDERS, after)) as attack:
        loot = attack.loot
        assert loot.keys["auth"]["auth"].keys() == loot.keys["keyring"]["ring"].keys() == {2}
        assert not loot.opened and loot.closed == 40 + 3 + 40 + 37
        assert attack.run(LIST[:2], guessed_salts(loot, COST)) == []
    with attacking(
        town, steal(town.after, TENANT.encode(), HOLDERS, after)
    ) as attack:  # with its own keys it is as before
        assert attack.loot.closed == 0
        assert len({one.word for one in attack.run(LIST, attack.loot.salts)}) == len(set(town.weak.values()))
