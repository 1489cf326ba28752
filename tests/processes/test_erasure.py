"""An erasure on a whole stack: what was said is on no disk any more, and every proof of it still holds."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes.stack import Up, clean_environment, get, post, wait_for_end
from tests.waiting import eventually

WORDS = ("zwetschgenroester", "powidltascherl", "marillenknoedel", "topfenstrudel")
"""In an input, in a prompt of the document, in a comment, in an edited output."""

INPUT, PROMPT, COMMENT, EDITED = WORDS

DOCUMENT: dict[str, Any] = {
    "name": "Kitchen",
    "inputs": {"dish": {"type": "string"}},
    "agents": {
        "cook": {"role": "Cook", "goal": "Cook", "backstory": f"Knows {PROMPT}", "model": "demo/model"}
    },
    "tasks": {
        "plan": {"agent": "cook", "description": "Plan {dish}", "expected_output": "a plan"},
        "serve": {
            "agent": "cook",
            "description": "Serve it",
            "expected_output": "a dish",
            "context": ["plan"],
        },
    },
    "steps": {
        "first": {"crew": {"tasks": ["plan"]}},
        "gate": {"approval": {"message": "Good?"}, "after": ["first"]},
        "second": {"crew": {"tasks": ["serve"]}, "after": ["gate"]},
    },
}


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path / "d", KASAL_CHECKPOINT_S="1")
    yield up
    up.end()


def kasal(up: Up, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "interfaces.cli", *arguments]
    environment = clean_environment(KASAL_DATA_DIR=str(up.data_dir))
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def found_in(folder: Path) -> dict[str, set[str]]:
    """The words that stand in a folder's files, by the first part of the files' names."""
    found: dict[str, set[str]] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            body = path.read_bytes()
            words = {word for word in WORDS if word.encode() in body}
            if words:
                found.setdefault(path.relative_to(folder).parts[0].partition(".")[0], set()).update(words)
    return found


async def cooked(client: httpx.Client) -> str:
    """An execution that said all the words, some of them in texts that lie beside the log; it has ended."""
    inputs = {"dish": f"{INPUT} " * 600}
    execution_id: str = post(client, "/v1/executions", {"definition": DOCUMENT, "inputs": inputs})["id"]
    asked: dict[str, Any] = {}

    def is_asked() -> bool:
        asked.update(get(client, f"/v1/approvals?execution_id={execution_id}"))
        return bool(asked["items"])

    await eventually(is_asked, 60)
    approval = asked["items"][0]
    decision = {
        "decision": "approve",
        "digest": approval["digest"],
        "comment": f"More {COMMENT}",
        "edits": {"plan": f"Take {EDITED}"},
    }
    post(client, f"/v1/executions/{execution_id}/approvals/{approval['id']}", decision)
    assert wait_for_end(client, execution_id)["status"] == "COMPLETED"
    return execution_id


async def test_what_was_said_is_on_no_disk_and_every_proof_holds(up: Up, tmp_path: Path) -> None:
    execution_id = await cooked(up.client)
    path = f"/v1/executions/{execution_id}"
    before = up.client.get(f"{path}/history/export").text
    assert all(word in before for word in WORDS)
    assert found_in(up.data_dir).keys() == {"read"}, "only read tables hold what was said in the clear"

    erased = kasal(up, "erase", execution_id, "--yes", "--reason", "Request 4711")
    assert erased.returncode == 0, erased.stderr
    await eventually(lambda: up.client.get(path).json()["erased_at"], 30)
    for shown in (path, f"{path}/history?limit=200", f"{path}/timeline", f"{path}/history/export"):
        body = up.client.get(shown).text
        assert not [word for word in WORDS if word in body], shown
    events = get(up.client, f"{path}/history?limit=200")["items"]
    assert (events[0]["type"], events[-1]["type"]) == ("execution.requested", "execution.erased")
    assert events[-1]["data"]["reason"] == "Request 4711"
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    with up.client.stream("GET", f"{path}/stream?after=0") as stream:
        streamed = "".join(stream.iter_text())
    assert "execution.erased" in streamed
    assert not [word for word in WORDS if word in streamed]
    for refused in ("fork", "retry", "what-if"):
        assert up.client.post(f"{path}/{refused}", json={}).status_code == 409, refused

    file = tmp_path / "bundle"
    assert kasal(up, "audit", "bundle", execution_id, "-o", str(file)).returncode == 0
    checked = kasal(up, "audit", "verify", str(file))
    assert (checked.returncode, "erased" in checked.stdout) == (0, True), checked.stdout + checked.stderr
    walked = kasal(up, "audit", "verify")
    assert walked.returncode == 0, walked.stdout + walked.stderr
    verified = kasal(up, "projections", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr

    assert up.stop() == 0
    assert found_in(up.data_dir) == {}
