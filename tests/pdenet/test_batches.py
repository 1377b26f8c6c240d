"""Batches are complete, normalised and repeatable; crops and mirror images are what they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from analysis.errors import InputError
from pdenet.data.augmentation import augment, draw, move
from pdenet.data.batches import Batches

STATISTICS = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ],
    ),
]


def some(count: int, size: int = 6, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, size, size, 3), generator=rng, dtype=torch.uint8)
    return images, torch.arange(count)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def epoch(batches: Batches) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def by_hand(image: torch.Tensor, down: int, right: int, mirrored: bool) -> torch.Tensor:
    """The textbook way: mirror, pad, cut out."""
    pad = abs(down) + abs(right)
    flipped = image.flip(-1) if mirrored else image
    padded = functional.pad(flipped, (pad, pad, pad, pad))
    height, width = image.shape[-2:]
    return padded[:, pad - down : pad - down + height, pad - right : pad - right + width]


@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.integers(-7, 7),
    st.integers(-7, 7),
    st.booleans(),
)
def test_move_equals_mirror_pad_and_cut(size, down, right, mirrored):
    image = torch.arange(1, 2 * size[0] * size[1] + 1).view(1, 2, *size)
    moved = move(image, torch.tensor([[down, right]]), torch.tensor([mirrored]))
    assert torch.equal(moved[0], by_hand(image[0], down, right, mirrored))


@pytest.mark.parametrize("device", DEVICES)
def test_every_image_has_its_own_move(device):
    images = torch.arange(4 * 3 * 25, dtype=torch.float32).view(4, 3, 5, 5) + 1
    offsets, mirrored = torch.tensor([[0, 0], [1, -2], [-2, 1], [2, 2]]), torch.arange(4) % 2 == 1
    moved = move(images.to(device), offsets, mirrored).cpu()
    for i in range(4):
        assert torch.equal(moved[i], by_hand(images[i], *offsets[i].tolist(), bool(mirrored[i])))


def test_draws_are_uniform_and_fair():
    offsets, mirrored = draw(9000, crop=1, flip=True, generator=seeded())
    counts = torch.bincount((offsets[:, 0] + 1) * 3 + offsets[:, 1] + 1, minlength=9)
    assert len(counts) == 9
    assert (counts - 1000).abs().max() < 130  # four standard deviations
    assert abs(int(mirrored.sum()) - 4500) < 200


def test_augment_does_nothing_where_nothing_is_asked():
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    generator = seeded()
    before = generator.get_state()
    assert augment(images, generator=generator) is images
    assert torch.equal(generator.get_state(), before)


def test_augment_keeps_type_shape_and_repeats():
    images = some(8)[0].permute(0, 3, 1, 2)
    first = augment(images, crop=2, flip=True, generator=seeded(1))
    assert first.dtype == torch.uint8
    assert first.shape == images.shape
    assert not torch.equal(first, images)
    assert torch.equal(first, augment(images, crop=2, flip=True, generator=seeded(1)))
    assert not torch.equal(first, augment(images, crop=2, flip=True, generator=seeded(2)))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_batches_are_normalised(device, channels_last):
    images, labels = some(10)
    batches = Batches(images, labels, 4, **STATISTICS, device=device, channels_last=channels_last)
    found, order = epoch(batches)
    values = images.numpy().astype(np.float64).transpose(0, 3, 1, 2) / 255
    mean, std = (np.array(STATISTICS[k]).reshape(1, 3, 1, 1) for k in ("mean", "std"))
    np.testing.assert_allclose(found.cpu().numpy(), (values - mean) / std, atol=1e-6)
    assert order.tolist() == list(range(10))
    assert found.dtype == torch.float32
    assert found.device.type == device
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert next(iter(batches))[0].is_contiguous(memory_format=layout)


@given(st.integers(1, 40), st.integers(1, 12), st.booleans())
def test_every_image_comes_once(count, size, shuffle):
    images, labels = some(count, size=2)
    batches = Batches(images, labels, size, shuffle=shuffle, **STATISTICS)
    sizes = [len(found) for _, found in batches]
    assert len(sizes) == len(batches)
    assert sorted(epoch(batches)[1].tolist()) == list(range(count))
    if shuffle and count > 1 and size > 1:
        assert min(sizes) > 1
    elif not shuffle:
        assert sizes[:-1] == [size] * (len(sizes) - 1)


def test_labels_stay_with_their_images():
    images, labels = some(50)
    images[:, 0, 0, 0] = labels.to(torch.uint8)
    batches = Batches(images, labels, 7, shuffle=True, mean=[0.0] * 3, std=[1.0] * 3)
    found, order = epoch(batches)
    assert torch.equal((found[:, 0, 0, 0] * 255).round().long(), order)
    assert order.tolist() != list(range(50))


@pytest.mark.parametrize("device", DEVICES)
def test_an_epoch_is_that_of_its_state_on_every_device(device):
    images, labels = some(20)
    options = {"shuffle": True, "crop": 2, "flip": True, **STATISTICS}
    reference = Batches(images, labels, 6, **options, generator=seeded(4))
    first, second = epoch(reference), epoch(reference)
    assert not torch.equal(first[1], second[1])

    generator = seeded(4)
    batches = Batches(images, labels, 6, **options, generator=generator, device=device)
    next(iter(batches))  # an epoch that is given up draws as much as one that is finished
    state = generator.get_state()
    again = Batches(images, labels, 6, **options, generator=seeded(9), device=device)
    again.generator.set_state(state)
    for ours in (epoch(batches), epoch(again)):
        assert torch.equal(ours[1].cpu(), second[1])
        torch.testing.assert_close(ours[0].cpu(), second[0], rtol=1e-6, atol=1e-6)


def test_what_a_crop_uncovers_is_black():
    images = torch.full((40, 6, 6, 3), 255, dtype=torch.uint8)
    found, _ = epoch(Batches(images, torch.zeros(40), 8, crop=2, **STATISTICS))
    mean, std = (torch.tensor(STATISTICS[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    pixels = found * std + mean
    black, white = pixels.abs() < 1e-6, (pixels - 1).abs() < 1e-6
    assert (black | white).all()
    assert black.any()


def test_arrays_of_a_data_set_serve():
    from pdenet.data.sources import load_data

    data = load_data("digits", train_images=64)
    batches = Batches(data.train_images, data.train_labels, 64, mean=data.mean, std=data.std)
    images, labels = next(iter(batches))
    assert images.shape == (64, 1, 8, 8)
    assert labels.dtype == torch.int64
    assert abs(float(images.mean())) < 1e-5
    assert abs(float(images.std(correction=0)) - 1) < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(4, 6, 6, 3)}, "got float32 of shape"),
        ({"images": torch.zeros(4, 6, 6, dtype=torch.uint8)}, r"\(N, H, W, C\) of uint8"),
        ({"images": torch.zeros(0, 6, 6, 3, dtype=torch.uint8)}, "uint8 of shape"),
        ({"images": torch.zeros(4, 3, 6, 6, dtype=torch.uint8)}, "images as"),
        ({"labels": torch.arange(5)}, "4 labels"),
        ({"batch_size": 0}, "a batch_size of at least 1, got 0"),
        ({"batch_size": 2.0}, r"a batch_size of at least 1, got 2\.0"),
        ({"batch_size": True}, "a batch_size of at least 1, got True"),
        ({"crop": -1}, "a crop from 0 to 5, got -1"),
        ({"crop": 6}, "a crop from 0 to 5, got 6"),
        ({"std": [1.0, 0.0, 1.0]}, "positive std"),
        ({"std": [1.0, float("nan"), 1.0]}, "positive std"),
        ({"mean": [1.0]}, "mean and a positive std for 3 channels"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    images, labels = some(4)
    options = {"images": images, "labels": labels, "batch_size": 2, **STATISTICS} | change
    with pytest.raises(InputError, match=message):
        Batches(**options)
