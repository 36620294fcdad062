"""A class within a class: its signature is read by importing it."""


class Outer:
    """Mine."""

    class Inner:
        """Mine."""

        def __init__(self, *, lr: float = 0.1):
            self.lr = lr
