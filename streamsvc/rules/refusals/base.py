"""The base class of all API errors.

`raise StreamLimit(limit=2, streams=[…])`: keyword arguments become members of the problem document, except `detail`,
which replaces the class's sentence, and `headers`, which are added to the response.
"""

from typing import Any, ClassVar


class Refusal(Exception):
    """An error that the API returns to the client: a stable `code`, an HTTP `status` and a `detail` for people."""

    code = "refused"
    status = 422
    detail = "The request was refused."
    member_schemas: ClassVar[dict[str, dict[str, Any]]] = {}
    """{member of the problem document: its JSON Schema}, for members beyond those of every error."""

    def __init__(self, *, detail: str | None = None, headers: dict[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail or self.detail)
        self.detail = detail or self.detail
        self.headers = headers or ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})
        self.members = members
