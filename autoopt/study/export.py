"""best/: the recipe, the weights and the files that load them. Nothing is pickled."""

import glob
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from autoopt.config import paths_in_recipe, trusting
from autoopt.deployment.card import CARD_FACTS, shaping
from autoopt.recipe import Recipe
from autoopt.records.differences import versions
from autoopt.records.folder import replace_file
from autoopt.records.journal_file import StoreError
from autoopt.store import digest

README_TEXT = """# {title}

{conclusion}

{seeds}

With the path of this folder in place of the point:

```python
import autoopt

model = autoopt.load("."{trust})   # a torch.nn.Module in evaluation mode
predicted = model.predict(examples)   # rows of a table, texts, images or arrays, as they were before any preparation
```

To train it again, with the path of this recipe, in the directory in which its data and its code are found:

```bash
autoopt train recipe.yaml{named}
```
"""
"""It holds no path of the machine that wrote it, as the folder is copied and given away."""


@dataclass(frozen=True)
class Advice:
    """What is said of an exported recipe.

    Args:
        score: the mean of the objective over so many `seeds`, and over so many `folds` of each.
    """

    title: str
    conclusion: str
    objective: str
    score: float
    seeds: int = 1
    folds: int = 1

    @property
    def of_seeds(self) -> str:
        """Of which trainings the score and the weights are."""
        counts = {"seeds": self.seeds, "folds": self.folds}
        over = " and ".join(f"{count} {what}" for what, count in counts.items() if count > 1)
        if not over:
            return "The score and the weights are those of one training."
        return f"The score is the mean over {over}; the weights are those of the first training."


def export(path: Path, recipe: Recipe, weights: Path, facts: Mapping[str, Any], advice: Advice) -> None:
    """Write the folder `path`: recipe.yaml, model.safetensors, model.json and a README with the lines that load it.

    An earlier export is replaced once all files are written.

    Raises:
        StoreError: the folder cannot be written; an earlier export stays.
    """
    path = path.resolve()
    with replaced(path) as draft:
        shutil.copyfile(weights, draft / "model.safetensors")
        replace_file(draft / "recipe.yaml", recipe.yaml())
        replace_file(draft / "model.json", json.dumps(model_card(recipe, draft / "model.safetensors", facts, advice), indent=2))
        replace_file(draft / "README.md", readme(recipe, advice))


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """An empty folder that becomes `path` once it is written, in the place of an earlier one.

    Raises:
        StoreError: it cannot be written; an earlier one stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*"):  # by an export that was killed
            shutil.rmtree(left, ignore_errors=True)
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as scratch:
            draft, old = Path(scratch) / "new", Path(scratch) / "old"
            draft.mkdir()
            yield draft
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


def model_card(recipe: Recipe, weights: Path, facts: Mapping[str, Any], advice: Advice) -> dict[str, Any]:
    return {
        "recipe": dict(recipe.tree),
        "techniques": dict(versions(dict(recipe.tree))),
        "objective": advice.objective,
        "score": advice.score,
        "seeds": advice.of_seeds,
        "sha256": digest(weights),
        **{k: facts[k] for k in CARD_FACTS},
    }


def readme(recipe: Recipe, advice: Advice) -> str:
    """The text of README.md; its lines name the recipe's own code, which a file alone does not have imported."""
    needed = list(dict.fromkeys(paths_in_recipe(shaping(recipe.tree))))
    trust = f", trust={json.dumps(needed)}" if needed else ""
    words = {"title": advice.title, "conclusion": advice.conclusion, "seeds": advice.of_seeds}
    return README_TEXT.format(**words, trust=trust, named=trusting(recipe.tree))
