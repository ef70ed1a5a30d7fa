"""A provider's endpoint: which URLs are accepted, and where their connections may lead.

The URL is read by rules of its own and not by a lenient parser: what two parsers could read in
two ways (user information, odd host numbers, backslashes, characters outside ASCII) is refused.
The addresses behind a name are checked again at each connect, because a name may change its mind
between the check and the use; see `addresses`.

Which schemes and places an endpoint may have (`kind.home` is SELF_HOSTED for servers of the
operator's; `allow` are the permissions of the provider's row):

    host                 https                          http
    loopback             always                         always
    private address      self-hosted, or allow.private  self-hosted, or allow.http and .private
    public address       always                         allow.http
    name                 always; may lead to private    self-hosted: must lead to private or
                         places if self-hosted or       loopback unless allow.http; hosted: as
                         allow.private                  https, but only with allow.http
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NoReturn

from emr.lane.refusal import Refusal, Refused
from emr.lane.settings import Home
from emr.upstream.addresses import Place, Reach, place_of, unwanted
from emr.upstream.kinds import Kind

MAX_URL = 2048  # longer than any provider's; keeps the head of a request small
_PORTS = {"https": 443, "http": 80}
_URL = re.compile(r"(https?)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(#.*)?", re.DOTALL | re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_VERSION = re.compile(r"(.*)(/v\d+[a-z0-9]*)")
_INNER_SUFFIXES = (".local", ".lan", ".internal", ".localdomain", ".home.arpa")


@dataclass(frozen=True, slots=True)
class Allow:
    """What a provider's row permits beyond the rules for its type."""

    http: bool = False
    private: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked endpoint. `host` is in lower case, without the brackets of an IPv6 address.

    `query` is kept apart and out of `repr`: some servers want a key there.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str = field(default="", repr=False)
    reach: Reach = Reach.PUBLIC

    @property
    def tls(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """The value of the Host header: the port only when it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def address(self) -> str | None:
        """The host when it is an address and not a name."""
        return self.host if _literal(self.host) is not None else None

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    def unwanted(self, addresses: list[str]) -> str | None:
        """The first address that a connection must not lead to, None when all are good."""
        return unwanted(addresses, self.reach)

    def target(self, path: str | None = None) -> str:
        """The target of a request: the endpoint's own, or `path` on the same server.

        `path` is a provider's route as its documentation has it (`/v1/contextualizedembeddings`).
        What stands before the endpoint's version segment, the prefix of a gateway, is kept;
        without such a segment only the last one is exchanged.
        """
        if path is None:
            return self.path + self.query
        head, _, _ = self.path.rpartition("/")
        version = _VERSION.fullmatch(head)
        if version is not None and path.startswith("/"):
            return version.group(1) + path + self.query
        return f"{head}/{path.rpartition('/')[2]}{self.query}"


def check_endpoint(url: str, kind: Kind, allow: Allow | None = None) -> Endpoint:
    """Read `url` (empty: the kind's own) as an endpoint of `kind`.

    The path chooses the form of the API where a kind has several (Cohere's `/v1/embed`). A bare
    base gets the kind's path; one that ends in a version (`…/v1`) gets what follows it.
    Raises Refused (`validation_error`, `param` endpoint) with the reason.
    """
    allow = allow or Allow()
    url = url or kind.endpoint
    if not url:
        _refuse(f"a provider of type {kind.name} needs an endpoint, such as http://host:port/v1")
    if len(url) > MAX_URL:
        _refuse(f"the endpoint is longer than {MAX_URL} characters")
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        _refuse(
            "the endpoint has a character that no URL may have; write names in other scripts "
            "in their ASCII form (xn--…)"
        )
    match = _URL.fullmatch(url)
    if match is None:
        _refuse("the endpoint is not a URL that starts with https:// or http://")
    scheme, authority, path, query, fragment = match.groups()
    if fragment is not None:
        _refuse("the endpoint has a fragment (#…): a provider never sees it")
    if "@" in authority:
        _refuse("the endpoint has user information (…@): a key goes into the provider's variable")
    scheme = scheme.lower()
    host, port = _split_port(authority, _PORTS[scheme])
    reach = _reach(scheme, host, kind, allow)
    return Endpoint(scheme, host, port, _complete(path or "/", kind.path), query or "", reach)


def home_of(kind: Kind, endpoint: Endpoint) -> Home:
    """Where a provider of `kind` runs: a type that is used for both is told by its address.

    Anything that speaks OpenAI's form can be a public service or a server next door. An address,
    or a name without a dot or under a suffix of inner networks, is next door.
    """
    if kind.name != "openai-compatible":
        return kind.home
    address = _literal(endpoint.host)
    if address is not None:
        inner = place_of(address) is not Place.PUBLIC
    else:
        inner = "." not in endpoint.host or endpoint.host.endswith(_INNER_SUFFIXES)
    return Home.SELF_HOSTED if inner or endpoint.reach is Reach.NEARBY else Home.HOSTED


def _reach(scheme: str, host: str, kind: Kind, allow: Allow) -> Reach:
    """Where connections to `host` may lead, by the table above; raises Refused."""
    self_hosted = kind.home is Home.SELF_HOSTED
    private = self_hosted or allow.private
    plain = scheme == "http"
    literal = _literal(host)
    place = None if literal is None else place_of(literal)
    if place is Place.LOOPBACK or _is_localhost(host):
        return Reach.LOOPBACK
    if place is Place.REFUSED:
        _refuse(
            f"{host} is an address at which no provider can be (link-local, metadata, multicast, "
            "reserved, or another address in disguise)"
        )
    if place is Place.PRIVATE:
        if not private:
            _refuse(f"{host} is a private address: set allow_private for this provider")
        if plain and not (self_hosted or allow.http):
            _refuse(f"http to {host} sends the key unencrypted: use https, or set allow_http")
        return Reach.ANY
    if plain and not allow.http:
        if place is Place.PUBLIC or not self_hosted:
            _refuse(f"http to {host} sends the key unencrypted: use https, or set allow_http")
        return Reach.NEARBY
    return Reach.ANY if private else Reach.PUBLIC


def _split_port(authority: str, default: int) -> tuple[str, int]:
    """Host and port of an authority; the host checked by its grammar."""
    if authority.startswith("["):
        inner, bracket, rest = authority[1:].partition("]")
        if not bracket:
            _refuse("the endpoint's host has a [ without its ]")
        try:
            host = str(IPv6Address(inner))
        except AddressValueError:
            _refuse(f"[{inner}] is not an IPv6 address")
        if "%" in host:
            _refuse("an address with a zone (%…) is link-local: no provider can be there")
        if rest and not rest.startswith(":"):
            _refuse("the endpoint has something between the address and its port")
        return host, _port(rest[1:], default) if rest else default
    host, colon, port = authority.partition(":")
    host = host.lower()
    _check_host(host)
    return host, _port(port, default) if colon else default


def _check_host(host: str) -> None:
    if not host:
        _refuse("the endpoint has no host")
    labels = host.split(".")
    last = labels[-1]
    if last.isdigit() or last.startswith("0x"):
        # a number: only the four decimal parts of RFC 3986, none with a leading zero, so that
        # no octal, hexadecimal, single-number or short form means an address that was not seen
        try:
            IPv4Address(host)
        except AddressValueError:
            _refuse(f"{host} is not an address in its usual form (four numbers from 0 to 255)")
        return
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        _refuse(f"{host} is not the name of a host")


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not text.isdigit() or len(text) > 5 or not 0 < int(text) < 65536:
        _refuse("the endpoint's port is not a number from 1 to 65535")
    return int(text)


def _complete(path: str, usual: str) -> str:
    """The path of a request: a bare base, or one that ends in a version, gets the usual rest."""
    bare = path.rstrip("/")
    if not bare:
        return usual
    version = _VERSION.fullmatch(bare)
    if version is not None and usual.startswith("/v"):
        return bare + "/" + usual.split("/", 2)[2]
    return path


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        return None


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _refuse(reason: str) -> NoReturn:
    raise Refused(Refusal("validation_error", reason, param="endpoint"))
