"""The sample grids in docs/images, by family of models."""

from pathlib import Path

import yaml

from lightning_gen.cli.catalogue import PACKAGE, configs, describe_model, models

IMAGES = Path(__file__).parent.parent / "images"
PAGES = {
    "autoencoders": ("Autoencoders", "autoencoders.md"),
    "gans": ("GANs", "gans.md"),
    "diffusion": ("Diffusion and flows", "diffusion.md"),
    "translation": ("Image translation", "translation.md"),
    "super_resolution": ("Super-resolution", "super_resolution.md"),
}
"""The title and the page of the models of each sub-package of ``lightning_gen.models``."""


def grids() -> dict[str, list[tuple[str, str]]]:
    """The pictures named after a configuration, as (model, configuration) by family."""
    found: dict[str, list[tuple[str, str]]] = {family: [] for family in PAGES}
    for name, path in configs().items():
        if not (IMAGES / f"{name}.png").exists():
            continue
        model = yaml.safe_load(path.read_text())["model"]["class_path"].rpartition(".")[2]
        found[models()[model].relative_to(PACKAGE / "models").parts[0]].append((model, name))
    return {family: sorted(pairs, key=lambda pair: pair[0].lower()) for family, pairs in found.items()}


def section(pairs: list[tuple[str, str]], level: str) -> str:
    """Pictures under the names of their models.

    Args:
        pairs: models and configurations.
        level: the number signs of the models' titles.

    Returns:
        Markdown.
    """
    lines = []
    for model in dict.fromkeys(model for model, _ in pairs):
        lines += [f"{level} {model}", describe_model(model)]
        for name in (name for other, name in pairs if other == model):
            lines += [f"`lightning-gen fit {name}`", f"![Samples of {name}](images/{name}.png)"]
    return "\n\n".join(lines)


def gallery() -> str:
    """The page of all pictures."""
    parts = [
        "# Gallery",
        "Sample grids, each after the whole training of its configuration; scores are in the [results](results.md).",
    ]
    pictures = grids()
    for family, (title, page) in PAGES.items():
        parts += [f"## [{title}]({page})", section(pictures[family], "###")]
    return "\n\n".join(parts)


def samples_of(page: str) -> str:
    """The section with the pictures of a page's models; empty for a page of none."""
    families = [family for family, (_, name) in PAGES.items() if name == page]
    return "".join(f"\n\n## Samples\n\n{section(grids()[family], '###')}\n" for family in families)
