"""The lifetimes of two-step flows, by kind."""

from datetime import timedelta

FLOW_LIFETIMES = {
    "passkey_registration": timedelta(minutes=5),
    "passkey_sign_in": timedelta(minutes=5),
    "passkey_reauthentication": timedelta(minutes=5),
    "oidc_sign_in": timedelta(minutes=10),
    "oidc_link": timedelta(minutes=10),
}
