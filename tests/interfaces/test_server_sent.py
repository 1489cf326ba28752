"""The bytes of a stream."""

from __future__ import annotations

import json

from interfaces.http.events import one_line


def test_an_event_is_one_line_for_every_reader_and_the_same_document() -> None:
    document = {"text": "a\nb\rc\u0085d\u2028e\u2029f", "more": [1, "grüße"]}
    pretty = json.dumps(document, ensure_ascii=False, indent=2).encode()
    line = one_line(pretty)
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line) == document
