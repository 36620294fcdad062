"""What stands where in a batch, and how masks are moved."""

import pytest
import torch

from autoopt.data.batch_layout import Layout, batch_layout, moved, pixel_positions, replaced

IMAGE, MASK, LABEL = torch.rand(4, 3, 6, 5), torch.randint(4, (4, 6, 5)), torch.arange(4)


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ((IMAGE, LABEL), Layout(0, 1)),
        ([IMAGE, MASK], Layout(0, 1, (1,))),
        ([IMAGE, MASK[:, None].float()], Layout(0, 1, (1,))),
        ((IMAGE, LABEL, MASK), Layout(0, 1, (2,))),
        ((IMAGE, torch.rand(4, 3, 12, 10)), Layout(0, 1, (), (1,))),
        ((torch.rand(4, 7), LABEL), Layout(0, 1)),
        ({"image": IMAGE, "mask": MASK}, Layout("image", "mask", ("mask",))),
        ({"label": LABEL, "image": IMAGE, "name": ["a"] * 4}, Layout("image", "label")),
        ({"pixel_values": IMAGE, "labels": LABEL}, Layout("pixel_values", "labels")),
        ({"x": IMAGE, "y": LABEL}, None),
        ({"image": IMAGE}, None),
        ((IMAGE,), None),
        ((IMAGE, ["a"] * 4), None),
        (IMAGE, None),
    ],
)
def test_the_layout_of_a_batch(batch, expected):
    assert batch_layout(batch) == expected


def test_values_are_replaced_in_a_batch_of_the_same_kind():
    assert replaced((IMAGE, LABEL, "c"), {1: MASK}) == [IMAGE, MASK, "c"]
    assert replaced({"image": IMAGE, "mask": MASK}, {"mask": LABEL}) == {"image": IMAGE, "mask": LABEL}


@pytest.mark.parametrize("mask", [MASK, MASK.bool(), MASK[:, None].expand(-1, 2, -1, -1).float(), MASK.to(torch.uint8)])
def test_a_mask_is_moved_as_the_places_are(mask):
    where = pixel_positions(IMAGE)
    assert torch.equal(moved(mask, where), mask)
    assert torch.equal(moved(mask, where.flip(3)), mask.flip(-1)) and moved(mask, where).dtype == mask.dtype
    shifted = torch.zeros_like(where)
    shifted[..., 2:, :] = where[..., :-2, :]
    expected = torch.zeros_like(mask)
    expected[..., 2:, :] = mask[..., :-2, :]
    assert torch.equal(moved(mask, shifted), expected), "zeros enter"


def test_a_mask_keeps_its_labels_between_pixels():
    where = pixel_positions(IMAGE)
    between = 0.7 * where + 0.3 * where.roll(1, 3)
    assert set(moved(MASK, between).unique().tolist()) <= set(MASK.unique().tolist())
