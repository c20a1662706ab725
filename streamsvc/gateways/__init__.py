"""The world outside: payment providers and mail."""
