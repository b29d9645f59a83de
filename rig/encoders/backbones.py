"""The vision nets of torchvision and timm, by name, made without a download."""

from __future__ import annotations

import difflib
import importlib
from typing import Any, NamedTuple

import torch
from torch import nn

from rig.errors import UserError

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and std of ImageNet's pixels, by channel, which all of torchvision's classifiers are trained with."""
FED_OTHERWISE = ("googlenet", "inception_v3")
"""torchvision makes these standardise pictures again where it loads weights itself, so that ours would be of other pictures."""


class Backbone(NamedTuple):
    """A vision net without the layer that tells classes."""

    net: nn.Module
    """Standardised pictures f32[B, 3, S, S] to pooled features f32[B, F] (or f32[B, F, 1, 1]). Its weights are random yet."""
    head: frozenset[str]
    """Names of the tensors that were left out: a file of weights may have them, of any shape."""
    size: int
    """S as the net was trained, in pixels."""
    mean: tuple[float, ...]
    """What is taken off pixels in [0, 1], by channel."""
    std: tuple[float, ...]
    """What they are then divided by."""


def library(package: str, model: str) -> Any:
    """The package of `model`. Raises UserError where it is not installed, or does not go with the PyTorch that is."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        wanted = f"encoder.model={model} needs {error.name or package}, which is not installed"
        raise UserError(f"{wanted}; type pip install 'rig-rl[pretrained]'") from error
    except (ImportError, RuntimeError) as error:  # a torchvision built for another PyTorch does not find its operators
        reason = " ".join(str(error).split())
        raise UserError(
            f"encoder.model={model}: {package} does not go with PyTorch {torch.__version__} ({reason}); "
            "install torch and torchvision anew, both from one place"
        ) from error


def backbone(model: str) -> Backbone:
    """The net that `model`, torchvision/NAME or timm/NAME, stands for, on the CPU.

    Raises UserError for a name that is none, and where its package is missing.
    """
    makers = {"torchvision": _torchvision, "timm": _timm}
    package, _, name = model.partition("/")
    if package not in makers or not name:
        like = "torchvision/resnet18"
        raise UserError(f"encoder.model must be torchvision/NAME or timm/NAME, got '{model}'; try encoder.model={like}")
    made_by = library(package, model)
    with torch.random.fork_rng(devices=[]):  # the weights that a net is made with are drawn from everyone's generator
        return makers[package](made_by, model, name)


def _torchvision(torchvision: Any, model: str, name: str) -> Backbone:
    """One of torchvision's classifiers, without its last linear layer."""
    models = torchvision.models
    _known(model, name, [each for each in models.list_models(module=models) if each not in FED_OTHERWISE])
    net = models.get_model(name, weights=None)
    linear = [path for path, layer in net.named_modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise UserError(f"encoder.model={model} pools nothing but its classes; try encoder.model=torchvision/resnet18")
    whole = set(net.state_dict())
    net.set_submodule(linear[-1], nn.Identity())
    return Backbone(net, frozenset(whole - set(net.state_dict())), 224, *IMAGENET)


def _timm(timm: Any, model: str, name: str) -> Backbone:
    """One of timm's models, without its classifier; it says itself which pictures it was trained with."""
    _known(model, name, [*timm.list_models(), *timm.list_models(pretrained=True)])
    net = timm.create_model(name, pretrained=False)
    whole = set(net.state_dict())
    net.reset_classifier(0)
    about = net.pretrained_cfg
    return Backbone(net, frozenset(whole - set(net.state_dict())), about["input_size"][-1], about["mean"], about["std"])


def _known(model: str, name: str, valid: list[str]) -> None:
    """Raise UserError, with the nearest ones, for a name that is not among `valid`."""
    if name not in valid:
        package = model.partition("/")[0]
        like = difflib.get_close_matches(name, valid, 3, 0.5)
        hint = f"; nearest: {', '.join(like)}; try encoder.model={package}/{like[0]}" if like else ""
        raise UserError(f"unknown model '{name}' of {package}{hint}")
