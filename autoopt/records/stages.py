"""The stages of a study: one table for all code that runs, stores, shows or mirrors their trials."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A row of the table.

    Args:
        name: as in the journal and as MLflow's `autoopt.stage`.
        about: its description on the screen.
        key: the format of its trials' keys.
        stored: its trials have records in the journal.
        tracked: MLflow has a run for each of its trials.
        shown: the screen has a line for each result.
        trains: its trials are whole trainings, which the verdict counts.
    """

    name: str
    about: str
    key: str
    stored: bool = True
    tracked: bool = True
    shown: bool = True
    trains: bool = False

    def trial_and_seed(self, key: str) -> tuple[str, int]:
        """The trial and the number of its fresh seed in the key of a training: `17-final-2` is the third of trial 17."""
        trial, _, seed = key.rpartition(f"-{self.name}-")
        return trial, int(seed)


PREFLIGHT = Stage("preflight", "try every technique on two batches", "preflight/{}", stored=False, tracked=False, shown=False)
SEARCH = Stage("search", "search", "{}", trains=True)
COMPRESS = Stage("compress", "compress the best", "compress-{}")
COMPARE = Stage("compare", "train the best of each option on the same fresh seeds", "{}-compare-{}", trains=True)
CONFIRM = Stage("confirm", "let the best race on fresh seeds", "{}-confirm-{}", trains=True)
FINAL = Stage("final", "train the winner and the baseline on further seeds", "{}-final-{}", trains=True)
TEST = Stage("test", "measure them on the test split", "{}-test", tracked=False, shown=False)
ABLATION = Stage("ablation", "train the winner without parts of it", "{}-{}", trains=True)
TRAIN = Stage("train", "train", "{}", stored=False, trains=True)
EXPORT = Stage("export", "write the model in other forms", "export", stored=False, tracked=False, shown=False)
STAGES = {stage.name: stage for stage in (PREFLIGHT, SEARCH, COMPRESS, COMPARE, CONFIRM, FINAL, TEST, ABLATION, TRAIN, EXPORT)}
STORED = tuple(stage for stage in STAGES.values() if stage.stored)
