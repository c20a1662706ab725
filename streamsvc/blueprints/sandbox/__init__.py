"""sandbox: a clock to move and mails to read. Registered only where the sandbox is on."""

from streamsvc.blueprints.sandbox import clock, emails, payments

BLUEPRINTS = (clock.bp, emails.bp, payments.bp)
