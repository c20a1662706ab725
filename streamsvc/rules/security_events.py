"""The vocabulary of security events."""

from typing import Literal

Factor = Literal["totp", "passkey", "recovery_codes", "provider"]
EndReason = Literal[
    "signed_out",
    "ended_by_owner",
    "ended_by_operator",
    "password_changed",
    "password_reset",
    "email_change_undone",
    "device_removed",
    "device_evicted",
    "device_disowned",
    "factor_disowned",
    "address_proved",
    "account_recovered",
    "account_disabled",
    "account_closed",
    "impersonation_ended",
]
"""Why a session ended; one that expires does not end."""
RevocationCause = Literal[
    "password_reset",
    "email_change_undone",
    "device_disowned",
    "factor_disowned",
    "address_proved",
    "account_recovered",
]
"""Why everything that was added to an account since a moment is revoked: also why its sessions end, and how its owner
has it back."""
