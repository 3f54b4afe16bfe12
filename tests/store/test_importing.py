"""What an import may set of a mailbox, and what it leaves alone."""

from typing import Any

from tests.store.test_undelete import start
from tests.store.world import CLI, World, stamp

from bulkhead.boundary.messages import to_store
from bulkhead.identifiers import new_id


def test_a_uidvalidity_that_another_mailbox_of_the_account_has_is_not_given_twice(run: Any) -> None:
    async def scenario(world: World) -> None:
        client, _ = await start(world)
        taken = (await client.row(client.inbox)).uid_validity
        new = await world.peer(CLI).call(
            to_store.ImportMailbox(stamp(), client.account, new_id(), taken, b"sealed name", new_id())  # type: ignore[arg-type]
        )
        empty = await client.create()
        changed = await world.peer(CLI).call(to_store.ImportMailbox(stamp(), client.account, empty, taken))  # type: ignore[arg-type]
        kept = await world.peer(CLI).call(
            to_store.ImportMailbox(stamp(), client.account, new_id(), taken + 1000, b"sealed name", new_id())  # type: ignore[arg-type]
        )
        assert len({taken, new.uid_validity, changed.uid_validity, kept.uid_validity}) == 4
        assert kept.uid_validity == taken + 1000
        assert (await world.check()).problems == ()

    run(scenario)
