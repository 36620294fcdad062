"""Writes the checkpoints of a training between two of its batches, and takes one up where it goes on."""

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lightning.fabric.utilities.data import _set_sampler_epoch
from lightning.fabric.utilities.seed import _set_rng_states

from autoopt.data.batches import Batches, PerBatch
from autoopt.data.loaders import random_states
from autoopt.errors import Preempted, StoreFault, machine_fault, out_of_memory, summary
from autoopt.module.net import BETWEEN_STEPS, Net
from autoopt.process.endings import NOTICES
from autoopt.store import Reached
from autoopt.trial.checkpoints import Checkpoints
from autoopt.trial.encoding import NotPlain
from autoopt.trial.state import (
    add_logged,
    captured,
    is_scalar,
    plain_attributes,
    put_attributes,
    put_back,
    reporter_folder,
)
from autoopt.trial.training import Training

NET_STEPS = "epoch_loop.manual_optimization.optim_step_progress"
"""Lightning's count of the optimizer steps of `Net`."""


@contextmanager
def keeping(checkpoints: Checkpoints, training: Training) -> Iterator[None]:
    """Keep checkpoints of a training while it is fitted, and let it go on from the one that was read."""
    shutil.rmtree(reporter_folder(training.trainer), ignore_errors=True)  # what a trial that was killed has left
    state, checkpoints.state = checkpoints.state, None
    keeper = Keeper(checkpoints, training, state)
    try:
        yield
    finally:
        keeper.end()


class Keeper:
    """Writes the checkpoints of one training.

    It stands between Lightning's loop and its batches: there every hook of the last batch is over, and none of the next has begun.
    Of a network that trains a whole epoch in one `training_step`, it also stands between the steps.

    Args:
        state: where the training goes on; it begins as ever, and takes up this state before its first batch.
    """

    def __init__(self, checkpoints: Checkpoints, training: Training, state: dict[str, Any] | None):
        self.checkpoints, self.training, self.state = checkpoints, training, state
        self.trainer, self.module, self.reporter = training.trainer, training.module, training.reporter
        self.due = time.monotonic() + checkpoints.interval
        self.notice: signal.Signals | None = None
        self.listening = False
        self.drawn: dict[str, Any] = {}
        self.logged: dict[str, Any] = {}
        self.loops: dict[str, Any] = {}
        self.skipped = 0
        loop = self.trainer.fit_loop.epoch_loop
        self.begin_epoch, self.advance, self.end_epoch = loop.on_run_start, loop.advance, self.trainer.fit_loop.on_advance_end
        self.trainer.fit_loop.on_advance_end = self.on_epoch_end  # type: ignore[method-assign]
        loop.on_run_start, loop.advance = self.on_epoch, self.on_batch  # type: ignore[method-assign, assignment]
        setattr(loop, BETWEEN_STEPS, self.on_step)

    def on_epoch(self, fetcher: Any) -> None:
        """Begin an epoch."""
        self.skipped = 0
        self.note_draws()
        self.begin_epoch(fetcher)

    def note_draws(self) -> None:
        """Note the states from which the order of an epoch is drawn."""
        self.drawn = {"random": random_states(), "loaders": [plain_attributes(each, is_scalar) for each in self.samplers]}

    def on_batch(self, fetcher: Any) -> None:
        if not self.listening:
            self.listen()
        loop = self.trainer.fit_loop.epoch_loop
        ready = loop.batch_progress.current.ready
        if self.state is not None:
            self.take_up(self.state, fetcher)
        elif self.asked and ready % self.trainer.accumulate_grad_batches == 0:
            self.write(ready, self.trainer.fit_loop.state_dict())
        if isinstance(self.module, Net):
            self.loops = self.trainer.fit_loop.state_dict()
        self.advance(fetcher)
        if self.logged:
            add_logged(self.logged, self.trainer)

    def on_epoch_end(self) -> None:
        """At a rung that stops the training, keep it as it would have gone on."""
        self.end_epoch()
        if self.checkpoints.rungs and self.reporter.stopped:
            self.reporter.stopped = self.trainer.should_stop = False
            self.note_draws()
            self.write(None, self.trainer.fit_loop.state_dict())
            self.reporter.stopped = self.trainer.should_stop = True

    def on_step(self, number: int) -> None:
        """Before the step of this number, from 0, in a `training_step` of `Net`; before the first, `on_batch` has done it."""
        if number and self.asked:
            steps = self.trainer.fit_loop.state_dict()[NET_STEPS]
            self.write(self.skipped + number * self.training.feed.accumulate, {**self.loops, NET_STEPS: steps})

    @property
    def asked(self) -> bool:
        """Whether a checkpoint is due."""
        return self.notice is not None or time.monotonic() >= self.due

    def write(self, done: int | None, loops: dict[str, Any]) -> None:
        """Write a checkpoint, and end the trial if a signal asked for it. If it cannot be written, the training goes on without it.

        Args:
            done: the batches of this epoch that are done, as the loader gives them; None after its end, before the next epoch begins.

        Raises:
            Preempted: a signal announced the end.
        """
        at = Reached(self.training.fold, self.trainer.current_epoch, done or 0)
        loops.pop("combined_loader", None)  # it is wound on by its batches
        self.due = time.monotonic() + self.checkpoints.interval
        try:
            state = captured(self.trainer, self.module, self.reporter)
            order = None if self.own_loader is None else self.own_loader.order
            self.checkpoints.write(at, {**state, "loops": loops, "drawn": self.drawn, "done": done, "order": order})
            kept = f"a checkpoint is kept after {at.epoch} epochs and {at.batch} batches"
        except Exception as error:
            kept = f"a checkpoint cannot be kept: {summary(error)}"
            print(kept)
            if isinstance(error, NotPlain):
                self.due = float("inf")
        if self.notice is not None:
            raise Preempted(f"told to end by {self.notice.name}; {kept}")

    def take_up(self, state: dict[str, Any], fetcher: Any) -> None:
        """Bring the training to where it was.

        Raises:
            StoreFault: the checkpoint does not fit; it is deleted, so that the next attempt begins without it. Or the machine failed:
                then it is kept.
            Exception: the memory is full; the checkpoint is kept.
        """
        self.state = None
        try:
            put_back(state, self.trainer, self.module, self.reporter)
            loop = self.trainer.fit_loop
            loop.load_state_dict(state["loops"])
            for each in (loop, loop.epoch_loop, loop.epoch_loop.val_loop):
                each.on_iteration_done()  # it goes on as if it had never ended
            self.drawn, self.logged = state["drawn"], state["logged"]
            if state["done"] is None:
                self.begin_next(fetcher, state)
            else:
                self.wind(fetcher, state["done"], state["order"])
                _set_rng_states(state["random"])
        except Exception as error:
            assert self.checkpoints.source is not None
            key, at = self.checkpoints.source
            if out_of_memory(error):
                raise
            if isinstance(error, OSError) or machine_fault(error):
                raise StoreFault(f"the checkpoint {at} cannot be taken up: {summary(error)}") from error
            self.checkpoints.store.forget_checkpoints(key, [at])
            raise StoreFault(f"the checkpoint {at} does not fit, and is deleted: {summary(error)}") from error

    def begin_next(self, fetcher: Any, state: dict[str, Any]) -> None:
        """Begin the epoch after a rung, as Lightning does."""
        if (loader := self.own_loader) is not None:
            loader.seek(state["order"] + 1, 0)
        else:
            put_attributes(self.drawn["loaders"], self.samplers)
        _set_rng_states(state["random"])
        loop = self.trainer.fit_loop
        loop.on_advance_start()
        loop.epoch_loop.reset()
        self.on_epoch(fetcher)

    def wind(self, fetcher: Any, done: int, order: int | None) -> None:
        """Bring the loader to the batches that come next."""
        trainer, ready = self.trainer, self.trainer.fit_loop.epoch_loop.batch_progress.current.ready
        if (loader := self.own_loader) is not None and order is not None:
            loader.seek(order, done)
            iter(fetcher)
            fetcher.fetched, self.skipped = ready, done
            return
        if trainer.current_epoch:  # the order of the first epoch is drawn already
            put_attributes(self.drawn["loaders"], self.samplers)
            _set_rng_states(self.drawn["random"])
            for each in fetcher.combined_loader.flattened:
                _set_sampler_epoch(each, trainer.current_epoch)
            iter(fetcher)
        for _ in range(ready):
            next(fetcher)

    @property
    def own_loader(self) -> Batches | PerBatch | None:
        """Our own loader, which finds any batch of any order at once; None for those of the user."""
        combined = self.trainer.fit_loop._combined_loader
        loader = None if combined is None else combined.flattened[0]
        return loader if isinstance(getattr(loader, "batches", loader), Batches) else None

    @property
    def samplers(self) -> list[object]:
        """The training loaders and their samplers, which may draw by generators of their own."""
        combined = self.trainer.fit_loop._combined_loader
        found: list[object] = []
        for loader in () if combined is None else combined.flattened:
            by_batch = getattr(loader, "batch_sampler", None)
            found += [loader, getattr(loader, "sampler", None), by_batch, getattr(by_batch, "sampler", None)]
        return [each for each in found if hasattr(each, "__dict__")]

    def listen(self) -> None:
        """From now on a signal that announces the end asks for a checkpoint; Lightning has set its own handlers meanwhile."""
        if self.trainer.received_sigterm:
            self.notice = signal.SIGTERM
        self.listening = True
        set_handlers(self.hear)

    def hear(self, number: int, _: Any) -> None:
        self.notice = signal.Signals(number)

    def end(self) -> None:
        """Leave the loop and the signals as they were: from now on a signal ends the process."""
        if self.listening:
            set_handlers(signal.SIG_DFL)
        loop = self.trainer.fit_loop.epoch_loop
        del loop.on_run_start, loop.advance, self.trainer.fit_loop.on_advance_end
        delattr(loop, BETWEEN_STEPS)


def set_handlers(handler: Any) -> None:
    """Set the handler of the signals that announce the end; a thread that is not the main one cannot."""
    if threading.current_thread() is threading.main_thread():
        for number in NOTICES:
            signal.signal(number, handler)
