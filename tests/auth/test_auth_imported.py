"""Imported digests through auth and keyring: right logs in, wrong does not, and an unknown scheme is never kept."""

import asyncio
from pathlib import Path

from tests.keyring.two_halves import TwoHalves, files_of, refused, run, settled, stamp
from tests.records.legacy_vectors import VECTORS

from bulkhead.boundary.messages.to_auth import CountLogins, Scope, SetLoginState, SetPassword
from bulkhead.identifiers import AccountId, new_id
from bulkhead.imports.digest_text import parse_password
from bulkhead.records.app_password import AppPassword


async def set_imported(cell: TwoHalves, scheme: str, salt: bytes, octets: bytes) -> AccountId:
    account = AccountId(new_id())
    token = (await cell.create(account)).token
    await cell.ask("cli", "auth", SetPassword(stamp(), account, octets, token, Scope.ALL, scheme, salt))
    return account


def schemes(cell: TwoHalves) -> set[str]:
    """Legacy schemes of the halves that auth has; empty text for none."""
    auth = cell.services["auth"]._auth
    rows = auth.database.read("SELECT record, bid, g FROM half")
    halves = [auth.rows.keys.open(record, bid, g) for record, bid, g in rows]
    return {half.legacy.scheme if half.legacy else "" for half in halves}


async def import_text(cell: TwoHalves, text: str) -> AccountId:
    imported = parse_password(text, clear=False)
    assert imported.recipe is not None
    legacy = imported.recipe.legacy()
    return await set_imported(cell, legacy.scheme, legacy.salt, imported.octets)


def test_every_published_digest_logs_in_with_its_password_alone_and_is_in_no_file(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        accounts = [await import_text(cell, text) for _, text, _ in VECTORS]
        wrong = await asyncio.gather(*(cell.admits(account, b"not the password") for account in accounts))
        assert not any(wrong)
        assert all(await asyncio.gather(*(cell.admits(a, v[2]) for a, v in zip(accounts, VECTORS, strict=True))))
        files = b"".join(files_of(cell.root).values())
        for _, text, _ in VECTORS:
            imported = parse_password(text, clear=False)
            for secret in (imported.octets, imported.octets.hex().encode(), text.rpartition("$")[2][-20:].encode()):
                assert secret not in files

    run(tmp_path, work)


def test_no_failure_is_answered_before_the_dearest_digest_here_could_be_made_whatever_the_setting(
    tmp_path: Path,
) -> None:
    async def work(cell: TwoHalves) -> None:
        plain = await cell.add_account(b"correct horse battery")
        loop = asyncio.get_running_loop()

        async def failure_took() -> float:
            began = loop.time()
            assert not await cell.admits(plain, b"not the password")
            return loop.time() - began

        assert (await cell.ask("cli", "auth", CountLogins())).failure_floor_ms == 0
        cheap = await import_text(cell, next(text for _, text, _ in VECTORS if "{SSHA}" in text))
        dear = await set_imported(cell, "bcrypt", b"$2b$11$" + b"." * 22, bytes(23))
        assert (await cell.ask("cli", "auth", CountLogins())).failure_floor_ms == 350  # 0.1 and half of 0.5
        assert await failure_took() >= 0.35
        await cell.restart("auth")
        assert await failure_took() >= 0.35
        for doomed, left in ((dear, 125), (cheap, 0)):
            await cell.ask("cli", "auth", SetLoginState(stamp(), doomed, 3))
            assert (await cell.ask("cli", "auth", CountLogins())).failure_floor_ms == left
        counts = await cell.ask("cli", "auth", CountLogins())
        assert (counts.refused, counts.failure_ms, counts.failing) == (1, 100, 1)

    run(tmp_path, work, auth={"failure_seconds": 0.1})


def test_a_digest_gives_way_to_the_password_itself_at_the_first_login(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        _, text, password = next(v for v in VECTORS if "{SSHA}" in v[1])
        account = await import_text(cell, text)
        assert schemes(cell) == {"sha1"}
        assert not await cell.admits(account, b"not the password")
        assert schemes(cell) == {"sha1"}
        assert await cell.admits(account, password)
        await settled(lambda: schemes(cell) == {""})
        for name in ("keyring", "auth"):
            await cell.restart(name)
        assert await cell.admits(account, password)
        assert not await cell.admits(account, b"not the password")

    run(tmp_path, work)


def test_a_digest_of_no_scheme_of_the_list_above_its_cap_or_of_another_length_is_refused(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        for scheme, salt, octets in (
            ("scrypt", b"salt", bytes(32)),
            ("sha512-crypt", (100_001).to_bytes(4, "big") + b"salt", bytes(64)),
            ("sha1", b"salt", bytes(21)),
            ("bcrypt", b"", bytes(23)),
        ):
            with refused("bad-scheme"):
                await set_imported(cell, scheme, salt, octets)
        assert schemes(cell) == set()

    run(tmp_path, work)


def test_clear_text_that_was_imported_may_be_short_and_typed_may_not(tmp_path: Path) -> None:
    async def work(cell: TwoHalves) -> None:
        account = await set_imported(cell, "plain", b"", b"short")
        assert await cell.admits(account, b"short")
        assert schemes(cell) == {""}
        with refused("weak-password"):
            await set_imported(cell, "", b"", b"short")

    run(tmp_path, work)


def test_an_imported_password_that_reads_as_an_app_password_is_refused_as_nobody_could_log_in_with_it(
    tmp_path: Path,
) -> None:
    async def work(cell: TwoHalves) -> None:
        for text in (AppPassword(7, bytes(range(16))).text(), AppPassword(7, bytes(range(16))).text().upper()):
            with refused("weak-password"):
                await set_imported(cell, "plain", b"", text.encode())

    run(tmp_path, work)
