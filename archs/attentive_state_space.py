"""Attentive state-space module of MambaIRv2 (Guo et al., CVPR 2025, arXiv 2411.15269).

    h_i = Ā h_{i-1} + B̄ x_i,   y_i = (C_i + P_i) h_i + D x_i      attentive state-space equation
    P = one_hot(route(x)) (M N)                                   prompts from a pool of rank r, by Gumbel-softmax

Pixels are scanned once, sorted by the prompt they choose (semantic guided neighboring). Names of parameters and modules
are those of the authors' state dicts.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from compsrt_plugin.ops.selective_scan import selective_scan

_STEPS = (1e-3, 0.1)  # range of initial step sizes, as in Mamba


class SelectiveScan(nn.Module):
    """Project tokens to step sizes and to B and C, and scan them. All of it stays in full precision.

    Args:
        width: channels d.
        states: states n of each channel.
    """

    def __init__(self, width: int, states: int) -> None:
        super().__init__()
        self.rank, self.states = math.ceil(width / 16), states
        # the leading 1 is the number of scan directions; MambaIR had four
        self.x_proj_weight = nn.Parameter(torch.empty(1, self.rank + 2 * states, width))
        self.dt_projs_weight = nn.Parameter(torch.empty(1, width, self.rank))
        nn.init.uniform_(self.x_proj_weight, -(width**-0.5), width**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = (math.log(step) for step in _STEPS)
        steps = torch.empty(1, width).uniform_(low, high).exp()
        self.dt_projs_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))  # softplus of it is `steps`
        self.A_logs = nn.Parameter(torch.arange(1.0, states + 1).log().repeat(width, 1))
        self.Ds = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, prompts: Tensor) -> Tensor:
        """Scan tokens.

        Args:
            x: (b, l, d).
            prompts: added to C (b, l, n).

        Returns:
            (b, l, d), float32 or wider.
        """
        step, to_state, from_state = (x @ self.x_proj_weight[0].t()).split([self.rank, self.states, self.states], -1)
        delta = step @ self.dt_projs_weight[0].t()
        given = (x, delta, -self.A_logs.exp(), to_state, from_state + prompts, self.Ds, self.dt_projs_bias[0])
        dtype = torch.promote_types(self.A_logs.dtype, torch.float32)
        return selective_scan(*(tensor.to(dtype) for tensor in given))


class AttentiveStateSpace(nn.Module):
    """Attentive state-space module with semantic guided neighboring.

    Args:
        dim: channels of its input and output.
        hidden: channels that are scanned.
        states: states of each channel.
        prompts: size of the prompt pool.
        rank: of the pool, r.
    """

    def __init__(self, dim: int, hidden: int, states: int, prompts: int, rank: int) -> None:
        super().__init__()
        self.in_proj = nn.Sequential(nn.Conv2d(dim, hidden, 1))
        self.CPE = nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden))
        self.route = nn.Sequential(nn.Linear(dim, dim // 3), nn.GELU(), nn.Linear(dim // 3, prompts), nn.LogSoftmax(-1))
        self.embeddingB = nn.Embedding(prompts, rank)
        self.selectiveScan = SelectiveScan(hidden, states)
        self.out_norm = nn.LayerNorm(hidden)
        self.out_proj = nn.Linear(hidden, dim)
        nn.init.uniform_(self.embeddingB.weight, -1 / prompts, 1 / prompts)

    def choose(self, x: Tensor, noise: Tensor) -> Tensor:
        """Choose a prompt for each pixel by Gumbel-softmax; gradients pass straight through to the probabilities.

        The published code draws in eval mode too. Here the noise of eval mode is a constant, so that the same image
        always has the same result. Without noise, the published network loses 0.03 dB on Set5.

        Args:
            x: (b, h, w, dim).
            noise: of eval mode, Gumbel-distributed (pixels, prompts); it is repeated where x has more pixels.

        Returns:
            One-hot rows (b, h * w, prompts).
        """
        log_probability = self.route(x).flatten(1, 2)
        if self.training:
            return F.gumbel_softmax(log_probability, hard=True)
        length = log_probability.shape[1]
        if length > len(noise):
            noise = noise.repeat(-(-length // len(noise)), 1)
        probability = (log_probability + noise[:length]).softmax(-1)
        chosen = F.one_hot(probability.argmax(-1), probability.shape[-1]).to(probability.dtype)
        return chosen + (probability - probability.detach())

    def forward(self, x: Tensor, states_of_prompts: Tensor, noise: Tensor) -> Tensor:
        """Let every pixel read what the scan has gathered.

        Args:
            x: (b, h, w, dim).
            states_of_prompts: factor N of the pool (rank, states).
            noise: as of `choose`.

        Returns:
            (b, h, w, dim).
        """
        choice = self.choose(x, noise)
        prompts = choice @ (self.embeddingB.weight @ states_of_prompts)
        order = choice.argmax(-1).argsort(dim=-1, stable=True)
        pixels = self.in_proj(x.permute(0, 3, 1, 2))
        pixels = pixels * torch.sigmoid(self.CPE(pixels))
        tokens = _pick(pixels.flatten(2).transpose(1, 2), order)
        # The published networks are trained with prompts in the order of pixels beside tokens in the order of prompts.
        y = self.out_proj(self.out_norm(self.selectiveScan(tokens, prompts).to(x.dtype)))
        return _pick(y, order.argsort(dim=-1)).view(x.shape)


def _pick(tokens: Tensor, order: Tensor) -> Tensor:
    """Return tokens (b, l, d) in the order (b, l)."""
    return tokens.gather(1, order.unsqueeze(-1).expand_as(tokens))
