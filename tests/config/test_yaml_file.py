"""Plain YAML by libyaml says what Python's says."""

import math

import pytest
import yaml

from autoopt.config.yaml_file import read, written

TREE = {
    "numbers": [1, 1e-5, -0.0, math.inf, 2**70, None, True],
    "texts": ["1e3", "null", "yes", "2020-01-01", " x", "a: b", "'it' \"is\"", "a\nb\n", "", "#", "\x07", "äöü ☃ 😀 " * 30, "word " * 60],
    "k" * 130: {"deep": {"er": []}},
}


@pytest.mark.parametrize("tree", [TREE, {"path": "/tmp/\udcff"}], ids=["plain", "bytes that are no text"])
def test_what_is_written_is_read_by_both(tree):
    assert read(written(tree)) == yaml.safe_load(written(tree)) == read(yaml.safe_dump(tree)) == tree


def test_text_that_is_nested_without_end_is_refused():
    with pytest.raises(ValueError, match="nested more than 32 deep"):
        read("[" * 100_000)


def test_text_that_is_nested_by_its_aliases_is_refused():
    lines = ["a0: &a0 []", *(f"a{level}: &a{level} [*a{level - 1}]" for level in range(1, 40))]
    with pytest.raises(ValueError, match="nested more than 32 deep"):
        read("\n".join(lines))
