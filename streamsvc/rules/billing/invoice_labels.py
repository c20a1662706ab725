"""The labels of invoices and credit notes in the customer's language; English if there is no translation."""

INVOICE_LABELS = {
    "en": {
        "invoice": "Invoice", "credit_note": "Credit note", "draft": "Draft", "date": "Date", "due": "Due",
        "supply": "Period of supply", "description": "Description", "quantity": "Quantity", "net": "Net",
        "tax_rate": "Tax rate", "tax": "Tax", "gross": "Gross", "net_total": "Total without tax", "total": "Total",
        "credit": "Account credit used", "paid": "Paid", "amount_due": "Amount due", "discount": "Discount",
        "credited": "Credited", "status": "Status", "vat_id": "VAT ID", "tax_number": "Tax number",
        "registration": "Registration", "email": "Email", "phone": "Phone",
        "corrects": "Corrects invoice {number} of {date}",
        "reverse_charge": "Reverse charge: the customer accounts for the VAT (Article "
        "196, Directive 2006/112/EC).",
        "not_taxed": "No tax is charged.", "free_trial": "{plan}: free trial", "unused_time": "{plan}: unused time",
        "part_of_period": ", {days} of {full_days} days", "coupon": "Coupon {code}",
        "reverse_charge_discount": "VAT in the price, not charged: reverse charge", "status_draft": "Draft",
        "status_open": "Open", "status_paid": "Paid", "status_void": "Void", "status_uncollectible": "Written off",
        "page": "Page",
    },
    "de": {
        "invoice": "Rechnung", "credit_note": "Rechnungskorrektur", "draft": "Entwurf", "date": "Datum",
        "due": "Fällig", "supply": "Leistungszeitraum", "description": "Beschreibung", "quantity": "Menge",
        "net": "Netto", "tax_rate": "Steuersatz", "tax": "Steuer", "gross": "Brutto",
        "net_total": "Summe ohne Steuer", "total": "Gesamt", "credit": "Verrechnetes Guthaben", "paid": "Bezahlt",
        "amount_due": "Zu zahlen", "discount": "Rabatt", "credited": "Gutgeschrieben", "status": "Status",
        "vat_id": "USt-IdNr.", "tax_number": "Steuernummer", "registration": "Register", "email": "E-Mail",
        "phone": "Telefon", "corrects": "Korrigiert Rechnung {number} vom {date}",
        "reverse_charge": "Steuerschuldnerschaft des Leistungsempfängers (Artikel 196 "
        "der Richtlinie 2006/112/EG).",
        "not_taxed": "Es wird keine Steuer berechnet.", "free_trial": "{plan}: Probezeit",
        "unused_time": "{plan}: ungenutzte Zeit", "part_of_period": ", {days} von {full_days} Tagen",
        "coupon": "Gutschein {code}",
        "reverse_charge_discount": "Im Preis enthaltene, nicht berechnete USt: "
        "Steuerschuldnerschaft des Leistungsempfängers",
        "status_draft": "Entwurf", "status_open": "Offen", "status_paid": "Bezahlt", "status_void": "Storniert",
        "status_uncollectible": "Ausgebucht", "page": "Seite",
    },
    "fr": {
        "invoice": "Facture", "credit_note": "Avoir", "draft": "Brouillon", "date": "Date", "due": "Échéance",
        "supply": "Période de prestation", "description": "Description", "quantity": "Quantité", "net": "HT",
        "tax_rate": "Taux de taxe", "tax": "Taxe", "gross": "TTC", "net_total": "Total hors taxe", "total": "Total",
        "credit": "Avoir utilisé", "paid": "Payé", "amount_due": "À payer", "discount": "Remise",
        "credited": "Crédité", "status": "État", "vat_id": "N° TVA", "tax_number": "N° fiscal",
        "registration": "Immatriculation", "email": "E-mail", "phone": "Téléphone",
        "corrects": "Rectifie la facture {number} du {date}",
        "reverse_charge": "Autoliquidation de la TVA par le preneur (article 196 de la directive 2006/112/CE).",
        "not_taxed": "Aucune taxe n’est facturée.", "free_trial": "{plan} : essai gratuit",
        "unused_time": "{plan} : temps non utilisé", "part_of_period": ", {days} jours sur {full_days}",
        "coupon": "Coupon {code}",
        "reverse_charge_discount": "TVA incluse dans le prix, non facturée : autoliquidation",
        "status_draft": "Brouillon", "status_open": "À payer", "status_paid": "Payée", "status_void": "Annulée",
        "status_uncollectible": "Passée en perte", "page": "Page",
    },
    "es": {
        "invoice": "Factura", "credit_note": "Factura rectificativa", "draft": "Borrador", "date": "Fecha",
        "due": "Vence", "supply": "Periodo de prestación", "description": "Descripción", "quantity": "Cantidad",
        "net": "Neto", "tax_rate": "Tipo impositivo", "tax": "Impuesto", "gross": "Bruto",
        "net_total": "Total sin impuestos", "total": "Total", "credit": "Saldo utilizado", "paid": "Pagado",
        "amount_due": "A pagar", "discount": "Descuento", "credited": "Abonado", "status": "Estado",
        "vat_id": "NIF-IVA", "tax_number": "NIF", "registration": "Registro", "email": "Correo", "phone": "Teléfono",
        "corrects": "Rectifica la factura {number} del {date}",
        "reverse_charge": "Inversión del sujeto pasivo (artículo 196 de la Directiva 2006/112/CE).",
        "not_taxed": "No se aplica impuesto.", "free_trial": "{plan}: prueba gratuita",
        "unused_time": "{plan}: tiempo no utilizado", "part_of_period": ", {days} de {full_days} días",
        "coupon": "Cupón {code}",
        "reverse_charge_discount": "IVA incluido en el precio, no cobrado: inversión del sujeto pasivo",
        "status_draft": "Borrador", "status_open": "Pendiente", "status_paid": "Pagada", "status_void": "Anulada",
        "status_uncollectible": "Incobrable", "page": "Página",
    },
    "it": {
        "invoice": "Fattura", "credit_note": "Nota di credito", "draft": "Bozza", "date": "Data", "due": "Scadenza",
        "supply": "Periodo di fornitura", "description": "Descrizione", "quantity": "Quantità", "net": "Netto",
        "tax_rate": "Aliquota", "tax": "Imposta", "gross": "Lordo", "net_total": "Totale senza imposta",
        "total": "Totale", "credit": "Credito utilizzato", "paid": "Pagato", "amount_due": "Da pagare",
        "discount": "Sconto", "credited": "Accreditato", "status": "Stato", "vat_id": "P. IVA",
        "tax_number": "Codice fiscale", "registration": "Registro imprese", "email": "E-mail", "phone": "Telefono",
        "corrects": "Rettifica la fattura {number} del {date}",
        "reverse_charge": "Inversione contabile (articolo 196 della direttiva 2006/112/CE).",
        "not_taxed": "Nessuna imposta addebitata.", "free_trial": "{plan}: prova gratuita",
        "unused_time": "{plan}: tempo non utilizzato", "part_of_period": ", {days} di {full_days} giorni",
        "coupon": "Coupon {code}",
        "reverse_charge_discount": "IVA inclusa nel prezzo, non addebitata: inversione contabile",
        "status_draft": "Bozza", "status_open": "Aperta", "status_paid": "Pagata", "status_void": "Annullata",
        "status_uncollectible": "Inesigibile", "page": "Pagina",
    },
    "pt": {
        "invoice": "Fatura", "credit_note": "Nota de crédito", "draft": "Rascunho", "date": "Data",
        "due": "Vencimento", "supply": "Período da prestação", "description": "Descrição", "quantity": "Quantidade",
        "net": "Líquido", "tax_rate": "Taxa", "tax": "Imposto", "gross": "Bruto", "net_total": "Total sem imposto",
        "total": "Total", "credit": "Crédito utilizado", "paid": "Pago", "amount_due": "A pagar",
        "discount": "Desconto", "credited": "Creditado", "status": "Estado", "vat_id": "NIF-IVA", "tax_number": "NIF",
        "registration": "Registo", "email": "E-mail", "phone": "Telefone",
        "corrects": "Retifica a fatura {number} de {date}",
        "reverse_charge": "IVA – autoliquidação (artigo 196.º da Diretiva 2006/112/CE).",
        "not_taxed": "Não é cobrado imposto.", "free_trial": "{plan}: teste gratuito",
        "unused_time": "{plan}: tempo não utilizado", "part_of_period": ", {days} de {full_days} dias",
        "coupon": "Cupão {code}", "reverse_charge_discount": "IVA incluído no preço, não cobrado: autoliquidação",
        "status_draft": "Rascunho", "status_open": "Em aberto", "status_paid": "Paga", "status_void": "Anulada",
        "status_uncollectible": "Incobrável", "page": "Página",
    },
    "ja": {
        "invoice": "請求書", "credit_note": "返還請求書", "draft": "下書き", "date": "発行日", "due": "支払期限",
        "supply": "役務提供期間", "description": "内容", "quantity": "数量", "net": "税抜金額", "tax_rate": "税率",
        "tax": "税額", "gross": "税込金額", "net_total": "税抜合計", "total": "合計", "credit": "充当したクレジット",
        "paid": "支払済み", "amount_due": "請求額", "discount": "割引", "credited": "減額", "status": "状態",
        "vat_id": "VAT番号", "tax_number": "登録番号", "registration": "登記", "email": "メール", "phone": "電話",
        "corrects": "{date}付の請求書{number}を訂正",
        "reverse_charge": "リバースチャージ：VATは受領者が申告・納付します（指令2006/112/EC第196条）。",
        "not_taxed": "税は課されません。", "free_trial": "{plan}：無料体験", "unused_time": "{plan}：未使用期間",
        "part_of_period": "（{full_days}日のうち{days}日分）", "coupon": "クーポン {code}",
        "reverse_charge_discount": "価格に含まれるVAT（リバースチャージのため請求なし）", "status_draft": "下書き",
        "status_open": "未払い", "status_paid": "支払済み", "status_void": "無効",
        "status_uncollectible": "貸倒処理済み", "page": "ページ",
    },
}  # fmt: skip


def find_language(locale: str | None) -> str:
    """Return the language of the labels for a BCP 47 tag: `de` for `de-AT`, `en` if there is no translation."""
    language = (locale or "en").replace("_", "-").split("-")[0].lower()
    return language if language in INVOICE_LABELS else "en"


def invoice_labels(locale: str | None) -> dict[str, str]:
    """Return the labels for a BCP 47 tag."""
    return INVOICE_LABELS[find_language(locale)]
