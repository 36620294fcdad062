def keep() -> None:
    """The model's own initial weights stay.

    Source: the model's author.
    """
