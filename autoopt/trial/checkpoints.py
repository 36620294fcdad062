"""The checkpoints of a trial that takes long, and what it had reported until then."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from safetensors import SafetensorError

from autoopt.errors import StoreFault, summary
from autoopt.orders import Outcome, Train
from autoopt.store import Reached, Store
from autoopt.trial import Report
from autoopt.trial.encoding import read_plain, write_plain


@dataclass
class Checkpoints:
    """The checkpoints of one trial.

    Args:
        order: a digest of what the trial trains; the checkpoints of another order are not taken up.
        interval: the seconds between two checkpoints.
        rungs: a training that a rung stops keeps one, too.
        send: reports an epoch to the study.
        reports: the metrics that were reported, by epoch.
        outcomes: of the folds of the data that are done.
        state: of the training that goes on; none where a fold begins.
        source: the trial that has written it, and its position.
    """

    store: Store
    key: str
    order: str
    interval: float
    send: Report
    rungs: bool = False
    reports: dict[int, dict[str, float]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    state: dict[str, Any] | None = None
    source: tuple[str, Reached] | None = None

    @classmethod
    def of(cls, store: Store, order: Train, interval: float, send: Report, rungs: bool = False) -> "Checkpoints":
        """The checkpoints of an order; if there is one that fits, the training goes on from the last that does.

        What was reported before is reported again; these reports cannot stop the trial, which was past them.
        """
        identity = {"recipe": dict(order.recipe.tree), "seed": order.seed, "objective": order.objective, "direction": order.direction}
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()
        checkpoints = cls(store, order.key, digest, interval, send, rungs)
        for key in (order.key, order.continues):
            if key and checkpoints.source is None:
                checkpoints.read(key)
        for epoch, metrics in checkpoints.reports.items():
            send(epoch, metrics)
        return checkpoints

    def read(self, key: str) -> None:
        """Read the last checkpoint of a trial that is intact and of this order, if there is one."""
        for at in self.store.checkpoints(key):
            try:
                content = read_plain(self.store.intact_checkpoint(key, at), self.folder)
                if content["order"] != self.order:
                    raise StoreFault(f"the checkpoint {at} is of another recipe or seed")
                self.outcomes = [Outcome.read(outcome) for outcome in content["outcomes"]]
                self.reports, self.state, self.source = content["reports"], content["state"], (key, at)
            except (StoreFault, OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
                print(f"a checkpoint is passed over: {summary(error)}")
                continue
            print(f"goes on from its checkpoint after {at.epoch} epochs and {at.batch} batches")
            return

    @property
    def folder(self) -> Any:
        return self.store.log(self.key).parent

    def report(self, epoch: int, metrics: dict[str, float]) -> bool:
        """Report an epoch of the first fold, and remember it."""
        self.reports[epoch] = metrics
        return self.send(epoch, metrics)

    def write(self, at: Reached, state: dict[str, Any]) -> None:
        """Store a checkpoint.

        Raises:
            OSError, NotPlain, SafetensorError: it cannot be stored.
        """
        content = {"order": self.order, "reports": self.reports, "outcomes": [o.json() for o in self.outcomes], "state": state}
        with self.store.writing_checkpoint(self.key, at) as folder:
            write_plain(folder, content, self.folder)
