"""best/: the recipe, the weights and what is needed to use them. Nothing is pickled."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.recipe import Recipe
from autoopt.study.folder import write

KNOWN = ("kind", "input_shape", "outputs", "classes", "inputs", "targets", "versions")
README = """# {title}

{conclusion}

```python
import autoopt

model = autoopt.load("{path}")   # a torch.nn.Module in evaluation mode
```

```bash
autoopt train {path}/recipe.yaml   # train it again
```
"""


@dataclass(frozen=True)
class Advice:
    """What is said of the exported recipe."""

    title: str
    conclusion: str
    objective: str
    score: float


def export(path: Path, recipe: Recipe, weights: Path, facts: Mapping[str, Any], said: Advice) -> None:
    """Write the folder `path`: recipe.yaml, model.safetensors, model.json and a README with the lines that load it."""
    path.mkdir(parents=True, exist_ok=True)
    write(path / "recipe.yaml", recipe.yaml())
    shutil.copyfile(weights, path / "model.safetensors.new")
    (path / "model.safetensors.new").replace(path / "model.safetensors")
    card = {"recipe": dict(recipe.tree), "objective": said.objective, "score": said.score} | {k: facts[k] for k in KNOWN}
    write(path / "model.json", json.dumps(card, indent=2))
    write(path / "README.md", README.format(title=said.title, conclusion=said.conclusion, path=path))
