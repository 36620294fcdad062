from torch.optim.lr_scheduler import LRScheduler


def keep(own: LRScheduler | None) -> LRScheduler | None:
    """The module's own schedule, as its `configure_optimizers` made it, if it made one.

    Source: the module's author.
    """
    return own
