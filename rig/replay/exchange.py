"""Counterfactual transitions: a thing that rests changes places with where it rested in another transition."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rig.nets import Adam, initialise
from rig.replay.ring import Sample
from rig.types import living

LEARNT = 32_000
"""Most transitions that they are told apart by."""
WIDEST = 256
"""Most coordinates in which they are."""
MOST = 8
"""Things that are told apart at most."""
SURE = 1e4
"""Condition of the parts above which they are no coordinates, because steps tell of fewer directions than an action has."""
MOVING = 0.1
"""Share of a part's long steps (the 99.5 % quantile) above which it moves; below lie the error of codes and of the parts."""
RESTLESS = 0.5
"""Share of steps in which a part moves above which it is of no thing that rests."""
TOGETHER = 0.25
"""Correlation of when two parts move above which they are of one thing."""
STAYS = -1.0
"""Log-odds of moving, among as many steps with a move as without, below which a thing is taken to stay where it is."""
WIDTH, STEPS, BATCH = 64, 1000, 512
"""Units of the two hidden layers that tell what will move, and gradient steps and transitions a step by which they learn it."""


class Exchange(nn.Module):
    """What agent coordinates consist of, and transitions in which a thing that rests, with its goal, lies elsewhere.

    Where hand and puck do not touch, what either does says nothing of the other: with the puck at another place where it rests
    too, and another goal for it, the transition is as true as before. So every way of going round, and of pushing one puck, is
    seen with many places of the others. Source: Pitis et al. 2020 (CoDA, arXiv:2007.02863); parts and contacts are learnt here.

    Parts are v = u @ parts, the first A of them the agent's own, the others of things: what moves seldom, and what moves at the
    same time is one thing. A small network learns from what was lived through which things an action moves; a thing is put
    nowhere where it, or another that rests, would be moved.
    """

    parts: Tensor
    """f32[K, K], from agent coordinates to parts."""
    things: Tensor
    """bool[G, K], which parts are of which thing; the last rows may be of none."""
    moving: Tensor
    """f32[K], how long a step of a part is a move."""
    shift: Tensor
    """f32[K], mean of each part."""
    scale: Tensor
    """f32[K], 1 / its deviation."""

    def __init__(self, dim: int, action_dim: int, share: float) -> None:
        super().__init__()
        self.action_dim, self.share = action_dim, share
        self.fitted = 0  # whole episodes that were there when parts were last told apart
        self.count = 0  # things that were found
        count = max(1, min(MOST, dim - action_dim))
        self.register_buffer("parts", torch.eye(dim))
        self.register_buffer("things", torch.zeros(count, dim, dtype=torch.bool))
        for name in ("moving", "shift", "scale"):
            self.register_buffer(name, torch.ones(dim))
        self.moves = nn.Sequential(
            nn.Linear(dim + action_dim, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, count)
        )

    def resume(self, fitted: int) -> None:
        """Go on with buffers and weights that were loaded, fitted to so many whole episodes."""
        self.fitted, self.count = fitted, int(self.things.any(1).sum())

    def due(self, episodes: int) -> bool:
        """Whether to fit, with so many whole episodes: with the first, and whenever there are twice as many as the last time."""
        return len(self.parts) > self.action_dim and episodes >= max(1, 2 * self.fitted)

    def fit(self, latent: Tensor, action: Tensor, episodes: int, generator: torch.Generator) -> None:
        """Tell parts apart, and learn what moves, from codes f32[E, T + 1, K] and actions f32[E, T, A] of some whole episodes.

        `episodes` is how many there are.
        """
        code, step, act = latent[:, :-1].flatten(0, 1).double(), latent.diff(dim=1).flatten(0, 1).double(), action.flatten(0, 1)
        parts = _parts(step, act.double(), generator)
        length = (step @ parts).abs()
        self.moving.copy_(torch.maximum(MOVING * length.quantile(0.995, dim=0), 4 * length.median(0).values).clamp(min=1e-6))
        things = _things(length > self.moving, self.action_dim, len(self.things))
        self.things.copy_(things & (torch.linalg.cond(parts) < SURE))
        self.parts.copy_(parts)
        self.shift.copy_((code @ parts).mean(0))
        self.scale.copy_((code @ parts).std(0).clamp(min=1e-6).reciprocal())
        self._learn_moves((code @ parts).float(), act, ~self.rests((step @ parts).float()), generator)
        self.resume(episodes)

    def _learn_moves(self, place: Tensor, action: Tensor, moved: Tensor, generator: torch.Generator) -> None:
        seed = int(torch.randint(2**31, (), generator=generator, device=place.device))
        fresh = torch.Generator().manual_seed(seed)
        self.moves.cpu()
        initialise(self.moves, fresh)
        self.moves.to(place.device)
        some = moved.any(1).nonzero().flatten()
        if not len(some):
            return
        optimiser = Adam(self.moves.parameters(), 1e-3)
        for _ in range(STEPS):
            every = torch.randint(len(place), (BATCH // 2,), generator=generator, device=place.device)
            rare = some[torch.randint(len(some), (BATCH // 2,), generator=generator, device=place.device)]
            row = torch.cat((every, rare))
            odds = self.odds(place[row], action[row])
            optimiser.minimise(nn.functional.binary_cross_entropy_with_logits(odds, moved[row].float()))

    def rests(self, step: Tensor) -> Tensor:
        """bool[…, G], whether each thing stays where it is in steps f32[…, K] of the parts."""
        return ~((step.abs() > self.moving)[..., None, :] & self.things).any(-1)

    def odds(self, place: Tensor, action: Tensor) -> Tensor:
        """Log-odds f32[…, G] that actions f32[…, A] move each thing, where parts are f32[…, K]."""
        return self.moves(torch.cat(((place - self.shift) * self.scale, action), -1))

    @torch.no_grad()
    def forward(self, sample: Sample, generator: torch.Generator) -> Sample:
        """A sample (n_step=1) in which each thing, in `share` of the transitions, lies elsewhere if that moves nothing."""
        if not self.count:
            return sample
        before = (sample.latent, sample.reached[..., -1, :], sample.goal)
        place, reached, goal = (code @ self.parts for code in before)
        rests = self.rests(reached - place)
        changed = torch.zeros_like(rests[..., 0])
        batch = place.shape[1]
        for thing, mask in enumerate(self.things[: self.count]):
            shift = torch.randint(batch, (1,), generator=generator, device=place.device)
            other = (torch.arange(batch, device=place.device) + shift) % batch
            wanted = torch.rand(changed.shape, generator=generator, device=place.device) < self.share
            elsewhere = torch.where(mask, place[:, other], place)
            stays = (~rests | (self.odds(elsewhere, sample.action) < STAYS)).all(-1)
            free = wanted & rests[..., thing] & rests[:, other, thing] & stays
            put = free[..., None] & mask
            place, reached, goal = (torch.where(put, code[:, other], code) for code in (place, reached, goal))
            changed |= free
        back = torch.linalg.inv_ex(self.parts)[0]
        latent, next_latent, wished = (
            torch.where(changed[..., None], new @ back, old) for new, old in zip((place, reached, goal), before, strict=True)
        )
        return sample._replace(latent=latent, reached=next_latent[..., None, :], goal=wished)


def _parts(step: Tensor, action: Tensor, generator: torch.Generator) -> Tensor:
    """Matrix f64[K, K] from agent coordinates to parts, from steps f64[M, K] and the actions f64[M, A] before them.

    The agent's own: the A directions in which steps tell the action, by least squares. What things do tells nothing more of it
    than the agent's own step does, and so these are free of them. Things': directions in which the agent's own steps show
    nothing, as far as these are seen where all else rests, turned to the most independent steps, of greatest kurtosis.
    """
    own = _least_squares(step, action)
    moved = step @ own
    shown = _least_squares(moved, step)
    for turn in range(10):  # least squares, at first of nearly absolute errors, then of the steps in which nothing else moves
        error = (step - moved @ shown).norm(dim=1, keepdim=True)
        usual = 3 * error.median() + 1e-9
        weight = (error < usual).to(step.dtype) if turn > 3 else usual / (usual + error)
        shown = _least_squares(moved * weight, step * weight)
    rest = torch.linalg.svd(shown, full_matrices=True)[2][len(shown) :].T
    return nn.functional.normalize(torch.cat((own, rest @ _independent(step @ rest, generator)), 1), dim=0)


def _least_squares(given: Tensor, sought: Tensor) -> Tensor:
    """X of least norm that brings given f64[M, K] @ X nearest to sought f64[M, N]; given may be of any rank."""
    return torch.linalg.pinv(given.T @ given, rtol=1e-12, hermitian=True) @ (given.T @ sought)


def _independent(step: Tensor, generator: torch.Generator) -> Tensor:
    """Matrix f64[N, N] that makes steps f64[M, N] uncorrelated and of extreme kurtosis.

    Source: Hyvärinen & Oja 2000 (FastICA), all components at once, with the cubic nonlinearity.
    """
    variance, axes = torch.linalg.eigh(step.T @ step / len(step))
    whitening = axes * living(variance, 1e-9).rsqrt()
    white, count = step @ whitening, step.shape[1]
    noise = torch.randn(count, count, generator=generator, device=step.device, dtype=step.dtype)
    turned = torch.linalg.qr(noise).Q
    for _ in range(100):
        sought = white.T @ (white @ turned) ** 3 / len(white) - 3 * turned
        left, _, right = torch.linalg.svd(sought)
        turned = left @ right
    return whitening @ turned


def _things(moves: Tensor, own: int, count: int) -> Tensor:
    """bool[count, K], which parts are of which thing, from when they move, bool[M, K]; the first `own` are the agent's."""
    share = moves.double().mean(0)
    together = torch.corrcoef(moves.double().T).nan_to_num(0.0)
    left = [part for part in range(own, len(share)) if share[part] < RESTLESS]
    things = torch.zeros(count, len(share), dtype=torch.bool, device=moves.device)
    for thing in range(count):
        if left:
            alike = [part for part in left if part == left[0] or together[left[0], part] > TOGETHER]
            things[thing, alike] = True
            left = [part for part in left if part not in alike]
    return things
