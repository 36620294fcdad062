"""A search from Python, as in a notebook: search, predict, and train by the best recipe in a loop of your own."""

import lightning.pytorch as L
import torch
from my_models import LitNet
from torch.utils.data import DataLoader, TensorDataset

import autoopt

verdict = autoopt.search(["data=digits", "optimizer=adamw,sgd", "study.trials=6", "study.epochs=3"], model=LitNet)
print(verdict.conclusion())
print(verdict.trials().head())

model = autoopt.load(f"{verdict.folder}/best", trust=[LitNet])
print(model.predict(torch.rand(2, 1, 8, 8)))

module, callbacks, arguments = autoopt.apply(f"{verdict.folder}/best/recipe.yaml", LitNet())
images = TensorDataset(torch.rand(256, 1, 8, 8), torch.randint(10, (256,)))
trainer = L.Trainer(max_epochs=2, callbacks=callbacks, logger=False, enable_checkpointing=False, **arguments)
trainer.fit(module, DataLoader(images, 64, shuffle=True))
