"""`make stripe-check`: the contract with Stripe, against Stripe itself if a test key is given.

The key is STREAMSVC_STRIPE_TEST_KEY; a live key is refused. The check creates customers, cards and payments in test
mode, and deletes the customers.
"""

import os
import sys

import pytest

CONTRACT = "tests/subscriptions/test_stripe_contract.py"
NO_KEY = """
STREAMSVC_STRIPE_TEST_KEY is not set: STRIPE ITSELF WAS NOT CHECKED.
The contract ran against the local server only (tests/worlds/stripe_server.py), which follows Stripe's published
description. To check Stripe: STREAMSVC_STRIPE_TEST_KEY=sk_test_... make stripe-check
"""


def main(key: str) -> int:
    """Run the contract and return the exit code."""
    if key and not key.startswith(("sk_test_", "rk_test_")):
        print("STREAMSVC_STRIPE_TEST_KEY must be a test key, sk_test_... or rk_test_...; nothing was checked.")
        return 1
    os.environ["STRIPE_CONTRACT_KEY"] = key
    status = pytest.main(["-q", "-p", "no:xdist", "-p", "no:cacheprovider", CONTRACT])
    print("The contract ran against the local server and against Stripe." if key else NO_KEY)
    return int(status)


if __name__ == "__main__":
    sys.exit(main(os.environ.get("STREAMSVC_STRIPE_TEST_KEY", "")))
