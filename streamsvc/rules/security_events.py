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
    "account_disabled",
    "account_closed",
    "impersonation_ended",
]
"""Why a session ended; one that expires does not end."""
