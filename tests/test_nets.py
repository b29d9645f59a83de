"""Networks and layers against plain modules; Adam with its memory as buffers, and its learning rate on the way down."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rig.nets import FEW, Adam, ConvTranspose2d, Ensemble, mixed_precision
from tests.test_learners import draws


@pytest.mark.parametrize("anneal", [0, 10])
def test_adam_is_pytorchs_with_a_learning_rate_that_falls_to_a_tenth_and_stays(anneal: int) -> None:
    ours, theirs = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    adam, reference = Adam([ours], 0.1, anneal, together=2), torch.optim.Adam([theirs], 0.1)
    for step in range(15):
        adam.minimise(ours.square().sum())
        reference.param_groups[0]["lr"] = 0.1 * (1 - 0.9 * min(step / anneal, 1)) if anneal else 0.1
        reference.zero_grad()
        theirs.square().sum().backward()
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert abs(float(ours[0].detach()) - 1) > 0.3
    loaded = Adam([nn.Parameter(torch.ones(3))], 0.1, anneal, together=2)
    loaded.load_state_dict(adam.state_dict())
    for ready in (adam, loaded):  # for two compiled steps after those
        rate, after = 0.01 if anneal else 0.1, torch.tensor([16.0, 17.0], dtype=torch.float64)
        torch.testing.assert_close(ready.step_size, (rate / (1 - 0.9**after)).float())
        torch.testing.assert_close(ready.scale, ((1 - 0.999**after) ** -0.5).float())


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("outputs", [2, FEW + 1])
def test_an_ensemble_is_plain_modules_side_by_side(layer_norm: bool, outputs: int) -> None:
    """Outputs, and gradients of inputs and parameters, of each member against nn.Linear, nn.LayerNorm and nn.ReLU."""
    ensemble = Ensemble(3, (5, 16, 8, outputs), layer_norm=layer_norm, generator=draws(0))
    generator = draws(1)
    with torch.no_grad():
        for parameter in (*ensemble.gains, *ensemble.shifts):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.randn(10, 5, generator=generator)
    goal = torch.randn(3, 10, outputs, generator=generator)
    mine = x.clone().requires_grad_()
    output = ensemble(mine)
    ((output - goal) ** 2).sum().backward()
    its = x.clone().requires_grad_()
    members = [reference(ensemble, member) for member in range(3)]
    expected = torch.stack([network(its) for network in members])
    ((expected - goal) ** 2).sum().backward()
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ensemble(x, members=1), expected[:1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mine.grad, its.grad, rtol=1e-5, atol=1e-4)
    for member, network in enumerate(members):
        linear = [layer for layer in network if isinstance(layer, nn.Linear)]
        norms = [layer for layer in network if isinstance(layer, nn.LayerNorm)]
        assert len(norms) == (2 if layer_norm else 0)
        pairs = [(weight.grad[member].T, layer.weight.grad) for weight, layer in zip(ensemble.weights, linear, strict=True)]
        pairs += [(bias.grad[member, 0], layer.bias.grad) for bias, layer in zip(ensemble.biases, linear, strict=True)]
        pairs += [(gain.grad[member, 0], layer.weight.grad) for gain, layer in zip(ensemble.gains, norms, strict=True)]
        pairs += [(shift.grad[member, 0], layer.bias.grad) for shift, layer in zip(ensemble.shifts, norms, strict=True)]
        for gradient, wanted in pairs:
            torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-4)


def reference(ensemble: Ensemble, member: int) -> nn.Sequential:
    modules: list[nn.Module] = []
    for index, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
        linear = nn.Linear(weight.shape[1], weight.shape[2])
        linear.load_state_dict({"weight": weight[member].T, "bias": bias[member, 0]})
        modules.append(linear)
        if index == len(ensemble.weights) - 1:
            break
        if ensemble.layer_norm:
            norm = nn.LayerNorm(weight.shape[2])
            norm.load_state_dict({"weight": ensemble.gains[index][member, 0], "bias": ensemble.shifts[index][member, 0]})
            modules.append(norm)
        modules.append(nn.ReLU())
    return nn.Sequential(*modules)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
@pytest.mark.parametrize(("odd", "bias"), [(0, True), (1, True), (0, False)])
def test_a_transposed_convolution_is_pytorchs(precision: str, tolerance: float, odd: int, bias: bool) -> None:
    """Pictures, and gradients of pictures, weight and bias; what it makes lies channels last, whatever it is given."""
    theirs = nn.ConvTranspose2d(5, 3, 4, 2, 1, odd, bias=bias)
    ours = ConvTranspose2d(5, 3, 4, 2, 1, odd, bias=bias)
    ours.load_state_dict(theirs.state_dict())
    generator = draws(0)
    x, goal = torch.randn(2, 5, 6, 7, generator=generator), torch.randn(2, 3, 12 + odd, 14 + odd, generator=generator)
    found: list[list[torch.Tensor]] = []
    for layer in (ours, theirs):
        given = x.clone().requires_grad_()
        with mixed_precision(precision, x.device):
            made = layer(given)
        ((made.float() - goal) ** 2).mean().backward()
        found.append([made, *(leaf.grad for leaf in (given, *layer.parameters()) if leaf.grad is not None)])
    assert len(found[0]) == 3 + bias
    assert found[0][0].dtype == (torch.float32 if precision == "float32" else torch.bfloat16)
    assert found[0][0].is_contiguous(memory_format=torch.channels_last)
    for mine, its in zip(*found, strict=True):
        torch.testing.assert_close(mine, its, rtol=tolerance, atol=tolerance)
