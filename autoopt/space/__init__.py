"""The search space: the composed tree parsed once, its domains, and its recipes."""

from autoopt.space.condition import Condition
from autoopt.space.domain import Domain, Pin
from autoopt.space.option import Option
from autoopt.space.space import Pick, Space

__all__ = ["Condition", "Domain", "Option", "Pick", "Pin", "Space"]
