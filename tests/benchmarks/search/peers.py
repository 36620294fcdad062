"""The search methods of other libraries, each as shipped, on the space of a recorded table.

A peer is offered the levels of a number as integers in their order, and of a category as a categorical. `baseline=True` gives it the
baseline as its first trial, as autoopt has it.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState
from simulate import Searcher, Values, goal_of
from table import Table

from autoopt.space import Domain, traced

TRIALS = 80
"""What SMAC3 is told of its budget, which bounds its initial design: a quarter of it is drawn at random."""
ENDS = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


def is_ordered(domain: Domain) -> bool:
    return domain.scalar in (int, float)


def levels(domain: Domain) -> list[Any]:
    return sorted(domain.options) if is_ordered(domain) else list(domain.options)


def level(domain: Domain, chosen: Any) -> Any:
    """The level that a peer chose: by its place where levels are ordered, else by its text."""
    return levels(domain)[int(chosen)] if is_ordered(domain) else next(o for o in levels(domain) if str(o) == chosen)


class OptunaPeer(Searcher):
    """Optuna's default sampler by its conditional suggestions, with one of its pruners."""

    def __init__(self, table: Table, seed: int, pruner: BasePruner, baseline: bool):
        self.space = table.grid.space
        self.study = optuna.create_study(
            direction=goal_of(table).directions[0], sampler=optuna.samplers.TPESampler(seed=seed), pruner=pruner
        )
        self.trials: dict[int, optuna.Trial] = {}
        if baseline:
            defaults = traced(self.space, lambda domain: domain.default)
            places = {
                d.path: levels(d).index(defaults.values[d.path]) if is_ordered(d) else defaults.values[d.path] for d in defaults.domains
            }
            self.study.enqueue_trial(places)

    def ask(self, number: int) -> Values:
        trial = self.trials[number] = self.study.ask()

        def suggest(domain: Domain) -> Any:
            options = levels(domain)
            if is_ordered(domain):
                return options[trial.suggest_int(domain.path, 0, len(options) - 1)]
            return trial.suggest_categorical(domain.path, options)

        return traced(self.space, suggest).values

    def report(self, number: int, epoch: int, value: float) -> bool:
        self.trials[number].report(value, epoch)
        return self.trials[number].should_prune()

    def tell(self, number: int, state: str, value: float | None) -> None:
        ends = {
            "complete": optuna.trial.TrialState.COMPLETE,
            "stopped": optuna.trial.TrialState.PRUNED,
            "failed": optuna.trial.TrialState.FAIL,
        }
        self.study.tell(self.trials.pop(number), value, ends[state])


@dataclass
class RayAsha(Searcher):
    """Ray Tune's AsyncHyperBandScheduler as shipped, over random proposals as Ray's default search draws them."""

    scheduler: Any
    space: Any
    seed: int
    first: Values | None

    @classmethod
    def of(cls, table: Table, seed: int, baseline: bool) -> "RayAsha":
        from ray.tune.schedulers import ASHAScheduler

        mode = {"maximize": "max", "minimize": "min"}[goal_of(table).directions[0]]
        scheduler = ASHAScheduler(metric="value", mode=mode, max_t=table.grid.epochs)
        return cls(scheduler, table.grid.space, seed, table.grid.space.defaults() if baseline else None)

    def ask(self, number: int) -> Values:
        self.scheduler.on_trial_add(None, RayTrial(number))
        if number == 0 and self.first is not None:
            return self.first
        random = Random(f"{self.seed}/{number}")
        return traced(self.space, lambda domain: domain.sample(random)).values

    def report(self, number: int, epoch: int, value: float) -> bool:
        return self.scheduler.on_trial_result(None, RayTrial(number), {"training_iteration": epoch, "value": value}) == "STOP"

    def tell(self, number: int, state: str, value: float | None) -> None: ...


@dataclass(frozen=True)
class RayTrial:
    """What the scheduler looks at of a trial."""

    number: int

    @property
    def trial_id(self) -> str:
        return str(self.number)


class SyneTune(Searcher):
    """A scheduler of Syne Tune, asked for suggestions and told results."""

    def __init__(self, table: Table, seed: int, name: str, baseline: bool):
        from syne_tune.backend.trial_status import Trial
        from syne_tune.config_space import choice, randint
        from syne_tune.optimizer import baselines

        seed_everything(seed)
        self.space, self.make = table.grid.space, Trial
        domains = [domain for domain in self.space.domains() if len(levels(domain)) > 1]
        flat = {d.path: randint(0, len(levels(d)) - 1) if is_ordered(d) else choice([str(o) for o in levels(d)]) for d in domains}
        sign = goal_of(table).directions[0] == "maximize"
        first = {d.path: levels(d).index(d.default) if is_ordered(d) else str(d.default) for d in domains}
        more = {"points_to_evaluate": [first]} if baseline else {}
        self.scheduler = getattr(baselines, name)(
            flat, metric="value", time_attr="epoch", max_t=table.grid.epochs, do_minimize=not sign, random_seed=seed, **more
        )
        self.trials: dict[int, Any] = {}

    def ask(self, number: int) -> Values:
        from datetime import datetime

        config = self.scheduler.suggest().config
        self.trials[number] = self.make(number, config, datetime.now())
        self.scheduler.on_trial_add(self.trials[number])
        return traced(self.space, lambda d: level(d, config[d.path]) if d.path in config else d.default).values

    def report(self, number: int, epoch: int, value: float) -> bool:
        self.last = {"epoch": epoch, "value": value}
        return self.scheduler.on_trial_result(self.trials[number], self.last) == "STOP"

    def tell(self, number: int, state: str, value: float | None) -> None:
        if state == "complete":
            self.scheduler.on_trial_complete(self.trials[number], self.last)
        elif state == "failed":
            self.scheduler.on_trial_error(self.trials[number])
        else:
            self.scheduler.on_trial_remove(self.trials[number])


class Smac(Searcher):
    """A facade of SMAC3, asked for trials and told their costs; a trial ends at the budget that it is asked with.

    A configuration that is promoted to a larger budget is trained anew, as SMAC3 does it.
    """

    def __init__(self, table: Table, seed: int, facade: str, baseline: bool):
        import smac
        from smac.runhistory import StatusType, TrialValue

        self.space, self.epochs, self.sign = table.grid.space, table.grid.epochs, goal_of(table).first.sign
        self.value, self.status, self.trials = TrialValue, StatusType, {}
        fidelity = {} if facade == "HyperparameterOptimizationFacade" else {"min_budget": 1, "max_budget": self.epochs}
        self.folder = tempfile.TemporaryDirectory()
        space = configurations(table, seed)
        scenario = smac.Scenario(space, deterministic=True, n_trials=TRIALS, seed=seed, output_directory=Path(self.folder.name), **fidelity)
        make, first = getattr(smac, facade), [space.get_default_configuration()] if baseline else []
        design = make.get_initial_design(scenario)
        drawn = design.select_configurations()
        design.select_configurations = lambda: list(dict.fromkeys([*first, *drawn]))  # additional_configs come behind what is drawn
        self.smac = make(scenario, lambda config, seed, budget=None: 0.0, initial_design=design, logging_level=False)

    def ask(self, number: int) -> Values:
        trial = self.trials[number] = self.smac.ask()
        chosen = dict(trial.config)
        return traced(self.space, lambda d: levels(d)[chosen[d.path]] if is_ordered(d) else chosen[d.path]).values

    def report(self, number: int, epoch: int, value: float) -> bool:
        self.last = -self.sign * value
        return epoch >= round(self.trials[number].budget or self.epochs)

    def tell(self, number: int, state: str, value: float | None) -> None:
        status = self.status.CRASHED if state == "failed" else self.status.SUCCESS
        self.smac.tell(self.trials.pop(number), self.value(1e6 if state == "failed" else self.last, status=status))


class PriorBand(Searcher):
    """PriorBand of NePS over its default brackets, with the baseline as the prior of every value; a promoted trial goes on.

    Args:
        prior: the baseline is the first trial, too, and a value's prior has medium confidence; else there is no prior at all, which
            makes it Hyperband.
    """

    def __init__(self, table: Table, seed: int, prior: bool):
        import neps
        from neps import HPOCategorical, HPOInteger, SearchSpace

        seed_everything(seed)
        self.space, self.sign, self.epochs = table.grid.space, goal_of(table).first.sign, table.grid.epochs
        self.domains = {str(place): domain for place, domain in enumerate(self.space.domains())}

        def parameter(domain: Domain) -> Any:
            options = levels(domain)
            default = options.index(domain.default)
            if is_ordered(domain) and len(options) > 1:
                return HPOInteger(0, len(options) - 1, prior=default if prior else None, prior_confidence="medium")
            return HPOCategorical([str(o) for o in options], prior=str(domain.default) if prior else None, prior_confidence="medium")

        space = SearchSpace({name: parameter(domain) for name, domain in self.domains.items() if len(levels(domain)) > 1})
        fidelity = SearchSpace({**space, "epochs": HPOInteger(1, self.epochs, is_fidelity=True)})
        first = "highest_fidelity" if prior else False
        optimizer = neps.algorithms.priorband(fidelity, sample_prior_first=first) if prior else neps.algorithms.hyperband(fidelity)
        self.neps, self.trials, self.numbers = neps.AskAndTell(optimizer), {}, {}

    def ask(self, number: int) -> Values:
        trial = self.trials[number] = self.neps.ask()
        self.numbers[trial.id] = number

        by_path = {domain.path: level(domain, trial.config[name]) for name, domain in self.domains.items() if name in trial.config}
        return traced(self.space, lambda d: by_path.get(d.path, d.default)).values

    def continues(self, number: int) -> int | None:
        former = self.trials[number].metadata.previous_trial_id
        return None if former is None else self.numbers[former]

    def report(self, number: int, epoch: int, value: float) -> bool:
        self.last = -self.sign * value
        return epoch >= self.trials[number].config["epochs"]

    def tell(self, number: int, state: str, value: float | None) -> None:
        self.neps.tell(self.trials[number], ArithmeticError("not finite") if state == "failed" else self.last)


class Hebo(Searcher):
    """HEBO over the space without its conditions; every trial runs to its end."""

    def __init__(self, table: Table, seed: int, baseline: bool):
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        seed_everything(seed)
        self.space, self.sign = table.grid.space, goal_of(table).first.sign
        self.domains = {str(place): domain for place, domain in enumerate(self.space.domains()) if len(levels(domain)) > 1}
        self.hebo = HEBO(DesignSpace().parse([self.parameter(name, domain) for name, domain in self.domains.items()]), scramble_seed=seed)
        self.first, self.trials = baseline, {}

    def parameter(self, name: str, domain: Domain) -> Mapping[str, Any]:
        options = levels(domain)
        if is_ordered(domain):
            return {"name": name, "type": "int", "lb": 0, "ub": len(options) - 1}
        return {"name": name, "type": "cat", "categories": [str(o) for o in options]}

    def ask(self, number: int) -> Values:
        import pandas as pd

        asked = self.hebo.suggest(1)
        if number == 0 and self.first:
            defaults = {n: levels(d).index(d.default) if is_ordered(d) else str(d.default) for n, d in self.domains.items()}
            asked = pd.DataFrame([defaults])
        self.trials[number] = asked
        chosen = {domain.path: level(domain, asked.iloc[0][name]) for name, domain in self.domains.items()}
        return traced(self.space, lambda d: chosen.get(d.path, d.default)).values

    def report(self, number: int, epoch: int, value: float) -> bool:
        return False

    def tell(self, number: int, state: str, value: float | None) -> None:
        import numpy as np

        self.hebo.observe(self.trials.pop(number), np.array([[1e6 if value is None else -self.sign * value]]))


def seed_everything(seed: int) -> None:
    """Seed what methods without a seed of their own draw from."""
    import numpy as np
    import torch

    np.random.seed(seed)
    torch.manual_seed(seed)


def configurations(table: Table, seed: int) -> Any:
    """The space for ConfigSpace: levels of numbers as integers, a condition for each domain that not every recipe needs."""
    from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, EqualsCondition, UniformIntegerHyperparameter

    domains = table.grid.space.domains()
    made = {}
    for domain in domains:
        options = levels(domain)
        made[domain.path] = (
            UniformIntegerHyperparameter(domain.path, 0, len(options) - 1, default_value=options.index(domain.default))
            if is_ordered(domain) and len(options) > 1
            else CategoricalHyperparameter(domain.path, options, default_value=domain.default)
        )
    space = ConfigurationSpace(seed=seed)
    space.add(*made.values())
    for domain in domains:
        for (clause,) in domain.condition.cases if str(domain.condition) else ():  # the tables' conditions have one clause each
            (name,) = clause.names
            parent, value = (clause.slot, name) if clause.slot in made else (f"{clause.slot}.{name}.use", True)
            space.add(EqualsCondition(made[domain.path], made[parent], value))
    return space


Make = Callable[[Table, int], Searcher]
PEERS: Mapping[str, Make] = {
    "Optuna default, as shipped": lambda table, seed: OptunaPeer(table, seed, NopPruner(), baseline=False),
    "Optuna default": lambda table, seed: OptunaPeer(table, seed, NopPruner(), baseline=True),
    "Optuna + MedianPruner": lambda table, seed: OptunaPeer(table, seed, MedianPruner(), baseline=True),
    "Optuna + SuccessiveHalvingPruner": lambda table, seed: OptunaPeer(table, seed, SuccessiveHalvingPruner(), baseline=True),
    "Optuna + HyperbandPruner": lambda table, seed: OptunaPeer(table, seed, HyperbandPruner(1, table.grid.epochs), baseline=True),
    "Ray Tune ASHA": lambda table, seed: RayAsha.of(table, seed, baseline=True),
    "SMAC3": lambda table, seed: Smac(table, seed, "HyperparameterOptimizationFacade", baseline=True),
    "SMAC3 multi-fidelity": lambda table, seed: Smac(table, seed, "MultiFidelityFacade", baseline=True),
    "NePS Hyperband": lambda table, seed: PriorBand(table, seed, prior=False),
    "NePS PriorBand": lambda table, seed: PriorBand(table, seed, prior=True),
    "HEBO": lambda table, seed: Hebo(table, seed, baseline=True),
    "Syne Tune ASHA": lambda table, seed: SyneTune(table, seed, "ASHA", baseline=True),
    "Syne Tune ASHA + CQR": lambda table, seed: SyneTune(table, seed, "ASHACQR", baseline=True),
}
