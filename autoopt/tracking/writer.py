"""The writer: it sends the records of a run to MLflow in as few calls as possible.

CPU time of a call on sqlite: create_run 5 ms, log_batch 3 to 10, set_terminated 2.5. Most of it is SQLAlchemy's, so
bypassing MlflowClient would gain nothing; gathering records does.

After a crash or a time-out records may be written twice, but they appear once: MLflow keeps one of equal points, tags and
parameters, and a run that may exist already is looked up by its key before it is created.
"""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any, TypeVar

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from autoopt.errors import causes, summary
from autoopt.tracking.gather import NAME_SIZE, RunUpdate, gather, legal
from autoopt.tracking.model import log_model
from autoopt.tracking.spool import BLOCK, NOTE, PARENT, SPOOL, SQLITE, Destination, State, address_of, read_lines, sqlite_file
from autoopt.tracking.view import VIEW_KEY, described, leaderboard_view, runs_page, view_name

logger = logging.getLogger(__package__)
T = TypeVar("T")
RUN_KEY, RUN_NAME = "autoopt.key", "mlflow.runName"
TRAINING_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # as MLflow's own clients mark it
CLOSED = {
    "CUSTOMER_UNAUTHORIZED",
    "PERMISSION_DENIED",
    "REQUEST_LIMIT_EXCEEDED",
    "TEMPORARILY_UNAVAILABLE",
    "UNAUTHENTICATED",
}
GONE = "RESOURCE_DOES_NOT_EXIST"
OWN = (FileNotFoundError, NotADirectoryError, PermissionError)  # errors of a file to be logged, not of the store


class Away(Exception):
    """The store cannot be reached or has no room: try again."""


class Refused(Exception):
    """The store refuses a record, and always will."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a database's folder: processes that create a database at the same time damage it. The lock leaves no file behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def dataset(name: str, digest: str) -> DatasetInput:
    return DatasetInput(Dataset(name=name[:NAME_SIZE], digest=digest, source_type="autoopt", source=json.dumps({"data": name})))


def connect(uri: str, experiment: str) -> tuple[MlflowClient, str]:
    """A client of the store and the experiment's id, both created if they do not exist yet."""
    if not uri.startswith(SQLITE):
        return find_experiment(MlflowClient(uri), experiment, None)
    path = sqlite_file(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent):
        if not path.exists():
            create(path)
        connection = find_experiment(MlflowClient(uri), experiment, (path.parent / "mlruns").as_uri())
    if (stray := Path(uri.removeprefix(SQLITE)).parent) != path.parent:  # made by MLflow, which takes an escaped address for a path
        with suppress(OSError):
            os.removedirs(stray)
    return connection


def create(path: Path) -> None:
    """Create a database under another name, then rename it: one whose migrations were killed half-way can never be opened."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    MlflowClient(address_of(new)).search_experiments(max_results=1)
    new.rename(path)


def find_experiment(client: MlflowClient, name: str, artifacts: str | None) -> tuple[MlflowClient, str]:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return client, client.create_experiment(name, artifact_location=artifacts, tags=TRAINING_TAGS)
    if not experiment.experiment_id:  # MLflow's client reads an empty answer as a success
        raise ConnectionError("it answers, but with nothing: it is no MLflow server")
    if experiment.lifecycle_stage == "deleted":  # no other experiment can have its name
        client.restore_experiment(experiment.experiment_id)
    return client, experiment.experiment_id


class SpoolWriter:
    """Writes one spool into one store."""

    def __init__(self, folder: Path, target: Destination):
        self._folder, self._target = folder, target
        self._client, self._experiment = connect(target.uri, target.experiment)
        self._state = self._known(State.load(folder, target))
        # Records before this place in the spool may be in the store although the state does not say so.
        self._doubt = (folder / SPOOL).stat().st_size
        self._earlier: set[str] = set()
        """The keys of runs that the store had before, although the state did not say so."""

    def _known(self, state: State) -> State:
        """The state, or a new state if its runs are gone from the store."""
        try:
            if PARENT in state.runs:
                self._client.get_run(state.runs[PARENT])
        except MlflowException as error:
            if error.error_code == GONE:
                return State(state.target)
            raise
        return state

    def write(self) -> bool:
        """Write a block of the spool, and return whether there is more.

        Raises:
            Away: the store cannot be reached; a new SpoolWriter has to go on.
        """
        block = list(read_lines(self._folder, self._state.offset))
        if not block:
            return False
        for key, run in gather(block, self._state.steps).items():
            self._state.steps[key] = run.step
            if key == PARENT:  # a verdict that stays is no new point
                run.metrics = [metric for metric in run.metrics if self._state.final.get(metric.key) != metric.value]
            try:
                self._write(key, run)
            except Refused as refusal:
                logger.warning("run %s is left out: %s", key or "of the study", refusal)
        begin, self._state.offset = self._state.offset, block[-1][0]
        self._state.save(self._folder)
        return self._state.offset - begin >= BLOCK

    def cut(self) -> None:
        """End the runs of a study that died: MLflow would show them as running for ever."""
        for key in self._state.live:
            self._call(self._client.set_tag, self._state.runs[key], "autoopt.state", "unfinished")
            self._call(self._client.set_terminated, self._state.runs[key], "KILLED")
        self._state.live = []
        self._state.save(self._folder)

    def _write(self, key: str, run: RunUpdate) -> None:
        run_id, tags, params = self._find(key, run), run.tags, run.params
        if run_id is None:
            run_id, tags = self._create(key, run), {}
        else:
            params, tags = self._new(run_id, params), tags | ({RUN_NAME: run.name} if run.name else {})
            if key in self._earlier:
                run.metrics = self._absent(run_id, run.metrics)
            if run.status == "RUNNING":
                self._call(self._client.update_run, run_id, "RUNNING")
        self._state.runs[key] = run_id
        self._log(run_id, [*run.metrics, *(Param(*item) for item in params.items()), *(RunTag(*item) for item in tags.items())])
        if run.data:
            try:
                self._call(self._client.log_inputs, run_id, datasets=[dataset(**run.data)])
            except Refused as refusal:  # by an old server without data sets
                logger.warning("the data set of run %s is left out: %s", run_id, refusal)
        if run.status not in ("", "RUNNING"):
            self._call(self._client.set_terminated, run_id, run.status, run.end)
        if run.status:
            self._state.live = [*{*self._state.live, key}] if run.status == "RUNNING" else [k for k in self._state.live if k != key]
        if key == PARENT:
            self._state.final |= {metric.key: metric.value for metric in run.metrics}
        for path in run.artifacts:
            self._call(self._client.log_artifact, run_id, str(path))
        if run.view:
            self._save_view(run_id, run.view, run.start)
        elif key == PARENT and run.name:
            self._link(f"Run of {run.name}", f"/experiments/{self._experiment}/runs/{run_id}")
        if run.model:
            self._log_model(run_id, Path(run.model["folder"]), run.model["study"])

    def _log_model(self, run_id: str, folder: Path, study: str) -> None:
        """Log the trained model; a store that takes no logged models gets its folder as an artifact."""
        try:
            self._call(log_model, self._client, self._experiment, run_id, folder, study)
        except Refused as refusal:
            logger.warning("the model of run %s is not logged, but an artifact: %s", run_id, refusal)
            self._call(self._client.log_artifact, run_id, str(folder))

    def _save_view(self, run_id: str, view: dict[str, Any], time: int) -> None:
        """Save the study's leaderboard with the experiment, and link it there."""
        key = view_name(self._target.spool)
        saved = leaderboard_view(**view, runs=f"tags.`mlflow.parentRunId` = '{run_id}'") | {"createdAt": time, "updatedAt": time}
        self._call(self._client.set_experiment_tag, self._experiment, VIEW_KEY.format(key), json.dumps(saved))
        self._link(f"Leaderboard of {view['name']}", runs_page(self._experiment, key))

    def _link(self, words: str, page: str) -> None:
        """Link a page in the experiment's description."""
        note = self._call(self._client.get_experiment, self._experiment).tags.get(NOTE, "")
        if (more := described(note, words, f"#{page}")) != note:
            self._call(self._client.set_experiment_tag, self._experiment, NOTE, more)

    def _find(self, key: str, run: RunUpdate) -> str | None:
        if key in self._state.runs or run.offset > self._doubt:
            return self._state.runs.get(key)
        query = f"tags.`{RUN_KEY}` = '{self._name(key)}'"
        runs = self._call(self._client.search_runs, [self._experiment], query, max_results=1)
        self._earlier |= {key} if runs else set()
        return runs[0].info.run_id if runs else None

    def _create(self, key: str, run: RunUpdate) -> str:
        known = {RUN_KEY: self._name(key)}
        if key != PARENT and PARENT in self._state.runs:
            known["mlflow.parentRunId"] = self._state.runs[PARENT]
        name = run.name or key
        created = self._call(self._client.create_run, self._experiment, run.start, run.tags | known, name)
        return str(created.info.run_id)

    def _new(self, run_id: str, params: dict[str, str]) -> dict[str, str]:
        """The parameters that the run does not have yet, since MLflow keeps the first value."""
        known = self._call(self._client.get_run, run_id).data.params if params else {}
        return {key: value for key, value in params.items() if key not in known}

    def _absent(self, run_id: str, metrics: list[Metric]) -> list[Metric]:
        """The points that the run does not have yet, by metric and step."""
        keys = {metric.key for metric in metrics}
        known = {(key, point.step) for key in keys for point in self._call(self._client.get_metric_history, run_id, key)}
        return [metric for metric in metrics if (metric.key, metric.step) not in known]

    def _name(self, key: str) -> str:
        return legal(f"{self._target.spool}/{key}")

    def _log(self, run_id: str, entities: list[Metric | Param | RunTag]) -> None:
        """Log all in one call, which MLflow's client splits by its limits; if it is refused, log all but the bad records."""
        kinds = ([entity for entity in entities if isinstance(entity, kind)] for kind in (Metric, Param, RunTag))
        try:
            self._call(self._client.log_batch, run_id, *kinds)
        except Refused as refusal:
            half = len(entities) // 2
            if not half:
                logger.warning("%s of run %s is left out: %s", entities[0].key, run_id, refusal)
                return
            self._log(run_id, entities[:half])
            self._log(run_id, entities[half:])

    def _call(self, function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        try:
            return function(*arguments, **options)
        except Exception as error:
            kind = Away if self._away(error) else Refused
            raise kind(summary(error)) from error

    def _away(self, error: Exception) -> bool:
        """Whether the store fails, not the record. If the error does not tell, a harmless call decides."""
        if getattr(error, "error_code", None) in CLOSED:
            return True
        if any(isinstance(cause, OSError) and not isinstance(cause, OWN) for cause in causes(error)):
            return True
        try:
            self._client.get_experiment(self._experiment)
        except Exception:
            return True
        return False
