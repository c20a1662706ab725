"""Inputs of sign-in, accounts and operators, as loaded by their schemas. A test compares each with its schema."""

from datetime import datetime
from typing import Literal, NotRequired, TypedDict

from streamsvc.rules.inputs import DeviceKind


class DeviceInput(TypedDict):
    """The device that signs in; its id if it is a known one."""

    name: str
    kind: DeviceKind
    id: NotRequired[str]


class AuthenticatorCodes(TypedDict):
    """The codes that an account with an authenticator can sign in with."""

    totp: NotRequired[str]
    recovery_code: NotRequired[str]


class SignInInput(AuthenticatorCodes):
    """The fields of every sign-in."""

    trust_device: bool
    device_trust: NotRequired[str]
    cookie: bool
    remember: bool
    device: DeviceInput | None


class PasswordSignInInput(SignInInput):
    """A sign-in by password: either `email` or `identifier` is given."""

    email: NotRequired[str]
    identifier: NotRequired[str]
    password: str
    email_code: NotRequired[str]
    challenge: NotRequired[str]


class MagicLinkSignInInput(SignInInput):
    """A sign-in by emailed link."""

    binding: str | None
    token: str


class OidcSignInInput(SignInInput):
    """The completion of a sign-in at an identity provider."""

    binding: str | None
    code: str
    state: str
    iss: str | None


class AssertionResponseInput(TypedDict):
    """What the authenticator signed, in base64url."""

    clientDataJSON: str
    authenticatorData: str
    signature: str
    userHandle: NotRequired[str | None]


class AssertionInput(TypedDict):
    """A passkey's response to a challenge."""

    id: str
    rawId: str
    type: Literal["public-key"]
    response: AssertionResponseInput


class PasskeySignInInput(SignInInput):
    """A sign-in by passkey."""

    credential: AssertionInput


class ReauthenticationInput(TypedDict):
    """One proof of identity, and whether to replace the session's token."""

    rotate: bool
    password: NotRequired[str]
    totp: NotRequired[str]
    credential: NotRequired[AssertionInput]
    email_code: NotRequired[str]


class OperatorSignInInput(AuthenticatorCodes):
    """A sign-in of an operator."""

    email: str
    password: str
    cookie: bool
    challenge: NotRequired[str]


class ImpersonationInput(TypedDict):
    """Why an operator opens an account, and as which profile."""

    reason: str
    profile_id: str | None


class OperatorChangeInput(TypedDict):
    """What to change of an operator."""

    name: NotRequired[str]
    role: NotRequired[Literal["admin", "support", "billing", "catalog", "auditor"]]
    status: NotRequired[Literal["active", "disabled"]]


class RecoveryInput(TypedDict):
    """Why support starts a recovery, when the takeover began, and who can cancel it."""

    reason: str
    since: datetime | None
    only_older_can_cancel: bool


class AccountStatusInput(TypedDict):
    """Whether an account is enabled, why, and until when."""

    status: Literal["active", "disabled"]
    reason: str | None
    until: datetime | None


class ImportedAccountInput(TypedDict):
    """An account from another system, with the password hash in that system's format."""

    email: str
    email_verified: bool
    password_hash: str | None
    country: str
    time_zone: str
    locale: str
    name: str | None


class ProfileChangeInput(TypedDict):
    """What to change of a profile."""

    name: NotRequired[str]
    avatar: NotRequired[str | None]
    language: NotRequired[str | None]
    max_age: NotRequired[int | None]
    kids: NotRequired[bool]
    autoplay: NotRequired[bool]


class NewProfileInput(TypedDict):
    """A new profile."""

    name: str
    avatar: NotRequired[str | None]
    language: NotRequired[str | None]
    max_age: NotRequired[int | None]
    kids: NotRequired[bool]
    autoplay: NotRequired[bool]
