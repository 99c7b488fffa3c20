"""The model card of an exported model: a README with the metadata that the Hugging Face Hub reads."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import yaml

REPOSITORY = "lightning_gen"
PLACEHOLDER = "PATH_OR_HUB_ID"


class CardFacts(NamedTuple):
    """What an export adds to the card.

    Attributes:
        summary: the documentation of the model in a sentence or two.
        makes: what the model does: ``generate``, ``translate`` or ``reconstruct``.
        data: name of the training data; None where it is unknown.
        scores: score cards, as dictionaries.
        pictures: captions of pictures by file name.
        onnx: the entry ``onnx`` of the configuration; None without an ONNX file.
    """

    summary: str
    makes: str
    data: str | None = None
    scores: Sequence[Mapping[str, Any]] = ()
    pictures: Mapping[str, str] = {}
    onnx: Mapping[str, Any] | None = None


TAGS = {
    "generate": "unconditional-image-generation",
    "translate": "image-to-image",
    "reconstruct": "image-feature-extraction",
}
"""The Hub's task of each kind of model."""
USES = {
    "generate": "images = model.sample(16)  # float32 in [-1, 1], shape (16, {shape})",
    "translate": "images = model.translate(inputs)  # inputs: float32 in [-1, 1], shape (batch, {inputs})",
    "reconstruct": "latents = model.encode(images)  # images: float32 in [-1, 1], shape (batch, {shape})",
}


def model_card(config: Mapping[str, Any], facts: CardFacts) -> str:
    """Write the card.

    The licence is left to the user: the Hub asks for the entry ``license`` of the metadata.

    Args:
        config: the content of ``config.json``.
        facts: what the configuration does not say.

    Returns:
        The text of ``README.md``.
    """
    name = config["class"].rsplit(".", 1)[-1]
    on_data = f" on {facts.data}" if facts.data else ""
    lines = [
        f"# {name}{on_data}",
        "",
        facts.summary,
        "",
        *(text for file, caption in facts.pictures.items() for text in (f"![{caption}]({file})", "", caption, "")),
        "## Use",
        "",
        "```python",
        "from lightning_gen import load",
        "",
        f'model = load("{PLACEHOLDER}")',
        USES[facts.makes].format(
            shape=", ".join(map(str, config["hyper_parameters"]["image_shape"])),
            inputs=", ".join(map(str, config["hyper_parameters"].get("input_shape", ()))),
        ),
        "```",
        "",
        f"The weights are {'the moving average of the' if config['weights'] == 'ema' else 'the'} trained weights after "
        f"{config['progress']['images_seen']:,} training images. `config.json` has the hyper-parameters.",
        "",
    ]
    if facts.onnx is not None:
        lines += [
            "## ONNX",
            "",
            f"`{facts.onnx['file']}` is the {facts.onnx['part']}. Its output differs from PyTorch's by at most "
            f"{facts.onnx['largest_difference']:.1e}.",
            "",
        ]
    if facts.scores:
        lines += ["## Scores", "", "| score | value | protocol | against |", "|---|---|---|---|"]
        lines += [f"| {row.score} | {row.text} | {row.protocol} | {row.reference} |" for row in rows(facts.scores)]
        lines += ["", "The score cards in `scores/` state how each was measured.", ""]
    return f"---\n{front_matter(name, config, facts)}---\n\n" + "\n".join(lines)


class Row(NamedTuple):
    """One score.

    Attributes:
        score: its key.
        value: its value.
        text: the value with its spread.
        protocol: name of the protocol.
        reference: the real images.
    """

    score: str
    value: float
    text: str
    protocol: str
    reference: str


def rows(cards: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The scores of score cards, without their standard errors."""
    found = []
    for card in cards:
        for score, value in card["scores"].items():
            if score.endswith(("_std", "_sem")):
                continue
            spread = card.get("spread", {}).get(score, card["scores"].get(f"{score}_std"))
            text = f"{value:.4g}" if spread is None else f"{value:.4g} ± {spread:.2g}"
            metric = next((name for name in card["protocol"] if name == score), None) or next(iter(card["protocol"]))
            found.append(Row(score, value, text, card["protocol"][metric], card["reference"]))
    return found


def front_matter(name: str, config: Mapping[str, Any], facts: CardFacts) -> str:
    """The metadata, as YAML."""
    metadata: dict[str, Any] = {
        "library_name": REPOSITORY,
        "pipeline_tag": TAGS[facts.makes],
        "tags": ["pytorch", "pytorch-lightning", "image-generation", name.lower()],
    }
    if facts.scores:
        measured = rows(facts.scores)
        metadata["metrics"] = list(dict.fromkeys(row.score for row in measured))
        metadata["model-index"] = [
            {
                "name": name,
                "results": [
                    {
                        "task": {"type": TAGS[facts.makes]},
                        "dataset": {"name": row.reference, "type": row.reference.split("/")[0]},
                        "metrics": [{"type": row.score, "value": row.value, "name": row.protocol}],
                    }
                    for row in measured
                ],
            }
        ]
    return yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
