"""Interpolation between latents: exact ends, arcs that keep the norm, classes that sum to 1."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_gen.paths import latent_path, lerp, slerp


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(2, 9), st.integers(1, 4))
def test_slerp(seed, steps, rows):
    generator = torch.Generator().manual_seed(seed)
    start, end = torch.randn(2, rows, 3, 5, generator=generator)
    arc = slerp(start, end, steps)
    assert arc.shape == (rows, steps, 3, 5)
    assert arc[:, 0].equal(start)
    assert arc[:, -1].equal(end)

    start, end = start.flatten(1), end.flatten(1)
    start, end = start / start.norm(dim=1, keepdim=True), end / end.norm(dim=1, keepdim=True)
    arc = slerp(start, end, steps)
    torch.testing.assert_close(arc.norm(dim=2), torch.ones(rows, steps))
    gaps = (arc[:, 1:] * arc[:, :-1]).sum(2).clamp(-1, 1).acos()  # equal angles
    torch.testing.assert_close(gaps, gaps[:, :1].expand_as(gaps), atol=2e-3, rtol=0)


@pytest.mark.parametrize("factor", [1.0, 2.0, -1.0])
def test_slerp_of_parallel_latents_is_a_line(factor):
    start = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    arc = slerp(start, factor * start, 5)
    torch.testing.assert_close(arc, lerp(start, factor * start, 5))
    assert arc.isfinite().all()


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_classes_are_interpolated_linearly(kind):
    noise = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    classes = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2], [0, 2, 3]]), 4).float()
    start, end = torch.cat([noise, classes], 2)
    points = latent_path(kind, start, end, 5, num_classes=4)
    assert points[:, 0].equal(start)
    assert points[:, -1].equal(end)
    torch.testing.assert_close(points[..., 6:].sum(2), torch.ones(3, 5))
    assert points[0, :, 6:].equal(classes[0, 0].expand(5, -1))  # a class that both ends share does not change
    assert points[..., :6].equal((slerp if kind == "spherical" else lerp)(noise[0], noise[1], 5))


def test_latents_without_classes():
    start, end = torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    assert latent_path("linear", start, end, 4).equal(lerp(start, end, 4))
    assert latent_path("spherical", start, end, 4).equal(slerp(start, end, 4))
