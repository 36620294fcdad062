"""What a search may choose: the composed tree parsed once, its domains, and the recipes that it holds."""

from autoopt.space.condition import Condition
from autoopt.space.domain import Domain, Pin
from autoopt.space.option import Option
from autoopt.space.space import Pick, Space

__all__ = ["Condition", "Domain", "Option", "Pick", "Pin", "Space"]
