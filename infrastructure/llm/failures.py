"""What went wrong with a model call, in our words and with a code that stays.

Called by `sending` with whatever litellm raised. Its one rule: no text of a provider's answer gets into a
message, for it may quote the key or the prompt; only the status and the provider's own error code do.

    auth               no key, or a refused one
    rate_limited       429, still after some tries
    quota_exceeded     the account at the provider has nothing left
    timeout            no whole answer within the model's timeout_s
    unavailable        5xx or no connection, still after some tries
    bad_request        the provider refused the request
    context_window     the prompt is too long
    content_policy     the provider's filter objected
    model_not_found    the provider has no such model
    tools_unsupported  the model can not call tools
    unknown_provider   litellm has no such prefix
    empty_answer       an answer without a word in it
    output_invalid     no instance of the schema, still after being told what is wrong
"""

from __future__ import annotations

import re

import litellm
import openai

from domain.execution import Failure
from infrastructure.crew.lanes import CallFailed

CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
MAX_RETRY_AFTER_S = 30.0
TOOLS_UNSUPPORTED = re.compile(
    r"(does not|doesn't|not) support(ed)? .{0,20}(tool|function)|tools? .{0,20}not supported", re.I
)

NO_KEY = re.compile(r"missing credentials|api[ _]key.{0,40}(not set|missing)|missing .{0,20}api[ _]key", re.I)

KINDS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        litellm.AuthenticationError,
        "auth",
        "the provider refused the credentials; is its key set for this runner?",
    ),
    (litellm.PermissionDeniedError, "auth", "the provider does not allow this key to use the model"),
    (litellm.RateLimitError, "rate_limited", "the provider limits the rate of calls"),
    (litellm.Timeout, "timeout", "no answer within the model's timeout"),
    (
        litellm.ContextWindowExceededError,
        "context_window",
        "the prompt is longer than the model's context window",
    ),
    (
        litellm.ContentPolicyViolationError,
        "content_policy",
        "the provider's content filter refused the request",
    ),
    (litellm.NotFoundError, "model_not_found", "the provider has no such model"),
    (litellm.BadRequestError, "bad_request", "the provider refused the request"),
    (litellm.UnprocessableEntityError, "bad_request", "the provider refused the request"),
    (openai.OpenAIError, "unavailable", "the provider can not be reached or has failed"),
)
TRANSIENT = frozenset({"rate_limited", "unavailable"})


def call_failed(model: str, error: openai.OpenAIError) -> CallFailed:
    """The failure that a provider's error is."""
    code, sentence = next((code, text) for kind, code, text in KINDS if isinstance(error, kind))
    if code == "rate_limited" and provider_code(error) == "insufficient_quota":
        code, sentence = "quota_exceeded", "the account at the provider has no quota left"
    if code != "auth" and NO_KEY.search(str(error)):
        variable = f"{model.partition('/')[0].upper()}_API_KEY"
        code, sentence = "auth", f"no key for the provider; is {variable} set for this runner?"
    if code == "bad_request" and TOOLS_UNSUPPORTED.search(str(error)):
        code, sentence = "tools_unsupported", "the model does not support tools"
    failure = Failure(code, f"{model}: {sentence}{details(error)}")
    return CallFailed(failure, is_transient=code in TRANSIENT, retry_after_s=retry_after_s(error))


def details(error: openai.OpenAIError) -> str:
    """` (429, rate_limit_exceeded)`: identifiers only, never prose."""
    status = getattr(error, "status_code", None)
    known = [str(part) for part in (status, provider_code(error)) if part]
    return f" ({', '.join(known)})" if known else ""


def provider_code(error: openai.OpenAIError) -> str:
    """The provider's own code for its error; "" when it gives none that is an identifier."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else {}
    codes = [
        getattr(error, "code", None),
        *(inner.get(name) for name in ("code", "type") if isinstance(inner, dict)),
    ]
    return next((code for code in codes if isinstance(code, str) and CODE.fullmatch(code)), "")


def retry_after_s(error: openai.OpenAIError) -> float:
    """What the provider asked to wait, within a bound; 0 when it did not say."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return min(max(float(headers.get("retry-after", 0)), 0.0), MAX_RETRY_AFTER_S)
    except ValueError:
        return 0.0
