"""The players of a model: the networks that one optimizer trains, by the name under which they are logged."""

from collections.abc import Sequence

from torch import nn

from lightning_gen.types import TwoPlayers


def players(model: nn.Module) -> dict[str, Sequence[nn.Module]]:
    """The networks of each player, in the order of the model's optimizers.

    Args:
        model: the model.

    Returns:
        ``generator`` and ``discriminator`` of a model that is trained by alternating steps, otherwise ``network``.
    """
    if isinstance(model, TwoPlayers):
        return {"generator": model.generators(), "discriminator": model.discriminators()}
    return {"network": [getattr(model, "network", model)]}


def num_parameters(networks: Sequence[nn.Module]) -> int:
    """The number of trained parameters of networks; parameters that they share count once."""
    parameters = {id(parameter): parameter for network in networks for parameter in network.parameters()}
    return sum(parameter.numel() for parameter in parameters.values() if parameter.requires_grad)
