"""resolver end to end: real edges, a real dialer, name servers on loopback that answer well, badly or not at all."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
import uvloop
from tests.queue.queue_host import fail, join
from tests.resolver.dns_server import NameServer, answer_to

from bulkhead.boundary.edge import Channel
from bulkhead.boundary.exchange import Exchange
from bulkhead.boundary.messages.to_resolver import FindMailHosts, MailHosts, MailHostsVerdict
from bulkhead.dialer.handle import HANDLERS as DIALER_HANDLERS
from bulkhead.dialer.handle import Dialer
from bulkhead.dialer.routes import Routes
from bulkhead.errors import ConfigError
from bulkhead.resolver.cache import Cache
from bulkhead.resolver.handle import HANDLERS, Resolver
from bulkhead.resolver.process import ResolverService, make_lookup
from bulkhead.resolver.response import Answer, Type, Verdict
from bulkhead.resolver.zone import Zone

SERVER = "127.0.0.31"
DEAD = "127.0.0.32"
ZONE = """
$TTL 60
$ORIGIN kddi.example.
@ IN SOA mx hostmaster 1 3600 600 86400 60
@ MX 10 mx
@ MX 20 mx2
mx A 127.0.1.1
mx2 A 127.0.1.2
mx2 AAAA ::1
$ORIGIN stnet.example.
@ IN SOA mx hostmaster 1 3600 600 86400 60
@ IN MX 10 mx
mx IN A 127.0.1.2
none MX 0 .
plain A 127.0.1.3
alias CNAME plain
empty MX 10 nowhere
nowhere TXT "no address"
"""


class World:
    """A resolver between courier and dialer, and its name server."""

    def __init__(self, server: NameServer, port: int, servers: list[str], zone: str, seconds: float) -> None:
        self.server = server
        self.section: dict[str, Any] = {
            "zone": zone, "nameservers": servers, "timeout_seconds": seconds, "cache_entries_max": 100,
        }  # fmt: skip
        self.exchange = Exchange(Channel("resolver", 0, 1), fail)
        self.courier = Exchange(Channel("courier", 0, 1), fail)
        self.dialer = Exchange(Channel("dialer", 0, 1), fail)
        routes = replace(Routes.configured(25, (), servers), dns_port=port)
        self.dialer.serve(Dialer(routes), DIALER_HANDLERS)
        join(self.dialer, self.exchange)
        join(self.exchange, self.courier)
        self.resolver = Resolver(make_lookup(self.exchange, self.section, port=port))
        self.exchange.serve(self.resolver, HANDLERS)

    async def find(self, domain: str) -> MailHosts:
        return await self.courier.to("resolver").call(FindMailHosts(domain))


@asynccontextmanager
async def world(servers: tuple[str, ...] = (SERVER,), zone: str = "", seconds: float = 0.3) -> AsyncIterator[World]:
    server = NameServer()
    port = await server.open(SERVER)
    made = World(server, port, list(servers), zone, seconds)
    try:
        yield made
    finally:
        for exchange in (made.courier, made.exchange, made.dialer):
            exchange.close()
        server.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        await asyncio.wait_for(test(), 60)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as in the front image
        runner.run(within())


def hosts(found: MailHosts) -> list[tuple[int, str, tuple[str, ...]]]:
    return [(host.preference, host.name, host.addresses) for host in found.hosts]


def test_mail_hosts_come_by_preference_with_both_kinds_of_address() -> None:
    async def test() -> None:
        async with world() as w:
            w.server.add(
                "far.example. 300 IN MX 20 second.example.", "far.example. 300 IN MX 10 first.example.",
                "first.example. 100 IN A 192.0.2.1", "first.example. 100 IN AAAA 2001:db8::1",
                "second.example. 200 IN A 192.0.2.2",
            )  # fmt: skip
            found = await w.find("FAR.example.")
            assert found.verdict == MailHostsVerdict.FOUND
            assert hosts(found) == [
                (10, "first.example", ("2001:db8::1", "192.0.2.1")),
                (20, "second.example", ("192.0.2.2",)),
            ]
            assert found.ttl <= 100

    run(test)


def test_a_domain_without_mx_is_its_own_host() -> None:
    async def test() -> None:
        async with world() as w:
            w.server.add("far.example. 300 IN A 192.0.2.1")
            assert hosts(await w.find("far.example")) == [(0, "far.example", ("192.0.2.1",))]

    run(test)


@pytest.mark.parametrize(
    ("records", "verdict"),
    [
        ((), MailHostsVerdict.NO_SUCH_DOMAIN),
        (("far.example. 300 IN MX 0 .",), MailHostsVerdict.NULL_MX),
        (("far.example. 300 IN TXT x",), MailHostsVerdict.NO_ADDRESS),
        (("far.example. 300 IN MX 10 gone.example.",), MailHostsVerdict.NO_ADDRESS),
        (("far.example. 300 IN MX 10 a..b\\.c.example.",), MailHostsVerdict.NO_ADDRESS),
    ],
)
def test_what_takes_no_mail_is_told_apart(records: tuple[str, ...], verdict: int) -> None:
    async def test() -> None:
        async with world() as w:
            for record in records:
                w.server.add(record.replace("a..b", "a.b"))
            assert (await w.find("far.example")).verdict == verdict

    run(test)


@pytest.mark.parametrize("domain", ["", "no domain", "x" * 64 + ".example", "a" * 250, "[127.0.0.1]", "a..b"])
def test_a_text_that_is_no_domain_does_not_exist(domain: str) -> None:
    async def test() -> None:
        async with world() as w:
            assert (await w.find(domain)).verdict == MailHostsVerdict.NO_SUCH_DOMAIN
            assert w.server.asked == [] or domain == "a" * 250

    run(test)


def test_aliases_are_followed_over_several_questions_and_a_loop_ends() -> None:
    async def test() -> None:
        async with world() as w:
            w.server.add(
                "far.example. 300 IN CNAME b.example.", "b.example. 300 IN MX 10 c.example.",
                "c.example. 300 IN CNAME d.example.", "d.example. 300 IN A 192.0.2.4",
                "loop.example. 300 IN CNAME pool.example.", "pool.example. 300 IN CNAME loop.example.",
            )  # fmt: skip
            assert hosts(await w.find("far.example")) == [(10, "c.example", ("192.0.2.4",))]
            assert (await w.find("loop.example")).verdict == MailHostsVerdict.TEMPORARY
            assert len(w.server.asked) < 20

    run(test)


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_a_server_that_fails_is_temporary_and_never_an_absence(rcode: int) -> None:
    async def test() -> None:
        async with world() as w:
            w.server.script = lambda query, _: [answer_to(query, rcode=rcode).to_wire()]
            assert (await w.find("far.example")).verdict == MailHostsVerdict.TEMPORARY
            assert len(w.server.asked) == 2  # two rounds

    run(test)


def test_addresses_that_are_not_known_now_are_temporary() -> None:
    async def test() -> None:
        async with world() as w:

            def script(query: dns.message.Message, _: bool) -> list[bytes]:
                if query.question[0].rdtype == dns.rdatatype.MX:
                    return [answer_to(query, "far.example. 300 IN MX 10 mx.far.example.").to_wire()]
                return [answer_to(query, rcode=dns.rcode.SERVFAIL).to_wire()]

            w.server.script = script
            assert (await w.find("far.example")).verdict == MailHostsVerdict.TEMPORARY

    run(test)


def test_a_silent_server_is_passed_over_in_time() -> None:
    async def test() -> None:
        async with world(servers=(DEAD, SERVER)) as w:
            w.server.add("far.example. 300 IN MX 10 mx.far.example.", "mx.far.example. 300 IN A 192.0.2.1")
            assert hosts(await w.find("far.example")) == [(10, "mx.far.example", ("192.0.2.1",))]
            w.server.script = lambda *_: []
            begun = asyncio.get_running_loop().time()
            assert (await w.find("other.example")).verdict == MailHostsVerdict.TEMPORARY
            assert asyncio.get_running_loop().time() - begun < 4

    run(test)


def test_forged_answers_before_the_true_one_are_passed_over() -> None:
    async def test() -> None:
        async with world() as w:
            w.server.add("mx.far.example. 300 IN A 192.0.2.1", "evil.example. 300 IN A 192.0.2.66")
            evil = "far.example. 300 IN MX 10 evil.example."

            def script(query: dns.message.Message, _: bool) -> list[bytes]:
                name = query.question[0].name.to_text()
                kind = dns.rdatatype.to_text(query.question[0].rdtype)
                if name != "far.example.":
                    return [answer_to(query, *w.server.records.get((name, kind), ())).to_wire()]
                wrong_id = answer_to(query, evil).to_wire()
                wrong_id = bytes((wrong_id[0] ^ 1,)) + wrong_id[1:]
                other = dns.message.make_query("other.example.", "MX", id=query.id)
                wrong_question = answer_to(other, evil).to_wire()
                right = answer_to(query, "far.example. 300 IN MX 10 mx.far.example.").to_wire()
                return [b"", b"noise", wrong_id, wrong_question, query.to_wire(), right]

            w.server.script = script
            assert hosts(await w.find("far.example")) == [(10, "mx.far.example", ("192.0.2.1",))]

    run(test)


def test_a_flood_of_forged_answers_ends_with_a_failure() -> None:
    async def test() -> None:
        async with world() as w:
            w.server.script = lambda *_: [b"noise"] * 40
            assert (await w.find("far.example")).verdict == MailHostsVerdict.TEMPORARY

    run(test)


def test_a_truncated_answer_is_asked_for_again_by_tcp() -> None:
    async def test() -> None:
        async with world() as w:
            exchangers = [f"far.example. 300 IN MX {number} mx{number}.far.example." for number in range(40)]
            w.server.add(*exchangers, *(f"mx{number}.far.example. 300 IN A 192.0.2.1" for number in range(40)))

            def script(query: dns.message.Message, tcp: bool) -> list[bytes]:
                name = query.question[0].name.to_text()
                kind = dns.rdatatype.to_text(query.question[0].rdtype)
                response = answer_to(query)
                for text in w.server.records.get((name, kind), ()):
                    data = text.split(" ", 4)[4]
                    response.answer = [
                        dns.rrset.from_text(name, 300, "IN", kind, data, *(str(r) for s in response.answer for r in s))
                    ]
                if len(response.to_wire()) > 512 and not tcp:
                    cut = answer_to(query)
                    cut.flags |= dns.flags.TC
                    return [cut.to_wire()]
                return [response.to_wire()]

            w.server.script = script
            found = await w.find("far.example")
            assert [host.preference for host in found.hosts] == list(range(16))
            assert ("far.example.", "MX", True) in w.server.asked

    run(test)


@pytest.mark.parametrize("response", [b"", b"x", b"\xff" * 40_000])
def test_a_truncated_answer_whose_tcp_answer_is_broken_or_huge_is_temporary(response: bytes) -> None:
    async def test() -> None:
        async with world() as w:

            def script(query: dns.message.Message, tcp: bool) -> list[bytes]:
                cut = answer_to(query)
                cut.flags |= dns.flags.TC
                return [response if tcp else cut.to_wire()]

            w.server.script = script
            assert (await w.find("far.example")).verdict == MailHostsVerdict.TEMPORARY

    run(test)


def test_a_second_question_is_answered_from_the_cache_until_its_time_ends() -> None:
    async def test() -> None:
        async with world() as w:
            w.server.add("far.example. 300 IN MX 10 mx.far.example.", "mx.far.example. 300 IN A 192.0.2.1")
            now = 1000.0
            w.resolver.lookup._clock = lambda: now
            first = await w.find("far.example")
            asked = len(w.server.asked)
            assert await w.find("far.example") == first
            assert len(w.server.asked) == asked
            now += 301
            await w.find("far.example")
            assert len(w.server.asked) == 2 * asked

    run(test)


def test_equal_questions_at_once_are_asked_once() -> None:
    async def test() -> None:
        async with world(seconds=2) as w:
            w.server.add("far.example. 300 IN MX 10 mx.far.example.", "mx.far.example. 300 IN A 192.0.2.1")
            w.server.delay = 0.1
            found = await asyncio.gather(*(w.find("far.example") for _ in range(50)))
            assert len(set(map(str, found))) == 1
            assert len(w.server.asked) == 3

    run(test)


def test_the_cache_is_bounded_and_forgets_what_was_not_used_for_longest() -> None:
    cache = Cache(2)
    answer = Answer(Verdict.FOUND, (), 60)
    cache.put(("a", Type.A), answer, 0.0)
    cache.put(("b", Type.A), answer, 0.0)
    assert cache.get(("a", Type.A), 1.0) is answer
    cache.put(("c", Type.A), answer, 1.0)
    assert (len(cache), cache.get(("b", Type.A), 1.0)) == (2, None)
    assert cache.get(("a", Type.A), 60.0) is None


# --- the zone text ---------------------------------------------------------------------------------------------------


def test_the_zone_answers_for_several_domains_and_no_server_is_asked() -> None:
    async def test() -> None:
        async with world(zone=ZONE) as w:
            assert hosts(await w.find("kddi.example")) == [
                (10, "mx.kddi.example", ("127.0.1.1",)),
                (20, "mx2.kddi.example", ("::1", "127.0.1.2")),
            ]
            assert hosts(await w.find("stnet.example")) == [(10, "mx.stnet.example", ("127.0.1.2",))]
            assert hosts(await w.find("plain.stnet.example")) == [(0, "plain.stnet.example", ("127.0.1.3",))]
            assert hosts(await w.find("alias.stnet.example")) == [(0, "alias.stnet.example", ("127.0.1.3",))]
            assert (await w.find("none.stnet.example")).verdict == MailHostsVerdict.NULL_MX
            assert (await w.find("empty.stnet.example")).verdict == MailHostsVerdict.NO_ADDRESS
            assert w.server.asked == []

    run(test)


def test_what_the_zone_does_not_hold_is_asked_of_the_servers() -> None:
    async def test() -> None:
        async with world(zone=ZONE) as w:
            w.server.add("far.example. 300 IN MX 10 mx.kddi.example.")
            assert hosts(await w.find("far.example")) == [(10, "mx.kddi.example", ("127.0.1.1",))]

    run(test)


def test_without_servers_the_zone_is_the_world_and_without_both_nothing_is_known() -> None:
    async def test() -> None:
        async with world(servers=(), zone=ZONE) as w:
            assert (await w.find("far.example")).verdict == MailHostsVerdict.NO_SUCH_DOMAIN
        async with world(servers=()) as w:
            assert (await w.find("far.example")).verdict == MailHostsVerdict.TEMPORARY

    run(test)


@pytest.mark.parametrize("text", ["$INCLUDE /etc/passwd\n", "a b c d e\n", "kddi.example. 60 IN MX ten mx\n", "\x00"])
def test_a_zone_that_cannot_be_read_names_its_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"resolver\.zone_file"):
        Zone(text)


def test_a_zone_of_ten_thousand_names_is_read_in_linear_time() -> None:
    text = "".join(f"n{number}.example. 60 IN A 192.0.2.1\n" for number in range(10_000))
    assert Zone(text).answer("n9999.example", Type.A) is not None


def test_a_reload_brings_the_new_zone_and_a_broken_one_keeps_the_old() -> None:
    async def test() -> None:
        async with world(servers=(), zone=ZONE) as w:
            service = ResolverService(w.resolver, w.exchange)
            with pytest.raises(ConfigError):
                await service.reload({"resolver": {**w.section, "zone": "broken"}})
            assert (await w.find("kddi.example")).verdict == MailHostsVerdict.FOUND
            await service.reload({"resolver": {**w.section, "zone": "only.example. 60 IN A 192.0.2.9\n"}})
            assert (await w.find("kddi.example")).verdict == MailHostsVerdict.NO_SUCH_DOMAIN
            assert hosts(await w.find("only.example")) == [(0, "only.example", ("192.0.2.9",))]

    run(test)


# --- behind the lock -------------------------------------------------------------------------------------------------

_WITHOUT_IMPORTS = """
import builtins, os, sys
import encodings.idna, asyncio, traceback, linecache
import bulkhead.resolver.process
from bulkhead.resolver.response import *
from bulkhead.resolver.zone import Zone
import dns.message, dns.name, dns.rrset, dns.rdatatype

def audit(event, arguments):
    if event in ("import", "open", "os.listdir", "os.scandir"):
        if event == "import" and arguments[0] in sys.modules:
            return
        print("LATE", event, arguments[0]); os._exit(1)

name = dns.name.from_text("far.example.")
query = dns.message.from_wire(question(name, Type.MX, 7))
import dns.rdata
responses = []
for rdtype in range(1, 300):
    response = dns.message.make_response(query)
    rdata = dns.rdata.GenericRdata(1, rdtype, bytes(12))
    rrset = dns.rrset.RRset(name, 1, rdtype); rrset.add(rdata)
    response.answer.append(rrset)
    responses.append(response.to_wire())
sys.addaudithook(audit)
Zone('''$ORIGIN a.example.
@ 60 IN MX 10 mx
mx 60 IN A 192.0.2.1
mx 60 IN AAAA ::1
x 60 IN TXT "x"
y 60 IN CNAME x
z 60 IN NS y
@ 60 IN SOA a b 1 2 3 4 5
''')
from bulkhead.errors import PeerError, ConfigError
for wire in responses:
    try: read_response(wire, name, Type.MX, 7)
    except PeerError: pass
for wire in (b"", bytes(12), bytes(500)):
    try: read_response(wire, name, Type.MX, 7)
    except PeerError: pass
try: Zone("a b c")
except ConfigError: pass
question(name, Type.AAAA, 3)
print("CLEAN")
"""


def test_no_answer_makes_resolver_import_or_open_anything() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT_IMPORTS], capture_output=True, text=True, check=False)
    assert done.stdout.strip().splitlines()[-1:] == ["CLEAN"], done.stdout + done.stderr
