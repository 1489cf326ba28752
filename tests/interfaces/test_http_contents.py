"""Large texts over HTTP: whole, revalidated by their digest, and only where they are."""

from __future__ import annotations

import pytest

from application.contents import Contents, parts_of
from tests.interfaces.stack import Stack

TEXT = "grüße ☃ " * 100_000


async def put(stack: Stack, text: str, tenant: str = "default") -> str:
    parts = parts_of(text)
    for part in parts:
        await Contents(stack.log).put(tenant, "execution-1", part)
    return parts[0].digest


async def test_a_large_text_is_streamed_whole(stack: Stack) -> None:
    digest = await put(stack, TEXT)
    answer = await stack.client.get(f"/v1/contents/{digest}")
    assert answer.status_code == 200
    assert answer.text == TEXT
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-length"] == str(len(TEXT.encode()))
    assert answer.headers["etag"] == f'"{digest}"'


async def test_who_has_it_is_told_so(stack: Stack) -> None:
    digest = await put(stack, "text")
    again = await stack.client.get(f"/v1/contents/{digest}", headers={"If-None-Match": f'"{digest}"'})
    assert (again.status_code, again.content) == (304, b"")
    other = await stack.client.get(f"/v1/contents/{digest}", headers={"If-None-Match": '"v7"'})
    assert other.text == "text"


@pytest.mark.parametrize("digest", ["0" * 64, "none", "%00", "%2e%2e"])
async def test_what_is_not_there_is_not_found(stack: Stack, digest: str) -> None:
    answer = await stack.client.get(f"/v1/contents/{digest}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_the_texts_of_another_tenant_are_not_there(stack: Stack) -> None:
    digest = await put(stack, "secret", tenant="other")
    assert (await stack.client.get(f"/v1/contents/{digest}")).status_code == 404


async def test_a_text_of_which_a_part_is_missing_is_not_there(stack: Stack) -> None:
    first, *_ = parts_of(TEXT + "other")
    await Contents(stack.log).put("default", "execution-1", first)
    assert (await stack.client.get(f"/v1/contents/{first.digest}")).status_code == 404


async def test_an_unknown_parameter_is_refused_by_name(stack: Stack) -> None:
    digest = await put(stack, "text")
    answer = await stack.client.get(f"/v1/contents/{digest}?after=1")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/query/after")
