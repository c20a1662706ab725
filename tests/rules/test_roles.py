"""Which scopes each role has."""

import pytest

from streamsvc.rules.roles import ALL_SCOPES, ROLES, api_key_role, get_role


def access_by_scope(role):
    """{scope: "write" or "read"} for each scope of the role."""
    access = {scope: "read" for scope in ALL_SCOPES if role.has_scope(scope, write=False)}
    return access | {scope: "write" for scope in ALL_SCOPES if role.has_scope(scope, write=True)}


@pytest.mark.parametrize(
    "name, expected",
    [
        ("admin", dict.fromkeys(ALL_SCOPES, "write")),
        ("support", {"support": "write", "playback": "write", "catalog": "read"}),
        ("billing", {"billing": "write", "support": "read"}),
        ("catalog", {"catalog": "write"}),
        ("auditor", dict.fromkeys(ALL_SCOPES, "read")),
        ("emperor", {}),
    ],
)
def test_a_role_has_exactly_the_scopes_of_the_table(name, expected):
    assert access_by_scope(get_role(name)) == expected


def test_only_admins_have_a_scope_that_no_role_lists():
    assert [name for name, role in ROLES.items() if role.has_scope("sandbox", write=False)] == ["admin"]


def test_a_key_has_its_scopes_and_an_admin_key_has_all():
    assert access_by_scope(api_key_role(["billing", "catalog"])) == {"billing": "write", "catalog": "write"}
    assert api_key_role(["admin"]).has_scope("sandbox", write=True)
