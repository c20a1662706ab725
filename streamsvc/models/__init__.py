"""The model layer's face: import tables from here."""

from streamsvc.models.accounts import Account, ApiKey, Profile
from streamsvc.models.jobs import IdempotencyKey, Job, Worker
from streamsvc.models.sandbox import SandboxClock, SandboxEmail
from streamsvc.models.sessions import Device, Session

__all__ = [
    "Account",
    "ApiKey",
    "Device",
    "IdempotencyKey",
    "Job",
    "Profile",
    "SandboxClock",
    "SandboxEmail",
    "Session",
    "Worker",
]
