"""
Which addresses belong to the public internet.

A table of its own: ``ipaddress.is_global`` differs between Python versions and says yes
to addresses that carry another one inside. The blocks are those of IANA's registries of
special-purpose addresses for IPv4 and IPv6 (RFC 6890 and its successors), read in 2026.
"""

from __future__ import annotations

import ipaddress


_IPV4 = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private use",
    "100.64.0.0/10": "shared address space",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "the host of a virtual machine at Azure",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private use",
    "192.0.0.0/24": "protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "AMT",
    "192.88.99.0/24": "6to4 relay",
    "192.168.0.0/16": "private use",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}

# All there is of the public IPv6 internet so far. Addresses that carry one of IPv4
# inside (mapped, compatible, NAT64) lie outside of it.
_IPV6_GLOBAL = ipaddress.IPv6Network("2000::/3")

_IPV6 = {
    "2001::/23": "protocol assignments, Teredo among them",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
}

_NETWORKS = [
    (ipaddress.ip_network(block), name) for block, name in (_IPV4 | _IPV6).items()
]


def why_not_public(address: str) -> str | None:
    """
    Say why an address is not one of the public internet; ``None`` if it is.

    Args:
        address: IPv4 or IPv6 in the usual notation; anything else is not public.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "no address"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.scope_id is not None:
            return "an address with a scope"
        if parsed not in _IPV6_GLOBAL:
            return "not global unicast"
    for network, name in _NETWORKS:
        if parsed.version == network.version and parsed in network:
            return name
    return None
