"""The lifetimes of mailed tokens: single-use secrets that prove access to a mailbox."""

from datetime import timedelta

MAILED_TOKEN_LIFETIMES = {
    "sign_up": timedelta(hours=24),
    "email_verification": timedelta(hours=24),
    "password_reset": timedelta(minutes=30),
    "email_change": timedelta(hours=24),
    "email_undo": timedelta(days=7),
    "new_device": timedelta(days=7),
    "factor_added": timedelta(days=7),
    "account_recovery": timedelta(days=7),
    "recovery_notice": timedelta(days=7),
    "magic_link": timedelta(minutes=10),
    "sign_in_code": timedelta(minutes=10),
    "operator_invitation": timedelta(hours=24),
    "reauthentication_code": timedelta(minutes=10),
}
