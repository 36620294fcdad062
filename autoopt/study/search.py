"""A search from its config to its verdict: warm up, settle the space, and go through the stages."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from autoopt.config import FROM, Tree, asked_for, compose, seconds
from autoopt.errors import BadInput
from autoopt.executor import Executor
from autoopt.executor.resources import Limits
from autoopt.goal import Goal, Objective
from autoopt.grammar import is_sweep
from autoopt.points import plug
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS
from autoopt.space import Domain, Space
from autoopt.space.questions import Absent
from autoopt.store import Store
from autoopt.study.budget import Budget
from autoopt.study.compare import best_of_options, compare
from autoopt.study.compress import compress, compress_goal
from autoopt.study.confirm import planned, share_of
from autoopt.study.decide import decide
from autoopt.study.explain import explain
from autoopt.study.explore import explore, start
from autoopt.study.folder import Folder
from autoopt.study.intact import check_journal, check_recipes
from autoopt.study.interrupts import Interrupts
from autoopt.study.journal import Journal
from autoopt.study.mirror import search_listener
from autoopt.study.preflight import preflight, rehearse
from autoopt.study.publish import publish
from autoopt.study.runner import Listener, Runner, Screen
from autoopt.study.settled import Settled, recall
from autoopt.study.stages import SEARCH, STORED
from autoopt.study.study import Study, strategy_of
from autoopt.study.successor import predecessor
from autoopt.study.verdict import Verdict
from autoopt.technique import REQUIRED, available, find, is_path
from autoopt.tracking import store_uri
from autoopt.tracking.spool import LOG


@dataclass(frozen=True)
class Warm:
    """A study's locked folder and its executor, which has loaded the data and the techniques.

    Args:
        baseline: the recipe of `baseline=FILE`, or a LightningModule as it is written; `None` where it is the space's own.
        runner: without a goal.
        start: when this session began, in seconds on the executor's clock.
    """

    tree: Tree
    folder: Folder
    runner: Runner
    facts: dict[str, Any]
    baseline: Recipe | None
    start: float

    @property
    def advised(self) -> Tree:
        """The config with the objective that the data call for, where it names none."""
        return {**self.tree, "objective": self.tree["objective"] or self.facts["objective"]}

    @property
    def space(self) -> Space:
        """The config's space without the techniques that ask for something absent here."""
        return Space.of(self.tree).around(self.facts["batch_size"]).fitting(self.facts["absent"])

    def begin(self) -> Settled:
        """Read the settled space and goal of the study, or settle them by a preflight of every technique and write them down.

        Raises:
            BadInput: nothing can be searched with this config.
        """
        space = self.space
        check_strategy(self.tree, space)
        locked = self.folder.locked
        settled = recall(space, locked) if locked else preflight(space, self.runner, self.advised, self.baseline)
        announce(settled, self.tree, self.facts, self.runner.screen)
        self.runner.screen.say(f"baseline: {baseline_words(self, settled.space)}")
        self.folder.settle(settled, self.facts)
        return settled

    def begin_training(self) -> Settled:
        """Settle the space and goal of one training: only the baseline is tried.

        Raises:
            BadInput: the baseline cannot be trained.
        """
        settled = rehearse(self.space, self.runner, self.advised)
        if settled.untested:
            self.runner.screen.say(f"the test split cannot be measured: {settled.untested}")
        self.folder.settle(settled, self.facts)
        return settled


def check_strategy(tree: Tree, space: Space) -> None:
    """Build the strategy for what it is to search, the trainings and then their compressions: only their goal is not known yet.

    Raises:
        BadInput: it cannot search them.
    """
    goal = Goal((Objective("val_loss", "minimize"),))
    strategy_of(tree, space.without_compression(), goal)
    if space.options["compression"]:
        strategy_of(tree, space.compressing(next(iter(space.options["model"]))), compress_goal(goal))


@contextmanager
def warm(tree: Tree, screen: Screen, executor: Executor | None = None, left: str | None = None, searched: bool = True) -> Iterator[Warm]:
    """Lock the study's folder and warm up the executor; both are released at the end.

    Args:
        executor: where the trials run; else the one that the config names.
        left: what the command leaves if it is interrupted; `None`: a search, whose running trials then finish.
        searched: the folder is for a search, and not for a single training.

    Raises:
        BadInput: the folder is in use or holds another study, or the data or a technique cannot be used.
        Interrupted: a signal came.
    """
    baseline = own_baseline(tree)  # bad settings are reported before anything starts
    if tree["tracking"]["enabled"]:
        store_uri(tree["tracking"]["uri"])
    folder = Folder(tree, searched)
    interrupts = Interrupts(folder.ways_on if left is None else lambda: left, screen.say, patient=left is None)
    with interrupts.counted():
        try:
            screen.say(f"{folder.name}: warming up (log: {folder.path / 'template.log'})")
            try:
                executor = executor or engine(tree, folder)
                screen.clock, start = executor.now, executor.now()
                facts = executor.facts
            except BadInput:  # the message is complete, so the log is not needed
                folder.vanish()
                raise
            for line in facts["told"]:
                screen.say(line)
            for note in facts["notes"]:
                screen.say(f"data: {note}")
            folder.same_data(facts["examples"])
            tell_changed_code(folder, facts, screen)
            if baseline is None and facts["lightning"]:
                baseline = untouched(tree, facts["absent"])
            retries, keeps_rungs = tree["executor"]["retries"], tree["executor"]["keep"] == "rung"
            runner = Runner(executor, screen, interrupts, executor.now, retries=retries, keeps_rungs=keeps_rungs)
            yield Warm(tree, folder, runner, facts, baseline, start)
        finally:
            try:
                if executor is not None:
                    executor.close()
            finally:
                folder.close()


def engine(tree: Tree, folder: Folder) -> Executor:
    """The executor that the config names."""
    return plug(tree, "executor", setup={"tree": tree}, store=Store(folder.path), limits=Limits.of(tree))


def tell_changed_code(folder: Folder, facts: dict[str, Any], screen: Screen) -> None:
    if changed := folder.changed_code(facts["sources"]):
        words = f"{', '.join(changed)}: its file has changed since {folder.name} was begun"
        screen.say(f"{words}; trials before and after may not be comparable; name= begins another study")


def announce(settled: Settled, tree: Tree, facts: dict[str, Any], screen: Screen) -> None:
    """Print the objective, the part that the verdict compares on, and the techniques that were named but left out, or are broken."""
    first, space = settled.goal.first, settled.space
    several = ", ".join(f"{objective.direction} {objective.name}" for objective in settled.goal.objectives)
    screen.say(f"objective{'s' if len(settled.goal.objectives) > 1 else ''}: {several}")
    if settled.untested:
        screen.say(f"the test split cannot be measured: {settled.untested}")
    if settled.part == "training":
        screen.say(f"{first.name} is measured while training: the verdict compares trainings on fresh seeds")
    elif settled.part == "validation":
        missing = "" if settled.untested else f"the test split {f'does not measure {first.name}' if facts['test'] else 'is missing'}: "
        screen.say(f"{missing}the verdict compares on the validation split, which also chooses the winner")
    for key in space.dropped:
        if key not in space.broken and asked_for(tree, key):
            screen.say(f"left out: {key}: {space.dropped[key]}")
    for key in sorted(space.broken):
        slot, _, name = key.partition("/")
        path = tree[slot].get(name, {}).get(FROM)
        screen.say(f"quarantined: {key}: {space.dropped[key]}{f'; autoopt plugins check {path} tells more' if path else ''}")


def baseline_words(ready: Warm, space: Space) -> str:
    """What trial 0 trains, in a few words."""
    if ready.tree["baseline"] is not None:
        return f"the recipe in {ready.tree['baseline']}"
    recipe = ready.baseline or space.without_compression().baseline()
    model = next(iter(recipe.tree["model"]))
    own = "".join(f", trainer.{name}={value}" for name, value in recipe.trainer.items())
    if "own" in ready.facts["absent"].get("optimizer", {}):
        own += f", with {recipe.title()}"
    return f"{model} as it is written{own}" if ready.facts["lightning"] else f"{model}, {recipe.title()}"


def untouched(tree: Tree, absent: Absent) -> Recipe | None:
    """The recipe that trains a LightningModule as it is written, whatever is named; `None` where the space's own baseline does.

    A module without an optimizer of its own is trained by the baseline's.
    """
    space = Space.of(tree).fitting(absent)
    baseline = space.without_compression().baseline()
    kept = [slot for slot in SLOTS if slot not in ("data", "model", "device") and "own" not in absent.get(slot, {})]
    nodes: dict[str, Any] = {slot: as_kept(slot) for slot in kept} | {"model": with_own_defaults(space, baseline.tree["model"])}
    if any(map(is_path, (node.get(FROM, "") for node in tree["data"].values()))) and is_sweep(tree["batches"]["size"]):
        nodes["batches"] = {**baseline.tree["batches"], "size": None}  # the author's own
    recipe = baseline.replace(**nodes)
    return None if recipe == baseline else recipe


def as_kept(slot: str) -> dict[str, Any]:
    """The node of a slot that leaves the module as it is: `keep` at its defaults, or nothing."""
    return {"keep": {p.name: p.default for p in find(slot, "keep").params.values()}} if "keep" in available(slot) else {}


def with_own_defaults(space: Space, node: Mapping[str, Any]) -> dict[str, Any]:
    """The node of a model whose searched arguments have the defaults of its author."""
    ((name, values),) = node.items()
    option = space.options["model"][name]
    params = option.technique.params  # without the arguments of its objects and further keywords, whose defaults are unknown
    own = {key: params[key].default for key, value in option.values.items() if isinstance(value, Domain) and key in params}
    return {name: values | {key: default for key, default in own.items() if default is not REQUIRED}}


def own_baseline(tree: Tree) -> Recipe | None:
    """The recipe that `baseline=FILE` names, on the study's own data, split and epochs.

    Raises:
        BadInput: the file cannot be read, or leaves a choice open.
    """
    if tree["baseline"] is None:
        return None
    space = Space.of(compose([], tree["baseline"]))
    if domains := space.domains():
        raise BadInput(f"baseline={tree['baseline']}: a recipe has one value for each setting, but {domains[0].path} is open")
    study = Space.of(tree).baseline()
    return space.baseline().replace(**{key: study.tree[key] for key in ("data", "split", "study")})


@contextmanager
def open_study(warm: Warm, settled: Settled, asking: bool, listener: Callable[..., Listener]) -> Iterator[Study]:
    """The study with its journal, its budget and its mirror; at the end the journal is closed and MLflow is written.

    Args:
        listener: makes the mirror.
    """
    folder, screen, first = warm.folder, warm.runner.screen, settled.goal.first
    journal = Journal(folder.path / "journal.log", folder.name, first.direction, write=folder.searched)  # a training has none
    try:
        check_recipes([record for stage in STORED for record in journal.records(stage)], Space.of(warm.tree), warm.baseline)
        budget = budget_of(warm, settled, journal, asking)
        mirror = listener(warm.tree, folder, settled, journal, warm.facts)
        screen.goal = settled.goal
        runner = replace(warm.runner, goal=settled.goal, listener=mirror, elapsed=lambda: budget.elapsed)
        try:
            tests = warm.facts["test"] and not settled.untested
            rest = (settled.space, settled.goal, warm.baseline, warm.facts, settled.part, tests)
            yield Study(warm.tree, folder, runner, journal, budget, *rest)
        finally:
            if behind := mirror.close():
                why = last_line(folder.path / LOG)
                screen.say(f"MLflow lacks {behind} records so far; the next run of this command tries again ({why})")
    finally:
        journal.close()


def last_line(log: Path) -> str:
    """The end of a log, and where the rest is."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return f"log: {log}{f', which ends with: {lines[-1]:.300}' if lines else ''}"


def budget_of(warm: Warm, settled: Settled, journal: Journal, asking: bool) -> Budget:
    spent = max((r.elapsed for stage in STORED for r in journal.records(stage)), default=0.0)
    return Budget(
        limit=seconds(warm.tree["study"]["time"]) or inf,
        clock=warm.runner.executor.now,
        start=warm.start,
        spent=spent,
        compressing=bool(settled.space.options["compression"]),
        asking=asking,
        ablating=warm.tree["study"]["ablation"],
    )


def search(tree: Tree, screen: Screen, executor: Executor | None = None, asking: bool = True) -> Verdict:
    """Run a study, or the rest of it, to its verdict.

    Args:
        executor: where the trials run; else the one that the config names.
        asking: begin new trials; else conclude with the trials so far.

    Raises:
        BadInput: nothing can be searched with this config; nothing was started.
        NotConcluded: it ran, but there is nothing to conclude from; the trained models are kept.
        Interrupted: a signal came; the same call resumes.
    """
    with warm(tree, screen, executor) as ready:
        predecessor(tree, ready.folder, ready.facts)  # what other studies cannot lend is told before anything is tried
        if ready.folder.locked is None:
            start(tree, ready.space.without_compression())
        with open_study(ready, ready.begin(), asking, search_listener) as study:
            if not study.journal.trials(SEARCH):
                check_journal(study.folder.path)
            explore(study)
            compress(study, top=most_confirmed(study))
            options = best_of_options(study) if study.settings["compare"] else None
            comparison = None if options is None else compare(study, options)
            verdict = replace(explain(study, decide(study, options)), comparison=comparison)
            publish(study, verdict)
            return verdict


def most_confirmed(study: Study) -> int:
    """How many trials may be confirmed, if there is time for all."""
    seeds, trials = study.settings["seeds"], len(study.journal.records(SEARCH))
    return planned(share_of(trials, seeds), seeds, study.settings["confirm"]).candidates
