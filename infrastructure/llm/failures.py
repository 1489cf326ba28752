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
    request_too_large  the conversation is beyond 16 MiB; answer_too_large: the answer is
    output_invalid     no instance of the schema, still after being told what is wrong
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import litellm
import openai

from domain.execution import Failure
from infrastructure.crew.lanes import CallFailed

CODE = re.compile(r"(?!\d+$)[A-Za-z0-9_.-]{1,64}")
MAX_RETRY_AFTER_S = 30.0

NO_KEY = re.compile(r"missing credentials|api[ _]key.{0,40}(not set|missing)|missing .{0,20}api[ _]key", re.I)
TOO_LONG = re.compile(r"context[ _](length|window)|(prompt|input) is too long|too many (input )?tokens", re.I)
NO_TOOLS = re.compile(
    r"(does not|doesn't|not) support(ed)? .{0,20}(tool|function)|tools? .{0,20}not supported", re.I
)

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
REFUSED = {401: KINDS[0], 403: KINDS[1], 404: KINDS[6]}
"""By status, for what litellm raises a bare `APIError` for."""

TRANSIENT = frozenset({"rate_limited", "unavailable"})


def call_failed(model: str, error: openai.OpenAIError) -> CallFailed:
    """The failure that a provider's error is."""
    code, sentence = told_apart(model, error)
    failure = Failure(code, f"{model}: {sentence}{details(error)}")
    return CallFailed(failure, is_transient=code in TRANSIENT, retry_after_s=retry_after_s(error))


def told_apart(model: str, error: openai.OpenAIError) -> tuple[str, str]:
    """Code and sentence: by the error's class, and where litellm throws several things into one, by its
    text.
    """
    _, code, sentence = next(kind for kind in KINDS if isinstance(error, kind[0]))
    if code == "unavailable" and (known := REFUSED.get(getattr(error, "status_code", 0))):
        return known[1:]
    if code != "auth" and NO_KEY.search(str(error)):
        return (
            "auth",
            f"no key for the provider; is {provider_of(model).upper()}_API_KEY set for this runner?",
        )
    if code == "rate_limited" and provider_code(error) == "insufficient_quota":
        return "quota_exceeded", "the account at the provider has no quota left"
    if code == "bad_request" and TOO_LONG.search(f"{provider_code(error)} {error}"):
        return "context_window", "the prompt is longer than the model's context window"
    if code == "bad_request" and NO_TOOLS.search(str(error)):
        return "tools_unsupported", "the model does not support tools"
    return code, sentence


def provider_of(model: str) -> str:
    return model.partition("/")[0]


def details(error: openai.OpenAIError) -> str:
    """` (429, rate_limit_exceeded)`: identifiers only, never prose."""
    known = [str(part) for part in (getattr(error, "status_code", None), provider_code(error)) if part]
    return f" ({', '.join(known)})" if known else ""


def provider_code(error: BaseException) -> str:
    """The provider's own code for its error; "" when it gives none that is an identifier."""
    for cause in causes(error):
        body = getattr(cause, "body", None)
        found = (body.get("code") or body.get("type")) if isinstance(body, dict) else None
        if isinstance(found, str) and CODE.fullmatch(found):
            return found
    return ""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from; litellm keeps the provider's answer two levels down."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def retry_after_s(error: openai.OpenAIError) -> float:
    """What the provider asked to wait, within a bound; 0 when it did not say."""
    headers = getattr(error, "litellm_response_headers", None) or {}
    try:
        return min(max(float(headers.get("retry-after") or 0), 0.0), MAX_RETRY_AFTER_S)
    except ValueError:
        return 0.0
