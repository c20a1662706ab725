"""Referral rewards: in proportion to the money that earned them."""


def earned_reward(reward_minor: int, kept_minor: int, first_payment_minor: int) -> int:
    """Return how much of a reward stands while `kept_minor` is left of what the referred account has paid.

    All of it as long as that is at least the first payment, by which the reward was earned; else in proportion, rounded
    down; nothing if nothing is left.
    """
    kept_minor = max(0, min(kept_minor, first_payment_minor))
    return reward_minor * kept_minor // first_payment_minor if first_payment_minor else 0
