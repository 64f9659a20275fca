"""Calls of torch that are compared with torch's own results, and measured for docs/operators.md."""

from tools.operator_calls.calls import Call
from tools.operator_calls.elementwise import ELEMENTWISE
from tools.operator_calls.gradients import GRADIENTS
from tools.operator_calls.integers import INTEGERS
from tools.operator_calls.models import MODELS
from tools.operator_calls.moving import MOVING
from tools.operator_calls.reducing import REDUCING
from tools.operator_calls.windows import WINDOWS

__all__ = ["FAMILIES", "Call"]

FAMILIES: dict[str, list[Call]] = {
    "elementwise": ELEMENTWISE,
    "integers": INTEGERS,
    "reducing": REDUCING,
    "moving": MOVING,
    "windows": WINDOWS,
    "models": MODELS,
    "gradients": GRADIENTS,
}
