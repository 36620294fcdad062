import colorsys
import math

import numpy
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from autoopt.module.augmenting import augment
from autoopt.module.chosen import Chosen
from autoopt.plugins.augmentation import color_jitter as color_file
from autoopt.plugins.augmentation import trivial_augment as trivial
from autoopt.plugins.augmentation.color_jitter import color_jitter, grey, turn_hue
from autoopt.plugins.augmentation.crop import crop
from autoopt.plugins.augmentation.cutmix import cutmix
from autoopt.plugins.augmentation.flip import flip
from autoopt.plugins.augmentation.gaussian_samples import gaussian_samples
from autoopt.plugins.augmentation.mixup import mixup
from autoopt.plugins.augmentation.noise import noise
from autoopt.plugins.augmentation.random_erasing import random_erasing
from autoopt.plugins.augmentation.rotate import rotate, turned
from autoopt.plugins.augmentation.scale import scale, zoomed
from autoopt.plugins.augmentation.translate import translate
from autoopt.recipe import Recipe
from autoopt.slots import SLOTS


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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize("quarters", [-1, 1, 2, 3])
def test_rotate_by_a_quarter_is_rot90(quarters):
    images = torch.rand(3, 2, 9, 9)
    torch.testing.assert_close(turned(images, torch.full((3,), quarters * math.pi / 2)), images.rot90(quarters, (2, 3)), atol=1e-5, rtol=0)


def test_rotate_is_the_bilinear_rotation_of_scipy_on_images_of_any_shape():
    images, degrees = torch.rand(4, 1, 12, 7), (-40.0, -3.0, 10.0, 25.0)
    for image, angle, seen in zip(images, degrees, turned(images, torch.tensor(degrees).deg2rad()), strict=True):
        expected = ndimage.rotate(image[0].numpy(), angle, reshape=False, order=1, mode="grid-constant")
        torch.testing.assert_close(seen[0], torch.from_numpy(expected), atol=1e-4, rtol=0)


def test_rotate_turns_each_image_by_an_angle_of_its_own_up_to_the_limit():
    torch.manual_seed(0)
    images = torch.zeros(500, 1, 33, 33)
    images[:, :, 15:18, 30] = 1  # right of the centre
    turns = rotate(images, degrees=30.0)
    rows = (turns.sum((1, 3)) * torch.arange(33.0)).sum(1) / turns.sum((1, 2, 3)) - 16
    angles = torch.rad2deg(torch.asin((-rows / 14).clamp(-1, 1)))
    assert angles.abs().max() < 31 and angles.min() < -27 and angles.max() > 27
    assert angles.std().item() == pytest.approx(30 / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.25, 2.0])
def test_scale_maps_each_pixel_from_the_centre(factor):
    image = torch.rand(1, 1, 10, 7)
    centre = numpy.array([4.5, 3.0])
    expected = ndimage.affine_transform(
        image[0, 0].numpy(), [1 / factor, 1 / factor], centre - centre / factor, order=1, mode="grid-constant"
    )
    torch.testing.assert_close(zoomed(image, torch.tensor([factor]))[0, 0], torch.from_numpy(expected), atol=1e-5, rtol=0)


def test_scale_enlarges_and_shrinks_each_image_by_a_factor_of_its_own():
    torch.manual_seed(0)
    images = torch.zeros(1000, 1, 40, 40)
    images[:, :, 10:30, 10:30] = 1
    factors = (scale(images, zoom=0.5).sum((1, 2, 3)) / 400).sqrt()
    assert factors.min() > 1 / 1.52 and factors.max() < 1.52
    logs = factors.log() / math.log(1.5)
    assert logs.mean().abs() < 0.1 and logs.std().item() == pytest.approx(1 / math.sqrt(3), rel=0.1)


def ramps(count, height, width):
    """Images whose two channels tell the row and the column of each pixel, from 0 to 1 between the edges."""
    rows = ((torch.arange(height) + 0.5) / height)[:, None].expand(height, width)
    columns = ((torch.arange(width) + 0.5) / width).expand(height, width)
    return torch.stack([rows, columns]).expand(count, -1, -1, -1)


def test_crop_shows_a_window_of_the_image():
    torch.manual_seed(0)
    seen = crop(ramps(2000, 16, 24), cut=0.75)
    steps, tops = seen[:, 0, 9, 0] - seen[:, 0, 6, 0], seen[:, 0, 7:9, 0].mean(1)
    rows, columns = steps * 16 / 3, (seen[:, 1, 0, 14] - seen[:, 1, 0, 9]) * 24 / 5  # the window's share of each axis
    middle = torch.stack([tops, seen[:, 1, 0, 11:13].mean(1)])
    area, aspect = rows * columns, columns / rows
    assert area.min() >= 0.25 - 1e-3 and area.max() <= 1 + 1e-3
    assert area.mean().item() == pytest.approx(1 - 0.75 / 2, abs=0.02)
    assert aspect.min() >= 3 / 4 - 1e-2 and aspect.max() <= 4 / 3 + 1e-2
    assert aspect.log().mean().abs() < 0.02 and aspect.log().std() > 0.08
    sides = torch.stack([rows, columns])
    assert (middle - sides / 2 > -1e-3).all() and (middle + sides / 2 < 1 + 1e-3).all()
    freedom = (middle - sides / 2) / (1 - sides).clamp(min=1e-3)
    loose = (1 - sides) > 0.1
    assert freedom[loose].mean().item() == pytest.approx(0.5, abs=0.03)


def test_crop_takes_what_it_shows_from_its_own_image():
    torch.manual_seed(0)
    images = torch.rand(8, 1, 1, 1).expand(8, 3, 8, 8) + torch.tensor([0.0, 0.1, 0.2]).view(3, 1, 1)
    torch.testing.assert_close(crop(images), images)


@pytest.mark.parametrize(("direction", "axes"), [("horizontal", [(), (3,)]), ("vertical", [(), (2,)]), ("both", [(), (2,), (3,), (2, 3)])])
def test_flip_mirrors_each_image_or_leaves_it(direction, axes):
    torch.manual_seed(0)
    images = torch.rand(1, 2, 4, 5).expand(2000, -1, -1, -1)
    flipped = flip(images, direction=direction)
    shares = [(flipped == images.flip(axis)).flatten(1).all(1).float().mean().item() for axis in axes]
    assert shares == pytest.approx([1 / len(axes)] * len(axes), abs=0.05) and sum(shares) == pytest.approx(1)


def test_hues_turn_as_in_colorsys():
    images, turns = torch.rand(3, 3, 4, 4), torch.tensor([-0.4, 0.07, 0.5])
    images[:, :, 0, 0] = 0.3  # grey has no hue
    turned_images = turn_hue(images, turns.view(3, 1, 1, 1))
    for image, turn, seen in zip(images, turns.tolist(), turned_images, strict=True):
        for before, after in zip(image.flatten(1).T.tolist(), seen.flatten(1).T.tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*before)
            assert after == pytest.approx(colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value), abs=1e-5)


def test_a_whole_turn_of_the_hue_changes_nothing():
    images = torch.rand(4, 3, 5, 5)
    torch.testing.assert_close(turn_hue(images, torch.ones(4, 1, 1, 1)), images)


@pytest.mark.parametrize("file", [color_file, trivial])
def test_grey_is_what_pil_makes_of_a_picture(file):
    images = pictures()
    for image, seen in zip(images, file.grey(images), strict=True):
        expected = by_pil(image, lambda picture: picture.convert("L").convert("RGB"))
        torch.testing.assert_close(seen.expand(3, -1, -1), expected, atol=1 / 255, rtol=0)


OFF = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("brightness", lambda x: x / x.amax((1, 2, 3), keepdim=True)),
        ("contrast", lambda x: grey(x).mean((1, 2, 3))),
        ("saturation", grey),
        ("hue", lambda x: torch.stack([x.amax(1), x.amin(1)])),
    ],
)
def test_color_jitter_changes_one_thing_and_keeps_another(name, kept):
    torch.manual_seed(0)
    images = 0.4 + 0.2 * torch.rand(16, 3, 6, 6)  # in the middle, so that nothing is cut off
    jittered = color_jitter(images, **{**OFF, name: 0.3})
    torch.testing.assert_close(kept(jittered), kept(images), atol=1e-5, rtol=0)
    assert ((jittered - images).abs().amax((1, 2, 3)) > 1e-4).all()


def test_color_jitter_draws_its_factors_uniformly_for_each_image():
    torch.manual_seed(0)
    images = torch.full((4000, 1, 2, 2), 0.5)
    factors = color_jitter(images, **{**OFF, "brightness": 0.4})[:, 0, 0, 0] / 0.5
    assert factors.min() >= 0.6 - 1e-5 and factors.max() <= 1.4 + 1e-5
    assert factors.mean().item() == pytest.approx(1, abs=0.02) and factors.std().item() == pytest.approx(0.4 / math.sqrt(3), rel=0.05)


@pytest.mark.parametrize("channels", [1, 5])
def test_images_without_three_channels_have_no_saturation_and_no_hue(channels):
    images = torch.rand(4, channels, 5, 5)
    torch.testing.assert_close(color_jitter(images, brightness=0.0, contrast=0.0, saturation=0.8, hue=0.5), images)
    assert not torch.allclose(color_jitter(images), images, atol=1e-2)


def test_noise_is_normal_and_of_the_deviation():
    torch.manual_seed(0)
    inputs = torch.randn(200, 50)
    added = noise(inputs, deviation=0.3) - inputs
    assert added.mean().abs() < 0.01 and added.std().item() == pytest.approx(0.3, rel=0.02)
    assert added.abs().gt(0.3 * 1.96).float().mean().item() == pytest.approx(0.05, abs=0.01)
    assert torch.corrcoef(added.T).triu(1).abs().max() < 0.35


def test_noise_leaves_images_in_their_range_and_tables_without_one():
    assert noise(torch.ones(4, 1, 8, 8), deviation=0.5).max() == 1
    assert noise(torch.ones(64, 8), deviation=0.5).max() > 1


def rectangle_of(mask):
    """Height, width and area of the pixels that are marked, which have to be one rectangle."""
    rows, columns = mask.any(1), mask.any(0)
    assert torch.equal(mask, rows[:, None] & columns[None]) and consecutive(rows) and consecutive(columns)
    return int(rows.sum()), int(columns.sum())


def consecutive(marks):
    places = marks.nonzero().flatten()
    return len(places) == 0 or int(places[-1] - places[0]) + 1 == len(places)


def test_random_erasing_overwrites_one_rectangle_in_about_half_of_the_images():
    torch.manual_seed(0)
    images = torch.full((1500, 2, 20, 30), 2.0)  # outside of what is drawn
    erased = random_erasing(images, fill="random")
    masks = (erased != 2).all(1)
    assert torch.equal(masks, (erased != 2).any(1))
    sizes = torch.tensor([rectangle_of(mask) for mask in masks if mask.any()])
    assert len(sizes) / 1500 == pytest.approx(0.5, abs=0.04)
    share, aspect = sizes.prod(1) / 600, (sizes[:, 0] / 20) / (sizes[:, 1] / 30)
    assert share.mean().item() == pytest.approx(0.21, abs=0.015) and share.max() < 0.46
    assert aspect.log().mean().abs() < 0.08 and aspect.max() > 2
    inside = erased[erased != 2]
    assert inside.min() >= 0 and inside.max() <= 1 and inside.std().item() == pytest.approx(1 / math.sqrt(12), rel=0.02)


def test_random_erasing_by_zeros_is_cutout():
    torch.manual_seed(0)
    images = torch.rand(50, 3, 16, 16) + 0.1
    erased = random_erasing(images, probability=1.0, fill="zero")
    gone = erased == 0
    assert torch.equal(gone.all(1), gone.any(1)) and gone.any(1).flatten(1).any(1).all()
    assert torch.equal(erased[~gone], images[~gone])


def test_cutmix_mixes_targets_by_the_area_that_was_pasted():
    torch.manual_seed(0)
    count = 32
    images = (torch.arange(float(count)) / count).view(-1, 1, 1, 1).expand(-1, 2, 12, 20)
    for alpha in (0.2, 1.0):
        mixed, labels = cutmix(images, torch.eye(count), alpha=alpha)
        for number, (image, label) in enumerate(zip(mixed, labels, strict=True)):
            pasted = image[0] != images[number, 0]
            assert torch.equal(image[0], image[1])
            rectangle_of(pasted)
            assert label[number].item() == pytest.approx(1 - pasted.float().mean().item(), abs=1e-6)
            others = image[0][pasted].unique() * count
            assert len(others) <= 1 and all(label[int(other)] > 0 for other in others.round())


def test_cutmix_pastes_at_the_same_place():
    torch.manual_seed(0)
    images = torch.rand(16, 1, 8, 8)
    mixed, _ = cutmix(images, torch.eye(16))
    assert ((mixed[:, None] == images[None]).any(1)).all()


def test_cutmix_pastes_the_share_that_the_beta_distribution_says():
    torch.manual_seed(0)
    images = torch.arange(4000.0).view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    shares = (cutmix(images, torch.zeros(4000, 2), alpha=1.0)[0] != images).float().mean((1, 2, 3))
    # a side s around a uniform centre covers s - s^2 / 4 of an axis on average, and s^2 = 1 - lam is uniform
    grid = torch.linspace(0, 1, 10001).sqrt()
    assert shares.mean().item() == pytest.approx((grid - grid**2 / 4).square().mean().item(), abs=0.01)
    assert cutmix(images, torch.zeros(4000, 2), alpha=0)[0] is images


def test_cutmix_mixes_values_of_any_shape():
    torch.manual_seed(0)
    images = torch.rand(8, 1, 1, 1).expand(-1, 1, 8, 8)
    for values in (images[:, 0, 0, 0], images[:, 0, 0]):
        mixed, targets = cutmix(images, values)
        assert targets.shape == values.shape
        expected = mixed.mean((1, 2, 3)).view(-1, *[1] * (values.ndim - 1)).expand_as(values)
        torch.testing.assert_close(targets, expected)


@pytest.mark.slow
def test_gaussian_samples_draws_from_the_normal_distribution_of_the_class():
    torch.manual_seed(0)
    classes = torch.tensor([0, 1]).repeat(6)
    examples = torch.randn(12, 3) @ torch.randn(3, 3) + 50 * classes[:, None]
    draws = torch.cat([gaussian_samples(examples, torch.eye(2)[classes], share=1.0)[0][::2] for _ in range(3000)])
    own = examples[::2]
    assert draws.mean(0).tolist() == pytest.approx(own.mean(0).tolist(), abs=0.1)
    torch.testing.assert_close(torch.cov(draws.T), torch.cov(own.T, correction=0), rtol=0.1, atol=0.1)


def test_gaussian_samples_keeps_classes_and_the_share_that_it_leaves():
    torch.manual_seed(0)
    inputs, targets = torch.rand(2000, 1, 2, 2), torch.eye(3)[torch.arange(2000) % 3]
    made, labels = gaussian_samples(inputs, targets, share=0.25)
    torch.testing.assert_close(labels, targets)
    assert (labels[targets == 0] == 0).all() and made.min() >= 0 and made.max() <= 1
    assert (made == inputs).flatten(1).all(1).float().mean().item() == pytest.approx(0.75, abs=0.04)


def test_gaussian_samples_draws_values_along_with_the_inputs():
    torch.manual_seed(0)
    inputs, weights = torch.randn(64, 5), torch.randn(5, 1) / 5
    made, values = gaussian_samples(inputs, inputs @ weights, share=1.0)
    assert not torch.allclose(made, inputs)
    torch.testing.assert_close(values, made @ weights, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        gaussian_samples(torch.eye(4), torch.eye(4), share=1.0), (torch.eye(4), torch.eye(4))
    )  # none is like another


def pictures(count=4, channels=3, height=9, width=7):
    """Images of 256 grey levels, as PIL holds them."""
    return torch.randint(256, (count, channels, height, width)) / 255


def by_pil(image, operation):
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    seen = numpy.array(operation(Image.fromarray(pixels.squeeze(2) if len(image) == 1 else pixels)))
    return torch.from_numpy(seen.reshape(pixels.shape)).permute(2, 0, 1) / 255


def factor(space, level):
    return {"wide": 0.01 + 1.99 * level, "standard": 0.1 + 1.8 * level}[space]


BY_PIL = {
    "autocontrast": lambda picture, space, level: ImageOps.autocontrast(picture),
    "equalized": lambda picture, space, level: ImageOps.equalize(picture),
    "solarized": lambda picture, space, level: ImageOps.solarize(picture, 256 - int(256 * level)),
    "posterized": lambda picture, space, level: ImageOps.posterize(picture, 8 - int({"wide": 6, "standard": 4}[space] * level + 1e-4)),
    "color": lambda picture, space, level: ImageEnhance.Color(picture).enhance(factor(space, level)),
    "contrast": lambda picture, space, level: ImageEnhance.Contrast(picture).enhance(factor(space, level)),
    "brightness": lambda picture, space, level: ImageEnhance.Brightness(picture).enhance(factor(space, level)),
    "sharpened": lambda picture, space, level: ImageEnhance.Sharpness(picture).enhance(factor(space, level)),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("space", ["wide", "standard"])
@pytest.mark.parametrize("name", BY_PIL)
def test_trivial_augment_changes_pixels_as_pil_does(name, space, channels):
    torch.manual_seed(0)
    images, level = pictures(channels=channels), torch.tensor([0.0, 0.2, 0.5, 1.0])
    seen = getattr(trivial, name)(images, level, torch.ones(4), trivial.SPACES[space])
    for image, strength, new in zip(images, level.tolist(), seen, strict=True):
        expected = by_pil(image, lambda picture, strength=strength: BY_PIL[name](picture, space, strength))
        torch.testing.assert_close(new, expected, atol=3 / 255, rtol=0)  # PIL rounds on the way


def test_trivial_augment_moves_pixels_as_an_affine_map_around_the_centre():
    image, level, sign = torch.rand(1, 1, 11, 16), torch.tensor([0.5]), torch.tensor([-1.0])
    angle = -math.radians(67.5)
    maps = {
        "rotate": ([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], (0, 0)),
        "shear_x": ([[1, 0], [-0.495, 1]], (0, 0)),
        "shear_y": ([[1, -0.495], [0, 1]], (0, 0)),
        "translate_x": ([[1, 0], [0, 1]], (0, -8)),
        "translate_y": ([[1, 0], [0, 1]], (-5.5, 0)),
    }
    centre = numpy.array([5.0, 7.5])
    for name, (matrix, shift) in maps.items():
        offset = centre - numpy.array(matrix) @ centre + shift
        expected = ndimage.affine_transform(image[0, 0].numpy(), matrix, offset, order=1, mode="grid-constant")
        seen = getattr(trivial, name)(image, level, sign, trivial.SPACES["wide"])[0, 0]
        torch.testing.assert_close(seen, torch.from_numpy(expected), atol=1e-4, rtol=0, msg=lambda said, name=name: f"{name}: {said}")


@pytest.mark.parametrize(("side", "moved"), [(64, 32), (16, 16)])
def test_trivial_augment_shifts_by_pixels_and_small_images_by_their_share(side, moved):
    image = torch.rand(1, 1, side, side)
    for name, axis in (("translate_x", 3), ("translate_y", 2)):
        seen = getattr(trivial, name)(image, torch.ones(1), torch.ones(1), trivial.SPACES["wide"])
        expected = torch.cat([image.narrow(axis, moved, side - moved), torch.zeros_like(image.narrow(axis, 0, moved))], axis)
        torch.testing.assert_close(seen, expected, atol=1e-4, rtol=0)


def test_alpha_moves_with_the_colours_and_is_not_jittered():
    torch.manual_seed(0)
    images = torch.rand(400, 3, 8, 8)
    images = torch.cat([images, images.mean(1, keepdim=True)], 1)
    assert torch.equal(color_jitter(images)[:, 3], images[:, 3]) and not torch.equal(color_jitter(images)[:, :3], images[:, :3])
    augmented = trivial.trivial_augment(images)
    stays = (augmented[:, 3] == images[:, 3]).all((1, 2))
    assert 0.5 < stays.float().mean() < 0.8, "nine operations of fourteen leave the places, and so alpha"
    assert not torch.equal(augmented[stays, :3], images[stays, :3])


def test_trivial_augment_draws_operations_levels_and_signs_uniformly(monkeypatch):
    torch.manual_seed(0)
    seen = {}

    def marking(number):
        def mark(images, level, sign, limits):
            seen[number] = (len(images), level, sign)
            return images + number

        return mark

    assert len(trivial.OPERATIONS) == 14
    monkeypatch.setattr(trivial, "OPERATIONS", tuple(map(marking, range(14))))
    marked = trivial.trivial_augment(torch.zeros(14000, 1, 1, 1)).flatten()
    assert [seen[number][0] for number in range(14)] == pytest.approx([1000] * 14, rel=0.12)
    assert all((marked == number).sum() == seen[number][0] for number in range(14))
    levels, signs = torch.cat([level for _, level, _ in seen.values()]), torch.cat([sign for _, _, sign in seen.values()])
    assert len(levels.unique()) == 31 and levels.mean().item() == pytest.approx(0.5, abs=0.01)
    assert set(signs.tolist()) == {-1.0, 1.0} and signs.mean().abs() < 0.03


@pytest.mark.parametrize("name", ["rotate", "crop", "gaussian_samples"])
def test_augmentation_is_as_exact_in_a_training_of_low_precision(name):
    chosen = Chosen(Recipe({slot: {} for slot in SLOTS} | {"augmentation": {name: {"use": True}}}))
    images, classes = torch.rand(16, 3, 32, 32), torch.arange(16) % 4
    made = []
    for enabled in (True, False):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            made.append(augment(chosen, images, classes, 4))
    assert torch.equal(made[0][0], made[1][0]) and torch.equal(made[0][1], made[1][1])
