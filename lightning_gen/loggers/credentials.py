"""Whether the user is logged in to W&B, read from where W&B stores it."""

import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit


def has_credentials(api_key: str | None, base_url: str) -> bool:
    """Whether W&B finds credentials in its settings, the environment or the netrc file.

    wandb 0.31, sdk/lib/wbauth/authenticate.py does the same. Reason: that module is private, and ``wandb.login``
    prompts the user.

    Args:
        api_key: the key in W&B's settings.
        base_url: the address of the server in W&B's settings.

    Returns:
        True if there are credentials.
    """
    if api_key or os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    files = [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]
    hosts = {urlsplit(base_url).netloc, "api.wandb.ai"}
    for file in files:
        try:
            if any(netrc.netrc(Path(file).expanduser()).authenticators(host) for host in hosts):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
