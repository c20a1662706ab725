"""Billing steps shared by endpoints, the worker, and the command line."""
