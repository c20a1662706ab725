"""The vocabulary of security events."""

from typing import Literal

Factor = Literal["totp", "passkey", "recovery_codes", "provider"]
RevocationCause = Literal[
    "password_reset",
    "email_change_undone",
    "device_disowned",
    "factor_disowned",
    "address_proved",
    "support_recovery",
]
"""Why what was added to an account since a moment was revoked, by which its owner has it back."""
EndReason = Literal[
    "signed_out",
    "ended_by_owner",
    "ended_by_operator",
    "password_changed",
    "device_removed",
    "device_evicted",
    "account_disabled",
    "account_closed",
    "impersonation_ended",
    RevocationCause,
]
"""Why a session ended; one that expires does not end."""
RecoveryMethod = Literal[RevocationCause, "account_restored"]
"""How an owner has the account back."""
