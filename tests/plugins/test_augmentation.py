import pytest
import torch

from autoopt.plugins.augmentation.mixup import mixup
from autoopt.plugins.augmentation.translate import translate


def dots(count=2000, height=8, width=12):
    """Images with one bright pixel at (3, 5)."""
    images = torch.zeros(count, 1, height, width)
    images[:, :, 3, 5] = 1
    return images


def test_translate_moves_each_image_by_whole_pixels_of_its_own():
    torch.manual_seed(0)
    moved = translate(dots(), shift=0.25)  # up to 2 of 8 rows, 3 of 12 columns
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(2000))
    rows, columns = moved.nonzero()[:, 2] - 3, moved.nonzero()[:, 3] - 5
    assert sorted(set(rows.tolist())) == [-2, -1, 0, 1, 2]
    assert sorted(set(columns.tolist())) == [-3, -2, -1, 0, 1, 2, 3]
    assert rows.float().mean().abs() < 0.1 and columns.float().mean().abs() < 0.15
    assert torch.corrcoef(torch.stack([rows, columns]).float())[0, 1].abs() < 0.1


def test_translate_shifts_all_channels_alike_and_zeros_enter():
    torch.manual_seed(0)
    images = torch.rand(50, 3, 8, 8) * 0.9 + 0.1
    moved = translate(images, shift=0.25)
    for image, shifted in zip(images, moved, strict=True):
        candidates = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if torch.equal(shift_by_hand(image, y, x), shifted)]
        assert len(candidates) == 1


def shift_by_hand(image, y, x):
    _, height, width = image.shape
    shifted = torch.zeros_like(image)
    for row in range(height):
        for column in range(width):
            if 0 <= row - y < height and 0 <= column - x < width:
                shifted[:, row, column] = image[:, row - y, column - x]
    return shifted


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_translate_by_less_than_half_a_pixel_changes_nothing(shift):
    images = torch.rand(16, 1, 8, 8)
    assert torch.equal(translate(images, shift=shift), images)


def test_mixup_mixes_inputs_and_targets_in_one_proportion():
    torch.manual_seed(0)
    inputs = torch.eye(6)
    targets = torch.eye(6)
    shares = []
    for _ in range(20):
        mixed, labels = mixup(inputs, targets, alpha=1.0)
        assert torch.equal(mixed, labels)
        torch.testing.assert_close(labels.sum(1), torch.ones(6))
        lam = labels.diagonal()
        assert ((lam - lam.min()).abs() < 1e-6).logical_or((lam - 1).abs() < 1e-6).all()  # one draw a batch; 1 where mixed with itself
        shares.append(lam.min().item())
    assert len(set(shares)) > 10


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixups_share_is_beta_distributed(alpha):
    torch.manual_seed(0)
    inputs = torch.arange(2.0).view(2, 1).repeat(1, 3)
    seen = [mixed[1, 0].item() for mixed, _ in (mixup(inputs, inputs, alpha=alpha) for _ in range(6000)) if mixed[1, 0] != 1]
    lam = torch.tensor(seen)
    assert lam.mean().item() == pytest.approx(0.5, abs=0.03)
    assert lam.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_mixup_without_strength_changes_nothing():
    inputs, targets = torch.rand(4, 3), torch.rand(4, 2)
    mixed, labels = mixup(inputs, targets, alpha=0)
    assert torch.equal(mixed, inputs) and torch.equal(labels, targets)


def test_mixup_mixes_values_too():
    torch.manual_seed(1)
    inputs = torch.rand(64, 5)
    mixed, values = mixup(inputs, inputs.sum(1, keepdim=True), alpha=1.0)
    torch.testing.assert_close(mixed.sum(1, keepdim=True), values)
