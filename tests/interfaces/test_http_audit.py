"""Checkpoints, proofs and bundles over HTTP, checked with nothing but the public key."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from application.audit.bundles import verify_bundle
from application.audit.merkle import is_consistent, is_included, leaf_hash
from application.audit.ports import Forged
from domain.errors import Invalid
from infrastructure.audit_keys import PublicKeys, SigningKey
from tests.interfaces.stack import KEY, Stack

KEYS = PublicKeys([KEY.public])


async def ask(stack: Stack, path: str, status: int = 200, **params: Any) -> dict[str, Any]:
    answer = await stack.client.get(path, params=params)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def bundle_of(stack: Stack, execution_id: str) -> list[bytes]:
    answer = await stack.client.get(f"/v1/executions/{execution_id}/audit-bundle")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return answer.content.splitlines()


def hashes(texts: list[str]) -> list[bytes]:
    return [base64.b64decode(text) for text in texts]


async def test_every_event_is_proved_by_the_newest_checkpoint(stack: Stack) -> None:
    await stack.execution()
    await stack.checkpoint()
    newest = KEYS.check((await ask(stack, "/v1/audit/checkpoints", limit=1))["items"][0]["note"])
    events = await stack.audit_store.events(0, newest.size)
    assert len(events) == newest.size
    for event in [*events[:20], *events[-20:]]:
        proof = await ask(stack, "/v1/audit/proofs/inclusion", position=event[0])
        assert KEYS.check(proof["checkpoint"]) == newest
        leaf, path = leaf_hash(event), hashes(proof["path"])
        assert base64.b64decode(proof["leaf_hash"]) == leaf
        assert is_included(leaf, event[0] - 1, newest.size, path, newest.root)


async def test_checkpoints_are_paged_and_consistent(stack: Stack) -> None:
    for _ in range(3):
        await stack.execution()
        await stack.checkpoint()
    sizes: list[int] = []
    path: str | None = "/v1/audit/checkpoints?limit=1"
    while path:
        answer = await stack.client.get(path)
        sizes += [item["size"] for item in answer.json()["items"]]
        path = answer.links.get("next", {}).get("url")
    assert len(sizes) >= 3
    assert sizes == sorted(sizes, reverse=True)
    proof = await ask(stack, "/v1/audit/proofs/consistency", **{"from": sizes[2]})
    older, newer = (KEYS.check(proof[f"{end}_checkpoint"]) for end in ("from", "to"))
    assert (older.size, newer.size) == (sizes[2], sizes[0])
    assert is_consistent(older.size, newer.size, hashes(proof["path"]), older.root, newer.root)


async def test_a_bundle_is_checked_with_the_public_key_alone(stack: Stack) -> None:
    execution_id = (await stack.execution())["id"]
    early = await stack.client.get(f"/v1/executions/{execution_id}/audit-bundle")
    assert early.status_code in (404, 503)
    await stack.checkpoint()
    lines = await bundle_of(stack, execution_id)
    result = verify_bundle(lines, KEYS)
    assert (result.events, result.is_sound, result.stream) == (2, True, f"execution-{execution_id}")
    with pytest.raises(Forged):
        verify_bundle(lines, PublicKeys([SigningKey.generate("kasal/test").public]))


async def test_whatever_is_changed_in_a_bundle_is_found(stack: Stack) -> None:
    execution_id = (await stack.execution())["id"]
    other = (await stack.execution())["id"]
    await stack.checkpoint()
    head, first, second = await bundle_of(stack, execution_id)
    strange = await bundle_of(stack, other)
    event = msgspec.json.decode(first)
    changed = event | {"body": base64.b64encode(base64.b64decode(event["body"]) + b" ").decode()}
    renamed = msgspec.json.decode(head) | {"stream": "execution-x"}
    fewer = msgspec.json.decode(head) | {"events": 1}
    for lines in (
        [head, msgspec.json.encode(changed), second],
        [head, second, first],
        [head, first],
        [head, second],
        [head, first, first, second],
        [head, first, strange[2]],
        [head, first, second, b"{}"],
        [msgspec.json.encode(renamed), first, second],
        [msgspec.json.encode(fewer), first, second],
    ):
        result = verify_bundle(lines, KEYS)
        assert not result.is_sound, lines
        assert result.findings
    for head_line in (
        b"",
        b"{}",
        b"nonsense",
        b'{"stream":"\xff"}',
        b'{"kasal_bundle":2,"stream":"a","events":0,"checkpoint":"","key":""}',
    ):
        with pytest.raises(Invalid):
            verify_bundle([head_line, first, second], KEYS)


async def test_what_is_not_there_is_not_found(stack: Stack) -> None:
    await stack.checkpoint()
    newest = (await ask(stack, "/v1/audit/checkpoints", limit=1))["items"][0]["size"]
    for path, params in (
        ("/v1/audit/proofs/inclusion", {"position": newest + 1}),
        ("/v1/audit/proofs/inclusion", {"position": 1, "size": newest + 1}),
        ("/v1/audit/proofs/consistency", {"from": newest + 1}),
        ("/v1/executions/nobody/audit-bundle", {}),
    ):
        assert (await ask(stack, path, 404, **params))["code"] == "not_found"


async def test_exports_stream_a_line_an_event(stack: Stack) -> None:
    execution_id = (await stack.execution())["id"]
    head = await stack.log.head()
    one = await stack.client.get(f"/v1/executions/{execution_id}/history/export")
    assert one.headers["content-type"] == "application/x-ndjson"
    lines = [msgspec.json.decode(line) for line in one.content.splitlines()]
    assert [line["type"] for line in lines] == [
        "io.kasal.execution.requested",
        "io.kasal.execution.step_scheduled",
    ]
    last = await stack.client.get("/v1/events/export", params={"after": head - 2})
    assert last.content == one.content
    assert (await stack.client.get("/v1/events/export", params={"to": 1})).content.count(b"\n") == 1
    assert (await ask(stack, "/v1/events/export", 410, after=head + 1_000))["code"] == "position_gone"
    await ask(stack, "/v1/executions/nobody/history/export", 404)


WRONG = [
    ("/v1/events/export", {"after": 2, "to": 1}, "to"),
    ("/v1/events/export", {"after": -1}, "after"),
    ("/v1/executions/nobody/history/export", {"x": 1}, "x"),
    ("/v1/audit/checkpoints", {"limit": 0}, "limit"),
    ("/v1/audit/checkpoints", {"cursor": "x"}, "cursor"),
    ("/v1/audit/proofs/inclusion", {}, "position"),
    ("/v1/audit/proofs/inclusion", {"position": 0}, "position"),
    ("/v1/audit/proofs/consistency", {"to": 1}, "from"),
    ("/v1/executions/nobody/audit-bundle", {"x": 1}, "x"),
]


@pytest.mark.parametrize(("path", "params", "name"), WRONG, ids=str)
async def test_a_parameter_that_is_wrong_is_named(
    stack: Stack, path: str, params: dict[str, Any], name: str
) -> None:
    refused = await ask(stack, path, 400, **params)
    assert [error["pointer"] for error in refused["errors"]] == [f"/query/{name}"]
