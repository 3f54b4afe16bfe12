"""What queue promises: durable before Done, lent once, settled once, nothing left behind."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.queue.queue_host import QueueHost, body_of, fail, join, message

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.facts import WorkDue
from bulkhead.boundary.messages.fields import Done, Stamp
from bulkhead.boundary.messages.registry import requests_of
from bulkhead.boundary.messages.to_queue import (
    Attempted,
    CountQueue,
    DestroyQueued,
    ListQueue,
    Outcome,
    QueuePage,
    ReadQueued,
    RecipientOutcome,
    ReportAttempt,
    RetryNow,
    TakeWork,
    WorkList,
)
from bulkhead.boundary.peers import PEERS
from bulkhead.errors import IntegrityError, Refused, TemporaryFailure
from bulkhead.identifiers import AccountId, new_id
from bulkhead.queue import handle, restore
from bulkhead.queue.handle import HANDLERS

HALF_HOUR = 1_800_000


@asynccontextmanager
async def opened(folder: Path, **section: int) -> AsyncIterator[QueueHost]:
    host = QueueHost(folder, **section).open()
    try:
        yield host
    finally:
        await host.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(test(), 30)

    asyncio.run(within())


def test_a_restored_queue_holds_outbound_mail_as_the_ledger_says(tmp_path: Path) -> None:
    async def test() -> None:
        for epoch, stopped, held in ((100, True, True), (90, False, True), (110, False, False)):
            await restore.finish(tmp_path, stopped=(epoch, stopped))
            async with opened(tmp_path) as host:
                assert host.service.queue.outbound.stopped == held

    run(test)


def report(queue_id: bytes, *outcomes: int, warned: bool = False, request_id: bytes = b"") -> ReportAttempt:
    return ReportAttempt(
        Stamp.fresh("courier", request_id=request_id or None),
        queue_id,
        tuple(RecipientOutcome(number, outcome, "4.4.1", "words") for number, outcome in enumerate(outcomes)),
        warned,
    )


async def take(host: QueueHost, limit: int = 16) -> WorkList:
    work: WorkList = await host.ask(TakeWork(limit))
    return work


def test_every_message_to_queue_has_a_handler() -> None:
    named = {request for peering in PEERS if peering.server == "queue" for request in requests_of(peering)}
    assert set(HANDLERS) == named


def test_a_message_comes_out_as_it_went_in(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = await host.enqueue("a@far.example", "b@far.example", size=300_000)
            (work,) = (await take(host)).items
            assert (work.queue_id, work.reverse_path, work.size) == (queue_id, "sender@kddi.example", 300_000)
            assert [(r.number, r.address) for r in work.recipients] == [(0, "a@far.example"), (1, "b@far.example")]
            assert (work.attempts, work.warned) == (0, False)
            reply, reader = await host.peers["courier"].to("queue").open(ReadQueued(queue_id))
            assert reply.size == 300_000
            assert await reader.read_all() == body_of(queue_id, 300_000)

    run(test)


def test_a_message_is_lent_to_one_channel_at_a_time(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            await host.enqueue()
            assert len((await take(host)).items) == 1
            assert (await take(host)).items == ()

    run(test)


def test_a_delivered_message_leaves_no_row_and_no_file(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = await host.enqueue("a@far.example", "b@far.example")
            await take(host)
            assert await host.ask(report(queue_id, Outcome.DELIVERED, Outcome.FAILED)) == Attempted(0, 0)
            assert host.files() == []
            counts = await host.ask(CountQueue(), "cli")
            assert (counts.messages, counts.recipients, counts.delivered, counts.failed) == (0, 0, 1, 1)
            assert (await host.check()).problems == ()

    run(test)


def test_a_cancelled_account_leaves_nothing_queued_and_others_keep_theirs(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            await host.enqueue("b@far.example")
            gone = DestroyQueued(Stamp.fresh("cli"), AccountId(bytes(16)), "Someone@Ours.example")
            assert (await host.ask(gone, "cli")).messages == 0 and len(host.files()) == 1
            (row,) = (await host.ask(ListQueue(), "cli")).rows
            gone = DestroyQueued(Stamp.fresh("cli"), AccountId(bytes(16)), row.reverse_path.upper())
            assert (await host.ask(gone, "cli")).messages == 1 and host.files() == []
            assert (await host.ask(gone, "cli")).messages == 1  # the same request: answered again, not done again
            assert (await host.ask(CountQueue(), "cli")).messages == 0
            assert (await host.check()).problems == ()

    run(test)


def test_a_cancelled_account_leaves_nothing_queued_that_it_sent_under_an_alias(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            sent = {account: new_id() for account in (AccountId(bytes(15) + b"\1"), AccountId(bytes(15) + b"\2"))}
            for account, queue_id in sent.items():
                request = msgspec.structs.replace(message(queue_id), account=account, reverse_path="alias@kddi.example")
                assert await host.ask(request, "submit", body_of(queue_id, 500)) == Done()
            first, second = sent
            gone = DestroyQueued(Stamp.fresh("cli"), first, "main@kddi.example")
            assert (await host.ask(gone, "cli")).messages == 1
            with pytest.raises(Refused, match="cancelled"):  # what was still on its way then
                late = msgspec.structs.replace(message(queue_id := new_id()), account=first)
                await host.ask(late, "submit", body_of(queue_id, 500))
            (row,) = (await host.ask(ListQueue(), "cli")).rows
            assert row.queue_id == sent[second] and len(host.files()) == 1
            assert (await host.check()).problems == ()

    run(test)


def test_only_recipients_that_wait_are_tried_again_and_not_before_their_time(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = await host.enqueue("a@far.example", "b@far.example")
            await take(host)
            attempted = await host.ask(report(queue_id, Outcome.DELIVERED, Outcome.DEFERRED))
            assert attempted.left == 1
            assert host.clock + HALF_HOUR <= attempted.next_due <= host.clock + HALF_HOUR * 1.1
            assert (await take(host)).next_due == attempted.next_due
            host.clock = attempted.next_due - 1
            assert (await take(host)).items == ()
            host.clock += 1
            (work,) = (await take(host)).items
            assert [r.number for r in work.recipients] == [1]
            assert work.attempts == 1

    run(test)


def test_retry_now_makes_everything_due(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = await host.enqueue()
            await take(host)
            await host.ask(report(queue_id, Outcome.DEFERRED))
            assert (await take(host)).items == ()
            await host.ask(RetryNow(Stamp.fresh("cli")), "cli")
            assert len((await take(host)).items) == 1

    run(test)


def test_a_warning_is_remembered(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = await host.enqueue()
            await take(host)
            attempted = await host.ask(report(queue_id, Outcome.DEFERRED, warned=True))
            host.clock = attempted.next_due
            assert (await take(host)).items[0].warned

    run(test)


def test_an_unknown_outcome_is_counted_and_tried_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = await host.enqueue()
            await take(host)
            attempted = await host.ask(report(queue_id, Outcome.UNKNOWN))
            assert attempted.left == 1
            assert (await host.ask(CountQueue(), "cli")).unknown == 1

    run(test)


def test_a_lease_ends_with_its_channel_and_is_counted_as_unknown(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            await host.enqueue("a@far.example", "b@far.example")
            await take(host)
            host.peers["courier"].close()
            await asyncio.sleep(0.05)
            host.peers["courier"] = Exchange(Channel("courier", 0, 2), fail)
            join(host.exchange, host.peers["courier"], 9)
            assert len((await take(host)).items) == 1
            assert (await host.ask(CountQueue(), "cli")).unknown == 2

    run(test)


def test_an_attempt_that_died_with_the_whole_cell_is_counted_as_unknown_for_good(tmp_path: Path) -> None:
    async def test() -> None:
        host = QueueHost(tmp_path).open()
        await host.enqueue("a@far.example", "b@far.example")
        await take(host)
        host.kill()
        host.generation = 0  # a new supervisor counts from 1 again, for courier too
        for _ in range(2):
            host.open()
            assert len((await take(host)).items) == 1
            assert (await host.ask(CountQueue(), "cli")).unknown == 2
            host.kill()
        await asyncio.sleep(0)

    run(test)


def test_a_courier_that_outlives_queue_has_no_unknown_outcome(tmp_path: Path) -> None:
    async def test() -> None:
        host = QueueHost(tmp_path).open()
        queue_id = await host.enqueue()
        await take(host)
        host.kill()
        host.open()
        assert len((await take(host)).items) == 1  # which courier still has, and knows
        await host.ask(report(queue_id, Outcome.DELIVERED))
        counts = await host.ask(CountQueue(), "cli")
        assert (counts.delivered, counts.unknown) == (1, 0)
        await host.close()

    run(test)


def test_courier_is_told_of_new_mail_and_of_mail_that_becomes_due(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path, retry_first_seconds=1) as host:
            told = asyncio.Event()
            host.peers["courier"].serve(None, {}, {WorkDue: lambda *_: told.set()})
            queue_id = await host.enqueue()
            await asyncio.wait_for(told.wait(), 2)
            await take(host)
            told.clear()
            attempted = await host.ask(report(queue_id, Outcome.DEFERRED))
            assert not told.is_set()
            host.clock = attempted.next_due
            await asyncio.wait_for(told.wait(), 3)

    run(test)


def test_a_repeated_enqueue_is_answered_and_not_done_again(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id, request_id = new_id(), new_id()
            await host.enqueue(queue_id=queue_id, request_id=request_id)
            await take(host)
            await host.ask(report(queue_id, Outcome.DELIVERED))
            await host.enqueue(queue_id=queue_id, request_id=request_id)
            assert (await take(host)).items == ()
            assert host.files() == []

    run(test)


def test_the_same_message_sent_twice_at_once_is_queued_once(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id, request_id = new_id(), new_id()
            same = {"queue_id": queue_id, "request_id": request_id, "size": 200_000}
            await asyncio.gather(host.enqueue(**same), host.enqueue(**same))  # type: ignore[arg-type]
            assert (await host.ask(CountQueue(), "cli")).messages == 1
            assert (await host.check()).problems == ()

    run(test)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"recipients": ("no address",)}, "bad-address"),
        ({"reverse_path": "no address"}, "bad-address"),
        ({"header_size": 101}, "bad-size"),
        ({"header_size": 99}, "bad-size"),
    ],
)
def test_what_cannot_be_delivered_is_refused_and_leaves_nothing(tmp_path: Path, change: Any, code: str) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = new_id()
            request = message(queue_id)
            fields = {name: getattr(request, name) for name in request.__struct_fields__} | change
            with pytest.raises(Refused) as refused:
                await host.ask(type(request)(**fields), "submit", body_of(queue_id))
            assert refused.value.code == code
            assert host.files() == []

    run(test)


def test_an_id_in_use_is_refused_and_the_queued_file_stays_as_it_was(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = await host.enqueue()
            with pytest.raises(Refused) as refused:
                await host.ask(message(queue_id, size=400), "submit", b"x" * 400)
            assert refused.value.code == "exists"
            assert (await host.check()).problems == ()

    run(test)


def test_a_full_queue_refuses(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path, messages_max=2) as host:
            await host.enqueue()
            await host.enqueue()
            with pytest.raises(Refused) as refused:
                await host.enqueue()
            assert refused.value.code == "queue-full"

    run(test)


def test_an_outcome_that_is_none_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = await host.enqueue("a@far.example", "b@far.example")
            await take(host)
            with pytest.raises(Refused):
                await host.ask(report(queue_id, Outcome.DELIVERED, 9))
            assert (await host.ask(CountQueue(), "cli")).recipients == 2

    run(test)


def test_another_channel_can_neither_read_nor_report_what_is_leased(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = await host.enqueue()
            await take(host)
            host.service.queue.leases[queue_id] = host.peers["submit"].me
            for request in (ReadQueued(queue_id), report(queue_id, Outcome.DELIVERED)):
                with pytest.raises(Refused) as refused:
                    await host.ask(request)
                assert refused.value.code == "no-lease"

    run(test)


def test_a_message_with_a_thousand_long_addresses_is_lent_in_parts_that_fit_a_frame(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            recipients = [f"{number:04}{'x' * 50}@{'y' * 60}.{'z' * 60}.example" for number in range(1000)]
            queue_id = await host.enqueue(*recipients)
            seen: list[int] = []
            while works := (await take(host)).items:
                numbers = [recipient.number for recipient in works[0].recipients]
                seen += numbers
                outcomes = tuple(RecipientOutcome(number, Outcome.DELIVERED, "2.0.0", "") for number in numbers)
                await host.ask(ReportAttempt(Stamp.fresh("courier"), queue_id, outcomes, False))
            assert seen == list(range(1000))
            assert host.files() == []

    run(test)


def test_the_listing_tells_state_and_last_error(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            first = await host.enqueue()
            await take(host)
            await host.ask(report(first, Outcome.DEFERRED))
            second = await host.enqueue()
            await take(host)
            third = await host.enqueue()
            page: QueuePage = await host.ask(ListQueue(), "cli")
            states = {row.queue_id: row.state for row in page.rows}
            assert states == {first: "waiting", second: "leased", third: "due"}
            assert next(row for row in page.rows if row.queue_id == first).last_error == "4.4.1 words"

    run(test)


# --- crashes ---------------------------------------------------------------------------------------------------------


def test_the_file_and_its_directory_are_synced_before_the_row_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            steps: list[str] = []
            fdatasync, fsync = os.fdatasync, os.fsync

            def note(name: str, call: Callable[[int], None], descriptor: int) -> None:
                rows = host.service.queue.messages
                steps.append(f"{name} {Path(f'/proc/self/fd/{descriptor}').readlink().name} rows={rows}")
                call(descriptor)

            monkeypatch.setattr(os, "fdatasync", lambda d: note("fdatasync", fdatasync, d))
            monkeypatch.setattr(os, "fsync", lambda d: note("fsync", fsync, d))
            queue_id = await host.enqueue()
            name = queue_id.hex()
            assert steps == [f"fdatasync {name} rows=0", f"fsync {name[:2]} rows=0"]

    run(test)


def test_a_failing_sync_fails_the_request_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:

            def broken(_: int) -> None:
                raise OSError(5, "Input/output error")

            with monkeypatch.context() as patched:
                patched.setattr(os, "fdatasync", broken)
                with pytest.raises(TemporaryFailure):
                    await host.enqueue()
            assert host.files() == []
            await host.enqueue()

    run(test)


def test_a_kill_while_the_message_is_received_leaves_no_trace_after_the_next_start(tmp_path: Path) -> None:
    async def test() -> None:
        host = QueueHost(tmp_path).open()
        queue_id = new_id()
        stopped = asyncio.Event()

        async def stuck() -> AsyncIterator[bytes]:
            yield body_of(queue_id)[:100]
            stopped.set()
            await asyncio.sleep(60)

        sending = asyncio.create_task(host.ask(message(queue_id), "submit", stuck()))
        await stopped.wait()
        await asyncio.sleep(0.05)
        host.kill()
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, TemporaryFailure):
            await sending
        (tmp_path / "messages" / queue_id.hex()[:2] / queue_id.hex()).write_bytes(b"part")
        host.open()
        assert host.files() == []
        assert await host.enqueue(queue_id=queue_id) == queue_id
        await host.close()

    run(test)


def test_a_kill_between_file_and_row_leaves_nothing_after_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        host = QueueHost(tmp_path).open()
        reached = asyncio.Event()

        async def never(*_: object) -> None:
            reached.set()
            await asyncio.sleep(60)

        monkeypatch.setattr(handle, "_write_rows", never)
        sending = asyncio.create_task(host.enqueue())
        await reached.wait()
        assert len(host.files()) == 1
        host.kill()
        monkeypatch.undo()
        sending.cancel()
        host.open()
        assert host.files() == []
        assert (await take(host)).items == ()
        await host.close()

    run(test)


def test_what_was_answered_done_survives_a_kill(tmp_path: Path) -> None:
    async def test() -> None:
        host = QueueHost(tmp_path).open()
        queue_ids = {await host.enqueue() for _ in range(10)}
        host.kill()
        host.open()
        assert {work.queue_id for work in (await take(host)).items} == queue_ids
        assert (await host.check()).problems == ()
        await host.close()

    run(test)


def test_an_attempt_that_outlives_a_kill_of_queue_reads_and_reports_as_if_nothing_was(tmp_path: Path) -> None:
    async def test() -> None:
        host = QueueHost(tmp_path).open()
        queue_id = await host.enqueue()
        await take(host)
        host.kill()
        host.open()
        _, reader = await host.peers["courier"].to("queue").open(ReadQueued(queue_id))
        assert await reader.read_all() == body_of(queue_id)
        assert (await take(host)).items == ()
        assert await host.ask(report(queue_id, Outcome.DELIVERED)) == Attempted(0, 0)
        await host.close()

    run(test)


def test_a_report_repeated_after_a_kill_is_answered_and_not_done_again(tmp_path: Path) -> None:
    async def test() -> None:
        host = QueueHost(tmp_path).open()
        queue_id = await host.enqueue("a@far.example", "b@far.example")
        await take(host)
        request_id = new_id()
        first = await host.ask(report(queue_id, Outcome.DELIVERED, Outcome.DEFERRED, request_id=request_id))
        host.kill()
        host.open()
        host.clock += 5000
        again = await host.ask(report(queue_id, Outcome.DELIVERED, Outcome.DEFERRED, request_id=request_id))
        assert again == first
        host.clock = first.next_due
        (work,) = (await take(host)).items
        assert ([r.number for r in work.recipients], work.attempts) == ([1], 1)
        await host.close()

    run(test)


def test_a_kill_between_removal_and_unlink_leaves_a_file_that_the_next_start_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        host = QueueHost(tmp_path).open()
        queue_id = await host.enqueue()
        await take(host)
        monkeypatch.setattr(host.service.queue.files, "remove", lambda _: None)
        await host.ask(report(queue_id, Outcome.DELIVERED))
        assert host.files() == [queue_id.hex()]
        host.kill()
        host.open()
        assert host.files() == []
        assert (await take(host)).items == ()
        await host.close()

    run(test)


def test_the_file_is_there_until_its_rows_removal_is_durable(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = await host.enqueue()
            await take(host)
            rows_left: list[int] = []
            remove = host.service.queue.files.remove

            def look(gone: bytes) -> None:
                import sqlite3

                with contextlib.closing(sqlite3.connect(tmp_path / "queue.sqlite")) as other:
                    rows_left.extend(other.execute("SELECT count(*) FROM message").fetchone())
                remove(gone)

            host.service.queue.files.remove = look  # type: ignore[method-assign]
            await host.ask(report(queue_id, Outcome.DELIVERED))
            assert rows_left == [0]

    run(test)


def test_messages_without_a_database_stop_the_start(tmp_path: Path) -> None:
    async def test() -> None:
        host = QueueHost(tmp_path).open()
        await host.enqueue()
        await host.close()
        for path in tmp_path.glob("queue.sqlite*"):
            path.unlink()
        with pytest.raises(IntegrityError, match="missing"):
            host.open()

    run(test)


def test_fsck_names_a_missing_a_cut_and_a_stray_file(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            missing, cut = await host.enqueue(), await host.enqueue()
            files = tmp_path / "messages"
            (files / missing.hex()[:2] / missing.hex()).unlink()
            os.truncate(files / cut.hex()[:2] / cut.hex(), 10)
            (files / "00" / ("00" * 16)).write_bytes(b"")
            problems = (await host.check()).problems
            assert len(problems) == 3
            assert sum("missing" in problem for problem in problems) == 1
            assert sum("10 bytes instead of 500" in problem for problem in problems) == 1
            assert sum("belongs to no message" in problem for problem in problems) == 1

    run(test)


def test_done_is_the_answer_to_enqueue(tmp_path: Path) -> None:
    async def test() -> None:
        async with opened(tmp_path) as host:
            queue_id = new_id()
            assert await host.ask(message(queue_id), "submit", body_of(queue_id)) == Done()

    run(test)
