"""Sends the calls of both clients: the token, retries, pages, and results."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from threading import Lock
from typing import Any, Self
from urllib.parse import quote

import anyio
import httpx

from streamsvc_client._retries import RetryPolicy
from streamsvc_client.errors import ApiError, error_from

TIMEOUT_S = 30.0
Query = Mapping[str, Any]


def new_key() -> str:
    """Return a new idempotency key."""
    return str(uuid.uuid4())


def quote_id(value: str) -> str:
    """Return an id for a path. One that would lead to another path is an error."""
    if value in ("", ".", ".."):
        raise ValueError(f"{value!r} is not an id")
    return quote(value, safe="")


class _Sender:
    """What both clients share: how a request is built, and what its response means."""

    def __init__(self, token: str | None, on_token: Callable[[str], None] | None, max_retries: int, max_wait_s: float):
        self.token, self._on_token = token, on_token
        self._policy = RetryPolicy(max_retries, max_wait_s)

    def _build(
        self,
        http: httpx.Client | httpx.AsyncClient,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: object = None,
        form: object = None,
        content: bytes | None = None,
        headers: Mapping[str, str | None] | None = None,
        is_open: bool = False,
    ) -> httpx.Request:
        sent = {name: value for name, value in (headers or {}).items() if value is not None}
        if self.token and not is_open:
            sent["Authorization"] = f"Bearer {self.token}"
        options: dict[str, Any] = {"json": body} if body is not None else {"data": form} if form is not None else {}
        params = {name: value for name, value in (query or {}).items() if value is not None}
        return http.build_request(method, path, params=params, headers=sent, content=content, **options)

    def _has_expired(self, request: httpx.Request, response: httpx.Response) -> bool:
        """Whether the token that was sent is no longer valid."""
        return (
            response.status_code == 401
            and "Authorization" in request.headers
            and ApiError(response).code == "not_signed_in"
        )

    def _adopt(self, token: str) -> None:
        self.token = token
        if self._on_token:
            self._on_token(token)

    def _result(self, response: httpx.Response, has_token: bool, is_binary: bool) -> Any:
        if not response.content:
            return None
        if response.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            if is_binary:
                return response.content
            raise ApiError(response, "The response is not JSON, so it is not the service's.")
        result = response.json()
        if has_token and (token := result.get("token") or result.get("access_token")):
            self._adopt(token)
        return result


class SyncSender(_Sender):
    """Sends requests and waits for their responses. It may be used from several threads."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        renew_token: Callable[[], str] | None = None,
        on_token: Callable[[str], None] | None = None,
        max_retries: int = 3,
        max_wait_s: float = 60.0,
        http: httpx.Client | None = None,
    ) -> None:
        """Connect to the service at `base_url`, without `/v1`.

        `token`: a session's or an API key. `renew_token()` returns a new one when it has expired, and the call is sent
        again; without it, such a call raises NotSignedInError. `on_token(token)` gets each new token, to be stored.
        A failed call is repeated `max_retries` times if that is safe, unless it would have to wait longer than
        `max_wait_s` seconds. `http`: an own client of httpx, for proxies, certificates and timeouts.
        """
        super().__init__(token, on_token, max_retries, max_wait_s)
        self._http = http or httpx.Client(timeout=TIMEOUT_S)
        self._http.base_url = httpx.URL(base_url)
        self._renew_token, self._renewal = renew_token, Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request as the methods do, and return its response. Raises ApiError and NoResponseError.

        `options`: `query`, `headers`, and `body` (JSON), `form` or `content` (bytes).
        """
        attempt, may_renew = 0, self._renew_token is not None
        while True:
            request, token = self._build(self._http, method, path, **options), self.token
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = self._http.send(request)
            except httpx.TransportError as error:
                outcome = error
            else:
                if outcome.is_success or outcome.status_code == 304:
                    return outcome
                if may_renew and self._has_expired(request, outcome):
                    may_renew = False
                    self._renew(token)
                    continue
            wait_s = self._policy.wait_s(attempt, request, outcome)
            if wait_s is None:
                raise error_from(outcome)
            time.sleep(wait_s)
            attempt += 1

    def _renew(self, expired: str | None) -> None:
        """Replace the expired token, unless another thread has done so."""
        with self._renewal:
            if self.token == expired and self._renew_token:
                self._adopt(self._renew_token())

    def _call(self, method: str, path: str, *, has_token: bool = False, is_binary: bool = False, **options: Any) -> Any:
        return self._result(self.request(method, path, **options), has_token, is_binary)

    def _iterate(self, path: str, query: Query, limit: int) -> Iterator[Any]:
        cursor = None
        while True:
            page = self._call("GET", path, query={**query, "limit": limit, "cursor": cursor})
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return


class AsyncSender(_Sender):
    """Sends requests and awaits their responses, with asyncio or trio."""

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        renew_token: Callable[[], Awaitable[str]] | None = None,
        on_token: Callable[[str], None] | None = None,
        max_retries: int = 3,
        max_wait_s: float = 60.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """As for the other client, but `renew_token` is awaited, and `http` is an AsyncClient of httpx."""
        super().__init__(token, on_token, max_retries, max_wait_s)
        self._http = http or httpx.AsyncClient(timeout=TIMEOUT_S)
        self._http.base_url = httpx.URL(base_url)
        self._renew_token, self._renewal = renew_token, anyio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request as the methods do, and return its response: see the other client."""
        attempt, may_renew = 0, self._renew_token is not None
        while True:
            request, token = self._build(self._http, method, path, **options), self.token
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = await self._http.send(request)
            except httpx.TransportError as error:
                outcome = error
            else:
                if outcome.is_success or outcome.status_code == 304:
                    return outcome
                if may_renew and self._has_expired(request, outcome):
                    may_renew = False
                    await self._renew(token)
                    continue
            wait_s = self._policy.wait_s(attempt, request, outcome)
            if wait_s is None:
                raise error_from(outcome)
            await anyio.sleep(wait_s)
            attempt += 1

    async def _renew(self, expired: str | None) -> None:
        """Replace the expired token, unless another task has done so."""
        async with self._renewal:
            if self.token == expired and self._renew_token:
                self._adopt(await self._renew_token())

    async def _call(
        self, method: str, path: str, *, has_token: bool = False, is_binary: bool = False, **options: Any
    ) -> Any:
        return self._result(await self.request(method, path, **options), has_token, is_binary)

    async def _iterate(self, path: str, query: Query, limit: int) -> AsyncIterator[Any]:
        cursor = None
        while True:
            page = await self._call("GET", path, query={**query, "limit": limit, "cursor": cursor})
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return
