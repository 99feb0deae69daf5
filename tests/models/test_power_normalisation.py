from __future__ import annotations

import numpy as np

from igcam.models.linear_head import power_normalised


def test_square_roots_keep_the_sign() -> None:
    found = power_normalised([[4.0, -9.0], [0.0, 1.0]])
    # Roots 2, -3 and 0, 1; centred 1, -2 and -1, 2; scaled from a mean square norm of 5 to 100.
    np.testing.assert_allclose(found.features, np.array([[1, -2], [-1, 2]]) * np.sqrt(20))
    np.testing.assert_allclose(found.mean, [1, -1])
    assert found.scale == np.sqrt(20)
