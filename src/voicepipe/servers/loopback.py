"""What is this machine, by address and by name."""

from __future__ import annotations

import ipaddress
import re


_AUTHORITY = re.compile(r"(localhost|[0-9.]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", re.ASCII)


def is_loopback_address(text: str) -> bool:
    """Tell whether an IP address is of 127.0.0.0/8 or ``::1``, or one mapped to it."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.is_loopback


def is_loopback_host(host: str) -> bool:
    """Tell whether a host to listen on is ``localhost`` or a loopback address."""
    return host.lower() == "localhost" or is_loopback_address(host)


def is_loopback_authority(text: str) -> bool:
    """
    Tell whether the value of a ``Host`` header is this machine, on any port.

    Other names that lead here do not count: an attacker has such names.
    """
    match = _AUTHORITY.fullmatch(text.lower())
    return match is not None and is_loopback_host(match[1].strip("[]"))
