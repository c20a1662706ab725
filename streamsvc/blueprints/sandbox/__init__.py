"""Endpoints of the sandbox: its clocks, emails, payment provider and videos. Registered only in the sandbox."""

from streamsvc.blueprints.sandbox import account_clocks, bank, clock, emails, media, payments, sms

BLUEPRINTS = (clock.bp, account_clocks.bp, emails.bp, payments.bp, bank.bp, sms.bp, media.bp)
