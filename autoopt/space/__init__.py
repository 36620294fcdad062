"""The search space: the composed tree parsed once, its domains, and its recipes."""

from autoopt.space.condition import Condition
from autoopt.space.domain import Domain, Pin
from autoopt.space.option import Option
from autoopt.space.scale import Scale
from autoopt.space.space import Space
from autoopt.space.traced import Pick, Traced, Walkable, traced

__all__ = ["Condition", "Domain", "Option", "Pick", "Pin", "Scale", "Space", "Traced", "Walkable", "traced"]
