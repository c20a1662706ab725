"""What a trial needs before it starts."""


def may_start_trial(policy: str, has_set_up_card: bool) -> bool:
    """Whether a trial may start, by the setting for trials without a card.

    `refuse` needs a card that the customer's bank has authorized for later charges, since the customer is not present
    when the trial ends.
    """
    return has_set_up_card or policy != "refuse"
