def keep() -> None:
    """The weights as the model made them.

    Source: the model's author.
    """
