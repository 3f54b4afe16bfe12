"""Where dialer goes, and where it never does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.dialer.routes import Routes
from bulkhead.errors import Refused

CLOSED = Routes.configured(25, (), ("192.0.2.53", "2001:db8::53"))
OPEN = Routes.configured(2525, ("127.0.1.0/24", "fd00:1::/32"), ())

INWARD = {
    "loopback": ("127.0.0.1", "127.255.255.255", "::1"),
    "unspecified": ("0.0.0.0", "0.1.2.3", "::"),
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12:3456::1"),
    "link-local": ("169.254.1.1", "fe80::1"),
    "cloud metadata": ("169.254.169.254", "fd00:ec2::254"),
    "shared address space": ("100.64.0.1", "100.127.255.255"),
    "IPv4-mapped": ("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
    "IPv4-compatible": ("::127.0.0.1", "::10.0.0.1"),
    "IPv4-translated": ("::ffff:0:127.0.0.1",),
    "6to4": ("2002:7f00:1::1", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2002:808:808::1"),
    "NAT64 of an inward address": ("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254"),
    "local NAT64": ("64:ff9b:1::127.0.0.1", "64:ff9b:1::8.8.8.8"),
    "Teredo": ("2001:0:7f00:1:0:0:0:0", "2001:0:4136:e378:8000:63bf:80ff:fffe"),
    "site-local": ("fec0::1",),
    "multicast": ("224.0.0.1", "239.1.1.1", "ff02::1", "ff0e::1"),
    "documentation": ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"),
    "benchmarking": ("198.18.0.1", "198.19.255.255"),
    "reserved": ("240.0.0.1", "255.255.255.255"),
    "unassigned IPv6": ("4000::1", "e000::1"),
    "discard-only": ("100::1",),
}


@pytest.mark.parametrize(("kind", "address"), [(kind, one) for kind, all_ in INWARD.items() for one in all_])
def test_an_address_that_is_not_global_is_refused(kind: str, address: str) -> None:
    with pytest.raises(Refused) as refused:
        CLOSED.for_mail(address, 25)
    assert refused.value.code == "not-allowed", kind


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::8.8.8.8"])
def test_a_global_address_is_dialled(address: str) -> None:
    assert str(CLOSED.for_mail(address, 25)) == address.replace("64:ff9b::8.8.8.8", "64:ff9b::808:808")


@pytest.mark.parametrize("address", ["127.0.1.1", "127.0.1.255", "fd00:1::5", "::ffff:127.0.1.1"])
def test_an_allowed_network_is_dialled(address: str) -> None:
    OPEN.for_mail(address, 2525)


@pytest.mark.parametrize("address", ["127.0.2.1", "127.0.0.1", "fd00:2::5", "::1", "2002:7f00:101::1"])
def test_an_allowed_network_opens_no_other(address: str) -> None:
    with pytest.raises(Refused):
        OPEN.for_mail(address, 2525)


@pytest.mark.parametrize("port", [0, 24, 26, 53, 80, 443, 587, 65535])
def test_another_port_than_that_of_mail_is_refused(port: int) -> None:
    with pytest.raises(Refused):
        CLOSED.for_mail("8.8.8.8", port)


@pytest.mark.parametrize(
    "text", ["", "localhost", "8.8.8.8 ", "08.8.8.8", "8.8.8", "0x8080808", "134744072", "fe80::1%eth0", "1.1.1.1%lo",
             "2606:4700:4700::1111%1", "[::1]", "8.8.8.8/32"],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        CLOSED.for_mail(text, 25)
    with pytest.raises(Refused):
        CLOSED.for_names(text, 53)


def test_only_the_configured_name_servers_are_asked_and_on_port_53_alone() -> None:
    assert str(CLOSED.for_names("192.0.2.53", 53)) == "192.0.2.53"
    assert str(CLOSED.for_names("2001:db8::53", 53)) == "2001:db8::53"
    for address, port in (("192.0.2.53", 54), ("192.0.2.54", 53), ("8.8.8.8", 53), ("127.0.0.1", 53)):
        with pytest.raises(Refused):
            CLOSED.for_names(address, port)


def test_a_name_server_is_no_mail_server() -> None:
    with pytest.raises(Refused):
        CLOSED.for_mail("192.0.2.53", 53)


@given(st.text(max_size=60) | st.ip_addresses().map(str))
def test_whatever_is_asked_the_answer_is_an_address_or_a_refusal(text: str) -> None:
    try:
        address = CLOSED.for_mail(text, 25)
    except Refused:
        return
    assert address.is_global
    assert not address.is_multicast
