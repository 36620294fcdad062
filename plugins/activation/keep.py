def keep() -> None:
    """The model's own activations stay.

    Source: the model's author.
    """
