"""Products with the Jacobian of a function of one tensor, by autograd."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


def vjp(f, x, w):
    """f(x) and J^T w there."""
    x = x.clone().requires_grad_(True)
    y = f(x)
    (g,) = torch.autograd.grad(y, x, w)
    return y.detach(), g


def jvp(f, x, v):
    """J v: J^T u is linear in u, and its vjp is J."""
    x = x.clone().requires_grad_(True)
    with sdpa_kernel(SDPBackend.MATH):
        y = f(x)
        u = torch.zeros_like(y).requires_grad_(True)
        (g,) = torch.autograd.grad(y, x, u, create_graph=True)
        return torch.autograd.grad(g, u, v)[0]
