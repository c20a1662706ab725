"""Sandbox errors."""

from streamsvc.rules.refusals.base import Refusal


class ClockMovesForward(Refusal):
    code = "clock_moves_forward"
    status = 422
    detail = "A sandbox clock can only move forward."


class ClockIsMoving(Refusal):
    code = "clock_is_moving"
    status = 409
    detail = "Another request is moving this sandbox clock; try again when it has finished."
