"""The root of every error that the API gives.

`raise StreamLimit(limit=2, streams=[…])`: keyword arguments become members of the problem document, except `detail`,
which replaces the sentence, and `headers`, which are added to the response.
"""


class Refusal(Exception):
    code = "refused"
    status = 422
    detail = "The request was refused."

    def __init__(self, *, detail: str | None = None, headers: dict | None = None, **members):
        super().__init__(detail or self.detail)
        self.detail = detail or self.detail
        self.headers = headers or ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})
        self.members = members
