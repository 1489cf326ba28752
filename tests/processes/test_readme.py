"""Every command of the README is run, in the order of the page, and does what the page says."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.processes.stack import Up, wait_for_end

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
DEFAULT_URL = "http://127.0.0.1:8700"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """What `kasal up` on the page starts."""
    up = Up(tmp_path_factory.mktemp("readme") / "d")
    yield up
    up.end()


def curl_calls() -> list[list[str]]:
    joined = SHELL.replace("\\\n", " ")
    return [
        shlex.split(call, comments=True)[1:]
        for call in re.findall(r"^curl (?:[^']|'[^']*')*?$", joined, re.M)
    ]


def request_of(words: list[str], url: str, ids: dict[str, str]) -> httpx.Request:
    """What curl would send: -H, -d and the address; `0190…`, `0191…` stand for what was answered before."""
    headers: dict[str, str] = {}
    body, address, waiting = None, "", iter(words)
    for word in waiting:
        if word == "-H":
            name, _, value = next(waiting).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(waiting)
        elif word.startswith("http"):
            address = word
        else:
            assert word in ("-s", "-sN"), word
    for shown, real in ids.items():
        address, body = address.replace(shown, real), body.replace(shown, real) if body else None
    method = "POST" if body else "GET"
    return httpx.Request(method, address.replace(DEFAULT_URL, url), headers=headers, content=body)


def test_the_curl_commands_create_run_and_show_a_workflow(up: Up) -> None:
    ids: dict[str, str] = {}
    answers: list[Any] = []
    calls = curl_calls()
    assert len(calls) == 6
    for words in calls:
        response = up.client.send(request_of(words, up.url, ids))
        assert response.status_code in (200, 201), (words, response.text)
        if response.status_code == 201:
            answer = response.json()
            ids["0190…" if not ids else "0191…"] = answer["id"]
            assert answer.keys() >= {"id", "version", "position"}
        answers.append(response.text)
        if len(answers) == 3:
            wait_for_end(up.client, ids["0191…"])
    assert "event: io.kasal.execution.completed" in answers[2]
    assert json.loads(answers[3])["output"]["text"]
    assert json.loads(answers[4])["items"][0]["type"] == "execution.requested"
    assert json.loads(answers[5])["items"]


def test_the_documentation_is_where_the_readme_says(up: Up) -> None:
    assert f"{DEFAULT_URL}/schema" in README
    assert up.client.get("/schema").status_code == 200


def test_the_planted_workflows_are_those_that_the_readme_names(up: Up) -> None:
    listed = {row["id"] for row in up.client.get("/v1/workflows").json()["items"]}
    assert listed >= {"blog-production", "ticket-triage", "data-report"}
    for name in listed & {"blog-production", "ticket-triage", "data-report"}:
        assert f"`{name}`" in README


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^(?:[A-Z_]+=\S+ )?make (\w+)", SHELL, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([^)h][^)]*)\)", README):
        assert (ROOT / link).exists(), link
