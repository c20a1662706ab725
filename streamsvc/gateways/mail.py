"""Sends mail to the console, into a folder, or by SMTP, according to `STREAMSVC_MAIL_URL`.

SMTP is spoken by aiosmtplib, whose conversation a deadline can end at any point; `smtplib` has a timeout for each line.
"""

import asyncio
import sys
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from functools import partial
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from streamsvc.gateways.peers import CallRejected, Peer, make_call

PEER = Peer("mail", deadline_s=20, worker_limit=2)
QUIT_TIMEOUT_S = 1


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
    """Send one message. Raises CallFailed, CallRejected if it is not accepted; OSError if it cannot be stored."""
    target = urlsplit(url)
    if target.scheme == "console":
        sys.stderr.write(f"--- mail to {message['To']}: {message['Subject']}\n{_plain_text(message)}\n---\n")
    elif target.scheme == "file":
        folder = Path(unquote(target.path))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{message['Message-ID'].strip('<>').partition('@')[0]}.eml").write_bytes(bytes(message))
    else:
        make_call(PEER, target.netloc.rpartition("@")[2], partial(_speak_smtp, target, message))


def try_server(url: str) -> None:
    """Connect to a mail server and sign in as for a mail, and send none. Raises CallFailed, CallRejected."""
    target = urlsplit(url)
    make_call(PEER, target.netloc.rpartition("@")[2], partial(_speak_smtp, target, None))


async def _speak_smtp(target: SplitResult, message: EmailMessage | None) -> None:
    """Send a message, or only sign in.

    `smtp://` requires STARTTLS unless the server is local; `smtps://` uses TLS from the start.
    """
    import aiosmtplib

    host, is_tls = target.hostname or "localhost", target.scheme == "smtps"
    client = aiosmtplib.SMTP(
        hostname=host,
        port=target.port or (465 if is_tls else 587),
        use_tls=is_tls,
        start_tls=not is_tls and host not in ("localhost", "127.0.0.1", "::1"),
        username=unquote(target.username) if target.username else None,
        password=unquote(target.password or "") if target.username else None,
        timeout=None,  # `make_call` has the deadline
    )
    try:
        await client.connect()
        if message is None:
            await client.ehlo()
        else:
            await client.send_message(message)
        # The message is accepted: neither an error nor the deadline, which cancels, may have it sent again.
        with suppress(aiosmtplib.SMTPException, TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(client.quit(), QUIT_TIMEOUT_S)
    except aiosmtplib.SMTPException as error:
        if isinstance(error, OSError):  # no connection, or a broken one
            raise
        raise CallRejected(f"{type(error).__name__}: {error}"[:300]) from None
    finally:
        client.close()


def _plain_text(message: EmailMessage) -> str:
    part = message.get_body(("plain",))
    return part.get_content() if part else ""
