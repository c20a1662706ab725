"""Mail: rendered from templates, enqueued in a transaction, delivered to a real SMTP server."""

import asyncio
import dataclasses
import socket
from contextlib import contextmanager
from email import message_from_bytes, policy

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from jinja2 import Environment, meta

from streamsvc.gateways import mail as gateway
from streamsvc.gateways.mail import build_email
from streamsvc.models import Job
from streamsvc.operations.outbox import mail
from streamsvc.storage.database import db, execute_write, fetch_all
from streamsvc.worker import jobs
from tests.conftest import NOON
from tests.worlds.sessions_steps import new_person, run_jobs

pytestmark = pytest.mark.either_database

HOSTILE = "https://tv.example/#/x?token=<script>"


class Inbox:
    """Collects (recipients, message) of each mail."""

    def __init__(self):
        self.messages = []

    async def handle_DATA(self, server, session, envelope):
        self.messages.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"


class HangingInbox(Inbox):
    """Accepts each mail, and then does not respond to QUIT."""

    async def handle_QUIT(self, server, session, envelope):
        await asyncio.sleep(2)
        return "221 Bye"


@contextmanager
def smtp_server(inbox_type=Inbox):
    inbox = inbox_type()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(inbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield inbox, port
    finally:
        controller.stop()


def test_a_mail_has_text_and_html(database, new_app):
    with smtp_server() as (inbox, port):
        url, sender = f"smtp://127.0.0.1:{port}", "Straße TV <no-reply@tv.example>"
        app = new_app(database, "smtp", sandbox=False, env="development", mail_url=url, mail_from=sender)
        ann = new_person(app.test_client())
        run_jobs(app)
    [(to, message)] = inbox.messages
    assert (to, message["Subject"]) == ([ann.email], "Confirm your email address")
    assert message["From"] == sender
    text, html = (message.get_body((kind,)).get_content() for kind in ("plain", "html"))
    token = text.split("token=")[1].split()[0]
    assert token in html and "<a href" in html


def test_mail_is_retried_with_a_new_token_when_the_server_is_unavailable(database, new_app):
    app = new_app(database, "smtp_away", sandbox=False, env="development", mail_url="smtp://127.0.0.1:9")
    ann = new_person(app.test_client())
    with smtp_server() as (inbox, port):
        with app.app_context():
            assert jobs.run_due_jobs(NOON.replace(year=2100), max_jobs=1) == 1
        assert inbox.messages == []
        settings = app.extensions["settings"]
        app.extensions["settings"] = settings.replace(mail_url=f"smtp://127.0.0.1:{port}")
        with app.app_context():
            jobs.run_due_jobs(NOON.replace(year=2100))
    [(_, message)] = inbox.messages
    token = message.get_body(("plain",)).get_content().split("token=")[1].split()[0]
    assert ann.client.put("/v1/email-verifications", json={"token": token}).status_code == 204


SAMPLES = {"minutes": 90, "later": [dict.fromkeys(("day", "plan", "amount", "old_amount"), HOSTILE)]}


def test_a_mail_that_was_accepted_just_before_the_deadline_is_sent(app, monkeypatch):
    monkeypatch.setattr(gateway, "PEER", dataclasses.replace(gateway.PEER, deadline_s=0.5))
    with app.app_context(), smtp_server(HangingInbox) as (inbox, port):
        gateway.send_message(f"smtp://127.0.0.1:{port}", build_email("a@tv.example", "b@tv.example", "Hi", "", ""))
    assert len(inbox.messages) == 1


def test_mail_that_is_not_sent_while_the_circuit_is_open_keeps_its_earlier_attempts(database, new_app):
    app = new_app(database, "smtp_circuit", sandbox=False, env="development", mail_url="smtp://127.0.0.1:9")
    with app.app_context():
        for number in range(gateway.PEER.max_failures + 1):
            mail.enqueue_mail("sign_up_again", f"{number}@tv.example", NOON)
        db.session.commit()
        execute_write(sa.update(Job.__table__).values(attempts=7))
        run_jobs(app)
        assert [job.attempts for job in fetch_all(sa.select(Job.attempts).order_by(Job.id))] == [8] * 5 + [7]


@pytest.mark.parametrize("path", sorted(mail.TEMPLATES.glob("*.txt")), ids=lambda path: path.stem)
def test_every_template_is_complete_and_escapes_markup(path):
    names = meta.find_undeclared_variables(Environment().parse(path.read_text()))
    subject, text, html = mail.render_mail(path.stem, {name: SAMPLES.get(name, HOSTILE) for name in names})
    assert subject and "\n" not in subject and text
    assert "{{" not in text + html
    assert "<script>" not in html


def test_a_line_feed_in_a_header_is_rejected():
    with pytest.raises(ValueError):
        build_email("a@example.com", "b@example.com", "Hello\nBcc: everybody@example.com", "x", "x")
