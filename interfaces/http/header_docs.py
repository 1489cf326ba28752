"""The headers of requests and answers, as the API document describes them."""

from __future__ import annotations

from typing import Any

TEXT: dict[str, Any] = {"type": "string"}
WHOLE: dict[str, Any] = {"type": "string", "pattern": "^[0-9]{1,18}$"}

REQUEST: dict[str, tuple[str, dict[str, Any]]] = {
    "Idempotency-Key": (
        "A repeat with the same key and body changes nothing and is answered as the first time; with "
        "another body it is refused (422).",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!#-~][!-~]*$"},
    ),
    "Prefer": (
        "`wait=N`: answer when the read models have the change, or after N (at most 30) seconds.",
        {"type": "string", "pattern": "^wait=[0-9]$"},
    ),
    "If-Match": (
        'Only if the resource is at this version: `"v7"`, several of them, or `*`. Otherwise 412.',
        {"type": "string", "pattern": '^("v[1-9][0-9]{0,8}"|\\*)$'},
    ),
    "If-None-Match": (
        "The version that the client has, as its `ETag`: answers 304 when it is still that one.",
        {"type": "string", "pattern": '^("(v[1-9][0-9]{0,8}|[0-9a-f]{64})"|\\*)$'},
    ),
    "Kasal-After": ("The same as the parameter `after`, which goes before it.", WHOLE),
    "Last-Event-ID": ("The id of the last event that the client has seen.", WHOLE),
    "traceparent": ("W3C Trace Context; recorded with the events.", TEXT),
}

RESPONSE: dict[str, tuple[str, dict[str, Any]]] = {
    "Location": ("Where the new resource is.", TEXT),
    "ETag": ('The version of the resource: `"v7"`, or the digest of a text.', TEXT),
    "Kasal-Position": ("The position in the log that the answer is of.", WHOLE),
    "Preference-Applied": ("The read models have the change.", TEXT),
    "Idempotency-Replayed": ("`true`: nothing was done now, this is what was done the first time.", TEXT),
    "Link": ('`rel="next"`: the next page.', TEXT),
    "Retry-After": ("Seconds after which to try again.", WHOLE),
}
