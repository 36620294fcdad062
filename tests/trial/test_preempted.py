"""Trials in processes of their own that are ended again and again: the weights are those of a trial that ran through."""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from test_checkpoints import AUTHORS, DIGITS, HERE

from autoopt.config import compose
from autoopt.executor.local import Local
from autoopt.orders import Outcome, Train
from autoopt.space import Space
from autoopt.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
NOTICES = 30 if os.environ.get("AUTOOPT_TEST_ALL") else 4
EPOCHS = 6 * NOTICES + 12  # of which up to five pass before a notice comes
TRIALS = {
    "a network": (*DIGITS, "augmentation=[translate]", "regularizer=[dropout,gradient_noise]", "schedule=one_cycle", "study.value=best"),
    "by batch": (*DIGITS, "regularizer=[ema,early_stopping]", "regularizer.early_stopping.patience=0.9"),
    "an author's": (f"data={HERE}:Data", f"model={HERE}:Lit", *AUTHORS),
}


class Ended:
    """Runs a trial, and sends it signals at random moments of the next epochs, to the end of a list of them."""

    def __init__(self, folder: Path, *overrides: str):
        self.store = Store(folder)
        tree = compose(overrides)
        self.local = Local({"tree": tree}, self.store, workers=1, fork=True)
        recipe = Space.of(tree).fitting(self.local.facts["absent"]).baseline()
        self.order = Train(key="7", recipe=recipe, seed=3, objective="val_loss", direction="minimize", keep=True)
        self.reasons: list[str] = []
        self.draw = random.Random(0)

    def run(self, *signals: int) -> tuple[Outcome, dict[int, dict[str, float]]]:
        """The outcome after all signals, and what was reported by the last process."""
        left, number = list(signals), 0
        self.local.submit(number, self.order)
        pid, due, told = None, 0, {}
        deadline = time.monotonic() + 500
        while time.monotonic() < deadline:
            for event in self.local.events(0.01):
                match event.kind:
                    case "started":
                        pid, due, told = event.data["pid"], len(told) + self.draw.randrange(3), {}
                    case "report":
                        told[event.data["epoch"]] = event.data["metrics"]
                    case "finished":
                        return Outcome.read(event.data), told
                    case "failed":
                        assert event.data["reason"] == "preempted", event.data
                        self.reasons.append(event.data["reason"])
                        number += 1
                        self.local.submit(number, self.order)
            if pid and left and len(told) >= due:
                time.sleep(self.draw.uniform(0.0, 0.05))
                with suppress(ProcessLookupError):
                    os.kill(pid, left.pop(0))
                pid = None
        raise AssertionError(f"it has not ended: {self.reasons} {self.store.log('7').read_text()[-2000:]}")

    def result(self, *signals: int) -> tuple[bytes, dict, dict]:
        try:
            outcome, told = self.run(*signals)
        finally:
            self.local.close()
        costs = ("seconds", "samples_per_second", "peak_memory_mb")
        return self.store.weights("7").read_bytes(), {k: v for k, v in outcome.metrics.items() if k not in costs}, told


@pytest.mark.parametrize("name", TRIALS)
def test_notices_at_random_moments_change_nothing(name, tmp_path):
    overrides = (*TRIALS[name], f"study.epochs={EPOCHS}")
    uncut = Ended(tmp_path / "uncut", *overrides).result()
    cut = Ended(tmp_path / "cut", *overrides)
    assert cut.result(*[signal.SIGTERM, signal.SIGUSR1] * (NOTICES // 2)) == uncut
    assert cut.reasons == ["preempted"] * NOTICES
    assert cut.store.log("7").read_text().count("goes on from its checkpoint after") > NOTICES // 3
