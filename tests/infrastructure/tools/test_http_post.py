"""http_post: what is sent arrives once, with its key; a lost answer is no failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import msgspec
import pytest

from infrastructure.tools import OutcomeUnknown, ToolSpec
from infrastructure.tools.http_post import TOOL, HttpPost
from tests.infrastructure.tools.https_server import HOST, Answer, HttpsServer, https_server, respond
from tests.infrastructure.tools.running import refused, run


@contextmanager
def serving(
    folder: Path, answer: Answer, timeout_s: float = 10
) -> Iterator[tuple[HttpsServer, ToolSpec, str]]:
    """A server, the tool that may reach loopback, and the server's allow-list entry."""
    with https_server(folder, answer) as server:
        post = HttpPost(lambda *_: ["127.0.0.1"], lambda _: False, server.tls, timeout_s)
        yield server, msgspec.structs.replace(TOOL, run=post), f"{HOST}:{server.port}"


def body_of(request: BaseHTTPRequestHandler) -> bytes:
    return request.rfile.read(int(request.headers["Content-Length"]))


def test_a_document_arrives_with_its_key(tmp_path: Path) -> None:
    seen: list[tuple[bytes, str, str]] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        headers = request.headers
        seen.append((body_of(request), headers["Content-Type"], headers["Idempotency-Key"]))
        respond(request, b'{"order": 4711}', 201, "application/json")

    with serving(tmp_path, answer) as (_, post, allow):
        got = run(post, url=f"https://{allow}/orders", json={"tea": "grün"}, http_post_allow=(allow,))
    assert got == '{"order": 4711}'
    assert seen == [('{"tea": "grün"}'.encode(), "application/json", "key-1")]


def test_a_host_that_may_only_be_read_is_refused(tmp_path: Path) -> None:
    with serving(tmp_path, lambda request: respond(request, b"")) as (server, post, allow):
        refused(post, url=f"https://{allow}/", json={}, http_allow=(allow,), because="not an allowed host")
    assert server.requests == []


@pytest.mark.parametrize("status", [302, 400, 409, 500])
def test_a_refusal_is_told_to_the_agent(tmp_path: Path, status: int) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        body_of(request)
        respond(request, b"out of tea", status, Location="https://elsewhere.example.test/")

    with serving(tmp_path, answer) as (server, post, allow):
        because = f"answered {status}: out of tea"
        refused(post, url=f"https://{allow}/", json={}, http_post_allow=(allow,), because=because)
    assert len(server.requests) == 1


def test_an_answer_that_is_lost_is_an_unknown_outcome(tmp_path: Path) -> None:
    let_go = Event()

    def answer(request: BaseHTTPRequestHandler) -> None:
        body_of(request)
        let_go.wait(20)

    with serving(tmp_path, answer, timeout_s=0.5) as (server, post, allow):
        with pytest.raises(OutcomeUnknown, match="was lost"):
            run(post, url=f"https://{allow}/", json={}, http_post_allow=(allow,))
        let_go.set()
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_has_not_acted(tmp_path: Path) -> None:
    with serving(tmp_path, lambda request: respond(request, b"")) as (_, post, allow):
        pass
    with pytest.raises(Exception, match="can not be reached") as raised:
        run(post, url=f"https://{allow}/", json={}, http_post_allow=(allow,))
    assert not isinstance(raised.value, OutcomeUnknown)


def test_a_large_document_is_refused(tmp_path: Path) -> None:
    refused(TOOL, url=f"https://{HOST}/", json={"a": "x" * 300_000}, http_post_allow=(HOST,), because="bytes")
