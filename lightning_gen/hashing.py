"""Hashes of network weights and of files."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from torch import Tensor, nn

CHUNK_BYTES = 2**20


def weights_hash(weights: nn.Module | Mapping[str, Tensor]) -> str:
    """Hash the names, dtypes, shapes and values of tensors; their order has no effect.

    Args:
        weights: a module or its state dict.

    Returns:
        The first 16 hexadecimal digits of the SHA-256.
    """
    state = weights.state_dict() if isinstance(weights, nn.Module) else weights
    digest = sha256()
    for name, value in sorted(state.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().numpy().tobytes())
    return digest.hexdigest()[:16]


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's content as 64 hexadecimal digits."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
