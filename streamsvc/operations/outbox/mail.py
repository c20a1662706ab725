"""Mail: enqueued in the transaction of its cause, rendered and sent by the worker.

Requests never send mail themselves, so their timing does not reveal whether a mail was sent. A mailed secret is
generated together with its mail: before that, only its open row in `mailed_tokens` exists; after that, only its hash.
"""

import re
import secrets
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from flask import current_app
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from streamsvc.gateways import mail
from streamsvc.gateways.peers import CallNotMade
from streamsvc.models import MailedToken, SandboxEmail
from streamsvc.rules.sign_in.mailed_tokens import MAILED_TOKEN_LIFETIMES
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.settings import current_settings
from streamsvc.storage.database import db
from streamsvc.worker import jobs

TEMPLATES = Path(__file__).parent.parent.parent / "mails"
PAGE_BY_KIND = {
    "sign_up": "confirm-email",
    "email_verification": "confirm-email",
    "password_reset": "reset-password",
    "email_change": "confirm-email",
    "email_undo": "undo-email-change",
    "magic_link": "sign-in",
    "new_device": "not-my-device",
    "factor_added": "not-me",
    "account_recovery": "recover-account",
    "recovery_notice": "cancel-recovery",
    "account_restoration": "restore-account",
    "operator_invitation": "operator-invitation",
    "profile_transfer": "take-profile",
}
CONSOLE_KINDS = frozenset({"operator_invitation"})
"""Kinds whose page is one of the console's, unless it is off; then a front end must have it."""
CODE_DIGITS = 8


def enqueue_mail(kind: str, to: str, now: datetime, **context: Any) -> None:
    """Enqueue a mail of `kind`, the name of its template. `context` is stored with the job and must hold no secret."""
    jobs.enqueue_job("mail.send", {"kind": kind, "to": to, "facts": context}, now)


def enqueue_token_mail(
    kind: str,
    to: str,
    account_id: str | None,
    now: datetime,
    expires_at: datetime | None = None,
    revoke_previous: bool = False,
    **data: Any,
) -> None:
    """Enqueue a mail with a new single-use token, which expires at `expires_at` or after its kind's lifetime.

    `data` is stored with the token; `data["context"]` is added to the template's context. Earlier tokens of the same
    kind stay open, since their mails may be about to be used; using one revokes the others. `revoke_previous` revokes
    them now.
    """
    if account_id and revoke_previous:
        MailedToken.revoke_all(account_id, now, kind)
    mailed_token = MailedToken(kind=kind, account_id=account_id, email=to, data=data, created_at=now)
    mailed_token.expires_at = expires_at or now + MAILED_TOKEN_LIFETIMES[kind]
    db.session.add(mailed_token)
    db.session.flush()
    jobs.enqueue_job("mail.proof", {"proof_id": mailed_token.id}, now)


@jobs.job_handler("mail.send", jobs.INTERACTIVE_LANE)
def send_mail(payload: dict, now: datetime) -> None:
    """Render and send one mail."""
    deliver_mail(payload["kind"], payload["to"], payload["facts"], now)


@jobs.job_handler("mail.proof", jobs.INTERACTIVE_LANE)
def send_token_mail(payload: dict, now: datetime) -> None:
    """Generate the secret, store its hash, and send it.

    A retry generates a new secret; the previous one was never sent.
    """
    mailed_token = db.session.get(MailedToken, payload["proof_id"])
    if mailed_token is None or mailed_token.used_at or mailed_token.expires_at <= now:
        return
    kind, expires_at = mailed_token.kind, mailed_token.expires_at
    context = {
        **mailed_token.data.get("context", {}),
        "minutes": int((expires_at - mailed_token.created_at).total_seconds() // 60),
        "until": f"{expires_at:%B} {expires_at.day}, {expires_at.year}",
    }
    if kind in PAGE_BY_KIND:
        secret = secrets.token_urlsafe(32)
        mailed_token.token_hash = hash_token(secret)
        context["link"] = _page_link(kind, secret)
    else:
        secret = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
        mailed_token.token_hash = hash_token(f"{mailed_token.account_id}:{secret}")
        context["code"] = secret
    deliver_mail(kind, mailed_token.email, context, now)


def _page_link(kind: str, secret: str) -> str:
    """Return the link in the mail. The secret is in the fragment, which browsers do not send to servers."""
    settings = current_app.extensions["settings"]
    page = "/console" if kind in CONSOLE_KINDS and settings.console else "/"
    return f"{settings.public_url}{page}#/{PAGE_BY_KIND[kind]}?token={secret}"


def deliver_mail(kind: str, to: str, context: dict, now: datetime) -> None:
    """Render and send a mail now, from a job. Commits before it is sent, except in the sandbox."""
    settings = current_settings()
    subject, text, html = render_mail(kind, context)
    if settings.sandbox:
        db.session.add(SandboxEmail(to=to, subject=subject, text=text, html=html, kind=kind, sent_at=now))
        return
    message = mail.build_email(settings.mail_from, to, subject, text, html)
    db.session.commit()  # the secret's hash is stored before the secret can be used
    try:
        mail.send_message(settings.mail_url, message)
    except CallNotMade as error:
        raise jobs.Retry(now + timedelta(seconds=error.retry_after_s), was_attempted=False) from None


def render_mail(kind: str, context: dict) -> tuple[str, str, str]:
    """Render the subject, text and HTML of a mail.

    The template's first line is the subject; a line with a link is a button.

    Line breaks in values are removed, so that a device's name, for example, cannot add a paragraph or a button.
    """
    one_line = {name: " ".join(value.split()) if isinstance(value, str) else value for name, value in context.items()}
    text = _templates().get_template(f"{kind}.txt").render(one_line)
    subject, _, body = text.partition("\n")
    paragraphs = [p.strip() for p in re.split(r"\n\s*\n", body.strip())]
    html = _templates().get_template("layout.html").render(subject=subject, paragraphs=paragraphs)
    return subject.strip(), "\n\n".join(paragraphs) + "\n", html


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(("html",)),
        undefined=StrictUndefined,
        keep_trailing_newline=False,
    )
