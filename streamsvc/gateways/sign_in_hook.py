"""Calls of the sign-in hook: as webhooks are called, but with one deadline for the whole call.

A timeout per socket operation would not stop a peer that sends a byte now and then, so the call runs in a thread of its
own, whose socket is shut down at the deadline. Resolving a name cannot be interrupted; only its thread waits for it.
"""

import http.client
import socket
import threading
from http import HTTPStatus

from streamsvc.gateways import webhooks

MAX_RESPONSE_BYTES = 16 * 1024


class HookFailed(Exception):
    """The hook did not respond in time, or not with 200."""


def post_hook(url: str, body: bytes, headers: dict[str, str], timeout_s: float, allow_private: bool) -> bytes:
    """Make one POST and return the body of its 200 response. Raises HookFailed, at the latest after `timeout_s`."""
    call = _Call(url, body, headers, timeout_s, allow_private)
    call.start()
    call.join(timeout_s)
    if call.is_alive():
        call.abort()
        raise HookFailed(f"no complete response within {timeout_s:g} s")
    if call.response is None:
        raise HookFailed(call.error)
    return call.response


class _Call(threading.Thread):
    """One POST; `response` is None unless the status was 200, and `error` says why."""

    def __init__(self, url: str, body: bytes, headers: dict[str, str], timeout_s: float, allow_private: bool) -> None:
        super().__init__(daemon=True, name="sign-in hook")
        self.request = (url, body, headers)
        self.timeout_s, self.allow_private = timeout_s, allow_private
        self.response: bytes | None = None
        self.error = ""
        self.is_aborted = False
        self.socket: socket.socket | None = None

    def run(self) -> None:
        try:
            self._post()
        except (webhooks.ForbiddenAddress, OSError, ValueError, http.client.HTTPException) as error:
            self.error = f"{type(error).__name__}: {error}"[:300]
        finally:
            if self.socket is not None:
                self.socket.close()

    def _post(self) -> None:
        url, body, headers = self.request
        raw = self.socket = webhooks.open_socket(url, self.timeout_s, self.allow_private)
        connection, path = webhooks.prepare_connection(url, raw, self.timeout_s)
        self.socket = connection.sock
        if self.is_aborted:
            return
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        if response.status != HTTPStatus.OK:
            self.error = f"status {response.status}"
            return
        self.response = response.read(MAX_RESPONSE_BYTES)

    def abort(self) -> None:
        """Shut the socket down, so that whatever the thread waits for ends."""
        self.is_aborted = True
        try:
            if self.socket is not None:
                socket.socket.shutdown(self.socket, socket.SHUT_RDWR)
        except OSError:  # not connected any more
            return
