"""What models with a perceptual loss share: a frozen feature network, which is part of no checkpoint and of no EMA."""

from typing import Any, Literal

from torch import Tensor, nn

from lightning_gen.checks import check_at_least
from lightning_gen.errors import InputError
from lightning_gen.losses.perceptual import feature_distance
from lightning_gen.models.base import GenerativeModule
from lightning_gen.networks.features import LAYERS, FeatureKind, FeatureNetwork, load_features
from lightning_gen.types import Images

Perceptual = Literal["vgg19", "efficientnet_lite0", "classifier", "discriminator", "none"]
DEFAULT_LAYERS: dict[FeatureKind, tuple[str, ...]] = {**LAYERS, "vgg19": ("conv5_4",)}


class PerceptualLoss(GenerativeModule[nn.Module]):
    """Mixin of models that compare feature maps of images, see :mod:`lightning_gen.losses.perceptual`.

    The feature network is loaded when training starts and is needed for training alone.

    Args:
        perceptual: network of the features, see :mod:`lightning_gen.networks.features`; ``discriminator`` compares the
            hidden layers of the model's own discriminator, and ``none`` compares nothing.
        perceptual_layers: weights of layers by name, such as {conv4_4: 1, conv5_4: 0.5}. None: 1 for every default
            layer of a feature network, and an average over the layers of ``discriminator``.
        perceptual_weights: file of the network's weights. None: torchvision's download of ``vgg19``, the installed
            package of ``efficientnet_lite0``, and the classifier that the command line trains on the labelled data.
        **kwargs: see the next base class.

    Raises:
        InputError: if a weight is negative, or the network has no such layer.
    """

    def __init__(
        self,
        *,
        perceptual: Perceptual,
        perceptual_layers: dict[str, float] | None = None,
        perceptual_weights: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.perceptual: Perceptual = perceptual
        self.perceptual_weights = perceptual_weights
        self.layer_weights: dict[str, float] = {}
        if perceptual == "discriminator" or perceptual == "none":
            if perceptual_layers or perceptual_weights:
                raise InputError(
                    f"model.perceptual is {perceptual}; leave out perceptual_layers and perceptual_weights, which are "
                    "those of a feature network"
                )
        else:
            given = perceptual_layers or dict.fromkeys(DEFAULT_LAYERS[perceptual], 1.0)
            if unknown := given.keys() - {*LAYERS[perceptual]}:
                raise InputError(
                    f"model.perceptual_layers has {min(unknown)}; the layers of {perceptual} are "
                    f"{', '.join(LAYERS[perceptual])}"
                )
            check_at_least(0, least_weight_of_perceptual_layers=min(given.values()))
            self.layer_weights = {name: given[name] for name in LAYERS[perceptual] if name in given}
        self.feature_networks: tuple[FeatureNetwork, ...] = ()  # a tuple, so that it is neither trained nor saved

    def on_fit_start(self) -> None:
        """Load the feature network; raises an :class:`InputError` where its weights are missing or do not fit."""
        super().on_fit_start()
        if self.perceptual != "discriminator" and self.perceptual != "none":
            network = load_features(self.perceptual, [*self.layer_weights], self.image_shape, self.perceptual_weights)
            self.feature_networks = (network.to(self.device),)

    def perceptual_distance(self, images: Images, targets: Images) -> Tensor:
        """The weighted distance of the feature maps of images and of targets, which have no gradient."""
        [network] = self.feature_networks
        return feature_distance(network(images), network(targets), [*self.layer_weights.values()])
