"""Problems: one shape for everything that is refused (RFC 9457), and the right status for each reason."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from domain import errors
from interfaces.http.examples import BLOG
from interfaces.problems import CODES, KINDS, MEDIA_TYPE, code_of, headers_of, problem_of
from tests.interfaces.stack import Stack

JSON = {"Content-Type": "application/json"}

TABLE: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/nowhere", {}, 404, "not_found"),
    ("GET", "/v1/workflows/a/versions/x", {}, 404, "not_found"),
    ("GET", "/v1/workflows/a/versions/99999999999999999999", {}, 404, "not_found"),
    ("DELETE", "/v1/workflows", {}, 405, "method_not_allowed"),
    ("GET", "/v1/executions/a/cancel", {}, 405, "method_not_allowed"),
    ("GET", "/v1/workflows", {"headers": {"Accept": "text/html"}}, 406, "not_acceptable"),
    ("GET", "/v1/workflows", {"headers": {"Accept": "application/json;q=0"}}, 406, "not_acceptable"),
    ("GET", "/v1/events", {"headers": {"Accept": "application/json"}}, 406, "not_acceptable"),
    ("POST", "/v1/executions", {"content": b"{}"}, 415, "unsupported_media_type"),
    ("POST", "/v1/executions", {"data": {"a": "b"}}, 415, "unsupported_media_type"),
    (
        "POST",
        "/v1/executions",
        {"content": b"a: 1", "headers": {"Content-Type": "application/yaml"}},
        415,
        "unsupported_media_type",
    ),
    (
        "POST",
        "/v1/workflows",
        {"content": b"{}", "headers": {"Content-Type": "application/json; charset=utf-16"}},
        415,
        "unsupported_media_type",
    ),
    ("POST", "/v1/executions", {"content": b"", "headers": JSON}, 400, "malformed"),
    ("POST", "/v1/executions", {"content": b"{", "headers": JSON}, 400, "malformed"),
    ("POST", "/v1/executions", {"json": []}, 422, "invalid"),
    ("POST", "/v1/executions", {"json": {"workflow_id": "none"}}, 404, "not_found"),
    ("POST", "/v1/executions", {"json": {"workflow_id": "a/b"}}, 404, "not_found"),
    ("POST", "/v1/workflows", {"json": {**BLOG, "name": ""}}, 422, "invalid"),
    ("POST", "/v1/workflows", {"content": b" " * (1024 * 1024 + 1), "headers": JSON}, 413, "too_large"),
    ("POST", "/v1/workflows/none/archive", {"json": {"now": True}}, 422, "invalid"),
]


@pytest.mark.parametrize(("method", "path", "request_", "status", "code"), TABLE, ids=lambda v: str(v)[:50])
async def test_what_is_refused_is_a_problem(
    client: httpx.AsyncClient, method: str, path: str, request_: dict[str, Any], status: int, code: str
) -> None:
    answer = await client.request(method, path, **request_)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert problem["status"] == status
    assert problem["type"] == f"urn:kasal:problem:{code}"
    assert (problem["title"], problem["instance"]) == (KINDS[code].title, path)
    assert problem["detail"]
    assert re.fullmatch("[0-9a-f]{32}", problem["trace_id"])
    if status == 405:
        assert "OPTIONS" in answer.headers["allow"]


async def test_an_event_that_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    texts = {f"a{n}": {"role": "R", "goal": "g", "backstory": "x" * 15_000} for n in range(20)}
    tasks = {"t": {"description": "d", "expected_output": "e", "agent": "a0"}}
    answer = await client.post("/v1/workflows", json={"name": "L", "agents": texts, "tasks": tasks})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_every_error_that_a_client_can_cause_has_its_own_problem() -> None:
    known = {kind for kind, _ in CODES}
    for_runners = {errors.Held, errors.Draining, errors.OverBudget}
    inner = {errors.ConditionError, errors.UnknownEvent, *for_runners}
    assert {*all_errors(errors.KasalError)} - {errors.KasalError} <= known | inner
    assert {code for _, code in CODES} <= KINDS.keys()


def all_errors(kind: type[errors.KasalError]) -> list[type[errors.KasalError]]:
    inside = [each for each in kind.__subclasses__() if each.__module__ == "domain.errors"]
    return [kind, *(found for each in inside for found in all_errors(each))]


def test_what_nobody_expected_says_nothing_of_itself() -> None:
    secret = ValueError("password=hunter2 in SELECT * FROM log")
    problem = problem_of(secret, instance="/v1", trace_id="0" * 32)
    assert (problem.status, problem.code) == (500, "internal")
    assert "hunter2" not in problem.detail


def test_a_log_that_is_away_does_not_say_where_it_was() -> None:
    away = errors.LogUnavailable("connection to postgres://kasal:secret@db failed", retry_after_s=3)
    problem = problem_of(away, instance="/v1", trace_id="0" * 32)
    assert (problem.status, problem.retry_after, code_of(away)) == (503, 3, "log_unavailable")
    assert "secret" not in problem.detail
    assert headers_of(away) == {"Retry-After": "3"}


def test_a_full_log_is_told_from_one_that_is_away() -> None:
    assert code_of(errors.LogFull("4096 commands wait")) == "log_full"
    assert code_of(errors.Unavailable("the read tables can not be read")) == "unavailable"


async def test_the_process_is_alive_and_ready(stack: Stack) -> None:
    assert (await stack.client.get("/livez")).json() == {"status": "ok"}
    assert (await stack.client.get("/readyz")).json() == {"status": "ok"}
    verbose = await stack.client.get("/readyz?verbose")
    assert verbose.json() == {"status": "ok", "checks": {"log": "ok"}}


async def test_a_process_without_its_log_is_alive_but_not_ready(own_stack: Stack) -> None:
    await own_stack.log.close()
    ready = await own_stack.client.get("/readyz")
    assert (ready.status_code, ready.json()["code"]) == (503, "unavailable")
    assert ready.headers["retry-after"] == "1"
    assert (await own_stack.client.get("/livez")).status_code == 200
    refused = await own_stack.client.post("/v1/workflows", json=BLOG)
    assert (refused.status_code, refused.json()["code"]) == (503, "log_unavailable")
    assert "retry-after" in refused.headers
