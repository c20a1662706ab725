"""After an invoice is issued: corrections, disputes, review, one-off charges."""
