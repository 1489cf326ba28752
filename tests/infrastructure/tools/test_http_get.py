from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import msgspec
import pytest

from infrastructure.tools import ToolSpec
from infrastructure.tools.addresses import address_of, forbidden
from infrastructure.tools.http_get import TOOL, HttpGet
from infrastructure.tools.urls import target_of
from tests.infrastructure.tools.https_server import HOST, Answer, HttpsServer, https_server, respond
from tests.infrastructure.tools.running import refused, run


def never_asked(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host}:{port} was looked up")


def tool(get: HttpGet) -> ToolSpec:
    return msgspec.structs.replace(TOOL, run=get)


@contextmanager
def serving(
    folder: Path, answer: Answer, timeout_s: float = 10
) -> Iterator[tuple[HttpsServer, ToolSpec, str]]:
    """A server, the tool that may reach loopback, and the server's allow-list entry."""
    with https_server(folder, answer) as server:
        get = HttpGet(lambda *_: ["127.0.0.1"], lambda _: False, server.tls, timeout_s)
        yield server, tool(get), f"{HOST}:{server.port}"


FORBIDDEN = [
    "0.0.0.0",  # noqa: S104 - is refused
    "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8", "168.63.129.16", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::7f00:1",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::1", "2002:808:808::1",
    "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", FORBIDDEN)
def test_no_address_that_is_not_plainly_public_is_connected_to(address: str) -> None:
    get = tool(HttpGet(lambda *_: [address]))
    refused(get, url=f"https://{HOST}/", http_allow=(HOST,), because="not at a public address")


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450::1"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert not forbidden(address_of(address))


def test_one_private_address_among_public_ones_forbids_the_host() -> None:
    get = tool(HttpGet(lambda *_: ["1.1.1.1", "10.0.0.1"]))
    refused(get, url=f"https://{HOST}/", http_allow=(HOST,), because="not at a public address")


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.test/", "ftp://api.example.test/", "file:///etc/passwd", "//api.example.test/",
        "https:///etc/passwd", "https://user@api.example.test/", "https://api.example.test@evil.test/",
        "https://evil.test/", "https://evil.test#@api.example.test/", "https://evil.test\\@api.example.test/",
        "https://api.example.test.evil.test/", "https://notapi.example.test/", "https://api.example.test:22/",
        "https://api.example.test:8443/", "https://api.example.test:99999/", "https://127.0.0.1/",
        "https://2130706433/", "https://0x7f000001/", "https://017700000001/", "https://127.1/", "https://[::1]/",
        "https://[::ffff:127.0.0.1]/", "https://[::1/", "https://localhost/", "https://metadata.google.internal/",
        "https://api.example.test\r\nHost: evil.test/", "https://api.example.test /", "\thttps://evil.test/",
        "https://api%2eexample.test/", "https://api.example.test%00.evil.test/", "https://ＡＰＩ.evil.test/",
        "https://api.example.test:443:22/", "javascript:alert(1)", "https://", "https://./", "https://..",
    ],
)  # fmt: skip
def test_no_url_outside_of_the_allow_list_is_even_looked_up(url: str) -> None:
    refused(tool(HttpGet(never_asked)), url=url, http_allow=(HOST,), because="url: ")


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("api.example.test", "https://API.example.test./a"),
        ("api.example.test", "https://api.example.test:443/a"),
        ("*.example.test", "https://deep.api.example.test/a"),
        ("api.example.test:8443", "https://api.example.test:8443/a"),
        ("*", "https://anything.test/a"),
        ("bücher.test".encode("idna").decode(), "https://bücher.test/a"),
    ],
)
def test_the_allow_list_covers_hosts_domains_and_ports(entry: str, url: str) -> None:
    assert target_of(url, (entry,)).path == "/a"


def test_a_star_for_a_domain_does_not_cover_the_domain_itself_or_its_lookalikes() -> None:
    for url in ("https://example.test/", "https://notexample.test/"):
        refused(
            tool(HttpGet(never_asked)), url=url, http_allow=("*.example.test",), because="not an allowed host"
        )


def test_without_an_allow_list_nothing_is_read() -> None:
    refused("http_get", url="https://example.com/", because="none is configured")


def test_a_page_is_read_from_the_checked_address_with_the_name_it_was_asked_by(tmp_path: Path) -> None:
    with serving(tmp_path, lambda request: respond(request, "Grüße".encode())) as (server, get, allow):
        assert run(get, url=f"https://{allow}/ä?q=1 2".replace(" ", "+"), http_allow=(allow,)) == "Grüße"
        assert server.requests == [(allow, "/%C3%A4?q=1+2")]


def test_the_certificate_must_be_of_the_host(tmp_path: Path) -> None:
    with serving(tmp_path, lambda request: respond(request, b"")) as (server, get, _):
        other = f"other.test:{server.port}"
        refused(get, url=f"https://{other}/", http_allow=(other,), because="did not answer")
        assert server.requests == []


@pytest.mark.parametrize(
    "location", ["https://evil.test/", "http://169.254.169.254/", "//evil.test/", "file:///etc"]
)
def test_a_redirect_to_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(request, b"", 302, Location=location)

    with serving(tmp_path, answer) as (_, get, allow):
        refused(get, url=f"https://{allow}/", http_allow=(allow,), because="url: ")


def test_a_name_that_moves_to_a_private_address_between_two_hops_is_refused(tmp_path: Path) -> None:
    with https_server(tmp_path, lambda request: respond(request, b"", 302, Location="/next")) as server:
        answers = iter([["127.0.0.1"], ["10.0.0.1"]])
        get = HttpGet(lambda *_: next(answers), lambda address: str(address) != "127.0.0.1", server.tls)
        allow = f"{HOST}:{server.port}"
        refused(tool(get), url=f"https://{allow}/", http_allow=(allow,), because="not at a public address")


def test_allowed_redirects_are_followed_but_not_for_ever(tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/start":
            respond(request, b"", 301, Location="/end")
        elif request.path == "/loop":
            respond(request, b"", 302, Location="/loop")
        else:
            respond(request, b"here")

    with serving(tmp_path, answer) as (_, get, allow):
        assert run(get, url=f"https://{allow}/start", http_allow=(allow,)) == "here"
        refused(get, url=f"https://{allow}/loop", http_allow=(allow,), because="redirects")


def test_errors_and_what_is_no_text_are_said(tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        match request.path:
            case "/gone":
                respond(request, b"secret stack trace", 503)
            case "/image":
                respond(request, b"\x89PNG", kind="image/png")
            case _:
                respond(request, b"bomb", Content_Encoding="gzip")

    with serving(tmp_path, answer) as (_, get, allow):
        refused(get, url=f"https://{allow}/gone", http_allow=(allow,), because="answered 503")
        refused(get, url=f"https://{allow}/image", http_allow=(allow,), because="not text")
        refused(get, url=f"https://{allow}/packed", http_allow=(allow,), because="not text")


def test_a_page_without_end_is_cut(tmp_path: Path) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/plain")
        request.end_headers()
        try:
            while True:
                request.wfile.write(b"a" * 65_536)
        except OSError:
            request.close_connection = True

    with serving(tmp_path, answer) as (_, get, allow):
        text = run(get, url=f"https://{allow}/", http_allow=(allow,))
        assert text.endswith("[cut after 262144 bytes]")
        assert len(text) < 263_000


def test_a_server_that_drips_is_given_up(tmp_path: Path) -> None:
    left = Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while not left.wait(0.02):
                request.wfile.write(b"X-Drip: 1\r\n")
        except OSError:
            request.close_connection = True

    with serving(tmp_path, answer, timeout_s=0.5) as (_, get, allow):
        refused(get, url=f"https://{allow}/", http_allow=(allow,), because="took longer than")
        left.set()
