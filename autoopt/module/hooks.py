"""Which of Lightning's hooks an author has written."""

import lightning.pytorch as L


def overridden(hook: str, owner: L.LightningModule | L.Callback) -> bool:
    """Whether the class of a module or of a callback has a hook of its own, whatever has been put on the object."""
    base = L.LightningModule if isinstance(owner, L.LightningModule) else L.Callback
    return getattr(type(owner), hook) is not getattr(base, hook)
