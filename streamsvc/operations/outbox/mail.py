"""Mail: asked for in the transaction of its cause, written and sent by the worker.

A request never sends, so its time tells nobody whether a mail went out. A secret that goes by mail is made when the
mail is: until then only an open `proofs` row exists, afterwards only the secret's hash.
"""

import re
import secrets
from datetime import datetime
from functools import cache
from pathlib import Path

from flask import current_app
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from streamsvc.gateways import mail
from streamsvc.models import MailedToken, SandboxEmail
from streamsvc.rules.sign_in.mailed_tokens import MAILED_TOKEN_LIFETIMES
from streamsvc.rules.sign_in.sessions import hash_token
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
    "account_restoration": "restore-account",
    "operator_invitation": "operator-invitation",
}
CODE_DIGITS = 8


def enqueue_mail(kind: str, to: str, now: datetime, **context) -> None:
    """Ask for the mail `kind` (its template's name). No fact may be a secret: it waits in the job table."""
    jobs.enqueue_job("mail.send", {"kind": kind, "to": to, "facts": context}, now)


def enqueue_token_mail(
    kind: str,
    to: str,
    account_id: str | None,
    now: datetime,
    expires_at: datetime | None = None,
    revoke_previous: bool = True,
    **data,
) -> None:
    """Ask for a mail with a new single-use secret, good for as long as its kind is, unless told. `data` is kept with
    it; the facts under `told` are in the mail. `replaces`: earlier ones of its kind are withdrawn.

    Not those that whoever asks for another would take from the owner: what undoes, what opens in one browser only.
    """
    if account_id and revoke_previous:
        MailedToken.revoke_all(account_id, now, kind)
    proof = MailedToken(kind=kind, account_id=account_id, email=to, data=data, created_at=now)
    proof.expires_at = expires_at or now + MAILED_TOKEN_LIFETIMES[kind]
    db.session.add(proof)
    db.session.flush()
    jobs.enqueue_job("mail.proof", {"proof_id": proof.id}, now)


@jobs.job_handler("mail.send")
def send_mail(payload: dict, now: datetime) -> None:
    """Write and send one mail."""
    _deliver_mail(payload["kind"], payload["to"], payload["facts"], now)


@jobs.job_handler("mail.proof")
def send_token_mail(payload: dict, now: datetime) -> None:
    """Make the secret, keep its hash, send it. A repeated try makes a new secret: the one before was never read."""
    proof = db.session.get(MailedToken, payload["proof_id"])
    if proof is None or proof.used_at or proof.expires_at <= now:
        return
    is_code = proof.kind not in PAGE_BY_KIND
    secret = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}" if is_code else secrets.token_urlsafe(32)
    proof.token_hash = hash_token(f"{proof.account_id}:{secret}" if is_code else secret)
    facts = proof.data.get("told", {}) | ({"code": secret} if is_code else {"link": _page_link(proof.kind, secret)})
    minutes = int((proof.expires_at - proof.created_at).total_seconds() // 60)
    until = f"{proof.expires_at:%B} {proof.expires_at.day}, {proof.expires_at.year}"
    _deliver_mail(proof.kind, proof.email, facts | {"minutes": minutes, "until": until}, now)


def _page_link(kind: str, secret: str) -> str:
    """Where the mail leads: the secret stands behind the #, which no browser sends to any server."""
    return f"{current_app.extensions['settings'].public_url}/#/{PAGE_BY_KIND[kind]}?token={secret}"


def _deliver_mail(kind: str, to: str, context: dict, now: datetime) -> None:
    settings = current_app.extensions["settings"]
    subject, text, html = render_mail(kind, context)
    if settings.sandbox:
        db.session.add(SandboxEmail(to=to, subject=subject, text=text, html=html, kind=kind, sent_at=now))
        return
    message = mail.build_message(settings.mail_from, to, subject, text, html)
    db.session.commit()  # the secret's hash is kept before anybody can read the secret
    mail.send_message(settings.mail_url, message)


def render_mail(kind: str, context: dict) -> tuple[str, str, str]:
    """Subject, text and HTML. The template's first line is the subject; a line that is a link becomes a button.

    What a fact says stays within its line: a device's name makes no paragraph, and no button, of its own.
    """
    in_line = {name: " ".join(fact.split()) if isinstance(fact, str) else fact for name, fact in context.items()}
    text = _templates().get_template(f"{kind}.txt").render(in_line)
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
