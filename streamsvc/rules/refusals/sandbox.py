"""Errors of the sandbox."""

from streamsvc.rules.refusals.base import Refusal


class ClockMovesForward(Refusal):
    code = "clock_moves_forward"
    status = 422
    detail = "The sandbox's clock only moves forward."


class ClockIsMoving(Refusal):
    code = "clock_is_moving"
    status = 409
    detail = "Another request moves the clock just now; wait for its answer."
