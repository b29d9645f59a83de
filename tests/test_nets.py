"""Adam with its memory as buffers, and its learning rate on the way down."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rig.nets import Adam


@pytest.mark.parametrize("anneal", [0, 10])
def test_adam_is_pytorchs_with_a_learning_rate_that_falls_to_a_tenth_and_stays(anneal: int) -> None:
    ours, theirs = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    adam, reference = Adam([ours], 0.1, anneal), torch.optim.Adam([theirs], 0.1)
    for step in range(15):
        adam.minimise(ours.square().sum())
        reference.param_groups[0]["lr"] = 0.1 * (1 - 0.9 * min(step / anneal, 1)) if anneal else 0.1
        reference.zero_grad()
        theirs.square().sum().backward()
        reference.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert abs(float(ours[0].detach()) - 1) > 0.3
