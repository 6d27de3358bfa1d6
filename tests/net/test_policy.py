from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from public_addresses import PUBLIC

from voicepipe.errors import BlockedUrlError
from voicepipe.net.addresses import why_not_public
from voicepipe.net.policy import UrlPolicy
from voicepipe.net.urls import parse_url


OTHERS = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "",
    "localhost",
    "127.1",
    "2130706433",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "1.1.1.1/32",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_public(address: str) -> None:
    assert why_not_public(address) is None


@pytest.mark.parametrize("address", OTHERS)
def test_all_others_are_not(address: str) -> None:
    assert why_not_public(address)


@given(st.ip_addresses())
def test_nothing_is_public_that_python_knows_better(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if address.is_private or address.is_multicast or address.is_reserved:
        # Two blocks of IANA's that Python calls private although they are global.
        known = address in ipaddress.ip_network("2001::/23")
        assert why_not_public(str(address)) or known


@pytest.mark.parametrize("port", [80, 443, 8080, 8443])
def test_the_usual_ports_are_open(port: int) -> None:
    UrlPolicy.allowing(()).check(parse_url(f"http://example.com:{port}/"))


@pytest.mark.parametrize("port", [0, 21, 22, 25, 6379, 9200, 65535])
def test_other_ports_are_not_and_the_error_says_how_to_open_them(port: int) -> None:
    with pytest.raises(BlockedUrlError, match=f"'example.com:{port}'"):
        UrlPolicy.allowing(()).check(parse_url(f"http://example.com:{port}/?s=secret"))


def test_a_listed_host_may_be_private_at_the_usual_ports_only() -> None:
    policy = UrlPolicy.allowing(["Intern.Example."])

    policy.check_address("intern.example", 8080, "10.0.0.1")
    policy.check(parse_url("http://intern.example:8080/"))
    with pytest.raises(BlockedUrlError):
        policy.check(parse_url("http://intern.example:9000/"))


def test_a_listed_host_and_port_opens_exactly_that() -> None:
    policy = UrlPolicy.allowing(["intern.example:9000", "[::1]:9001", "fd00::1"])

    policy.check(parse_url("http://intern.example:9000/"))
    policy.check_address("intern.example", 9000, "10.0.0.1")
    policy.check(parse_url("http://[::1]:9001/"))
    policy.check_address("::1", 9001, "::1")
    policy.check_address("fd00::1", 443, "fd00::1")
    for host, port in [("intern.example", 80), ("::1", 80), ("other.example", 9000)]:
        with pytest.raises(BlockedUrlError):
            policy.check_address(host, port, "10.0.0.1")


def test_a_trusted_base_url_opens_its_own_host_and_port_only() -> None:
    policy = UrlPolicy.trusting(parse_url("http://10.0.0.5:9000/calls"))

    policy.check(parse_url("http://10.0.0.5:9000/calls/1"))
    policy.check_address("10.0.0.5", 9000, "10.0.0.5")
    with pytest.raises(BlockedUrlError):
        policy.check_address("10.0.0.5", 80, "10.0.0.5")
    with pytest.raises(BlockedUrlError):
        policy.check_address("10.0.0.6", 9000, "10.0.0.6")


def test_a_refusal_does_not_say_what_kind_of_address_it_was() -> None:
    messages = set()
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "fd00::1"):
        with pytest.raises(BlockedUrlError) as caught:
            UrlPolicy.allowing(()).check_address("x.example", 80, address)
        messages.add(str(caught.value))

    assert len(messages) == 1
    assert "allow_hosts" in messages.pop()


@pytest.mark.parametrize("entry", ["", ":80", "a:b", "10.0.0.0/8", "http://a", "a:80x"])
def test_an_entry_that_means_nothing_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="allow_hosts"):
        UrlPolicy.allowing([entry])


def test_one_text_instead_of_a_list_is_refused() -> None:
    with pytest.raises(TypeError, match="list"):
        UrlPolicy.allowing("localhost")
