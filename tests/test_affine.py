"""Homogeneous matrices of affine maps of the plane."""

import numpy as np
import torch
from skimage.transform import AffineTransform

from lightning_gen import affine

X, Y, ANGLE = torch.tensor([0.5, -2.0]), torch.tensor([1.5, 3.0]), torch.tensor([0.3, -1.2])


def test_matrices_equal_skimages():
    for i in range(2):
        x, y, angle = float(X[i]), float(Y[i]), float(ANGLE[i])
        for matrices, expected in (
            (affine.identity(2), AffineTransform()),
            (affine.translation(X, Y), AffineTransform(translation=(x, y))),
            (affine.rotation(ANGLE), AffineTransform(rotation=angle)),
            (affine.scaling(X, Y), AffineTransform(scale=(x, y))),
        ):
            assert matrices.shape == (2, 3, 3)
            np.testing.assert_allclose(matrices[i].numpy(), expected.params, atol=1e-6)


def test_a_quarter_turn_takes_the_x_axis_to_the_y_axis():
    turned = affine.rotation(torch.tensor([torch.pi / 2])) @ torch.tensor([1.0, 0.0, 1.0])
    torch.testing.assert_close(turned, torch.tensor([[0.0, 1.0, 1.0]]))


def test_a_product_applies_its_right_factor_first():
    product = affine.translation(X, Y) @ affine.scaling(X, Y) @ torch.ones(3)
    torch.testing.assert_close(product, torch.stack([2 * X, 2 * Y, torch.ones(2)], 1))
