"""Which addresses a tool must never connect to: everything that is not plainly public.

Called by `http_get` with every address that a name resolved to, right before it connects to one of them. Its
one rule: an address that carries another one inside (mapped, 6to4, NAT64, Teredo) is refused, whatever it
carries.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

FORBIDDEN_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's metadata
            "169.254.0.0/16",  # link-local, metadata of most clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # IETF, Oracle's metadata
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
GLOBAL_V6 = IPv6Network("2000::/3")
"""The only block that IANA gives out; loopback, ULA, link-local, mapped and NAT64 lie outside of it."""

FORBIDDEN_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # IETF, with Teredo and ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)


def forbidden(address: Address) -> bool:
    """Whether an address is not plainly public (IANA special-purpose registries, RFC 6890)."""
    if isinstance(address, IPv4Address):
        return any(address in network for network in FORBIDDEN_V4)
    return address not in GLOBAL_V6 or any(address in network for network in FORBIDDEN_V6)


def address_of(text: str) -> Address:
    """An address as a resolver writes it, without the zone of a link-local one."""
    return ip_address(text.partition("%")[0])
