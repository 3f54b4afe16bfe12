"""Order of hosts, and the budget of texts in memory."""

import asyncio

from bulkhead.boundary.messages.to_queue import DueRecipient
from bulkhead.boundary.messages.to_resolver import MailHost, MailHosts, MailHostsVerdict
from bulkhead.courier.request_id import derived_id
from bulkhead.courier.route import MALFORMED, OWN_HOST, TARGETS_MAX, Result, by_domain, hops, route
from bulkhead.courier.spool import Budget
from bulkhead.identifiers import parse_domain

OWN = parse_domain("mx.kddi.example")


def found(*hosts: tuple[int, str, int]) -> MailHosts:
    """Hosts of that preference and name, with that many addresses."""
    made = tuple(
        MailHost(preference, name, tuple(f"192.0.2.{number}" for number in range(count)))
        for preference, name, count in hosts
    )
    return MailHosts(MailHostsVerdict.FOUND, made, 60)


def names(way: object) -> list[str]:
    assert isinstance(way, tuple)
    return [target.host for target in way]


def test_hosts_are_shuffled_within_a_preference_and_never_across() -> None:
    hosts = found((20, "c.example", 1), (10, "a.example", 1), (10, "b.example", 1))
    assert names(route(hosts, OWN, lambda listed: listed.sort(key=lambda host: host.name))) == [
        "a.example", "b.example", "c.example",
    ]  # fmt: skip
    assert names(route(hosts, OWN, lambda listed: listed.sort(key=lambda host: host.name, reverse=True))) == [
        "b.example", "a.example", "c.example",
    ]  # fmt: skip


def test_a_host_with_many_addresses_does_not_keep_the_next_from_its_turn() -> None:
    way = route(found((10, "many.example", 16), (20, "next.example", 1)), OWN, lambda _: None)
    assert names(way)[:3] == ["many.example", "many.example", "next.example"]
    assert len(names(way)) == TARGETS_MAX


def test_own_name_cuts_itself_and_what_is_not_preferred_to_it() -> None:
    hosts = found((10, "a.example", 1), (20, "MX.kddi.example.", 1), (20, "b.example", 1), (30, "c.example", 1))
    assert names(route(hosts, OWN, lambda _: None)) == ["a.example"]
    assert route(found((10, "mx.kddi.example", 1), (10, "b.example", 1)), OWN, lambda _: None) is OWN_HOST


def test_a_verdict_that_nobody_knows_defers() -> None:
    way = route(MailHosts(99, (), 0), OWN, lambda _: None)
    assert isinstance(way, Result)
    assert way.status == "4.4.3"


def test_recipients_are_grouped_by_domain_whatever_its_case_and_bad_ones_are_settled() -> None:
    domains, settled = by_domain(
        (DueRecipient(0, "a@Far.example"), DueRecipient(1, "no address"), DueRecipient(2, "b@far.EXAMPLE"))
    )
    assert {domain: [number for number, _ in listed] for domain, listed in domains.items()} == {"far.example": [0, 2]}
    assert settled == {1: MALFORMED}


def test_hops_are_counted_in_the_header_alone() -> None:
    assert hops(b"Received: a\r\nRECEIVED: b\r\n folded\r\nX-Received: c\r\n\r\nReceived: d\r\n") == 2


def test_a_derived_id_depends_on_message_recipients_and_kind_and_on_nothing_else() -> None:
    assert derived_id(b"q" * 16, (2, 1), "failed") == derived_id(b"q" * 16, [1, 2], "failed")
    others = [derived_id(b"r" * 16, (1, 2), "failed"), derived_id(b"q" * 16, (12,), "failed")]
    others += [derived_id(b"q" * 16, (1, 2), "delayed"), derived_id(b"q" * 16, (1,), "failed")]
    assert len({derived_id(b"q" * 16, (1, 2), "failed"), *others}) == 5


def test_the_budget_is_never_passed_and_is_served_in_order() -> None:
    async def test() -> None:
        budget, order, held = Budget(100), [], 0  # type: Budget, list[int], int

        async def one(number: int, octets: int) -> None:
            nonlocal held
            taken = await budget.take(octets)
            held += taken
            assert held <= 100
            order.append(number)
            await asyncio.sleep(0.01)
            held -= taken
            budget.give(taken)

        await asyncio.gather(*(one(number, octets) for number, octets in enumerate((60, 60, 10, 500, 1))))
        assert order == [0, 1, 2, 3, 4]
        assert await asyncio.wait_for(budget.take(100), 1) == 100

    asyncio.run(test())


def test_who_gives_up_waiting_for_the_budget_takes_nothing_of_it() -> None:
    async def test() -> None:
        budget = Budget(100)
        await budget.take(100)
        waiting = asyncio.create_task(budget.take(50))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        budget.give(100)
        assert await asyncio.wait_for(budget.take(100), 1) == 100

    asyncio.run(test())
