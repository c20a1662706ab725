"""Sends mail to the console, into a folder, or by SMTP, according to `STREAMSVC_MAIL_URL`."""

import smtplib
import ssl
import sys
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

SMTP_TIMEOUT_S = 10


def build_email(sender: str, to: str, subject: str, text: str, html: str) -> EmailMessage:
    """Build a message with text and HTML parts. The standard library rejects line feeds in headers."""
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = sender, to, subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain=sender.rpartition("@")[2].strip(" >"))
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message


def send_message(url: str, message: EmailMessage) -> None:
    """Send one message. Raises OSError or SMTPException if it is not accepted."""
    target = urlsplit(url)
    if target.scheme == "console":
        sys.stderr.write(f"--- mail to {message['To']}: {message['Subject']}\n{_plain_text(message)}\n---\n")
    elif target.scheme == "file":
        folder = Path(unquote(target.path))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{message['Message-ID'].strip('<>').partition('@')[0]}.eml").write_bytes(bytes(message))
    else:
        _send_by_smtp(target, message)


def _send_by_smtp(target: SplitResult, message: EmailMessage) -> None:
    """`smtp://` requires STARTTLS unless the server is local; `smtps://` uses TLS from the start."""
    secure = ssl.create_default_context()
    host = target.hostname or "localhost"
    server: smtplib.SMTP
    if target.scheme == "smtps":
        server = smtplib.SMTP_SSL(host, target.port or 465, timeout=SMTP_TIMEOUT_S, context=secure)
    else:
        server = smtplib.SMTP(host, target.port or 587, timeout=SMTP_TIMEOUT_S)
    with server:
        if target.scheme == "smtp" and host not in ("localhost", "127.0.0.1", "::1"):
            server.starttls(context=secure)
        if target.username:
            server.login(unquote(target.username), unquote(target.password or ""))
        server.send_message(message)


def _plain_text(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    return part.get_content() if part else ""
