"""Sandbox errors."""

from streamsvc.rules.refusals.base import Refusal


class ClockMovesForward(Refusal):
    code = "clock_moves_forward"
    status = 422
    detail = "The sandbox clock can only move forward."


class ClockIsMoving(Refusal):
    code = "clock_is_moving"
    status = 409
    detail = "Another request is moving the sandbox clock; try again when it has finished."
