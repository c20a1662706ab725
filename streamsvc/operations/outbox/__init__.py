"""What leaves the service, written in the transaction that it reports: audit events, mails, webhooks."""
