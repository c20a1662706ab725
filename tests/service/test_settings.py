"""Every STREAMSVC_ variable is typed, told about and checked at the start."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest

from streamsvc.settings import PREFIX, Settings, SettingsError, describe_settings

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
KEY = "k" * 32


def read(tmp_path, **env):
    return Settings.from_env({"STREAMSVC_DATA_DIR": str(tmp_path), **env})


def test_the_readme_lists_each_setting_with_its_default():
    told = dict(re.findall(r"^\| `(STREAMSVC_\w+)` \| (.*?) \|", README, re.M))
    defaults = {PREFIX + f.name.upper(): f.default for f in fields(Settings)}
    shown = {n: "" if v in (None, "", ()) else f"`{int(v) if isinstance(v, bool) else v}`" for n, v in defaults.items()}
    assert told == shown


def test_an_unknown_name_refuses_the_start_and_is_named(tmp_path):
    with pytest.raises(SettingsError, match="STREAMSVC_SECRT_KEY"):
        read(tmp_path, STREAMSVC_SECRT_KEY=KEY)


@pytest.mark.parametrize(
    "name, value",
    [
        ("PORT", "80a"),
        ("PORT", "0"),
        ("WORKERS", "-1"),
        ("SANDBOX", "maybe"),
        ("ENV", "prod"),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", f"{KEY},short"),
        ("DATABASE_URL", "mysql://x"),
        ("SANDBOX_CLOCK", "2012-02-01"),
        ("PUBLIC_URL", "example.com"),
        ("ARGON2_MEMORY_KIB", "8"),
        ("TRUSTED_PROXIES", "9"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "127.0.0.1,::/0"),
    ],
)
def test_a_bad_value_refuses_the_start_and_names_its_variable(tmp_path, name, value):
    with pytest.raises(SettingsError, match=f"STREAMSVC_{name}: "):
        read(tmp_path, **{"STREAMSVC_SANDBOX": "1", f"STREAMSVC_{name}": value})


def test_production_needs_a_secret_of_its_own(tmp_path):
    with pytest.raises(SettingsError, match="STREAMSVC_SECRET_KEY"):
        read(tmp_path, STREAMSVC_ENV="production", STREAMSVC_SANDBOX="1")


def test_production_refuses_a_provider_that_takes_no_money(tmp_path):
    with pytest.raises(SettingsError, match="STREAMSVC_PAYMENT_PROVIDER"):
        read(tmp_path, STREAMSVC_ENV="production", STREAMSVC_SECRET_KEY=KEY)


def test_the_throttle_cannot_be_off_outside_the_sandbox(tmp_path):
    with pytest.raises(SettingsError, match="STREAMSVC_LOGIN_THROTTLE"):
        read(tmp_path, STREAMSVC_LOGIN_THROTTLE="off")
    assert not read(tmp_path, STREAMSVC_LOGIN_THROTTLE="off", STREAMSVC_SANDBOX="1").login_throttle


def test_development_makes_its_own_secret_once_and_keeps_it_to_itself(tmp_path):
    first, second = read(tmp_path), read(tmp_path)
    assert first.secret_key == second.secret_key
    assert len(first.secret_key[0]) == 64
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret.key"]


def test_processes_that_start_together_share_one_secret_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: read(tmp_path).secret_key, range(8)))) == 1


@pytest.mark.parametrize("content", ["", "\n", "cut short"])
def test_an_unusable_secret_key_file_is_refused_and_left_as_it_is(tmp_path, content):
    (tmp_path / "secret.key").write_text(content)
    with pytest.raises(SettingsError, match=r"secret\.key has no usable key"):
        read(tmp_path)
    assert (tmp_path / "secret.key").read_text() == content


def test_a_platforms_usual_names_are_honoured_and_ours_win(tmp_path):
    found = read(tmp_path, PORT="5000", WEB_CONCURRENCY="3", DATABASE_URL="postgres://u:p@h/d", STREAMSVC_PORT="6000")
    assert (found.port, found.workers, found.database_url) == (6000, 3, "postgresql://u:p@h/d")


def test_config_masks_secrets(tmp_path):
    env = {"STREAMSVC_SECRET_KEY": KEY, "STREAMSVC_DATABASE_URL": "postgresql://u:hunter2@h/d"}
    shown = repr(describe_settings(read(tmp_path, **env)))
    assert KEY not in shown
    assert "hunter2" not in shown
    assert "postgresql://u:***@h/d" in shown


@pytest.mark.parametrize("name", ["COUNTRY", "CITY"])
def test_where_somebody_is_is_believed_from_a_proxy_alone(tmp_path, name):
    with pytest.raises(SettingsError, match=f"STREAMSVC_{name}_HEADER"):
        read(tmp_path, **{f"STREAMSVC_{name}_HEADER": "CF-IPCountry"})
    assert read(tmp_path, STREAMSVC_COUNTRY_HEADER="CF-IPCountry", STREAMSVC_TRUSTED_PROXIES="1").trusted_proxies == 1


def test_proxies_are_told_by_number_or_by_network(tmp_path):
    found = read(tmp_path, STREAMSVC_TRUSTED_PROXIES="10.0.0.0/8, 127.0.0.1,2001:db8::/32")
    assert dict((name, value) for name, value, _ in describe_settings(found))[PREFIX + "TRUSTED_PROXIES"] == (
        "10.0.0.0/8,127.0.0.1/32,2001:db8::/32"
    )


def test_challenges_need_a_verifier_and_a_secret(tmp_path):
    for name, value in (("URL", "https://challenges.example/siteverify"), ("SECRET", "s")):
        with pytest.raises(SettingsError, match="STREAMSVC_CHALLENGE_URL"):
            read(tmp_path, **{f"STREAMSVC_CHALLENGE_{name}": value})
