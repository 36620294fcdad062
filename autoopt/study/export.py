"""best/: the recipe, the weights and what is needed to use them. Nothing is pickled."""

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autoopt.deployment.card import KNOWN, digest
from autoopt.recipe import Recipe
from autoopt.study.folder import replace_file, versions
from autoopt.study.journal_file import StoreError

SEEDS = (
    "The score is the mean over the seeds that the recipe was trained with; the weights are the first seed's, "
    "of a cross-validation the first fold's."
)
README_TEXT = """# {title}

{conclusion}

{seeds}

```python
import autoopt

model = autoopt.load({path})   # a torch.nn.Module in evaluation mode
```

```bash
autoopt train {recipe}   # train it again
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
    """Write the folder `path`: recipe.yaml, model.safetensors, model.json and a README with the lines that load it.

    What was there before is replaced when all of that is written.

    Raises:
        StoreError: it cannot be written; what was there before stays.
    """
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
            draft, old = Path(scratch) / "new", Path(scratch) / "old"
            draft.mkdir()
            shutil.copyfile(weights, draft / "model.safetensors")
            replace_file(draft / "recipe.yaml", recipe.yaml())
            replace_file(draft / "model.json", json.dumps(model_card(recipe, draft / "model.safetensors", facts, said), indent=2))
            replace_file(draft / "README.md", readme(path, said))
            if path.exists():
                path.rename(old)
            try:
                draft.rename(path)
            except OSError:
                if old.exists():
                    old.rename(path)  # before the scratch folder goes
                raise
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error}") from error


def model_card(recipe: Recipe, weights: Path, facts: Mapping[str, Any], said: Advice) -> dict[str, Any]:
    return {
        "recipe": dict(recipe.tree),
        "techniques": dict(versions(dict(recipe.tree))),
        "objective": said.objective,
        "score": said.score,
        "seeds": SEEDS,
        "sha256": digest(weights),
        **{k: facts[k] for k in KNOWN},
    }


def readme(path: Path, said: Advice) -> str:
    recipe = shlex.quote(str(path / "recipe.yaml"))
    return README_TEXT.format(title=said.title, conclusion=said.conclusion, seeds=SEEDS, path=json.dumps(str(path)), recipe=recipe)
