"""Gifts that viewers buy: the purchase, and the delivery of the code."""
