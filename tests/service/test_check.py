"""`streamsvc init` writes the settings of a service in production; `streamsvc check` finds each thing that fails."""

import datetime
import ipaddress
import os
import pty
import re
import socket
import ssl
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from streamsvc.cli.init import init
from streamsvc.settings import Settings
from tests.conftest import migrate_database
from tests.service.test_mail import Inbox
from tests.service.test_start import PRODUCTION
from tests.worlds import stripe_server as stripe_world
from tests.worlds.broken_peers import broken_peer, hang
from tests.worlds.forked_commands import commands
from tests.worlds.service import Service
from tests.worlds.vies_register import vies_register

pytestmark = pytest.mark.either_database

REMOTE_HOST = "127.0.0.2"
"""Not one of the hosts to which mail may go without TLS."""
AWKWARD = 'Straße "TV" $HOME `id` #1 & Co <no-reply@tv.test>'
NOT_USED = {"App Store": "skipped", "Google Play": "skipped"}
STRIPE_KEY = PRODUCTION["STRIPE_SECRET_KEY"]


def make_certificate(folder):
    """A certificate of REMOTE_HOST that signs itself; returns the paths of it and of its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(REMOTE_HOST))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@contextmanager
def mail_server(folder, has_tls=True):
    """An SMTP server that requires STARTTLS and signs in ann with the password `right`; yields (inbox, port)."""
    inbox, options = Inbox(), {}
    if has_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*make_certificate(folder))
        options = {"tls_context": context, "require_starttls": True, "auth_required": True}
        options["authenticator"] = lambda *arguments: AuthResult(
            success=(arguments[4].login, arguments[4].password) == (b"ann", b"right"), handled=False
        )
    with socket.create_server((REMOTE_HOST, 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(inbox, hostname=REMOTE_HOST, port=port, **options)
    controller.start()
    try:
        yield inbox, port
    finally:
        controller.stop()


@pytest.fixture
def world(database, new_database, tmp_path, monkeypatch):
    """A service whose mail server, payment provider and VIES respond; `world.check(**settings)` runs the command."""
    monkeypatch.setattr(stripe_world, "SECRET_KEY", STRIPE_KEY)
    url = new_database(database, "checked", migrate_database)
    service = Service(url, tmp_path)
    with stripe_world.stripe_server() as (stripe_url, stripe), vies_register() as vies, mail_server(tmp_path) as mail:
        inbox, port = mail

        def handle_request(method, path, params, key, api_key=""):
            return type(stripe).handle_request(stripe, method, path, params, key, api_key)

        stripe.handle_request = handle_request
        settings = PRODUCTION | {
            "MAIL_URL": f"smtp://ann:right@{REMOTE_HOST}:{port}",
            "MAIL_FROM": "TV <no-reply@tv.test>",
            "STRIPE_URL": stripe_url,
            "VIES_URL": vies.url,
            "SELLER_VAT_ID": "IE6388047V",
        }

        def check(*arguments, **changes):
            """(exit code, {check: (status, message)})."""
            texts = {f"STREAMSVC_{name}": str(value) for name, value in (settings | changes).items()}
            environment = texts | {"SSL_CERT_FILE": str(tmp_path / "cert.pem")}
            result = service.command("check", *arguments, environment=environment)
            assert result.stderr == "", result.stderr
            lines = re.findall(r"^(ok|skipped|warning|error) +([\w ]+): (.*)$", result.stdout, re.M)
            for value in (settings | changes).values():
                assert len(str(value)) < 24 or "://" in str(value) or str(value) not in result.stdout
            assert "right" not in result.stdout
            return result.returncode, {name: (status, message) for status, name, message in lines}

        yield SimpleNamespace(check=check, stripe=stripe, vies=vies, inbox=inbox, port=port, url=url, folder=tmp_path)


def test_all_is_well_and_nothing_is_sent(world):
    exit_code, checks = world.check()
    not_ok = {name: status for name, (status, _) in checks.items() if status != "ok"}
    assert (exit_code, not_ok) == (0, NOT_USED), checks
    assert {"settings", "database", "schema", "write", "mail", "payment provider", "VIES"} <= checks.keys()
    assert world.inbox.messages == []
    assert {(method, path) for method, path, *_ in world.stripe.requests} == {("GET", "/v1/payment_intents")}


def test_a_mail_is_sent_if_that_is_asked_for(world):
    exit_code, checks = world.check("--mail-to", "ops@tv.test")
    assert (exit_code, checks["mail"][0]) == (0, "ok")
    [(to, message)] = world.inbox.messages
    assert (to, message["From"]) == (["ops@tv.test"], "TV <no-reply@tv.test>")


def test_each_thing_that_does_not_work_is_found(world):
    """One line each, and all of them in one run."""
    world.vies.is_available = False
    mail = f"smtp://ann:wrong@{REMOTE_HOST}:{world.port}"
    exit_code, checks = world.check(MAIL_URL=mail, STRIPE_SECRET_KEY=STRIPE_KEY[:-1] + "X")
    assert exit_code == 1
    assert {name: status for name, (status, _) in checks.items() if status != "ok"} == {
        "mail": "error",
        "payment provider": "error",
        "VIES": "warning",
        **NOT_USED,
    }
    assert "Authentication" in checks["mail"][1] and "AuthenticationError" in checks["payment provider"][1]


def test_a_mail_server_without_tls_gets_no_password(world):
    with mail_server(world.folder, has_tls=False) as (_, port):
        exit_code, checks = world.check(MAIL_URL=f"smtp://ann:right@{REMOTE_HOST}:{port}")
    assert exit_code == 1
    assert "STARTTLS" in checks["mail"][1]


def test_peers_that_hang_end_at_their_deadline(world):
    with broken_peer(hang) as port:
        url = f"http://127.0.0.1:{port}"
        exit_code, checks = world.check(MAIL_URL=f"smtp://127.0.0.1:{port}", STRIPE_URL=url, VIES_URL=url)
    assert exit_code == 1
    for name, seconds in (("mail", 20), ("payment provider", 10), ("VIES", 10)):
        assert checks[name][0] == "error" and f"no complete response within {seconds} s" in checks[name][1]


def test_a_database_that_cannot_be_used_is_found(world, tmp_path):
    exit_code, checks = world.check(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert (exit_code, checks["database"][0], checks["write"][0]) == (1, "error", "skipped")
    exit_code, checks = world.check(DATABASE_URL=f"sqlite:///{tmp_path}/typo/none.sqlite3")
    assert (exit_code, checks["database"][0]) == (1, "error")
    assert not (tmp_path / "typo").exists()


def test_an_address_to_which_no_mail_can_go_is_refused(tmp_path):
    service = Service(f"sqlite:///{tmp_path}/none.sqlite3", tmp_path)
    for address in ("", "nonsense", "ops@tv.test\nBcc: eve@evil.test"):
        result = service.command("check", "--mail-to", address)
        assert (result.returncode, "Invalid value for '--mail-to'" in result.stderr) == (2, True), result.stderr
    result = service.command("check", "--mail-to", "ops@tv.test")
    assert "no mail was sent to ops@tv.test: no mail server is set" in result.stdout


def test_a_wrong_value_is_reported_once_and_the_rest_is_checked(tmp_path):
    service = Service("postgresql://u:se@cret@db.internal/tv", tmp_path)
    (tmp_path / "secret.key").write_text("short")
    result = service.command("check", environment={"STREAMSVC_MAIL_URL": "smtp://mail:port"})
    assert (result.returncode, result.stderr) == (1, "")
    errors = re.findall(r"^error +settings: STREAMSVC_(\w+)", result.stdout, re.M)
    assert sorted(errors) == [
        "DATABASE_URL",
        "ENV",
        "MAIL_URL",
        "PAYMENT_PROVIDER",
        "PUBLIC_URL",
        "SANDBOX",
        "SECRET_KEY",
    ]
    skipped = re.findall(r"^skipped +([\w ]+):", result.stdout, re.M)
    assert skipped == ["database", "mail", "payment provider", "VIES", *NOT_USED]
    assert "cret" not in result.stdout


def test_everything_that_production_lacks_is_listed(tmp_path):
    service = Service(f"sqlite:///{tmp_path}/none.sqlite3", tmp_path)
    result = service.command("check", environment={"STREAMSVC_WORKERS": "many"})
    assert result.returncode == 1
    names = re.findall(r"^error +settings: STREAMSVC_(\w+)", result.stdout, re.M)
    assert names == ["WORKERS", "ENV", "SANDBOX", "SECRET_KEY", "PUBLIC_URL", "MAIL_URL", "PAYMENT_PROVIDER"]
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_forked_command_does_what_a_process_of_its_own_does(tmp_path):
    """The tests run commands as forks of one process, for speed."""
    service = Service(f"sqlite:///{tmp_path}/none.sqlite3", tmp_path)
    runs = [service.command("check", environment={"STREAMSVC_WORKERS": "many"}, **how) for how in ({}, {"timeout": 60})]
    forked, started = [(run.returncode, run.stdout, run.stderr) for run in runs]
    assert forked == started and started[0] == 1


def run_init(folder, *arguments):
    return commands.run(["init", *arguments], dict(os.environ), folder)


COMPLETE = (
    "--public-url=https://tv.test",
    "--mail-url=smtp://user:p%40ss@mail.tv.test:587",
    f"--mail-from={AWKWARD}",
    "--database-url=postgresql://u:p@db.internal/tv?sslmode=verify-full",
    f"--stripe-secret-key={STRIPE_KEY}",
    f"--stripe-webhook-secret={PRODUCTION['STRIPE_WEBHOOK_SECRET']}",
    "--set=WORKERS=4",
)


@pytest.mark.one_database
class TestInit:
    def test_the_file_is_private_complete_and_read_alike_by_all(self, tmp_path):
        result = run_init(tmp_path, "tv.env", *COMPLETE)
        assert (result.returncode, result.stderr) == (0, "")
        assert "to do" not in result.stdout
        path = tmp_path / "tv.env"
        assert path.stat().st_mode & 0o777 == 0o600
        by_shell = subprocess.run(
            ["/bin/sh", "-c", "set -a; . ./tv.env; env -0"], cwd=tmp_path, env={}, capture_output=True, check=True
        ).stdout.decode()
        values = dict(line.split("=", 1) for line in by_shell.split("\0") if line.startswith("STREAMSVC_"))
        settings = Settings.from_env(values)
        assert (settings.env, settings.workers, settings.mail_from) == ("production", 4, AWKWARD)
        assert len(settings.secret_key[0]) == 64 and settings.payment_provider == "stripe"
        assert values == read_as_systemd(path) == read_as_compose(path)
        assert run_init(tmp_path, "other.env").returncode == 0
        assert settings.secret_key[0] not in (tmp_path / "other.env").read_text()

    def test_what_is_missing_is_said(self, tmp_path):
        result = run_init(tmp_path)
        assert result.returncode == 0
        to_do = re.findall(r"^to do  STREAMSVC_(\w+)", result.stdout, re.M)
        assert to_do == ["PUBLIC_URL", "MAIL_URL", "PAYMENT_PROVIDER", "MAIL_FROM"]
        assert "set -a; . ./streamsvc.env; set +a; streamsvc check" in result.stdout
        assert "\n# STREAMSVC_MAIL_URL=smtp://" in (tmp_path / "streamsvc.env").read_text()

    def test_a_file_that_exists_is_kept(self, tmp_path):
        assert run_init(tmp_path).returncode == 0
        first = (tmp_path / "streamsvc.env").read_text()
        result = run_init(tmp_path)
        assert (result.returncode, "--force" in result.stderr) == (1, True)
        assert (tmp_path / "streamsvc.env").read_text() == first
        assert "the file before is" in run_init(tmp_path, "--force").stdout
        assert run_init(tmp_path, "--force").returncode == 0
        assert (tmp_path / "streamsvc.env.old1").read_text() == first
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "streamsvc.env",
            "streamsvc.env.old1",
            "streamsvc.env.old2",
        ]

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ("--public-url=tv.test", "STREAMSVC_PUBLIC_URL: must be a URL"),
            ("--service-name=Ann's", "STREAMSVC_SERVICE_NAME: must not contain a single quote"),
            ("--service-name=a\nSTREAMSVC_SANDBOX=1", "STREAMSVC_SERVICE_NAME: must not contain"),
            ("--set=NO_SUCH=1", "STREAMSVC_NO_SUCH: unknown setting"),
            ("--set=WORKERS", "give NAME=VALUE"),
            ("--set=streamsvc_workers=many", "STREAMSVC_WORKERS: must be a whole number"),
            ("--set=ENV=development", "STREAMSVC_ENV: must be production"),
            ("--service-name=\udcff", "STREAMSVC_SERVICE_NAME: must not contain"),
            ("--mail-url=smtp://ann:se/cret@mail.tv.test:587", "STREAMSVC_MAIL_URL: has a host or a port"),
            ("--mail-url=smtp://mail.tv.test:99999", "STREAMSVC_MAIL_URL: has a host or a port"),
            ("--mail-url=smtp://ann:se#cret@mail.tv.test", "STREAMSVC_MAIL_URL: "),
            ("--mail-url=smtp://[::1", "STREAMSVC_MAIL_URL: has a host or a port"),
            ("--mail-url=smtps://", "STREAMSVC_MAIL_URL: must be smtp://"),
            ("--database-url=postgresql://u:se@cret@db.internal/tv", "STREAMSVC_DATABASE_URL: must have @"),
            ("--database-url=postgresql://u:p@db.internal:port/tv", "STREAMSVC_DATABASE_URL: has a port"),
            ("--database-url=postgresql://u:p@db.internal:70000/tv", "STREAMSVC_DATABASE_URL: must have a port from"),
            ("", "must not be empty"),
        ],
    )
    def test_a_value_that_is_invalid_or_cannot_be_written_leaves_no_file(self, tmp_path, argument, message):
        path = tmp_path / "tv.env"
        result = CliRunner().invoke(init, [str(path), argument] if argument else [""])
        assert result.exit_code in (1, 2) and isinstance(result.exception, SystemExit), result.exception
        assert message in result.output and "cret" not in result.output
        assert list(tmp_path.iterdir()) == []
        path.write_text("kept")
        assert CliRunner().invoke(init, ["--force", str(path), argument]).exit_code in (1, 2)
        assert [(kept.name, kept.read_text()) for kept in tmp_path.iterdir()] == [("tv.env", "kept")]

    def test_a_link_stays_a_link_and_a_path_is_quoted_for_the_shell(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "my tv.env").symlink_to(tmp_path / "real" / "tv.env")
        assert ". './my tv.env';" in run_init(tmp_path, "./my tv.env").stdout.replace("'my tv", "'./my tv")
        first = (tmp_path / "real" / "tv.env").read_text()
        result = run_init(tmp_path, "my tv.env", "--force")
        assert (result.returncode, "real/tv.env.old1" in result.stdout) == (0, True)
        assert (tmp_path / "my tv.env").is_symlink()
        assert (tmp_path / "real" / "tv.env.old1").read_text() == first != (tmp_path / "my tv.env").read_text()

    def test_a_full_disk_leaves_the_file_as_it_was(self, tmp_path):
        assert run_init(tmp_path).returncode == 0
        before = (tmp_path / "streamsvc.env").read_text()
        command = [
            "bash",
            "-c",
            'ulimit -f 0; exec "$@"',
            "-",
            sys.executable,
            "-m",
            "streamsvc.cli",
            "init",
            "--force",
        ]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (result.returncode, "cannot be written" in result.stderr) == (1, True), result.stderr
        assert (tmp_path / "streamsvc.env").read_text() == before

    def test_a_folder_that_does_not_exist_is_named(self, tmp_path):
        assert "none/x.env cannot be written: No such file" in run_init(tmp_path, "none/x.env").stderr

    def test_on_a_terminal_it_asks(self, tmp_path):
        answers = ["https://tv.test", "", "", "", "", STRIPE_KEY, PRODUCTION["STRIPE_WEBHOOK_SECRET"], ""]
        command = [sys.executable, "-m", "streamsvc.cli", "init", str(tmp_path / "streamsvc.env")]
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(sys.executable, command, os.environ)
        shown = b""
        for answer in answers:
            shown += read_prompt(terminal)
            os.write(terminal, f"{answer}\n".encode())
        assert os.waitpid(pid, 0)[1] == 0
        os.close(terminal)
        assert STRIPE_KEY.encode() not in shown, "a secret is not shown while it is typed"
        text = (tmp_path / "streamsvc.env").read_text()
        assert (
            "STREAMSVC_PUBLIC_URL=https://tv.test\n" in text and f"STREAMSVC_STRIPE_SECRET_KEY={STRIPE_KEY}\n" in text
        )


def read_prompt(terminal):
    """Read until the command waits for an answer."""
    shown = b""
    while not shown.endswith(b": "):
        shown += os.read(terminal, 1000)
    return shown


def read_as_systemd(path):
    """The variables by systemd's rules for EnvironmentFile=, as its manual states them (man 5 systemd.exec)."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", ";"))]
    pairs = [line.split("=", 1) for line in lines]
    return {name: text[1:-1] if text[:1] == text[-1:] == "'" else text for name, text in pairs}


def read_as_compose(path):
    """The variables by the rules of Compose's documentation: unquoted, `$`, quotes and ` #` would mean something.

    https://docs.docker.com/compose/how-tos/environment-variables/variable-interpolation/#env-file-syntax
    """
    for line in path.read_text().splitlines():
        text = line.partition("=")[2]
        assert line.startswith("#") or text.startswith("'") or not set(text) & set("$#\"'\\ "), line
    return read_as_systemd(path)
