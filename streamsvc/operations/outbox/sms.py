"""Text messages: enqueued in the transaction of their cause, rendered and sent by the worker.

As with mail, the code is generated together with its message, and only its hash is stored.
"""

import secrets
from datetime import datetime, timedelta

from streamsvc import clock
from streamsvc.gateways import sms
from streamsvc.gateways.peers import CallNotMade
from streamsvc.models import PhoneVerification, SandboxSms
from streamsvc.rules.sign_in.phones import CODE_DIGITS, MAX_SENDS
from streamsvc.rules.sign_in.sessions import hash_token
from streamsvc.settings import current_settings
from streamsvc.storage.database import db, new_id
from streamsvc.worker import jobs

JOB = "sms.phone_verification"


def enqueue_verification_sms(verification: PhoneVerification, now: datetime) -> None:
    """Enqueue the message with the code of a pending verification, in the caller's transaction."""
    jobs.enqueue_job(JOB, {"verification_id": verification.id}, now)


@jobs.job_handler(JOB, jobs.INTERACTIVE_LANE)
def send_verification_sms(payload: dict, now: datetime) -> None:
    """Generate the code, store its hash, and send it.

    A retry generates a new code. Since each message may be charged, there are at most `MAX_SENDS`. Raises CallFailed.
    """
    verification = db.session.get(PhoneVerification, payload["verification_id"])
    if verification is None or verification.expires_at <= now or verification.sends >= MAX_SENDS:
        return
    code = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"
    verification.code_hash = hash_token(f"{verification.account_id}:{verification.number}:{code}")
    verification.sends += 1
    settings, to = current_settings(), verification.number
    text = f"{code} confirms your telephone number. Never give this code to anyone."
    if settings.sandbox:
        db.session.add(SandboxSms(to=to, kind="phone_verification", text=text, sent_at=now))
        return
    db.session.commit()  # the code's hash is stored before the code can be used
    timestamp = int(clock.wall_time().timestamp())
    try:
        sms.send_sms(settings.sms_url, settings.sms_secret, new_id("sms"), to, text, timestamp)
    except CallNotMade as error:
        verification.sends -= 1
        raise jobs.Retry(now + timedelta(seconds=error.retry_after_s), was_attempted=False) from None
