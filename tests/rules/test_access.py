"""What to revoke of an account's access history: everything since a moment, and what was added by revoked sessions."""

from datetime import UTC, datetime, timedelta

from streamsvc.rules.sign_in.access import EVERYTHING, AccessEntry, AccessStart, find_entries_to_revoke

TAKEOVER = datetime(2026, 3, 1, tzinfo=UTC)


def entry(kind, row_id, hours, **more):
    return AccessEntry(kind, row_id, TAKEOVER + timedelta(hours=hours), **more)


HISTORY = [
    entry("device", "dev_1", -9),
    entry("session", "ses_2", -9, device_id="dev_1"),
    entry("passkey", "pky_3", -8, added_by_session_id="ses_2"),
    entry("device", "dev_4", -2),
    entry("session", "ses_5", -2, device_id="dev_4"),
    entry("passkey", "pky_6", -1, added_by_session_id="ses_5"),
    entry("session", "ses_7", -1, device_id="dev_8", added_by_session_id="ses_5"),
    entry("identity", "idn_9", -1, added_by_session_id="ses_7"),
    entry("device", "dev_a", 0),
    entry("passkey", "pky_b", 0, added_by_session_id="ses_2"),
    entry("authenticator", "acc_0", 1),
]


def revoked(*arguments):
    return sorted(found.id for found in find_entries_to_revoke(HISTORY, *arguments))


def test_what_is_older_than_the_moment_stays():
    assert revoked(AccessStart(TAKEOVER)) == ["acc_0", "dev_a", "pky_b"]
    assert revoked(AccessStart(TAKEOVER + timedelta(hours=2))) == []
    assert len(revoked(EVERYTHING)) == len(HISTORY)


def test_of_the_same_instant_only_rows_with_a_higher_id_are_newer():
    assert revoked(AccessStart(TAKEOVER, "dev_b")) == ["acc_0", "pky_b"]


def test_a_device_takes_with_it_what_its_sessions_added_however_early_and_what_those_added_in_turn():
    taken = ["acc_0", "dev_4", "dev_a", "idn_9", "pky_6", "pky_b", "ses_5", "ses_7"]
    assert revoked(AccessStart(TAKEOVER), ["dev_4"]) == taken
