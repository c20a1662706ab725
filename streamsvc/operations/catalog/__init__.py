"""Catalogue operations shared by the endpoints, the worker and the command line."""
