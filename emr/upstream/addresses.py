"""Which network addresses a provider's endpoint may lead to.

An endpoint can be set by an admin client, so it must not make emr a tunnel into what only this
host can reach: the metadata service of a cloud, the link-local net, a neighbour's printer. Every
address is put into one of four places; what is not known to be good is refused.

Ranges: IANA's special-purpose address registries (RFC 6890), and the metadata addresses of clouds
that lie outside link-local. Addresses that carry another one inside (IPv4-mapped, NAT64, 6to4,
Teredo) are refused whatever they carry: they are a second spelling, and no provider needs them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


class Place(Enum):
    """Where an address is."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    REFUSED = "refused"


class Reach(Enum):
    """Which places an endpoint's connections may lead to."""

    PUBLIC = frozenset({Place.PUBLIC})
    LOOPBACK = frozenset({Place.LOOPBACK})
    NEARBY = frozenset({Place.PRIVATE, Place.LOOPBACK})
    ANY = frozenset({Place.PUBLIC, Place.PRIVATE, Place.LOOPBACK})


_LOOPBACK = tuple(map(ip_network, ("127.0.0.0/8", "::1/128")))
_PRIVATE = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",  # shared by carriers; also what overlay networks of hosts use
            "fc00::/7",
        ),
    )
)
_REFUSED = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this host, under another name
            "169.254.0.0/16",  # link-local, with the metadata service of most clouds
            "100.100.100.200/32",  # metadata of Alibaba
            "168.63.129.16/32",  # the host's own service of Azure, on a public address
            "192.0.0.0/24",  # protocol assignments; metadata of Oracle is 192.0.0.192
            "192.0.2.0/24",  # documentation, here and below
            "198.51.100.0/24",
            "203.0.113.0/24",
            "192.88.99.0/24",  # 6to4 relays
            "198.18.0.0/15",  # benchmarks
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "fd00:ec2::/32",  # metadata of Amazon
            "fd20:ce::/32",  # metadata of Google
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "3fff::/20",  # documentation
            "2002::/16",  # 6to4
        ),
    )
)
_GLOBAL_V6 = ip_network("2000::/3")  # all that IANA ever gave out as global unicast


def place_of(address: IPv4Address | IPv6Address) -> Place:
    """Where `address` is; REFUSED for everything that no provider can be at."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return Place.REFUSED
    if any(address in net for net in _LOOPBACK):
        return Place.LOOPBACK
    if any(address in net for net in _REFUSED):
        return Place.REFUSED
    if any(address in net for net in _PRIVATE):
        return Place.PRIVATE
    if isinstance(address, IPv6Address) and address not in _GLOBAL_V6:
        return Place.REFUSED  # mapped, NAT64, link-local, site-local, multicast and the unknown
    return Place.PUBLIC


def unwanted(addresses: Iterable[str], reach: Reach) -> str | None:
    """The first of `addresses` that `reach` does not allow, None when all are allowed.

    One bad address condemns the whole answer: a name with a public and an inner address is how a
    rebinding attack looks, and picking the good one would let the attacker try again.
    """
    for text in addresses:
        try:
            place = place_of(ip_address(text))
        except ValueError:
            return text
        if place not in reach.value:
            return text
    return None
