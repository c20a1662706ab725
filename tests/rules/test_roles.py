"""What a role opens: a table, read with values alone."""

import pytest

from streamsvc.rules.roles import ALL_SCOPES, ROLES, api_key_role, get_role


def opened(role):
    """{scope: "acts" or "looks"} of what the role opens."""
    found = {scope: "looks" for scope in ALL_SCOPES if role.has_scope(scope, write=False)}
    return found | {scope: "acts" for scope in ALL_SCOPES if role.has_scope(scope, write=True)}


@pytest.mark.parametrize(
    "name, expected",
    [
        ("admin", dict.fromkeys(ALL_SCOPES, "acts")),
        ("support", {"support": "acts", "playback": "acts", "catalog": "looks"}),
        ("billing", {"billing": "acts", "support": "looks"}),
        ("catalog", {"catalog": "acts"}),
        ("auditor", dict.fromkeys(ALL_SCOPES, "looks")),
        ("emperor", {}),
    ],
)
def test_a_role_opens_what_the_table_names_and_nothing_else(name, expected):
    assert opened(get_role(name)) == expected


def test_a_scope_that_no_role_names_is_the_admins_alone():
    assert [name for name, role in ROLES.items() if role.has_scope("sandbox", write=False)] == ["admin"]


def test_a_key_opens_its_scopes_and_an_admins_key_all():
    assert opened(api_key_role(["billing", "catalog"])) == {"billing": "acts", "catalog": "acts"}
    assert api_key_role(["admin"]).has_scope("sandbox", write=True)
