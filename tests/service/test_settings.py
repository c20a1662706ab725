"""Every STREAMSVC_ setting is typed, documented and checked at startup."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from streamsvc import setting_checks
from streamsvc.cli.config import config
from streamsvc.settings import PREFIX, Settings, SettingsError, describe_settings

README = (Path(__file__).parent.parent.parent / "README.md").read_text()
KEY = "k" * 32


def load(tmp_path, **env):
    return Settings.from_env({"STREAMSVC_DATA_DIR": str(tmp_path), **env})


def test_the_readme_lists_each_setting_with_its_default():
    documented = dict(re.findall(r"^\| `(STREAMSVC_\w+)` \| (.*?) \|", README, re.M))
    defaults = {PREFIX + f.name.upper(): f.default for f in fields(Settings)}
    expected = {
        n: "" if v in (None, "", ()) else f"`{int(v) if isinstance(v, bool) else v}`" for n, v in defaults.items()
    }
    assert documented == expected


def test_an_unknown_name_prevents_startup_and_is_named(tmp_path):
    with pytest.raises(SettingsError, match="STREAMSVC_SECRT_KEY"):
        load(tmp_path, STREAMSVC_SECRT_KEY=KEY)


@pytest.mark.parametrize(
    "name, value",
    [
        ("PORT", "80a"),
        ("PORT", "0"),
        ("WORKERS", "-1"),
        ("SANDBOX", "maybe"),
        ("ENV", "prod"),
        ("SECRET_KEY", "short"),
        ("PASSWORD_PEPPER", ":"),
        ("SECRET_KEY", f"{KEY},short"),
        ("DATABASE_URL", "mysql://x"),
        ("SANDBOX_CLOCK", "2012-02-01"),
        ("PUBLIC_URL", "example.com"),
        ("ARGON2_MEMORY_KIB", "8"),
        ("TRUSTED_PROXIES", "9"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "127.0.0.1,::/0"),
        ("CORS_ORIGINS", "*"),
        ("MEDIA_SIGNERS", "{"),
        ("MEDIA_SIGNERS", '{"host": "cdn.example"}'),
        ("MEDIA_SIGNERS", '[{"host": "cdn.example", "signer": "mux", "key_id": "k", "key_file": "/missing"}]'),
        ("DRM", "[]"),
        ("GRANT_COOKIE_DOMAIN", "example"),
        ("GRANT_COOKIE_DOMAIN", "https://service.example"),
        ("CORS_ORIGINS", "https://*.app.example"),
        ("CORS_ORIGINS", "https://app.example/"),
        ("CORS_ORIGINS", "https://app.example/home"),
        ("CORS_ORIGINS", "https://App.example"),
        ("CORS_ORIGINS", "https://app.example:443"),
        ("CORS_ORIGINS", "http://app.example"),
        ("CORS_ORIGINS", "http://localhost:80"),
        ("CORS_ORIGINS", "http://localhost.evil.example"),
        ("CORS_ORIGINS", "app.example"),
        ("CORS_ORIGINS", "null"),
        ("CORS_ORIGINS", "https://app.example,"),
        ("CORS_ORIGINS", "https://app.example https://ops.example"),
        ("CORS_ORIGINS", "https://user@app.example"),
        ("CORS_ORIGINS", "https://app.example\nX-Header: x"),
    ],
)
def test_an_invalid_value_prevents_startup_and_names_its_variable(tmp_path, name, value):
    with pytest.raises(SettingsError, match=f"STREAMSVC_{name}: "):
        load(tmp_path, **{"STREAMSVC_SANDBOX": "1", f"STREAMSVC_{name}": value})


def test_the_origins_of_front_ends_are_listed_exactly(tmp_path):
    origins = "https://app.example, https://ops.example:8443,http://localhost:5173,http://127.0.0.1"
    loaded = load(tmp_path, STREAMSVC_CORS_ORIGINS=origins).cors_origins
    assert loaded == tuple(origin.strip() for origin in origins.split(","))
    with pytest.raises(SettingsError, match="any website could act for a signed-in viewer"):
        load(tmp_path, STREAMSVC_CORS_ORIGINS="*")


def test_the_public_url_follows_the_address_that_is_listened_on(tmp_path):
    for host, port, url in (
        ("127.0.0.1", "8001", "http://127.0.0.1:8001"),
        ("0.0.0.0", "9000", "http://127.0.0.1:9000"),
        ("[::]", "8000", "http://[::1]:8000"),
        ("tv.local", "8000", "http://tv.local:8000"),
    ):
        assert load(tmp_path, STREAMSVC_HOST=host, STREAMSVC_PORT=port).public_url == url
    assert load(tmp_path, PORT="8001").public_url == "http://127.0.0.1:8001"
    assert load(tmp_path, PORT="8001", STREAMSVC_PUBLIC_URL="https://tv.test").public_url == "https://tv.test"


def test_rate_limits_can_be_turned_off_in_the_sandbox_only(tmp_path):
    with pytest.raises(SettingsError, match="STREAMSVC_LOGIN_THROTTLE"):
        load(tmp_path, STREAMSVC_LOGIN_THROTTLE="off")
    assert not load(tmp_path, STREAMSVC_LOGIN_THROTTLE="off", STREAMSVC_SANDBOX="1").login_throttle


def test_the_development_secret_is_created_once_and_is_private(tmp_path):
    first, second = load(tmp_path), load(tmp_path)
    assert first.secret_key == second.secret_key
    assert len(first.secret_key[0]) == 64
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret.key"]


def test_processes_that_start_together_share_one_secret_key(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: load(tmp_path).secret_key, range(8)))) == 1


@pytest.mark.parametrize("content", ["", "\n", "cut short"])
def test_an_unusable_secret_key_file_is_rejected_and_left_unchanged(tmp_path, content):
    (tmp_path / "secret.key").write_text(content)
    with pytest.raises(SettingsError, match=r"secret\.key has no usable key"):
        load(tmp_path)
    assert (tmp_path / "secret.key").read_text() == content


def test_a_data_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"STREAMSVC_DATA_DIR: .*secret\.key cannot be created: Not a directory"):
        load(tmp_path / "file" / "folder")


def test_common_platform_variables_work_and_ours_take_precedence(tmp_path):
    settings = load(
        tmp_path, PORT="5000", WEB_CONCURRENCY="3", DATABASE_URL="postgres://u:p@h/d", STREAMSVC_PORT="6000"
    )
    assert (settings.port, settings.workers, settings.database_url) == (6000, 3, "postgresql://u:p@h/d")


def test_config_masks_secrets(tmp_path):
    env = {"STREAMSVC_SECRET_KEY": KEY, "STREAMSVC_DATABASE_URL": "postgresql://u:hunter2@h/d"}
    text = repr(describe_settings(load(tmp_path, **env)))
    assert KEY not in text
    assert "hunter2" not in text
    assert "postgresql://u:***@h/d" in text


def test_a_secret_may_be_in_a_file(tmp_path):
    key, url = "a secret key of more than thirty-two characters", "postgresql://u:hunter2@h/d"
    (tmp_path / "key").write_text(f"{key}\n")
    (tmp_path / "url").write_text(url)
    env = {"STREAMSVC_SECRET_KEY_FILE": str(tmp_path / "key"), "STREAMSVC_DATABASE_URL_FILE": str(tmp_path / "url")}
    settings = Settings.from_env(env)
    assert (settings.secret_key, settings.database_url) == ((key,), url)


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"STREAMSVC_SECRET_KEY_FILE": "{}/none"}, "cannot be read: No such file"),
        ({"STREAMSVC_SECRET_KEY_FILE": "{}/empty"}, "is empty"),
        ({"STREAMSVC_SECRET_KEY_FILE": "{}/binary"}, "not text"),
        ({"STREAMSVC_SECRET_KEY_FILE": "{}/short", "STREAMSVC_SECRET_KEY": 40 * "x"}, "set only one of them"),
        ({"STREAMSVC_SECRET_KEY_FILE": "{}/short"}, "STREAMSVC_SECRET_KEY: must be at least 32 characters"),
        ({"STREAMSVC_PORT_FILE": "{}/short"}, "STREAMSVC_PORT_FILE: unknown setting"),
    ],
)
def test_a_secret_that_cannot_be_read_from_its_file_is_an_error_without_the_secret(tmp_path, env, message):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "short").write_text("hunter2")
    (tmp_path / "binary").write_bytes(b"\xff\x00hunter2")
    with pytest.raises(SettingsError) as error:
        Settings.from_env({name: value.format(tmp_path) for name, value in env.items()})
    assert message in str(error.value)
    assert "hunter2" not in str(error.value)


def test_config_lists_all_settings_beside_an_unknown_one(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMSVC_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("STREAMSVC_WORKRS", "3")
    result = CliRunner().invoke(config)
    assert "STREAMSVC_WORKERS" in result.output
    assert str(result.exception) == "STREAMSVC_WORKRS: unknown setting; `streamsvc config` lists all settings"


def test_config_masks_the_secrets_of_signers_and_licence_servers(tmp_path):
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "cdn.pem").write_bytes(key)
    signer = {"host": "cdn.example", "signer": "cloudfront", "key_id": "K1", "key_file": str(tmp_path / "cdn.pem")}
    urls = {"widevine": "https://widevine.example"}
    drm = {"com_key_id": str(uuid4()), "com_key": "a2V5" * 11, "license_urls": urls}
    env = {"STREAMSVC_MEDIA_SIGNERS": json.dumps([signer]), "STREAMSVC_DRM": json.dumps(drm)}
    loaded = load(tmp_path, **env)
    assert loaded.media_signers[0].private_key == key.decode() and loaded.drm.com_key == drm["com_key"]
    rows = {name: value for name, value, _ in describe_settings(loaded)}
    assert rows["STREAMSVC_MEDIA_SIGNERS"] == rows["STREAMSVC_DRM"] == "(set)"
    plain = {"widevine": "http://hunter2.example/license"}
    for name, broken in (
        ("MEDIA_SIGNERS", signer | {"key": "hunter2hunter2"}),
        ("DRM", drm | {"com_key": "hunter2"}),
        ("DRM", drm | {"license_urls": plain}),
        ("DRM", drm | {"message_header": "X-A: hunter2"}),
    ):
        value = json.dumps([broken] if name == "MEDIA_SIGNERS" else broken)
        with pytest.raises(SettingsError, match=f"STREAMSVC_{name}: ") as caught:
            load(tmp_path, **{f"STREAMSVC_{name}": value})
        assert "hunter2" not in str(caught.value)


def test_the_cookie_domain_is_above_the_public_url(tmp_path):
    env = {"STREAMSVC_GRANT_COOKIE_DOMAIN": ".service.example"}
    loaded = load(tmp_path, **env, STREAMSVC_PUBLIC_URL="https://api.service.example")
    assert loaded.grant_cookie_domain == "service.example"
    for url in ("http://api.service.example", "https://api.otherservice.example", "https://service.example.evil"):
        with pytest.raises(SettingsError, match="STREAMSVC_GRANT_COOKIE_DOMAIN"):
            load(tmp_path, **env, STREAMSVC_PUBLIC_URL=url)


@pytest.mark.parametrize("name", ["COUNTRY", "CITY"])
def test_location_headers_require_a_trusted_proxy(tmp_path, name):
    with pytest.raises(SettingsError, match=f"STREAMSVC_{name}_HEADER"):
        load(tmp_path, **{f"STREAMSVC_{name}_HEADER": "CF-IPCountry"})
    assert load(tmp_path, STREAMSVC_COUNTRY_HEADER="CF-IPCountry", STREAMSVC_TRUSTED_PROXIES="1").trusted_proxies == 1


def test_proxies_are_configured_by_number_or_by_network(tmp_path):
    settings = load(tmp_path, STREAMSVC_TRUSTED_PROXIES="10.0.0.0/8, 127.0.0.1,2001:db8::/32")
    assert dict((name, value) for name, value, _ in describe_settings(settings))[PREFIX + "TRUSTED_PROXIES"] == (
        "10.0.0.0/8,127.0.0.1/32,2001:db8::/32"
    )


def test_challenges_need_a_verifier_and_a_secret(tmp_path):
    for name, value in (("URL", "https://challenges.example/siteverify"), ("SECRET", "s")):
        with pytest.raises(SettingsError, match="STREAMSVC_CHALLENGE_URL"):
            load(tmp_path, **{f"STREAMSVC_CHALLENGE_{name}": value})


@pytest.mark.parametrize(
    ("package", "variables"),
    [
        (
            "stripe",
            {"PAYMENT_PROVIDER": "stripe", "STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_1"},
        ),
        ("prometheus_client", {"METRICS": "1"}),
    ],
)
def test_a_missing_extra_prevents_the_start(tmp_path, monkeypatch, package, variables):
    """Otherwise the service would start, call itself ready, and fail on every card."""
    env = {PREFIX + name: value for name, value in variables.items()}
    assert load(tmp_path, **env)
    find = setting_checks.find_spec
    monkeypatch.setattr(setting_checks, "find_spec", lambda name: None if name == package else find(name))
    with pytest.raises(SettingsError, match="needs the extra"):
        load(tmp_path, **env)
