"""One leased message from end to end: attempt, notification, report, in that order.

The notification of a failure is durable before the failure is reported, so no crash loses both; the outcomes are
reported under one request id until queue has them.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from bulkhead.boundary.messages.fields import Stamp
from bulkhead.boundary.messages.to_queue import Outcome as Reported
from bulkhead.boundary.messages.to_queue import RecipientOutcome, ReportAttempt, Work
from bulkhead.courier.attempt import Attempt, Means
from bulkhead.courier.bounce import Notifier
from bulkhead.courier.route import Result
from bulkhead.courier.spool import Budget, Text
from bulkhead.errors import Error, PeerError, Refused
from bulkhead.identifiers import Address, format_id, new_id, parse_address
from bulkhead.wire.dsn import Action
from bulkhead.wire.smtp_outcome import Outcome

REPORT_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # between tries to report; the last for ever
TEXT_BYTES = 120_000  # of all recipients' words in one report
NOT_NOTIFIED = Result(Outcome.DEFERRED, "4.3.0", "the sender could not be told yet that delivery failed")
_REPORTED: Mapping[Outcome, int] = {
    Outcome.DELIVERED: Reported.DELIVERED,
    Outcome.DEFERRED: Reported.DEFERRED,
    Outcome.FAILED: Reported.FAILED,
    Outcome.UNKNOWN: Reported.UNKNOWN,
}
_log = logging.getLogger("bulkhead.courier")


async def make_trip(
    means: Means, notifier: Notifier, budget: Budget, work: Work, clock: Callable[[], float] = time.time
) -> None:
    """Try every recipient of `work`, tell the sender what is owed, report to queue."""
    started = clock()
    sender = _sender(work.reverse_path)
    held = await budget.take(work.size)
    try:
        attempt = Attempt(means, work, sender)
        results = await attempt.run(int(started))
        now, text = clock(), attempt.text
        results = _expire(results, work, now)
        results = await _notify_failures(notifier, work, sender, results, text, now)
        warned = await _warn(notifier, work, sender, results, text, now)
        await _confirm(notifier, work, sender, results, text, now)
        del attempt, text
    finally:
        budget.give(held)
    await _report(means, work, results, warned)
    counts = Counter(result.outcome.value for result in results.values())
    words = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    name = format_id("que", work.queue_id)
    _log.info("attempt %d at %s: %s in %.2f s", work.attempts + 1, name, words, now - started)


def _sender(reverse_path: str) -> Address | None:
    """The reverse-path; queue has checked it. One that is no address after all is treated as `<>`."""
    try:
        return parse_address(reverse_path) if reverse_path else None
    except PeerError:
        return None


def _expire(results: Mapping[int, Result], work: Work, now: float) -> dict[int, Result]:
    """Past the message's time, what would be tried again has failed (RFC 3463 section 3.5: X.4.7)."""
    if now * 1000 < work.expires:
        return dict(results)
    return {number: _given_up(result) for number, result in results.items()}


def _given_up(result: Result) -> Result:
    if result.outcome not in (Outcome.DEFERRED, Outcome.UNKNOWN):
        return result
    reason = f"not delivered in time; the last try: {result.reason}"
    return replace(result, outcome=Outcome.FAILED, status="4.4.7", reason=reason)


async def _notify_failures(
    notifier: Notifier, work: Work, sender: Address | None, results: dict[int, Result], text: Text | None, now: float
) -> dict[int, Result]:
    """The results, failures being deferred while the sender cannot be told of them.

    A sender's mailbox that refuses (it is full) is asked again until the message's time is over, and then no more.
    """
    failed = {number: result for number, result in results.items() if result.outcome is Outcome.FAILED}
    try:
        await notifier.notify(work, sender, failed, text, Action.FAILED, now)
    except Error as error:
        name = format_id("que", work.queue_id)
        if isinstance(error, Refused) and now * 1000 >= work.expires:
            notifier.dropped += 1
            _log.error("the notification about %s is dropped: %s", name, error.public)
            return results
        _log.warning("the notification about %s waits: %s", name, error.public)
        return results | dict.fromkeys(failed, NOT_NOTIFIED)
    return results


async def _warn(
    notifier: Notifier, work: Work, sender: Address | None, results: Mapping[int, Result], text: Text | None, now: float
) -> bool:
    """Whether the sender was told of a delay in this attempt; once for a message."""
    if work.warned or now * 1000 < work.warn_after:
        return False
    late = {
        number: result
        for number, result in results.items()
        if result.outcome in (Outcome.DEFERRED, Outcome.UNKNOWN) and result is not NOT_NOTIFIED
    }
    try:
        await notifier.notify(work, sender, late, text, Action.DELAYED, now)
    except Error as error:
        _log.warning("the delay notice about %s waits: %s", format_id("que", work.queue_id), error.public)
        return False
    return bool(late)


async def _confirm(
    notifier: Notifier, work: Work, sender: Address | None, results: Mapping[int, Result], text: Text | None, now: float
) -> None:
    """Tell a sender who wishes it of what was delivered here, or passed on to a server that will not tell.

    Source: RFC 3461 section 5.2.2. What is delivered is so whether or not the sender can be told: a notice that the
    mailbox refuses is dropped.
    """
    delivered = {number: result for number, result in results.items() if result.outcome is Outcome.DELIVERED}
    here = {number: result for number, result in delivered.items() if result.host is None}
    relayed = {
        number: result for number, result in delivered.items() if result.host is not None and not result.wish_passed
    }
    for about, action in ((here, Action.DELIVERED), (relayed, Action.RELAYED)):
        try:
            await notifier.notify(work, sender, about, text, action, now)
        except Error as error:
            notifier.dropped += 1
            _log.error("the notice about %s is dropped: %s", format_id("que", work.queue_id), error.public)


async def _report(means: Means, work: Work, results: Mapping[int, Result], warned: bool) -> None:
    """Report until queue has it. A message that another process has meanwhile is left to it."""
    room = max(60, min(1024, TEXT_BYTES // max(1, len(results))))
    outcomes = tuple(
        RecipientOutcome(number, _REPORTED[result.outcome], result.status, str(result.reply or result.reason)[:room])
        for number, result in sorted(results.items())
    )
    request_id = new_id()
    tries = 0
    while True:
        stamp = Stamp.fresh("courier", request_id=request_id)
        try:
            await means.exchange.to("queue").call(ReportAttempt(stamp, work.queue_id, outcomes, warned))
        except Refused as refused:
            _log.error("queue takes no report about %s: %s", format_id("que", work.queue_id), refused.public)
            return
        except Error as error:
            _log.warning("the report about %s waits: %s", format_id("que", work.queue_id), error.public)
            await asyncio.sleep(REPORT_SECONDS[min(tries, len(REPORT_SECONDS) - 1)])
            tries += 1
        else:
            return
