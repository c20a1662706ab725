"""Operators: who they are, how they sign in, what they set up of their own, how they look on as a viewer."""
