"""Ways between latents: exact ends, arcs that keep the norm, classes that sum to 1."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_gen.paths import line, path, slerp


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
    torch.testing.assert_close(arc, line(start, factor * start, 5))
    assert arc.isfinite().all()


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_classes_go_along_lines(kind):
    noise = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    classes = torch.nn.functional.one_hot(torch.tensor([[0, 1, 2], [0, 2, 3]]), 4).float()
    start, end = torch.cat([noise, classes], 2)
    ways = path(kind, start, end, 5, num_classes=4)
    assert ways[:, 0].equal(start)
    assert ways[:, -1].equal(end)
    torch.testing.assert_close(ways[..., 6:].sum(2), torch.ones(3, 5))
    assert ways[0, :, 6:].equal(classes[0, 0].expand(5, -1))  # between two of a class, the class stays
    assert ways[..., :6].equal((slerp if kind == "spherical" else line)(noise[0], noise[1], 5))


def test_without_classes_a_path_is_its_kind():
    start, end = torch.randn(2, 3, 2, 4, generator=torch.Generator().manual_seed(0))
    assert path("linear", start, end, 4).equal(line(start, end, 4))
    assert path("spherical", start, end, 4).equal(slerp(start, end, 4))
