"""What is wrong with a config: every problem at once, a line each, with what was expected."""

import os

import pytest
import yaml
from test_config_compose import CSV, DATA, compose, file, problems

from autoopt.config.yaml_file import mapping
from autoopt.errors import BadInput
from autoopt.technique import available

SETS = ", ".join(available("data"))
SEARCHED_NOT = "a setting is not searched; give one value"
KEY_VALUE = "expected key=value, such as optimizer=adamw"
DURATION = "expected a time above 0 in d, h, min or s, such as 5min, 2h, 90s or 1h30m"
NAME = "expected at most 64 letters, digits, '.', '_' or '-', the first a letter or digit"
TEXTS = ("objective", "direction", "study.time", "study.compare", "executor.trial_time", "executor.checkpoint")
SHARES = "expected shares above 0 that leave some for training"
ADDED = "keys cannot be added or deleted; give"
READ = "cannot be read: "


ROWS = [
    # words that a setting takes
    ("batches.scale_lr=cubic", "batches.scale_lr=cubic: expected none or sqrt or linear"),
    ("batches.sampler=even", "batches.sampler=even: expected null or balanced"),
    ("batches.cache=ram", "batches.cache=ram: expected memory or disk or none"),
    ("split.folds=1", "split.folds=1: expected 2 or more"),
    ("batches.accumulate=0,2", "batches.accumulate=choice(0,2): expected 1 or more"),
    # techniques that no recipe uses together
    (
        "compression=[prune_magnitude,quantize_static]",
        "compression=[prune_magnitude,quantize_static]: one leaves zeros among the weights, and the other stores them like any weight",
    ),
    (
        "compression=[half,weight_sharing]",
        "compression=[half,weight_sharing]: each has to act last; give one of them, or search them: compression=half,weight_sharing",
    ),
    # names
    ("optimizer=adamww", "No optimizer named 'adamww'. Did you mean 'adamw'? Known: adabelief, "),
    ("optimizer=[adamw,sgdd]", "No optimizer named 'sgdd'. Did you mean 'sgd'?"),
    ("optimizer=none", "No optimizer named 'none'. Known: adabelief, "),
    ("optimizer=", "No optimizer named ''. Known: adabelief, "),
    ("optimizer=3", "No optimizer named '3'. Known: adabelief, "),
    ("data=all", "No data named 'all'. Known: breast_cancer, csv, "),
    ("model=cn", "No model named 'cn'. Did you mean 'cnn'? Known: cnn, images, linear, mlp, "),
    ("study=quik", "No study named 'quik'. Did you mean 'quick'? Known: default, quick, thorough."),
    ("executor=rey", "No executor named 'rey'. Did you mean 'ray'? Known: local, ray, submitit."),
    ("study=quick,thorough", "study=quick,thorough: expected one of default, quick, thorough"),
    ("optimizer=interval(0,1)", "optimizer=interval(0,1): expected names, such as optimizer=a,b"),
    ("optimizer=own_parts:adamw,adamw", "optimizer=own_parts:adamw,adamw: two of these have the same name in the config"),
    ("optimizer=[recommended,own_parts:adamw]", "optimizer=[recommended,own_parts:adamw]: two of these have the same name in the config"),
    ("optimizer=adamw,own_parts:recommended", "optimizer=own_parts:recommended: 'recommended' is a preset of optimizer; import it under "),
    ("model=own_parts:make,own_front:make", "model=own_parts:make,own_front:make: two of these have the same name"),
    ("optimizer=own_parts:greedy", "optimizer=own_parts:greedy asks for 'closure', which optimizer does not offer"),
    ("optimizer=no_such_module:Thing", "optimizer/Thing cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
    ("model=own_parts.py:make", "model=own_parts.py:make is a file; give its import path: model=own_parts:make"),
    ("model=./nets/mine.py:Net", "model=./nets/mine.py:Net is a file; give its import path: model=nets.mine:Net"),
    ("model=/a/mine.py:Net", "model=/a/mine.py:Net is a file; give its import path: model=mine:Net, in the folder /a"),
    ("optimizer=own_nested:Outr", "own_nested has no 'Outr'. Did you mean 'Outer'?"),
    # keys
    ("optimzer=adamw", "No setting named 'optimzer'. Did you mean 'optimizer'? Known: activation, "),
    ("sed=1", "No setting named 'sed'. Did you mean 'seed'? Known: "),
    ("study.trails=3", "No setting named 'study.trails'. Did you mean 'study.trials'? Known: study.ablation, "),
    ("split=0.2", "No setting named 'split'. Did you mean 'split.time'? Known: split.column, "),
    ("batches=32", "No setting named 'batches'. Did you mean 'batches.size'? Known: batches.accumulate, "),
    ("tracking=false", "No setting named 'tracking'. Did you mean 'tracking.uri'?"),
    ("hydra.run.dir=x", "No setting named 'hydra.run.dir'. Known: "),
    ("trials=3", "No setting named 'trials'. Did you mean 'study.trials'? Known: activation, "),
    ("split={validation:0.3}", "split={validation:0.3}: give each of them by itself, as in split.validation=…"),
    ("data.digits={train:100}", "data.digits={train:100}: give each of them by itself, as in data.digits.train=…"),
    ("optimizer.adamw=3", "No setting named 'optimizer.adamw'. Did you mean 'optimizer'?"),
    ("optimizer.adamw.lr.x=3", "No setting named 'optimizer.adamw.lr.x'."),
    ("optimizer.adamw.l=3", "No optimizer.adamw argument named 'l'. Did you mean 'lr'? Known: beta1, beta2, lr, weight_decay."),
    ("optimizer.adamw.use=true", "No optimizer.adamw argument named 'use'. Known: beta1, "),
    ("optimizer.sgd.lr=3", "optimizer.sgd.lr: optimizer=sgd is not selected. Selected: keep, adamw, nesterov."),
    ("compression.half.dtype=3", "compression.half.dtype: compression=half is not selected. Selected: none."),
    # form
    ("x", f"x: {KEY_VALUE}"), ("=3", f"=3: {KEY_VALUE}"), ("-x=1", f"-x=1: {KEY_VALUE}"),
    ("optimizer@a=adamw", f"optimizer@a=adamw: {KEY_VALUE}"),
    ("+x=1", f"+x=1: {ADDED} x=1"), ("++seed=1", f"++seed=1: {ADDED} seed=1"), ("~optimizer", f"~optimizer: {ADDED} optimizer"),
    ("root=a(b", f"root=a(b: {READ}no viable alternative at input 'a(b'; quote special characters: root='\"a(b\"'"),
    ("root=${x", f"root=${{x: {READ}"),
    ("optimizer.adamw.lr=choice()", f"optimizer.adamw.lr=choice(): {READ}ValueError while evaluating 'choice()': an empty choice"),
    ("optimizer.adamw.lr=interval(a,b)", f"optimizer.adamw.lr=interval(a,b): {READ}TypeError while evaluating"),
    ("optimizer.adamw.lr=glob(*)", "optimizer.adamw.lr=glob(*): cannot be read"),
    ("optimizer.adamw.lr={a: 1}", "optimizer.adamw.lr={a: 1}: expected one value, got a mapping"),
    # types
    ("optimizer.adamw.lr=fast", "optimizer.adamw.lr=fast: expected float, got 'fast'"),
    ("optimizer.adamw.lr=", "optimizer.adamw.lr=: expected float, got ''"),
    ("optimizer.adamw.lr=true", "optimizer.adamw.lr=true: expected float, got True"),
    ("optimizer.adamw.lr=[1,2]", "optimizer.adamw.lr=[1, 2]: expected float, got [1, 2]; give interval(1, 2) for a range, or 1,2"),
    ("optimizer=mine.Signs", "No optimizer named 'mine.Signs'. Known: adabelief, "),
    ("optimizer.adamw.lr=null", "optimizer.adamw.lr=null: expected float, got null"),
    ("optimizer.adamw.lr=null,0.1", "optimizer.adamw.lr=choice(null,0.1): expected float, got null"),
    ("optimizer.adamw.lr=0.1,x", "optimizer.adamw.lr=choice(0.1,x): expected float, got 'x'"),
    ("model.mlp.depth=2.5", "model.mlp.depth=2.5: expected int, got 2.5"),
    ("model.mlp.depth=interval(1.5,3)", "model.mlp.depth=interval(1.5,3): expected int, got 1.5"),
    ("model.mlp.depth=range(1,3.5,0.5)", "model.mlp.depth=range(1,3.5,0.5): expected int, got 0.5"),
    ("model.mlp.connection=plain,true", "model.mlp.connection=choice(plain,true): expected str, got True"),
    ("model.mlp.connection=interval(0,1)", "model.mlp.connection=interval(0,1): expected str, got a range of numbers"),
    ("augmentation.mixup.use=3", "augmentation.mixup.use=3: expected bool, got 3"),
    ("augmentation.mixup.use=interval(0,1)", "augmentation.mixup.use=interval(0,1): expected bool, got a range of numbers"),
    ("study.trials=many", "study.trials=many: expected int, got 'many'"),
    ("study.trials=2.5", "study.trials=2.5: expected int, got 2.5"),
    ("study.value=mean", "study.value=mean: expected last or best"),
    ("study.trials=null", "study.trials=null: expected int, got null"),
    ("seed=null", "seed=null: expected int, got null"),
    ("root=null", "root=null: expected str, got null"),
    ("study.stopping=maybe", "study.stopping=maybe: expected bool, got 'maybe'"),
    ("tracking.enabled=1", "tracking.enabled=1: expected bool, got 1"),
    # ranges
    ("optimizer.adamw.lr=interval(1,1)", "optimizer.adamw.lr=interval(1,1): Range needs low < high, got low=1.0, high=1.0"),
    ("optimizer.adamw.lr=interval(0.1,0.01)", "optimizer.adamw.lr=interval(0.1,0.01): Range needs low < high"),
    ("optimizer.adamw.lr=interval(1,inf)", "optimizer.adamw.lr=interval(1,inf): expected a finite number, got inf"),
    ("optimizer.adamw.lr=tag(log,interval(0,1))", "a logarithmic Range needs low > 0 and no step"),
    ("optimizer.adamw.lr=range(3,3)", "optimizer.adamw.lr=range(3,3): an empty range"),
    # settings
    ("seed=1,2", f"seed=choice(1,2): {SEARCHED_NOT}"),
    ("study.epochs=interval(1,9)", f"study.epochs=interval(1,9): {SEARCHED_NOT}"),
    ("objective=choicest,other", f"objective=choice(choicest,other): {SEARCHED_NOT}"),
    ("data.digits.train=100,200", f"data.digits.train=choice(100,200): {SEARCHED_NOT}"),
    ("trainer.max_epochs=3", "trainer.max_epochs: autoopt sets this argument of the Trainer; give study.epochs=…"),
    ("trainer.logger=false", "trainer.logger: autoopt sets this argument of the Trainer; give tracking.enabled=…, tracking.uri=…"),
    ("trainer.strategy=ddp", "trainer.strategy: autoopt sets this argument of the Trainer; give device=…"),
    ("trainer.gradient_clip=1", "No setting named 'trainer.gradient_clip'. Did you mean 'trainer.gradient_clip_val'?"),
    ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val=-1.0: expected 0 or more"),
    ("trainer.gradient_clip_algorithm=best", "trainer.gradient_clip_algorithm=best: expected null or norm or value"),
    ("trainer.callbacks=a:b,c:d", f"trainer.callbacks=choice(a:b,c:d): {SEARCHED_NOT}"),
    ("trainer.limit_val_batches=1,2", f"trainer.limit_val_batches=choice(1,2): {SEARCHED_NOT}"),
    ("trainer.limit_train_batches=half", "trainer.limit_train_batches=half: expected int or float, got 'half'"),
    ("trainer.limit_train_batches=true", "trainer.limit_train_batches=true: expected int or float, got True"),
    ("trainer.limit_train_batches=interval(1,9)", "trainer.limit_train_batches=interval(1,9): give the values to choose from"),
    ("trainer.deterministic=maybe", "trainer.deterministic=maybe: expected null or true or false or warn"),
    ("trainer.precision=17", "trainer.precision=17: expected null or 16 or 32"),
    ("trainer.precision=16,17", "trainer.precision=choice(16,17): expected null or 16 or 32"),
    ("direction=up", "direction=up: expected maximize or minimize"),
    ("direction='minimize minimize minimize'", "direction=minimize minimize minimize: expected one for each objective, and "),
    ("objective='val_f1 val_f1'", "objective=val_f1 val_f1: each objective once"),
    ("constraints=2", "constraints=2: name the metric, as in constraints.latency_ms=2"),
    ("constraints.latency_ms=low", "constraints.latency_ms=low: expected float, got 'low'"),
    ("constraints.latency_ms=nan", "constraints.latency_ms=nan: expected a finite number, got nan"),
    ("study.trainings=inf", "study.trainings=inf: expected a finite number, got inf"),
    ("constraints.latency_ms=1,2", f"constraints.latency_ms=choice(1,2): {SEARCHED_NOT}"),
    *((f"study.{k}=0", f"study.{k}=0: expected 1 or more") for k in ("trials", "epochs", "confirm", "seeds")),
    *((f"executor.{k}=-1", f"executor.{k}=-1: expected 1 or more") for k in ("workers", "cpus_per_trial")),
    ("study.compress=-1", "study.compress=-1: expected 0 or more"),
    ("batches.size=0", "batches.size=0: expected 1 or more"),
    ("batches.size=0,8", "batches.size=choice(0,8): expected 1 or more"),
    ("batches.size=interval(0,8)", "batches.size=interval(0,8): expected 1 or more"),
    ("executor.gpus_per_trial=0", "executor.gpus_per_trial=0.0: expected more than 0"),
    *((f"study.time={t}", f"study.time={t}: {DURATION}") for t in ("soon", "8x", "5", "1.2.3h", "-5m")),
    ("study.time=''", f"study.time=: {DURATION}"),
    *((f"{key}=true", f"{key}=true: expected str, got True") for key in TEXTS),
    *((f"{key}=[1,2]", f"{key}=[1, 2]: expected str, got [1, 2]") for key in TEXTS[2:]),
    ("executor.trial_time=0s", f"executor.trial_time=0s: {DURATION}"),
    ("executor.trial_time=90", f"executor.trial_time=90: {DURATION}"),
    *((f"name={n}", f"name={n}: {NAME}") for n in ("../x", "a/b", ".x", "-x", "a b", "x" * 65)),
    ("name=ü", f"name=ü: {READ}token recognition error at: 'ü'; quote special characters"),
    ("name='ü'", f"name=ü: {NAME}"),
    ("name=''", f"name=: {NAME}"),
    ("split.validation=0", f"split.validation=0.0, split.test=0.2: {SHARES}"),
    ("split.validation=0.8", f"split.validation=0.8, split.test=0.2: {SHARES}"),
    ("split.test=-0.1", f"split.validation=0.2, split.test=-0.1: {SHARES}"),
    ("split.test=1", f"split.validation=0.2, split.test=1.0: {SHARES}"),
    ("schedule=[]", "schedule=: nothing is selected; give one of constant, cosine, cosine_restarts, "),
    ("model=[]", "model=: nothing is selected; give one of cnn, linear, mlp, "),
    ("data=digits,diabetes", "data=digits,diabetes: all trials have the same data; give one"),
]  # fmt: skip


def batches():
    """The rows a few at a time, no two about one root: each is to be answered, whatever is wrong beside it."""
    found = []
    for row in ROWS:
        root = row[0].lstrip("+~").partition("=")[0].partition(".")[0].partition("@")[0]
        batch = next((b for b in found if root not in b), None)
        if batch is None:
            found.append(batch := {})
        batch[root] = row
    return [list(batch.values()) for batch in found]


@pytest.mark.parametrize("rows", batches(), ids=lambda rows: rows[0][0])
def test_every_problem_has_its_line(rows):
    lines = problems(*([] if any(a.startswith("data=") for a, _ in rows) else [DATA]), *(argument for argument, _ in rows))
    assert len(lines) == len(rows) and not any("\n" in line for line in lines)
    for argument, problem in rows:
        assert sum(problem in line for line in lines) == 1, (argument, lines)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], [f"data=… is missing: give one of {SETS}, or module:LightningDataModule"]),
        (["data=[]"], [f"data=… is missing: give one of {SETS}, or module:LightningDataModule"]),
        (["data=csv"], ["data.csv.target is missing: give data.csv.target=…"]),
        (["data=digts"], [f"No data named 'digts'. Did you mean 'digits'? Known: {SETS}."]),
        (["data=digts", "data.digts.x=3"], [f"No data named 'digts'. Did you mean 'digits'? Known: {SETS}."]),
        (
            ["data=csv", "data.csv.target=a,b"],
            ["data.csv.target=choice(a,b): a setting is not searched; give a list: 'data.csv.target=[a,b]'"],
        ),
        ([*CSV, "data.csv.path=a.csv,b.csv"], [f"data.csv.path=choice(a.csv,b.csv): {SEARCHED_NOT}"]),
        ([*CSV, "data.csv.target=null"], ["data.csv.target=null: expected str, got null"]),
    ],
)  # fmt: skip
def test_what_the_data_need(arguments, expected):
    assert problems(*arguments) == expected


def test_all_problems_at_once_and_each_once():
    arguments = ["optimizer=adamww", "seed=one", "sed=1", "model.mlp.width=interval(9,1)", "name=../x", "~x", "study.time=soon", "sed=1"]
    assert [p[:20] for p in problems(*arguments)] == [
        "No optimizer named '", "No setting named 'se", "~x: keys cannot be a", "data=… is missing: g",
        "model.mlp.width=inte", "seed=one: expected i", "study.time=soon: exp", "name=../x: expected ",
    ]  # fmt: skip


def test_nothing_for_a_schedule_but_an_optimizer_that_brings_its_own():
    compose([DATA, "optimizer=own_parts:schedule_free", "schedule=[]"])
    (line,) = problems(DATA, "optimizer=adamw,own_parts:schedule_free", "schedule=[]")
    assert line.startswith("schedule=: nothing is selected")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1", r"search.yaml: not valid YAML: while parsing a flow sequence .* line 1"),
        ("\tx: 1", r"search.yaml: not valid YAML: while scanning"),
        ("a: 1\n---\nb: 2", r"search.yaml: not valid YAML: expected a single document"),
        ("a: !!python/object:os.system 1", r"search.yaml: not valid YAML: could not determine a constructor"),
        ("a: &x [1]\nb: *x", r"search.yaml: YAML aliases are not supported; write the value out$"),
        ("study: {trials: 5}\nseed: 1\nstudy: {epochs: 2}", r"search.yaml: not valid YAML: it has study twice in one mapping$"),
        ("optimizer: [{adamw: {lr: 1, lr: 2}}]", r"search.yaml: not valid YAML: it has lr twice in one mapping$"),
        ("a: " + "[" * 33 + "]" * 33, r"search.yaml: not valid YAML: nested more than 32 deep$"),
        ("{a: " * 300 + "1" + "}" * 300, r"search.yaml: not valid YAML: nested more than 32 deep$"),
        ("[" * 100_000, r"search.yaml: not valid YAML: nested more than 32 deep$"),
        ("- data", r"search.yaml: expected a mapping of slots and settings, got list$"),
        ("text", r"search.yaml: expected a mapping of slots and settings, got str$"),
        ("", r"search.yaml: expected a mapping of slots and settings, got NoneType$"),
        ("sed: 1", r"^No setting named 'sed'\. Did you mean 'seed'\?"),
        ("split: 0.2", r"^No setting named 'split'"),
        ("batches: null", r"^No setting named 'batches'"),
        ("1: 2", r"^1=2: cannot be read"),
        ("a b: 2", r"^a b=2: cannot be read"),
        ("'': 2", r"^=2: expected key=value"),
        ("optimizer: {adamw: 3}", r"^No setting named 'optimizer.adamw'"),
        ("optimizer: {adamw: [3]}", r"^No setting named 'optimizer.adamw'"),
        ("optimizer: {adamw: {lr: fast}}", r"^optimizer.adamw.lr=fast: expected float, got 'fast'$"),
        ("optimizer: {adamw: {lr: {a: 1}}}", r"^optimizer.adamw.lr={a: 1}: expected one value, got a mapping"),
        ("optimizer: {adamww: {lr: 0.1}}", r"^No optimizer named 'adamww'\. Did you mean 'adamw'\?"),
        ("optimizer: [{adamw: {lr: 0.1}}]", r"^optimizer=.*: it cannot be read"),
        ("optimizer: null", r"^No optimizer named 'None'"),
        ("schedule: {}", r"^schedule=: nothing is selected"),
        ("study: slow", r"^No study named 'slow'"),
        ("study: {trials: 0}", r"^study.trials=0: expected 1 or more$"),
        ("seed: [1, 2]", r"^seed=\[1, 2\]: expected int, got \[1, 2\]$"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, problem):
    path = file(tmp_path, text)
    with pytest.raises(BadInput, match=problem) as caught:
        compose([DATA], path)
    assert len(caught.value.problems) == 1 and "\n" not in str(caught.value)


BIG = "1" + "0" * 400


@pytest.mark.parametrize(
    "override",
    [f"optimizer.adamw.lr={value}" for value in (BIG, f"1,{BIG}", f"range(0,{BIG},1)", f"[{BIG}]", f"-{BIG}", "1" * 5000)]
    + [f"{key}={BIG}" for key in ("study.trainings", "constraints.latency_ms", "split.validation", "seed", "study.epochs")]
    + [f"split.seed={2**63}", f"seed=-{2**70}"],
)
def test_numbers_that_are_too_large_for_any_library(override):
    assert problems(DATA, override) == [f"{override:.80}: expected whole numbers of at most 19 digits"]


def test_large_numbers_within_64_bits_are_taken():
    assert compose([DATA, f"seed={2**63 - 1}", f"split.seed={1 - 2**63}"])["seed"] == 2**63 - 1


@pytest.mark.parametrize("value", ["[" * 33 + "1" + "]" * 33, "{a:" * 3000 + "1" + "}" * 3000])
def test_values_that_are_nested_too_deep(value):
    assert problems(DATA, f"model.mlp.width={value}") == ["model.mlp.width: brackets are nested more than 32 deep"]


def test_files_that_are_none(tmp_path):
    with pytest.raises(BadInput, match=r"missing\.yaml: No such file or directory$"):
        compose([DATA], str(tmp_path / "missing.yaml"))
    with pytest.raises(BadInput, match=r": Is a directory$"):
        compose([DATA], str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes("name: über".encode("latin-1"))
    with pytest.raises(BadInput, match=r"latin\.yaml: not valid YAML: 'utf-8' codec can't decode"):
        compose([DATA], str(tmp_path / "latin.yaml"))


@pytest.mark.slow
def test_a_long_file_with_one_wrong_key_and_one_value_that_hydra_refuses(tmp_path):
    tree = compose([DATA])
    tree["optimizer"]["adamw"] |= {"lrr": 0.1, "lr": "${broken"}
    path = file(tmp_path, yaml.safe_dump(tree, sort_keys=False))
    lines = problems(file=path)
    assert lines[-1] == "No optimizer.adamw argument named 'lrr'. Did you mean 'lr'? Known: beta1, beta2, lr, weight_decay."
    assert lines[0].startswith("optimizer.adamw.lr=") and len(lines) == 2


def test_a_file_without_an_end_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in ("/dev/zero", str(tmp_path / "pipe.yaml")):
        with pytest.raises(BadInput, match=f"^{path}: expected a regular file$"):
            mapping(path)


@pytest.mark.parametrize("word", ["root={'<a>':0}", "optimizer.adamw.lr=choice()"])
def test_quotes_are_advised_for_texts_alone(word):
    with pytest.raises(BadInput) as raised:
        compose([DATA, word])
    (line,) = raised.value.problems
    assert READ in line and "quote" not in line
