"""The words of an invoice, in the customer's language; English where we have no other."""

WORDS = {
    "en": {
        "invoice": "Invoice", "draft": "Draft", "date": "Date", "due": "Due", "to": "To", "what": "Description",
        "period": "Period", "amount": "Amount", "subtotal": "Subtotal", "discount": "Discount", "tax": "Tax",
        "total": "Total", "credit": "Account credit used", "asked": "Amount due", "paid": "Paid",
        "of_tax": "including {tax}", "notes": "Credit notes", "status": "Status",
    },
    "de": {
        "invoice": "Rechnung", "draft": "Entwurf", "date": "Datum", "due": "Fällig", "to": "An",
        "what": "Beschreibung", "period": "Zeitraum", "amount": "Betrag", "subtotal": "Zwischensumme",
        "discount": "Rabatt", "tax": "Steuer", "total": "Gesamt", "credit": "Verrechnetes Guthaben",
        "asked": "Zu zahlen", "paid": "Bezahlt", "of_tax": "enthält {tax}", "notes": "Gutschriften",
        "status": "Status",
    },
    "fr": {
        "invoice": "Facture", "draft": "Brouillon", "date": "Date", "due": "Échéance", "to": "À",
        "what": "Description", "period": "Période", "amount": "Montant", "subtotal": "Sous-total",
        "discount": "Remise", "tax": "Taxe", "total": "Total", "credit": "Avoir utilisé", "asked": "À payer",
        "paid": "Payé", "of_tax": "dont {tax}", "notes": "Avoirs", "status": "État",
    },
    "es": {
        "invoice": "Factura", "draft": "Borrador", "date": "Fecha", "due": "Vence", "to": "Para",
        "what": "Descripción", "period": "Periodo", "amount": "Importe", "subtotal": "Subtotal",
        "discount": "Descuento", "tax": "Impuesto", "total": "Total", "credit": "Saldo utilizado",
        "asked": "A pagar", "paid": "Pagado", "of_tax": "incluye {tax}", "notes": "Notas de crédito",
        "status": "Estado",
    },
    "it": {
        "invoice": "Fattura", "draft": "Bozza", "date": "Data", "due": "Scadenza", "to": "A",
        "what": "Descrizione", "period": "Periodo", "amount": "Importo", "subtotal": "Subtotale",
        "discount": "Sconto", "tax": "Imposta", "total": "Totale", "credit": "Credito utilizzato",
        "asked": "Da pagare", "paid": "Pagato", "of_tax": "di cui {tax}", "notes": "Note di credito",
        "status": "Stato",
    },
    "pt": {
        "invoice": "Fatura", "draft": "Rascunho", "date": "Data", "due": "Vencimento", "to": "Para",
        "what": "Descrição", "period": "Período", "amount": "Valor", "subtotal": "Subtotal",
        "discount": "Desconto", "tax": "Imposto", "total": "Total", "credit": "Crédito utilizado",
        "asked": "A pagar", "paid": "Pago", "of_tax": "inclui {tax}", "notes": "Notas de crédito",
        "status": "Estado",
    },
}  # fmt: skip


def words_for(locale):
    """(language, words) for a BCP 47 tag: `de-AT` speaks `de`."""
    language = (locale or "en").replace("_", "-").split("-")[0].lower()
    return (language, WORDS[language]) if language in WORDS else ("en", WORDS["en"])
