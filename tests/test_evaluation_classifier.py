"""The classifier is accurate, deterministic, cached by content, and leaves the random state unchanged."""

import numpy as np
import pytest
import torch

from lightning_gen.errors import InputError
from lightning_gen.evaluation import make_extractor
from tests.test_evaluation import Images, digit_sets


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_GEN_CACHE", str(tmp_path))


def test_it_is_trained_once_on_the_digits_and_leaves_the_random_state_unchanged(tmp_path):
    labelled = digit_sets(16)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = make_extractor("classifier", labelled=labelled)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    assert first.accuracy >= 0.96  # 0.970 to 0.975 by the processor's rounding
    (file,) = (tmp_path / "classifier").iterdir()
    written = file.stat().st_mtime_ns
    again = make_extractor("classifier", labelled=labelled)
    assert file.stat().st_mtime_ns == written
    images = labelled[1][:20]
    assert torch.equal(first(images).vectors, again(images).vectors)
    file.write_bytes(file.read_bytes()[:1000])
    torch.manual_seed(5)
    third = make_extractor("classifier", labelled=labelled)
    assert third.weights_hash == first.weights_hash
    assert first(images).vectors.shape == (20, first.width)
    assert first(images).logits.shape == (20, 10)


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 32), (3, 40), (1, 128)])
def test_any_shape(channels, size):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 40)
    images = torch.from_numpy(
        random.integers(0, 100, (40, channels, size, size), np.uint8)
        + 100 * labels.astype(np.uint8)[:, None, None, None]
    )
    some = Images("x/train", images, labels)
    extractor = make_extractor("classifier", labelled=(some, some))
    assert extractor(images).vectors.isfinite().all()
    assert ("average" in extractor.resizer) == (size > 32)
    with pytest.raises(InputError, match="cannot see"):
        extractor(images[:, :, :4])


def test_without_labels_it_is_refused():
    bare = Images("bare/train", torch.zeros(4, 1, 8, 8, dtype=torch.uint8))
    with pytest.raises(InputError, match="bare/train has no class labels"):
        make_extractor("classifier", labelled=(bare, bare))
    with pytest.raises(InputError, match="labelled dataset"):
        make_extractor("classifier")
    with pytest.raises(InputError, match="unknown features 'incepton'"):
        make_extractor("incepton")
