"""`study.start`: recipes that are tried first."""

import pytest
from scripted import closed, learn, rows, searched, space, studied

from autoopt.errors import BadInput
from autoopt.study.explore import explore, start


def recipe_file(tmp_path, name="mine.yaml", **values):
    whole = space().without_compression()
    recipe = whole.recipe({"optimizer": "sgd", "optimizer.sgd.lr": 0.02, "batches.size": 128, **values})
    path = tmp_path / name
    path.write_text(recipe.yaml())
    return path, whole.values_of(recipe)


def test_the_values_of_a_recipe_are_those_that_made_it():
    whole = space().without_compression()
    values = {"optimizer": "sgd", "optimizer.sgd.lr": 0.02, "schedule": "cosine", "regularizer.l1.use": True, "batches.size": 128}
    recipe = whole.recipe(values)
    found = whole.values_of(recipe)
    assert values.items() <= found.items() and whole.recipe(found) == recipe
    assert whole.values_of(whole.baseline()) == whole.defaults()


def test_a_recipe_outside_of_the_space_is_named():
    whole = space().without_compression()
    with pytest.raises(ValueError, match=r"optimizer.sgd.lr=0.5: expected .*0.1"):
        space("optimizer.sgd.lr=interval(0.01,0.1)").without_compression().values_of(
            whole.recipe({"optimizer": "sgd", "optimizer.sgd.lr": 0.5})
        )
    with pytest.raises(ValueError, match="schedule=cosine: the space has constant"):
        space("schedule=constant").without_compression().values_of(whole.recipe({"schedule": "cosine"}))
    with pytest.raises(ValueError, match=r"batches is \{.*128.*\}, but the space has \{.*64.*\}"):
        space("batches.size=64").without_compression().values_of(whole.recipe({"batches.size": 128}))


def test_they_are_the_trials_after_the_baseline(tmp_path):
    first, values = recipe_file(tmp_path)
    second, others = recipe_file(tmp_path, "other.yaml", **{"optimizer.sgd.lr": 0.05})
    trials = searched(tmp_path / "s", learn, f"study.start={first} {second} {first}", trials=5)
    assert [row[1] for row in trials[1:3]] == [values, others], "each once"
    assert len(trials) == 5 and trials[3][1] not in (values, others)
    again = searched(tmp_path / "s", learn, f"study.start={first} {second} {first}", trials=6)
    assert again[:5] == trials


def test_others_given_to_a_study_that_has_begun_are_said_not_to_be_tried(tmp_path):
    (first, _), (second, _) = recipe_file(tmp_path), recipe_file(tmp_path, "other.yaml", **{"optimizer.sgd.lr": 0.05})

    def said(*given):
        study = studied(tmp_path / "s", learn, *given, "study.trials=3", "study.epochs=3")
        explore(study)
        closed(study)
        return [line for line in study.runner.screen.lines if "study.start" in line]

    assert said(f"study.start={first}") == said(f"study.start={first}") == said() == []
    name = (tmp_path / "s").name
    assert said(f"study.start={second}") == [
        f"study.start={second} is not tried: {name} has settled what it tries first; give this search another name="
    ]


def test_of_those_of_earlier_studies_the_ones_that_are_tried_are_counted(tmp_path, monkeypatch):
    """In a space that lacks what the other studies chose, they are all the baseline."""
    _, values = recipe_file(tmp_path)
    lent = [space().without_compression().defaults(), values, values]
    monkeypatch.setattr("autoopt.study.explore.remembered", lambda study: lent)
    study = studied(tmp_path / "s", learn, "study.memory=true", "study.trials=3", "study.epochs=3")
    explore(study)
    closed(study)
    assert "1 recipe is tried first, of earlier studies (study.memory=true)" in study.runner.screen.lines
    assert rows(tmp_path / "s")[1][1] == values


def test_what_a_file_does_not_say_is_as_in_the_baseline(tmp_path):
    part = tmp_path / "part.yaml"
    part.write_text("optimizer: {sgd: {lr: 0.05}}")
    trials = searched(tmp_path / "s", learn, "schedule=cosine,constant", f"study.start={part}", trials=2)
    (_, baseline, *_), (_, values, *_) = trials
    assert values.items() >= {"schedule": "cosine", "optimizer.sgd.lr": 0.05}.items()
    assert {key for key, value in baseline.items() if values.get(key) != value} == {key for key in baseline if "optimizer" in key}


def test_a_file_is_no_leave_to_import_what_it_names(tmp_path):
    (path := tmp_path / "r.yaml").write_text("model: {Net: {from: theirs:Net}}")
    study = studied(tmp_path / "s", learn)
    with pytest.raises(BadInput, match=r"wants to import theirs:Net, which runs its code"):
        start({**study.tree, "study": {**study.tree["study"], "start": str(path)}}, study.space.without_compression())
    study.journal.close()
    study.folder.close()


def test_what_cannot_be_tried_is_said_with_its_field(tmp_path):
    path, _ = recipe_file(tmp_path)
    study = studied(tmp_path / "s", learn, "optimizer=adamw")
    with pytest.raises(BadInput, match=rf"study.start={path} does not lie in the space: optimizer=sgd: the space has adamw"):
        start({**study.tree, "study": {**study.tree["study"], "start": str(path)}}, study.space.without_compression())
    for reference, said in (
        ("nobody", "No study named 'nobody'"),
        ("nothing.yaml", r"nothing\.yaml: there is no such file"),
    ):
        with pytest.raises(BadInput, match=f"^study.start={reference} is no recipe that can be used: {said}"):
            start({**study.tree, "study": {**study.tree["study"], "start": str(reference)}}, study.space.without_compression())
    assert rows(tmp_path / "s") == []
    study.journal.close()
    study.folder.close()
