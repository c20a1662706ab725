"""Errors of editing the catalogue."""

from streamsvc.rules.refusals.base import Refusal


class AlreadyMerged(Refusal):
    code = "already_merged"
    status = 409
    detail = "This person has been merged into another already."
