"""Images for a trained model, as people have them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from autoopt.data.examples import Examples
from autoopt.data.make_task import make_task
from autoopt.data.scale import Scale
from autoopt.data.task import Task
from autoopt.deployment.deployed import Deployed
from autoopt.deployment.graph import example_inputs
from autoopt.deployment.pictures import encode_images
from autoopt.errors import BadInput

SPLIT = {"validation": 0.2, "test": 0.2, "seed": 0, "stratify": True, "normalise": True}
COLOUR = np.random.default_rng(0).integers(0, 256, (5, 6, 8, 3), dtype="uint8")
GREY = COLOUR[..., 0]


def task(channels: int, low: float = 0.0, high: float = 1.0, divided: float | None = None) -> Task:
    scale = None if divided is None else Scale(torch.tensor(divided / 2), torch.tensor(divided / 4))
    return Task("classification", (channels, 6, 8), 2, inputs=scale, encoding={"values": [low, high]})


UNIT = torch.tensor(COLOUR).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize(
    "given",
    [
        COLOUR,
        COLOUR.transpose(0, 3, 1, 2),
        COLOUR / 255,
        (COLOUR / 255).astype("float32").transpose(0, 3, 1, 2),
        torch.tensor(COLOUR),
        UNIT,
        list(COLOUR),
        [Image.fromarray(image) for image in COLOUR],
        [Image.fromarray(image).convert("RGBA") for image in COLOUR],
    ],
)
def test_images_in_every_form_are_the_same_inputs(given):
    torch.testing.assert_close(encode_images(given, task(3)), UNIT)


@pytest.mark.parametrize("given", [GREY, GREY[..., None], GREY[:, None], GREY / 255, [Image.fromarray(image) for image in GREY]])
def test_grey_images_in_every_form_are_the_same_inputs(given):
    torch.testing.assert_close(encode_images(given, task(1)), torch.tensor(GREY)[:, None] / 255)


def test_one_picture_of_another_size_is_resized_and_turned_upright():
    image = Image.fromarray(np.repeat(np.repeat(COLOUR[0, ::-1, ::-1], 2, 0), 2, 1))
    image.getexif()[0x0112] = 3
    found = encode_images(image, task(3))
    assert found.shape == (1, 3, 6, 8)
    assert torch.corrcoef(torch.stack([found.flatten(), UNIT[0].flatten()]))[0, 1] > 0.9


def test_values_are_those_that_the_model_was_trained_on():
    deep = (GREY.astype("uint16") * 257, torch.tensor(GREY.astype("float32"))[:, None] * 257)
    for given in (deep[0], deep[1], [Image.fromarray(image) for image in deep[0]], [Image.fromarray(image) for image in GREY]):
        torch.testing.assert_close(encode_images(given, task(1, 0, 65535, 65535)), deep[1])
    eight = torch.tensor(GREY)[:, None].float()
    for given in (GREY, GREY.astype(float), GREY.astype(int), [Image.fromarray(image) for image in GREY]):
        torch.testing.assert_close(encode_images(given, task(1, 0, 255, 255)), eight)
    torch.testing.assert_close(encode_images(GREY.astype("float32") * 3, task(1, 0, 765)), eight * 3)
    torch.testing.assert_close(encode_images(GREY / 100 - 1, task(1, -1, 1)), eight / 100 - 1)
    torch.testing.assert_close(encode_images(GREY > 99, task(1)), (eight > 99).float())


def test_files_are_read(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, image in zip(paths, COLOUR, strict=False):
        Image.fromarray(image).save(path)
    torch.testing.assert_close(encode_images([str(path) for path in paths], task(3)), torch.tensor(COLOUR[:2]).permute(0, 3, 1, 2) / 255)
    torch.testing.assert_close(encode_images(paths[1], task(3)), torch.tensor(COLOUR[1:2]).permute(0, 3, 1, 2) / 255)
    paths[0].write_bytes(b"no image")
    for path in (paths[0], tmp_path / "gone.png"):
        with pytest.raises(BadInput, match=rf"^\S+{path.name} cannot be read as an image: "):
            encode_images(path, task(3))
    with pytest.raises(BadInput, match=r"0\.png cannot be read as an image: .*; \S+gone\.png cannot be read"):
        encode_images([*paths, tmp_path / "gone.png"], task(3))


def test_an_array_that_cannot_be_written_is_taken_without_a_warning(recwarn):
    locked = GREY.copy()
    locked.flags.writeable = False
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else torch says it once in a process
    try:
        encode_images(locked, task(1))
    finally:
        torch.set_warn_always(before)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("given", "known", "said"),
    [
        (COLOUR[:, :5], task(3), r"images of the shape \(5, 5, 8, 3\); the model was trained on \(N, 3, 6, 8\) or \(N, 6, 8, 3\)$"),
        (COLOUR[0], task(3), r"images of the shape \(6, 8, 3\)"),
        (COLOUR, task(1), r"or \(N, 6, 8, 1\), or \(N, 6, 8\)$"),
        (COLOUR.astype(float), task(3), r"the images have values from 0 to 255, but the model was trained on 0 to 1"),
        (COLOUR / 255 - 0.5, task(3), r"values from -0\.5 to 0\.5, but the model was trained on 0 to 1"),
        (COLOUR.astype("uint16"), task(3), r"images, but the model was trained on values in \[0, 1\]; give these, or uint8"),
        (COLOUR / 255, task(3, 0, 255, 255), r"the images have values in \[0, 1\], but the model was trained on 0 to 255"),
        (COLOUR, task(3, 0, 65535, 65535), r"uint8 images, but the model was trained on values up to 65535"),
        (COLOUR, task(3, -2, 2), r"torch\.uint8 images, but the model was trained on values from -2 to 2"),
        ([Image.fromarray(COLOUR[0])], task(3, -2, 2), r"a PIL image, but the model was trained on values from -2 to 2; give arrays"),
        ([Image.fromarray(COLOUR[0])], task(4), r"a PIL image, but the model was trained on images with 4 channels"),
        ([Image.fromarray(GREY[0].astype("uint16"))], task(1), r"a PIL image of mode I;16, but the model was trained on values up to 1"),
        (np.array(["a.png"]), task(3), r"an array of <U5; expected numbers, or PIL images"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(given, known, said):
    with pytest.raises(BadInput, match=said) as caught:
        encode_images(given, known)
    assert "\n" not in str(caught.value)


def test_an_error_of_images_says_who_asks_as_one_of_a_table_does():
    with pytest.raises(BadInput, match=r"^predict: images of the shape \(5, 5, 8, 3\)"):
        Deployed(nn.Flatten(), task(3)).predict(COLOUR[:, :5])


def test_channels_that_may_stand_first_or_last_are_refused_in_an_array():
    square = Task("classification", (3, 3, 3), 2, encoding={"values": [0.0, 1.0]})
    with pytest.raises(BadInput, match=r"an array \(2, 3, 3, 3\) may have its channels first or last; give a tensor"):
        encode_images(np.zeros((2, 3, 3, 3)), square)
    assert encode_images(torch.zeros(2, 3, 3, 3), square).shape == (2, 3, 3, 3)


def test_a_model_of_images_up_to_255_predicts_as_it_was_trained():
    images = torch.tensor(COLOUR).permute(0, 3, 1, 2).repeat(8, 1, 1, 1)
    targets = torch.arange(40) % 2
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 2))
    small = Deployed(network, make_task(Examples(images, targets, "classification"), SPLIT))
    large = Deployed(network, make_task(Examples(images.float(), targets, "classification"), SPLIT))
    torch.testing.assert_close(small(small.encode(COLOUR)), large(large.encode(COLOUR)))
    assert small.inputs.mean.shape == (3, 1, 1)
    assert example_inputs(large.task).max() > 180 and example_inputs(small.task).max() <= 1


def test_images_of_every_order_in_memory_and_no_images():
    assert torch.equal(encode_images(COLOUR[::-1], task(3)), UNIT.flip(0))
    torch.testing.assert_close(encode_images((COLOUR / 255).astype(np.longdouble), task(3)), UNIT)
    for none in ([], (), COLOUR[:0], COLOUR[:0] / 255, torch.tensor(COLOUR[:0])):
        assert encode_images(none, task(3)).shape == (0, 3, 6, 8)
