"""Payouts of account credit by operators."""
