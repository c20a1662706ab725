"""Endpoints of the sandbox: its clocks, its emails and its payment provider. Registered only in the sandbox."""

from streamsvc.blueprints.sandbox import account_clocks, clock, emails, payments, sms

BLUEPRINTS = (clock.bp, account_clocks.bp, emails.bp, payments.bp, sms.bp)
