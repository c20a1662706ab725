"""The commission of a store, for reports: the store's own statement decides what it pays out."""

from streamsvc.rules.money import round_half_up

PERCENT = 100


def compute_commission(amount_minor: int, percentages: str, is_after_first_year: bool) -> int:
    """Return the commission of an amount, in minor units.

    `percentages`: `30,15` for the subscriber's first year and afterwards, or `15` for always.
    """
    first, *later = percentages.split(",")
    percentage = later[0] if later and is_after_first_year else first
    return round_half_up(amount_minor * int(percentage), PERCENT)
