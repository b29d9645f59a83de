"""Pretrained features, where timm and torchvision are installed: `make test-extras` makes an environment that has them.

No weights are downloaded: those of these tests are random, which is enough to see that they come out of the file.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from rig import checkpoint, tensors
from rig.encoders.backbones import backbone, library
from rig.encoders.pretrained import Pretrained, PretrainedConfig
from rig.errors import UserError
from tests.encoders.backbones import TINY, need_packages, saved
from tests.encoders.test_spatial_vae import moving_square, seeded, silent
from tests.run.runs import TINY as TINY_RUN
from tests.run.runs import done, rig

SHAPE = (48, 48, 3)


@pytest.fixture(autouse=True)
def packages() -> None:
    need_packages()


def made(weights: Path | str = "", **settings: Any) -> Pretrained:
    return Pretrained(PretrainedConfig(weights=str(weights), **{"model": TINY, **settings}), SHAPE, seeded(0))


@pytest.mark.parametrize(
    ("model", "features", "head"),
    [
        ("torchvision/resnet18", 512, {"fc.weight", "fc.bias"}),
        ("torchvision/convnext_tiny", 768, {"classifier.2.weight", "classifier.2.bias"}),
        ("timm/resnet18", 512, {"fc.weight", "fc.bias"}),
        ("timm/vit_small_patch16_224.dino", 384, set()),
    ],
)
def test_a_net_is_made_without_its_classes_and_without_touching_everyones_generator(
    model: str, features: int, head: set[str]
) -> None:
    before = torch.get_rng_state()
    found = backbone(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert found.head == head and found.size == 224
    with torch.no_grad():
        assert found.net.eval()(torch.zeros(1, 3, 224, 224)).flatten(1).shape == (1, features)


def test_the_features_are_the_nets_own_of_scaled_and_standardised_pictures() -> None:
    encoder = made(saved(TINY), latent_dim=0)
    encoder.prepare()
    timm: Any = library("timm", TINY)
    net = timm.create_model("test_vit", num_classes=0).eval()
    net.load_state_dict(tensors.unpack(saved(TINY).read_bytes()))
    frames, _ = moving_square(6, 48, 6, seed=0)
    pixels = torch.nn.functional.interpolate(frames.permute(0, 3, 1, 2) / 255, (160, 160), mode="bilinear")
    with torch.no_grad():
        expected = net((pixels - 0.5) / 0.5)  # this model's own mean and std
    torch.testing.assert_close(encoder.features(frames), expected, rtol=1e-4, atol=1e-4)
    encoder.fit(frames[None], seeded(1), silent)
    assert encoder.latent_dim == 64 == encoder.encode(frames).shape[1]
    assert float(encoder.encode(frames).square().mean()) == pytest.approx(1, abs=1e-4)
    assert not encoder.net.training and not any(parameter.requires_grad for parameter in encoder.parameters())


def test_resnet18_reads_a_file_with_classes_in_it(tmp_path: Path) -> None:
    torchvision: Any = library("torchvision", "torchvision/resnet18")
    whole = torchvision.models.resnet18(weights=None, num_classes=7)
    path = tmp_path / "resnet18.safetensors"
    path.write_bytes(tensors.pack(whole.state_dict()))
    encoder = made(path, model="torchvision/resnet18", latent_dim=2, size=64)
    encoder.prepare()
    assert torch.equal(encoder.net.state_dict()["conv1.weight"], whole.conv1.weight)
    deeper = torchvision.models.resnet34(weights=None)  # it has every tensor of resnet18, and more
    path.write_bytes(tensors.pack(deeper.state_dict()))
    with pytest.raises(UserError, match=r"is not of encoder.model=torchvision/resnet18: its tensor layer.* belongs to no part"):
        made(path, model="torchvision/resnet18", size=64).prepare()


def test_weights_of_another_model_are_refused_by_name_and_shape(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(tensors.pack(backbone("timm/test_vit2").net.state_dict()))
    with pytest.raises(UserError, match=rf"^encoder.weights={path} is not of encoder.model={TINY}: its? .*tensor") as caught:
        made(path).prepare()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("timm/vit_smal_patch16_224", r"unknown model '.*' of timm; nearest: vit_small_patch16_224, .*; try encoder.model=timm/"),
        ("timm/vit_small_patch16_224.dinoo", r"unknown model .*; try encoder.model=timm/vit_small_patch16_224.dino$"),
        ("torchvision/resnet81", r"unknown model 'resnet81' of torchvision; nearest: resnet18"),
        ("torchvision/squeezenet1_0", r"encoder.model=torchvision/squeezenet1_0 pools nothing but its classes"),
        ("timm/hf-hub:someone/something", r"unknown model 'hf-hub:someone/something' of timm$"),
        ("resnet18", r"encoder.model must be torchvision/NAME or timm/NAME, got 'resnet18'; try encoder.model=torchvision/"),
    ],
)
def test_a_model_that_is_none_is_refused(model: str, line: str) -> None:
    with pytest.raises(UserError, match=f"^{line}"):
        made(model=model)


def test_a_size_that_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^encoder.model=timm/.* does not take encoder.size=48 \(") as caught:
        made(model="timm/vit_small_patch16_224.dino", size=48)
    assert "\n" not in str(caught.value)


def test_bad_weights_are_one_line_and_leave_no_run(tmp_path: Path) -> None:
    pickled = tmp_path / "disguised.safetensors"
    torch.save({"a": torch.ones(2)}, pickled)
    run = ("train", "encoder=pretrained", f"encoder.model={TINY}", "collect.num_envs=1", f"run_dir={tmp_path / 'run'}")
    for more, words in (
        ((), "encoder=pretrained needs encoder.weights, a safetensors file"),
        ((f"encoder.weights={tmp_path}/none",), "no such file"),
        ((f"encoder.weights={pickled}",), "is a pickle"),
        ((f"encoder.weights={saved(TINY)}", f"encoder.sha256={'ab' * 32}"), "it is another file"),
        ((f"encoder.weights={saved(TINY)}", "encoder.latent_dim=65"), "at most the number of features, 64, got 65"),
    ):
        assert words in rig(*run, *more).line
        assert not (tmp_path / "run").exists()


def test_a_run_is_evaluated_and_goes_on_when_its_file_is_gone(tmp_path: Path) -> None:
    path, run = tmp_path / "weights.safetensors", tmp_path / "run"
    path.write_bytes(saved(TINY).read_bytes())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    few = ("steps=45", "random_steps=20", "evaluation.every=0", "collect.frames=40", "encoder.latent_dim=3")
    own = ("encoder=pretrained", f"encoder.model={TINY}", f"encoder.weights={path}", f"encoder.sha256={digest}")
    done("train", *TINY_RUN, *few, *own, f"run_dir={run}")
    path.unlink()
    assert "hand" in done("evaluate", run, "--episodes", "2").out
    done("resume", run, "steps=60")
    first, last = checkpoint.load(run, 45), checkpoint.load(run, 60)
    for name, value in first.tensors["encoder"].items():
        assert torch.equal(value, last.tensors["encoder"][name])
