"""What a role opens: a table, read with values alone."""

import pytest

from streamsvc.rules.roles import EVERY_SCOPE, ROLES, of_key, role_named


def opened(role):
    """{scope: "acts" or "looks"} of what the role opens."""
    found = {scope: "looks" for scope in EVERY_SCOPE if role.may(scope, changes=False)}
    return found | {scope: "acts" for scope in EVERY_SCOPE if role.may(scope, changes=True)}


@pytest.mark.parametrize(
    "name, expected",
    [
        ("admin", dict.fromkeys(EVERY_SCOPE, "acts")),
        ("support", {"support": "acts", "playback": "acts", "catalog": "looks"}),
        ("billing", {"billing": "acts", "support": "looks"}),
        ("catalog", {"catalog": "acts"}),
        ("auditor", dict.fromkeys(EVERY_SCOPE, "looks")),
        ("emperor", {}),
    ],
)
def test_a_role_opens_what_the_table_names_and_nothing_else(name, expected):
    assert opened(role_named(name)) == expected


def test_a_scope_that_no_role_names_is_the_admins_alone():
    assert [name for name, role in ROLES.items() if role.may("sandbox", changes=False)] == ["admin"]


def test_a_key_opens_its_scopes_and_an_admins_key_all():
    assert opened(of_key(["billing", "catalog"])) == {"billing": "acts", "catalog": "acts"}
    assert of_key(["admin"]).may("sandbox", changes=True)
