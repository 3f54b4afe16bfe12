"""Forwards to other servers: who may have one, what directory signs, and where a bounce comes back to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.directory.conftest import ROOT, SETTINGS, TENANT, Running

from bulkhead.boundary.messages import to_directory as m
from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_directory import RecipientVerdict, Reverse, Service
from bulkhead.directory.create import TOMBSTONE
from bulkhead.directory.elsewhere import GOOD_MS
from bulkhead.errors import Refused
from bulkhead.holder.staff import STAFF_ACTOR
from bulkhead.records.forward import Forward, public_key
from bulkhead.records.keyfile import KeySet

With = Callable[..., None]
A, B, FAR, FAR_TOO = "a@kddi.example", "b@kddi.example", "x@far.example", "y@far.example"
OPEN: dict[str, Any] = {**SETTINGS, "directory": {**SETTINGS["directory"], "forwards_elsewhere_max": 2}}  # type: ignore[dict-item]


def _stamp() -> Stamp:
    return Stamp.fresh("test")


def _said(found: m.Recipient) -> list[Forward]:
    """The statements, verified as queue does it."""
    keys = KeySet.open(Path("keys.sealed").read_bytes(), TENANT, "directory", ROOT)
    pinned = Ed25519PublicKey.from_public_bytes(public_key(keys.current(TOMBSTONE)[1], TENANT))
    return [Forward.verify(statement, pinned, TENANT) for statement in found.forwards]


async def _asked(directory: Running, text: str, reverse: int = Reverse.GIVEN, peer: str = "mx") -> m.Recipient:
    found: m.Recipient = await directory.ask(m.ResolveRecipient(text, reverse), peer)
    return found


def _accounts(found: m.Recipient) -> set[bytes]:
    return {binding.account for binding in (found.binding, *found.others) if binding is not None}


async def _code(directory: Running, request: object) -> str:
    with pytest.raises(Refused) as raised:
        await directory.ask(request)
    return raised.value.code


def test_a_forward_elsewhere_is_refused_until_the_tenant_opens_them(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add(A)
        assert await _code(directory, m.SetForward(_stamp(), A, (FAR,))) == "not-ours"

    with_directory(test)


def test_each_message_has_a_statement_of_its_own_for_each_target(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        a, b = await directory.add(A), await directory.add(B)
        await directory.ask(m.SetForward(_stamp(), A, (FAR, FAR_TOO, B)))
        (event,) = [event for event in directory.events if event.kind == "ForwardChanged"]
        assert (event.details["targets"], event.details["elsewhere"]) == (3, 2)
        assert "far.example" not in repr(directory.events)
        first, second = await _asked(directory, A), await _asked(directory, A)
        assert _accounts(first) == {a, b}
        assert first.own is not None and first.own.account == a
        said = _said(first)
        assert [forward.target for forward in said] == [FAR, FAR_TOO]
        assert {forward.account for forward in said} == {a}
        assert len({forward.id for forward in (*said, *_said(second))}) == 4
        assert (await directory.ask(m.ShowRoutes(A))).forwards == (B, FAR, FAR_TOO)

    with_directory(test, OPEN)


def test_the_cells_own_notices_and_questions_go_nowhere_else(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        a = await directory.add(A)
        await directory.ask(m.SetForward(_stamp(), A, (FAR,), False))
        for peer in ("mx", "submit", "courier"):
            found = await _asked(directory, A, Reverse.OWN, peer)
            assert (found.forwards, _accounts(found)) == ((), {a})

    with_directory(test, OPEN)


def test_without_a_copy_nothing_stays_but_what_comes_from_nobody(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        a = await directory.add(A)
        await directory.ask(m.SetForward(_stamp(), A, (FAR,), False))
        given, null = await _asked(directory, A), await _asked(directory, A, Reverse.NULL)
        assert (given.verdict, _accounts(given), len(given.forwards)) == (RecipientVerdict.LOCAL, set(), 1)
        assert _said(given)[0].return_path.endswith("@kddi.example")
        assert (_accounts(null), [forward.return_path for forward in _said(null)]) == ({a}, [""])

    with_directory(test, OPEN)


def test_a_bounce_comes_back_to_the_mailbox_and_goes_no_further(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        a = await directory.add(A)
        await directory.ask(m.SetForward(_stamp(), A, (FAR,), False))
        (said,) = _said(await _asked(directory, A))
        for reverse in (Reverse.NULL, Reverse.OWN):
            found = await _asked(directory, said.return_path, reverse)
            assert (_accounts(found), found.forwards) == ({a}, ())
        with_sender = await _asked(directory, said.return_path, Reverse.GIVEN)
        assert with_sender.verdict == RecipientVerdict.NO_SUCH_ADDRESS
        forged = said.return_path.replace(said.return_path[6], "a" if said.return_path[6] != "a" else "b", 1)
        assert (await _asked(directory, forged, Reverse.NULL)).verdict == RecipientVerdict.NO_SUCH_ADDRESS
        with pytest.raises(Refused):
            await directory.ask(m.CheckSender(a, said.return_path), "submit")
        await directory.ask(m.SetAccountStatus(_stamp(), A, m.AccountStatus.CANCELLED, ""))
        assert (await _asked(directory, said.return_path, Reverse.NULL)).verdict == RecipientVerdict.CLOSED

    with_directory(test, OPEN)


def test_mail_that_could_not_be_forwarded_comes_back_to_who_was_suspended_meanwhile(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        a = await directory.add(A)
        await directory.ask(m.SetForward(_stamp(), A, (FAR,), False))
        (said,) = _said(await _asked(directory, A))
        await directory.ask(m.SetAccountStatus(_stamp(), A, m.AccountStatus.SUSPENDED, ""))
        found = await _asked(directory, said.return_path, Reverse.OWN, "courier")
        assert (found.verdict, _accounts(found)) == (RecipientVerdict.LOCAL, {a})
        for address, reverse in ((said.return_path, Reverse.NULL), (A, Reverse.OWN)):
            assert (await _asked(directory, address, reverse)).verdict == RecipientVerdict.CLOSED
        await directory.ask(m.SetAccountStatus(_stamp(), A, m.AccountStatus.CANCELLED, ""))
        found = await _asked(directory, said.return_path, Reverse.OWN, "courier")
        assert found.verdict == RecipientVerdict.CLOSED

    with_directory(test, OPEN)


def test_what_closes_forwards_closes_those_that_were_set_before(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        a = await directory.add(A)
        await directory.ask(m.DefineClass(_stamp(), m.ClassRow("basic", 1 << 20, 0, 5, 5, elsewhere=1)))
        await directory.ask(m.SetClass(_stamp(), A, "basic"))
        assert await _code(directory, m.SetForward(_stamp(), A, (FAR, FAR_TOO))) == "full"
        await directory.ask(m.SetForward(_stamp(), A, (FAR,), False))
        assert len((await _asked(directory, A)).forwards) == 1
        await directory.ask(m.SetServices(_stamp(), A, Service.SEND, "abuse"))
        assert ((await _asked(directory, A)).forwards, _accounts(await _asked(directory, A))) == ((), {a})
        await directory.ask(m.SetServices(_stamp(), A, 0, "over"))
        assert len((await _asked(directory, A)).forwards) == 1
        await directory.ask(m.DefineClass(_stamp(), m.ClassRow("basic", 1 << 20, 0, 5, 5, elsewhere=0)))
        assert ((await _asked(directory, A)).forwards, _accounts(await _asked(directory, A))) == ((), {a})
        assert await _code(directory, m.SetForward(_stamp(), A, (FAR,))) == "not-ours"
        (row,) = (await directory.ask(m.ListClasses())).rows
        assert row.elsewhere == 0
        await directory.ask(m.DefineClass(_stamp(), m.ClassRow("basic", 1 << 20, 0, 5, 5)))
        assert len((await _asked(directory, A)).forwards) == 1
        await directory.service.reload(SETTINGS)
        assert (await _asked(directory, A)).forwards == ()

    with_directory(test, OPEN)


def test_a_group_and_a_forward_of_others_lead_to_no_other_server(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        a, b = await directory.add(A), await directory.add(B)
        await directory.ask(m.SetForward(_stamp(), A, (FAR,), False))
        await directory.ask(m.SetForward(_stamp(), B, (A,), False))
        await directory.ask(m.AddGroup(_stamp(), "team@kddi.example"))
        for address in (A, B):
            await directory.ask(m.SetMember(_stamp(), "team@kddi.example", address))
        team, by_b = await _asked(directory, "team@kddi.example"), await _asked(directory, B)
        assert (_accounts(team), team.forwards) == ({a, b}, ())
        assert (_accounts(by_b), by_b.forwards) == ({a}, ())

    with_directory(test, OPEN)


@pytest.mark.parametrize("target", ["あ@far.example", "postmaster", "x@", f"{'x' * 65}@far.example"])
def test_a_target_that_servers_do_not_take_is_refused(with_directory: With, target: str) -> None:
    async def test(directory: Running) -> None:
        await directory.add(A)
        with pytest.raises(Exception, match=r"."):
            await directory.ask(m.SetForward(_stamp(), A, (target,)))
        assert (await directory.ask(m.ShowRoutes(A))).forwards == ()

    with_directory(test, OPEN)


def test_staff_at_the_console_sets_none_and_opens_no_class(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add(A)
        staff = Stamp.fresh(f"{STAFF_ACTOR}ada")
        assert await _code(directory, m.SetForward(staff, A, (FAR,))) == "not-staff"
        for name, before, after in (("shut", 0, 0), ("open", 3, 3), ("new", None, 0)):
            if before is not None:
                await directory.ask(m.DefineClass(_stamp(), m.ClassRow(name, 1, 0, 5, 5, elsewhere=before)))
            again = m.DefineClass(Stamp.fresh(f"{STAFF_ACTOR}ada"), m.ClassRow(name, 2, 0, 5, 5))
            await directory.ask(again)
            rows = {row.name: row for row in (await directory.ask(m.ListClasses())).rows}
            assert (rows[name].quota_bytes, rows[name].elsewhere) == (2, after)

    with_directory(test, OPEN)


def test_a_statement_is_good_for_an_hour(with_directory: With) -> None:
    async def test(directory: Running) -> None:
        await directory.add(A)
        await directory.ask(m.SetForward(_stamp(), A, (FAR,)))
        directory.service._directory.reach.elsewhere.now = lambda: 1_800_000_000_000
        (said,) = _said(await _asked(directory, A))
        assert said.expires == 1_800_000_000_000 + GOOD_MS

    with_directory(test, OPEN)
