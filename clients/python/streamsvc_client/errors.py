"""The exceptions of the client: one per problem code, in the package's namespace, and those below."""

from __future__ import annotations

from typing import Any, get_type_hints

import httpx

from streamsvc_client import _retries

ERRORS: dict[str, type[ApiError]] = {}
"""The exception of each problem code."""


class StreamsvcError(Exception):
    """Any failure of a call."""


class NoResponseError(StreamsvcError):
    """No response was received; `__cause__` says why. The request may have had an effect unless it has a key."""


class ApiError(StreamsvcError):
    """The service refused the call, or something in front of it did.

    `code` is the stable one of the problem, or None if the response is not the service's; `errors` lists the sentences
    for each invalid field; `retry_after_s` is how long to wait, if the response says so.
    """

    def __init__(self, response: httpx.Response, detail: str = "") -> None:
        self.problem = _read_problem(response)
        self.status = response.status_code
        self.code: str | None = self.problem.get("code") or self.problem.get("error")
        self.detail: str = (
            detail or self.problem.get("detail") or self.problem.get("error_description") or response.reason_phrase
        )
        self.request_id: str | None = response.headers.get("X-Request-Id")
        self.errors: dict[str, list[str]] = self.problem.get("errors") or {}
        self.retry_after_s = _retries.retry_after_s(response)
        for name in get_type_hints(type(self)):
            setattr(self, name, self.problem.get(name))
        fields = "".join(f" {field}: {' '.join(sentences)}" for field, sentences in self.errors.items())
        super().__init__(f"{self.status} {self.code or ''}: {self.detail}{fields} ({self.request_id})")


def _read_problem(response: httpx.Response) -> dict[str, Any]:
    """Return the problem document, or the error of OAuth; empty for anything else."""
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def error_from(outcome: httpx.Response | httpx.TransportError) -> StreamsvcError:
    """Return the exception for a response that is an error, or for the lack of one."""
    if isinstance(outcome, httpx.TransportError):
        error = NoResponseError(f"no response: {outcome!r}")
        error.__cause__ = outcome
        return error
    plain = ApiError(outcome)
    return ERRORS.get(plain.code or "", ApiError)(outcome)
