"""The labels of an invoice in the customer's language; English if there is no translation."""

INVOICE_LABELS = {
    "en": {
        "invoice": "Invoice", "draft": "Draft", "date": "Date", "due": "Due", "to": "To", "description": "Description",
        "period": "Period", "amount": "Amount", "subtotal": "Subtotal", "discount": "Discount", "tax": "Tax",
        "total": "Total", "credit": "Account credit used", "amount_due": "Amount due", "paid": "Paid",
        "included_tax": "including {tax}", "credit_notes": "Credit notes", "status": "Status",
        "vat_id": "VAT ID", "our_vat_id": "Our VAT ID",
        "reverse_charge": "Reverse charge: the customer accounts for the VAT (Article 196, Directive 2006/112/EC).",
    },
    "de": {
        "invoice": "Rechnung", "draft": "Entwurf", "date": "Datum", "due": "Fällig", "to": "An",
        "description": "Beschreibung", "period": "Zeitraum", "amount": "Betrag", "subtotal": "Zwischensumme",
        "discount": "Rabatt", "tax": "Steuer", "total": "Gesamt", "credit": "Verrechnetes Guthaben",
        "amount_due": "Zu zahlen", "paid": "Bezahlt", "included_tax": "enthält {tax}", "credit_notes": "Gutschriften",
        "status": "Status",
        "vat_id": "USt-IdNr.", "our_vat_id": "Unsere USt-IdNr.",
        "reverse_charge": "Steuerschuldnerschaft des Leistungsempfängers (Artikel 196 der Richtlinie 2006/112/EG).",
    },
    "fr": {
        "invoice": "Facture", "draft": "Brouillon", "date": "Date", "due": "Échéance", "to": "À",
        "description": "Description", "period": "Période", "amount": "Montant", "subtotal": "Sous-total",
        "discount": "Remise", "tax": "Taxe", "total": "Total", "credit": "Avoir utilisé", "amount_due": "À payer",
        "paid": "Payé", "included_tax": "dont {tax}", "credit_notes": "Avoirs", "status": "État",
        "vat_id": "N° TVA", "our_vat_id": "Notre n° TVA",
        "reverse_charge": "Autoliquidation de la TVA par le preneur (article 196 de la directive 2006/112/CE).",
    },
    "es": {
        "invoice": "Factura", "draft": "Borrador", "date": "Fecha", "due": "Vence", "to": "Para",
        "description": "Descripción", "period": "Periodo", "amount": "Importe", "subtotal": "Subtotal",
        "discount": "Descuento", "tax": "Impuesto", "total": "Total", "credit": "Saldo utilizado",
        "amount_due": "A pagar", "paid": "Pagado", "included_tax": "incluye {tax}", "credit_notes": "Notas de crédito",
        "status": "Estado",
        "vat_id": "NIF-IVA", "our_vat_id": "Nuestro NIF-IVA",
        "reverse_charge": "Inversión del sujeto pasivo (artículo 196 de la Directiva 2006/112/CE).",
    },
    "it": {
        "invoice": "Fattura", "draft": "Bozza", "date": "Data", "due": "Scadenza", "to": "A",
        "description": "Descrizione", "period": "Periodo", "amount": "Importo", "subtotal": "Subtotale",
        "discount": "Sconto", "tax": "Imposta", "total": "Totale", "credit": "Credito utilizzato",
        "amount_due": "Da pagare", "paid": "Pagato", "included_tax": "di cui {tax}", "credit_notes": "Note di credito",
        "status": "Stato",
        "vat_id": "P. IVA", "our_vat_id": "Nostra P. IVA",
        "reverse_charge": "Inversione contabile (articolo 196 della direttiva 2006/112/CE).",
    },
    "pt": {
        "invoice": "Fatura", "draft": "Rascunho", "date": "Data", "due": "Vencimento", "to": "Para",
        "description": "Descrição", "period": "Período", "amount": "Valor", "subtotal": "Subtotal",
        "discount": "Desconto", "tax": "Imposto", "total": "Total", "credit": "Crédito utilizado",
        "amount_due": "A pagar", "paid": "Pago", "included_tax": "inclui {tax}", "credit_notes": "Notas de crédito",
        "status": "Estado",
        "vat_id": "NIF", "our_vat_id": "O nosso NIF",
        "reverse_charge": "IVA – autoliquidação (artigo 196.º da Diretiva 2006/112/CE).",
    },
}  # fmt: skip


def invoice_labels(locale: str | None) -> tuple[str, dict[str, str]]:
    """Return (language, labels) for a BCP 47 tag; `de-AT` maps to `de`."""
    language = (locale or "en").replace("_", "-").split("-")[0].lower()
    return (language, INVOICE_LABELS[language]) if language in INVOICE_LABELS else ("en", INVOICE_LABELS["en"])
