"""Data sets of Hugging Face on disk, written here as `save_to_disk` of datasets 2 to 4 lays them out."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image

from autoopt.data.make_task import make_task
from autoopt.errors import BadInput
from autoopt.plugins.data.hugging_face import hugging_face

SPLIT = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True}
LABEL = {"names": ["cat", "dog"], "_type": "ClassLabel"}
TEXT = {"dtype": "string", "_type": "Value"}


def write(folder: Path, columns: dict[str, list], features: dict, files: int = 1, **state) -> None:
    folder.mkdir(parents=True)
    table, names = pyarrow.table(columns), [f"data-{n:05}-of-{files:05}.arrow" for n in range(files)]
    each = -(-len(table) // files)
    for number, name in enumerate(names):
        with pyarrow.OSFile(str(folder / name), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.slice(number * each, each))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names], **state}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


def png(value: int) -> dict:
    held = BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, dtype="uint8")).save(held, "png")
    return {"bytes": held.getvalue(), "path": None}


def pictures(count: int) -> dict[str, list]:
    return {"image": [png(10 * n) for n in range(count)], "label": [n % 2 for n in range(count)]}


def test_images_in_splits(tmp_path):
    features = {"image": {"_type": "Image"}, "label": LABEL}
    for split, count in {"train": 12, "validation": 4, "unsupervised": 2}.items():
        write(tmp_path / split, pictures(count), features, files=2)
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "validation", "unsupervised"]}))
    examples = hugging_face(path=str(tmp_path), size=4)
    assert examples.classes == ("cat", "dog") and examples.targets.tolist() == [n % 2 for n in [*range(12), *range(4)]]
    assert {part: len(rows) for part, rows in examples.splits.items()} == {"train": 12, "validation": 4}
    assert examples.inputs[torch.tensor([11, 13])][:, 0, 0, 0].tolist() == [110, 10]
    assert examples.notes == ("splits that are no parts were not read: unsupervised",)
    assert make_task(examples, SPLIT).input_shape == (3, 4, 4)


def test_texts(tmp_path):
    words = {"text": ["a fine film", "what a bore"] * 10, "label": [1, 0] * 10}
    write(tmp_path / "d", words, {"text": TEXT, "label": {**LABEL, "names": ["bad", "good"]}})
    task = make_task(hugging_face(path=str(tmp_path / "d")), SPLIT)
    assert task.classes == ("bad", "good") and task.tokens == 7 and len(task.parts["train"][1]) == 12


def test_columns_by_name(tmp_path):
    columns = {"title": ["a"] * 30, "body": ["b c"] * 30, "stars": [n / 4 for n in range(30)]}
    write(tmp_path / "d", columns, {"title": TEXT, "body": TEXT, "stars": {"dtype": "float32", "_type": "Value"}})
    examples = hugging_face(path=str(tmp_path / "d"), inputs="body", target="stars")
    assert examples.kind == "regression" and examples.inputs.texts[0] == "b c"
    with pytest.raises(BadInput, match=r"data\.hugging_face\.inputs=…: give the name of the column\. Known: body, stars, title\."):
        hugging_face(path=str(tmp_path / "d"), target="stars")
    with pytest.raises(BadInput, match=r"data\.hugging_face\.target=star: no such column\. Did you mean 'stars'\?"):
        hugging_face(path=str(tmp_path / "d"), inputs="body", target="star")
    with pytest.raises(BadInput, match=r"inputs=stars: expected a column of images or texts; for a table, use data=parquet"):
        hugging_face(path=str(tmp_path / "d"), inputs="stars", target="stars")


VALUES, CLASSES = {"dtype": "int64", "_type": "Value"}, {**LABEL, "names": ["wet", "cold", "calm"]}
SHOWN = [[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]]


@pytest.mark.parametrize("values", [pyarrow.int64(), pyarrow.float32(), pyarrow.bool_()])
@pytest.mark.parametrize("length", [-1, 3])
@pytest.mark.parametrize("kind", [None, "multilabel"])
def test_labels_in_lists_of_0_and_1(tmp_path, values, length, kind):
    labels = pyarrow.array(np.array(SHOWN).astype(values.to_pandas_dtype()).tolist(), pyarrow.list_(values, length))
    write(tmp_path / "d", {"text": ["a"] * 4, "labels": labels}, {"text": TEXT, "labels": {"feature": VALUES, "_type": "Sequence"}})
    examples = hugging_face(path=str(tmp_path / "d"), kind=kind)
    assert (examples.kind, examples.targets.tolist(), examples.classes) == ("multilabel", SHOWN, ("0", "1", "2"))


@pytest.mark.parametrize(
    "feature", [{"feature": CLASSES, "length": -1, "_type": "Sequence"}, {"feature": CLASSES, "_type": "List"}, [CLASSES]]
)
def test_labels_in_lists_of_the_classes_that_an_example_has(tmp_path, feature):
    columns = {"text": ["a"] * 4, "labels": [[0], [2, 1, 2], [], [0, 1]]}
    write(tmp_path / "d", columns, {"text": TEXT, "labels": feature}, files=2)
    examples = hugging_face(path=str(tmp_path / "d"))
    assert (examples.kind, examples.targets.tolist(), examples.classes) == ("multilabel", SHOWN, ("wet", "cold", "calm"))


@pytest.mark.parametrize(
    ("labels", "inner", "said"),
    [
        ([[0, 1], [1], [0, 1]], VALUES, r"'labels' holds lists of 1 to 2 values; expected lists of one length, or of class labels"),
        ([[0, 1], [1, None], [0, 1]], VALUES, "the column 'labels' has gaps"),
        ([["a"], ["b"], ["a"]], TEXT, "the column 'labels' holds lists of texts; expected lists of 0 and 1, or of class labels"),
        ([[0], [3, 1], [0, 1]], CLASSES, "the label 3, but the classes are 0 to 2"),
        ([[0], [-1, 1], [0, 1]], CLASSES, "the label -1, which means no label"),
    ],
)
def test_lists_that_are_no_labels_are_refused(tmp_path, labels, inner, said):
    write(tmp_path / "d", {"text": ["a"] * 3, "labels": labels}, {"text": TEXT, "labels": {"feature": inner, "_type": "Sequence"}})
    with pytest.raises(BadInput, match=said) as raised:
        hugging_face(path=str(tmp_path / "d"), kind="multilabel")
    assert "\n" not in str(raised.value)


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"state\.json cannot be read: .*; expected a folder that save_to_disk has written"):
        hugging_face(path=str(tmp_path))
    (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": ["test"]}))
    with pytest.raises(BadInput, match="has the splits test, but none for train"):
        hugging_face(path=str(tmp_path))
    features = {"image": {"_type": "Image"}, "label": LABEL}
    write(tmp_path / "chosen", pictures(4), features, _indices_data_files=[{"filename": "indices.arrow"}])
    with pytest.raises(BadInput, match=r"holds a selection of its rows; write it anew after flatten_indices\(\)"):
        hugging_face(path=str(tmp_path / "chosen"))
    write(tmp_path / "gaps", {**pictures(4), "label": [0, 1, None, 1]}, features)
    with pytest.raises(BadInput, match="the column 'label' has gaps"):
        hugging_face(path=str(tmp_path / "gaps"))
    write(tmp_path / "unlabelled", {**pictures(4), "label": [0, 1, -1, -1]}, features)
    with pytest.raises(BadInput, match="2 rows have the label -1, which means no label; remove these rows or their split"):
        hugging_face(path=str(tmp_path / "unlabelled"))
    write(tmp_path / "broken", {**pictures(3), "image": [png(1), {"bytes": b"no", "path": None}, png(2)]}, features)
    with pytest.raises(BadInput, match="broken: row 1 of 'image' cannot be read as an image"):
        hugging_face(path=str(tmp_path / "broken"))
    (tmp_path / "gaps" / "data-00000-of-00001.arrow").write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"the rows in .*gaps cannot be read: "):
        hugging_face(path=str(tmp_path / "gaps"))
    (tmp_path / "broken" / "dataset_info.json").write_text("{}")
    with pytest.raises(BadInput, match=r"dataset_info\.json in .*broken has no features"):
        hugging_face(path=str(tmp_path / "broken"))
