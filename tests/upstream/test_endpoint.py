"""Which URLs are accepted as endpoints, and where their connections may lead."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from emr.lane.refusal import Refused
from emr.lane.settings import Home
from emr.upstream.addresses import Place, Reach, place_of, unwanted
from emr.upstream.endpoint import MAX_URL, Allow, check_endpoint, home_of
from emr.upstream.hosted import COHERE, VOYAGE
from emr.upstream.kinds import Kind
from emr.upstream.self_hosted import OPENAI_COMPATIBLE

NOTHING = Allow()
HTTP = Allow(http=True)
PRIVATE = Allow(private=True)
BOTH = Allow(http=True, private=True)

HOSTED = VOYAGE
OWN = OPENAI_COMPATIBLE

# url, type, permissions, where it may lead (None: refused)
TABLE: list[tuple[str, Kind, Allow, Reach | None]] = [
    # https to names
    ("https://api.voyageai.com/v1/embeddings", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://api.voyageai.com", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://api.voyageai.com/", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://api.voyageai.com:8443/v1/embeddings", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://api.voyageai.com:/v1/embeddings", HOSTED, NOTHING, Reach.PUBLIC),
    ("HTTPS://API.VoyageAI.com/v1/embeddings", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://xn--bcher-kva.example/v1", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://a-b.c_d.example/v1", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://host", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://1password.example/", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://0xcafe.example/", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://gateway.example/p?api-version=2024", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://gateway.example?x=1", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://api.voyageai.com/v1/embeddings", HOSTED, PRIVATE, Reach.ANY),
    ("https://models.example/v1", OWN, NOTHING, Reach.ANY),
    # http to names
    ("http://api.voyageai.com/v1/embeddings", HOSTED, NOTHING, None),
    ("http://api.voyageai.com/v1/embeddings", HOSTED, PRIVATE, None),
    ("http://api.voyageai.com/v1/embeddings", HOSTED, HTTP, Reach.PUBLIC),
    ("http://api.voyageai.com/v1/embeddings", HOSTED, BOTH, Reach.ANY),
    ("http://gpu-box:8080/v1", OWN, NOTHING, Reach.NEARBY),
    ("http://gpu-box:8080/v1", OWN, HTTP, Reach.ANY),
    ("http://gpu_box:8080/v1", OWN, NOTHING, Reach.NEARBY),
    # loopback
    ("http://127.0.0.1:9000/v1/embeddings", HOSTED, NOTHING, Reach.LOOPBACK),
    ("https://127.0.0.1:9000/v1/embeddings", HOSTED, NOTHING, Reach.LOOPBACK),
    ("http://127.8.9.10/", HOSTED, NOTHING, Reach.LOOPBACK),
    ("http://[::1]:9000/v1/embeddings", HOSTED, NOTHING, Reach.LOOPBACK),
    ("http://[0:0:0:0:0:0:0:1]/", HOSTED, NOTHING, Reach.LOOPBACK),
    ("http://localhost:9000/", HOSTED, NOTHING, Reach.LOOPBACK),
    ("http://LOCALHOST:9000/", HOSTED, NOTHING, Reach.LOOPBACK),
    ("https://localhost/", HOSTED, NOTHING, Reach.LOOPBACK),
    ("http://model.localhost/", HOSTED, NOTHING, Reach.LOOPBACK),
    ("http://127.0.0.1:9000/", OWN, BOTH, Reach.LOOPBACK),
    # private addresses
    ("https://10.0.0.5/v1", HOSTED, NOTHING, None),
    ("https://10.0.0.5/v1", HOSTED, HTTP, None),
    ("https://10.0.0.5/v1", HOSTED, PRIVATE, Reach.ANY),
    ("http://10.0.0.5/v1", HOSTED, PRIVATE, None),
    ("http://10.0.0.5/v1", HOSTED, HTTP, None),
    ("http://10.0.0.5/v1", HOSTED, BOTH, Reach.ANY),
    ("http://10.0.0.5/v1", OWN, NOTHING, Reach.ANY),
    ("https://10.0.0.5/v1", OWN, NOTHING, Reach.ANY),
    ("http://172.16.0.1/", OWN, NOTHING, Reach.ANY),
    ("http://172.31.255.254/", OWN, NOTHING, Reach.ANY),
    ("http://172.16.0.1/", HOSTED, NOTHING, None),
    ("http://172.32.0.1/", OWN, NOTHING, None),  # public, over http
    ("https://172.32.0.1/", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://172.15.255.255/", HOSTED, NOTHING, Reach.PUBLIC),
    ("http://192.168.1.20:8000/", OWN, NOTHING, Reach.ANY),
    ("https://192.168.1.20:8000/", HOSTED, NOTHING, None),
    ("http://100.64.0.1/", OWN, NOTHING, Reach.ANY),
    ("https://100.64.0.1/", HOSTED, NOTHING, None),
    ("https://100.128.0.1/", HOSTED, NOTHING, Reach.PUBLIC),
    ("http://[fd12:3456::1]:8000/", OWN, NOTHING, Reach.ANY),
    ("https://[fc00::1]/", HOSTED, NOTHING, None),
    ("https://[fd12:3456::1]/", HOSTED, PRIVATE, Reach.ANY),
    # public addresses
    ("https://8.8.8.8/v1", HOSTED, NOTHING, Reach.PUBLIC),
    ("http://8.8.8.8/v1", HOSTED, NOTHING, None),
    ("http://8.8.8.8/v1", OWN, NOTHING, None),
    ("http://8.8.8.8/v1", OWN, HTTP, Reach.ANY),
    ("http://8.8.8.8/v1", HOSTED, HTTP, Reach.PUBLIC),
    ("https://[2600:1f18::1]/", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://[2600:1f18::1]:8443/v1", HOSTED, NOTHING, Reach.PUBLIC),
    ("http://[2600:1f18::1]/", HOSTED, NOTHING, None),
    # where no provider can be, whatever is permitted
    ("http://169.254.169.254/latest/meta-data", OWN, BOTH, None),
    ("https://169.254.169.254/", HOSTED, BOTH, None),
    ("https://169.254.0.1/", OWN, BOTH, None),
    ("https://169.254.255.255/", OWN, BOTH, None),
    ("https://100.100.100.200/", OWN, BOTH, None),
    ("https://168.63.129.16/", OWN, BOTH, None),
    ("https://192.0.0.192/", OWN, BOTH, None),
    ("https://0.0.0.0/", OWN, BOTH, None),
    ("http://0.0.0.0:8000/", OWN, BOTH, None),
    ("https://0.1.2.3/", OWN, BOTH, None),
    ("https://224.0.0.1/", OWN, BOTH, None),
    ("https://239.255.255.250/", OWN, BOTH, None),
    ("https://240.0.0.1/", OWN, BOTH, None),
    ("https://255.255.255.255/", OWN, BOTH, None),
    ("https://192.0.2.1/", OWN, BOTH, None),
    ("https://198.51.100.1/", OWN, BOTH, None),
    ("https://203.0.113.1/", OWN, BOTH, None),
    ("https://198.18.0.1/", OWN, BOTH, None),
    ("https://192.88.99.1/", OWN, BOTH, None),
    ("https://[::]/", OWN, BOTH, None),
    ("https://[fe80::1]/", OWN, BOTH, None),
    ("https://[febf::1]/", OWN, BOTH, None),
    ("https://[fe80::1%25eth0]/", OWN, BOTH, None),
    ("https://[fe80::1%eth0]/", OWN, BOTH, None),
    ("https://[2600::1%25eth0]/", OWN, BOTH, None),
    ("https://[fec0::1]/", OWN, BOTH, None),
    ("https://[ff02::1]/", OWN, BOTH, None),
    ("https://[fd00:ec2::254]/", OWN, BOTH, None),
    ("https://[fd20:ce::254]/", OWN, BOTH, None),
    ("https://[::ffff:10.0.0.1]/", OWN, BOTH, None),
    ("https://[::ffff:8.8.8.8]/", OWN, BOTH, None),
    ("https://[::ffff:7f00:1]/", OWN, BOTH, None),
    ("https://[::ffff:169.254.169.254]/", OWN, BOTH, None),
    ("https://[::127.0.0.1]/", OWN, BOTH, None),
    ("https://[64:ff9b::a9fe:a9fe]/", OWN, BOTH, None),
    ("https://[64:ff9b::8.8.8.8]/", OWN, BOTH, None),
    ("https://[64:ff9b:1::1]/", OWN, BOTH, None),
    ("https://[2002:a9fe:a9fe::]/", OWN, BOTH, None),
    ("https://[2002:808:808::1]/", OWN, BOTH, None),
    ("https://[2001::1]/", OWN, BOTH, None),
    ("https://[2001:db8::1]/", OWN, BOTH, None),
    ("https://[3fff::1]/", OWN, BOTH, None),
    ("https://[100::1]/", OWN, BOTH, None),
    ("https://[4000::1]/", OWN, BOTH, None),
    # other spellings of addresses
    ("http://2130706433/", OWN, BOTH, None),
    ("http://0x7f000001/", OWN, BOTH, None),
    ("http://0x7f.0.0.1/", OWN, BOTH, None),
    ("http://0X7F.1/", OWN, BOTH, None),
    ("http://127.0.0.0x1/", OWN, BOTH, None),
    ("http://0177.0.0.1/", OWN, BOTH, None),
    ("http://127.0.0.01/", OWN, BOTH, None),
    ("http://127.1/", OWN, BOTH, None),
    ("http://127.0.1/", OWN, BOTH, None),
    ("http://10.1/", OWN, BOTH, None),
    ("http://256.1.1.1/", OWN, BOTH, None),
    ("http://1.2.3.4.5/", OWN, BOTH, None),
    ("http://1.2.3/", OWN, BOTH, None),
    ("http://127.0.0.1./", OWN, BOTH, None),
    ("http://0/", OWN, BOTH, None),
    ("http://017700000001/", OWN, BOTH, None),
    ("http://foo.127/", OWN, BOTH, None),
    ("http://①②⑦.0.0.1/", OWN, BOTH, None),
    ("http://127。0。0。1/", OWN, BOTH, None),
    ("http://%31%32%37.0.0.1/", OWN, BOTH, None),
    ("http://[127.0.0.1]/", OWN, BOTH, None),
    ("http://[::1/", OWN, BOTH, None),
    ("http://::1/", OWN, BOTH, None),
    ("http://[::1]x/", OWN, BOTH, None),
    ("http://[::1]x:80/", OWN, BOTH, None),
    ("http://[]/", OWN, BOTH, None),
    # user information, fragments, schemes, ports, odd characters
    ("https://user:pass@api.voyageai.com/", HOSTED, BOTH, None),
    ("https://key@api.voyageai.com/", HOSTED, BOTH, None),
    ("https://@api.voyageai.com/", HOSTED, BOTH, None),
    ("https://api.voyageai.com@169.254.169.254/", HOSTED, BOTH, None),
    ("https://api.voyageai.com/#x", HOSTED, BOTH, None),
    ("https://api.voyageai.com#", HOSTED, BOTH, None),
    ("https://api.voyageai.com#@evil.example/", HOSTED, BOTH, None),
    ("ftp://api.voyageai.com/", HOSTED, BOTH, None),
    ("file:///etc/passwd", HOSTED, BOTH, None),
    ("gopher://api.voyageai.com/", HOSTED, BOTH, None),
    ("unix:/run/x.sock", HOSTED, BOTH, None),
    ("javascript:alert(1)", HOSTED, BOTH, None),
    ("//api.voyageai.com/", HOSTED, BOTH, None),
    ("api.voyageai.com/v1", HOSTED, BOTH, None),
    ("https:api.voyageai.com", HOSTED, BOTH, None),
    ("https:/api.voyageai.com", HOSTED, BOTH, None),
    ("https://", HOSTED, BOTH, None),
    ("https:///v1", HOSTED, BOTH, None),
    ("https://:443/", HOSTED, BOTH, None),
    ("https://?x", HOSTED, BOTH, None),
    ("https://api.voyageai.com:0/", HOSTED, BOTH, None),
    ("https://api.voyageai.com:65536/", HOSTED, BOTH, None),
    ("https://api.voyageai.com:65535/", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://api.voyageai.com:1/", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://api.voyageai.com:-1/", HOSTED, BOTH, None),
    ("https://api.voyageai.com:80:90/", HOSTED, BOTH, None),
    ("https://api.voyageai.com:http/", HOSTED, BOTH, None),
    ("https://api.voyageai.com:000443/", HOSTED, BOTH, None),
    ("https://api voyageai.com/", HOSTED, BOTH, None),
    (" https://api.voyageai.com/", HOSTED, BOTH, None),
    ("https://api.voyageai.com/ ", HOSTED, BOTH, None),
    ("https://api.voyageai.com/\r\nX-Evil: 1", HOSTED, BOTH, None),
    ("https://api.voyageai.com/\x00", HOSTED, BOTH, None),
    ("https://api.voyageai.com\\@evil.example/", HOSTED, BOTH, None),
    ("https://api.voyageai.com/\\x", HOSTED, BOTH, None),
    ("https://bücher.example/", HOSTED, BOTH, None),
    ("https://аpi.voyageai.com/", HOSTED, BOTH, None),  # a Cyrillic а
    ("https://api.voyageai.com./", HOSTED, BOTH, None),
    ("https://.voyageai.com/", HOSTED, BOTH, None),
    ("https://api..voyageai.com/", HOSTED, BOTH, None),
    ("https://-api.voyageai.com/", HOSTED, BOTH, None),
    ("https://api-.voyageai.com/", HOSTED, BOTH, None),
    ("https://api,evil.example/", HOSTED, BOTH, None),
    ("https://" + "a" * 64 + ".example/", HOSTED, BOTH, None),
    ("https://" + "a" * 63 + ".example/", HOSTED, NOTHING, Reach.PUBLIC),
    ("https://" + "a." * 126 + "aa/", HOSTED, BOTH, None),  # 254 characters
    ("https://" + "a." * 126 + "a/", HOSTED, NOTHING, Reach.PUBLIC),
]


def test_the_table_is_as_large_as_promised() -> None:
    assert len(TABLE) >= 120
    assert sum(reach is None for *_, reach in TABLE) >= 80


@pytest.mark.parametrize(("url", "kind", "allow", "reach"), TABLE)
def test_an_url(url: str, kind: Kind, allow: Allow, reach: Reach | None) -> None:
    if reach is None:
        with pytest.raises(Refused) as refused:
            check_endpoint(url, kind, allow)
        assert refused.value.refusal.type == "validation_error"
        assert refused.value.refusal.param == "endpoint"
        assert refused.value.refusal.message
    else:
        assert check_endpoint(url, kind, allow).reach is reach


@pytest.mark.parametrize(
    ("url", "kind", "path"),
    [
        ("https://h.example", VOYAGE, "/v1/embeddings"),
        ("https://h.example/", VOYAGE, "/v1/embeddings"),
        ("https://h.example/v1", VOYAGE, "/v1/embeddings"),
        ("https://h.example/v1/", VOYAGE, "/v1/embeddings"),
        ("https://h.example/v1/embeddings", VOYAGE, "/v1/embeddings"),
        ("https://h.example/proxy/v1", VOYAGE, "/proxy/v1/embeddings"),
        ("https://h.example/embeddings", VOYAGE, "/embeddings"),
        ("https://h.example/v1beta", VOYAGE, "/v1beta/embeddings"),
        ("https://h.example", COHERE, "/v2/embed"),
        ("https://h.example/v1", COHERE, "/v1/embed"),
        ("https://h.example/v2", COHERE, "/v2/embed"),
        ("https://h.example/v1/embed", COHERE, "/v1/embed"),
    ],
)
def test_the_path_of_an_endpoint(url: str, kind: Kind, path: str) -> None:
    assert check_endpoint(url, kind).path == path


def test_an_empty_url_is_the_kinds_own() -> None:
    assert str(check_endpoint("", VOYAGE)) == VOYAGE.endpoint
    with pytest.raises(Refused, match="needs an endpoint"):
        check_endpoint("", OPENAI_COMPATIBLE)


def test_the_length_of_an_url() -> None:
    base = "https://h.example/"
    check_endpoint(base + "a" * (MAX_URL - len(base)), VOYAGE)
    with pytest.raises(Refused, match="longer than 2048"):
        check_endpoint(base + "a" * (MAX_URL - len(base) + 1), VOYAGE)


@pytest.mark.parametrize(
    ("url", "path", "target"),
    [
        ("https://h.example/v1/embeddings", None, "/v1/embeddings"),
        ("https://h.example/v1/embeddings?a=b", None, "/v1/embeddings?a=b"),
        ("https://h.example", "/v1/contextualizedembeddings", "/v1/contextualizedembeddings"),
        ("https://h.example/x/v1/embeddings", "/v1/multimodalembeddings",
         "/x/v1/multimodalembeddings"),
        ("https://h.example/x/embeddings?a=b", "/v1/multimodalembeddings",
         "/x/multimodalembeddings?a=b"),
        ("https://h.example/v1/embeddings", "multimodalembeddings", "/v1/multimodalembeddings"),
        ("https://h.example/v2/embed", "/v1/embed", "/v1/embed"),
    ],
)  # fmt: skip
def test_the_target_of_a_request(url: str, path: str | None, target: str) -> None:
    assert check_endpoint(url, VOYAGE).target(path) == target


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://h.example/", "h.example"),
        ("https://h.example:443/", "h.example"),
        ("https://h.example:444/", "h.example:444"),
        ("http://127.0.0.1:80/", "127.0.0.1"),
        ("http://[::1]:8080/", "[::1]:8080"),
    ],
)
def test_the_host_header(url: str, authority: str) -> None:
    assert check_endpoint(url, VOYAGE).authority == authority


def test_the_query_stays_out_of_what_is_printed() -> None:
    endpoint = check_endpoint("https://h.example/v1/embeddings?key=hidden", VOYAGE)
    assert "hidden" not in repr(endpoint) + str(endpoint)
    assert endpoint.target() == "/v1/embeddings?key=hidden"


@pytest.mark.parametrize(
    ("url", "home"),
    [
        ("https://api.example/v1", Home.HOSTED),
        ("https://8.8.8.8/v1", Home.HOSTED),
        ("http://127.0.0.1:8000", Home.SELF_HOSTED),
        ("http://10.0.0.1:8000", Home.SELF_HOSTED),
        ("https://gpu-box", Home.SELF_HOSTED),
        ("https://gpu.lan", Home.SELF_HOSTED),
        ("http://models.example", Home.SELF_HOSTED),  # may only lead to inner addresses
    ],
)
def test_where_a_compatible_server_is(url: str, home: Home) -> None:
    assert home_of(OPENAI_COMPATIBLE, check_endpoint(url, OPENAI_COMPATIBLE)) is home


def test_where_a_known_provider_is() -> None:
    assert home_of(VOYAGE, check_endpoint("http://127.0.0.1:9", VOYAGE)) is Home.HOSTED


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("126.255.255.255", Place.PUBLIC),
        ("127.0.0.0", Place.LOOPBACK),
        ("127.255.255.255", Place.LOOPBACK),
        ("128.0.0.0", Place.PUBLIC),
        ("9.255.255.255", Place.PUBLIC),
        ("10.0.0.0", Place.PRIVATE),
        ("10.255.255.255", Place.PRIVATE),
        ("11.0.0.0", Place.PUBLIC),
        ("169.253.255.255", Place.PUBLIC),
        ("169.254.0.0", Place.REFUSED),
        ("169.255.0.0", Place.PUBLIC),
        ("223.255.255.255", Place.PUBLIC),
        ("224.0.0.0", Place.REFUSED),
        ("::1", Place.LOOPBACK),
        ("::2", Place.REFUSED),
        ("1fff::1", Place.REFUSED),
        ("2000::", Place.PUBLIC),
        ("2001:1ff::1", Place.REFUSED),
        ("2001:200::1", Place.PUBLIC),
        ("3fff:fff::1", Place.REFUSED),
        ("3fff:1000::1", Place.PUBLIC),
        ("fbff::1", Place.REFUSED),
        ("fc00::", Place.PRIVATE),
        ("fdff::", Place.PRIVATE),
        ("fe00::", Place.REFUSED),
        ("fd00::1%1", Place.REFUSED),
    ],
)
def test_the_place_of_an_address(address: str, place: Place) -> None:
    assert place_of(ip_address(address)) is place


def test_one_bad_address_condemns_the_answer() -> None:
    assert unwanted(["8.8.8.8", "1.1.1.1"], Reach.PUBLIC) is None
    assert unwanted(["8.8.8.8", "169.254.169.254"], Reach.PUBLIC) == "169.254.169.254"
    assert unwanted(["8.8.8.8", "10.0.0.1"], Reach.PUBLIC) == "10.0.0.1"
    assert unwanted(["8.8.8.8"], Reach.NEARBY) == "8.8.8.8"
    assert unwanted(["10.0.0.1", "127.0.0.1"], Reach.NEARBY) is None
    assert unwanted(["10.0.0.1"], Reach.LOOPBACK) == "10.0.0.1"
    assert unwanted(["junk"], Reach.ANY) == "junk"
