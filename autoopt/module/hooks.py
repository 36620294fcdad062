"""Which of Lightning's hooks an author has written."""

import lightning.pytorch as L


class AfterModule(L.Callback):
    """A callback that sees an epoch after the module's own `on_train_epoch_end`, which Lightning calls after those of all callbacks."""

    def after_module(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        """Called before the callbacks that monitor a metric."""


def overridden(hook: str, owner: L.LightningModule | L.Callback) -> bool:
    """Whether the class of a module or of a callback has a hook of its own, whatever has been put on the object."""
    base = L.LightningModule if isinstance(owner, L.LightningModule) else L.Callback
    return getattr(type(owner), hook) is not getattr(base, hook)
