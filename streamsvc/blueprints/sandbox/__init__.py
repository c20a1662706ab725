"""Endpoints of the sandbox: its clock, its emails and its payment provider. Registered only in the sandbox."""

from streamsvc.blueprints.sandbox import clock, emails, payments, sms

BLUEPRINTS = (clock.bp, emails.bp, payments.bp, sms.bp)
