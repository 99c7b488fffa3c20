"""Reads images of two domains, A and B: side by side in one file, or in folders of their own.

``pairs`` are pix2pix's archives (https://arxiv.org/abs/1611.07004): folders ``train``, ``val`` and ``test`` of images
whose left half is of A and whose right half is of B; or folders ``A`` and ``B``, each with these folders.
``domains`` are CycleGAN's archives (https://arxiv.org/abs/1703.10593): folders ``trainA``, ``trainB``, ``testA`` and
``testB``, and optionally ``valA`` and ``valB``. Partners have the same path in their folder, up to the ending. Folders
that contain all images are ignored.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image, ImageOps

from lightning_gen.data.files import FileTree, image_names, open_tree
from lightning_gen.data.folder import SPLIT_FOLDERS, common_depth
from lightning_gen.data.sources import FileSource, Scan, Source
from lightning_gen.data.splits import Domains, ReadOptions, Splits
from lightning_gen.data.tiles import image_sizes
from lightning_gen.errors import InputError

PAIRS_HELP = "folders train and val or test of side-by-side images, or folders A and B with these folders"
DOMAINS_HELP = "folders trainA, trainB, testA and testB"


@dataclass
class HalfSource(FileSource):
    """The left or the right halves of images in files; see :class:`FileSource`.

    Attributes:
        right: whether these are the right halves.
    """

    right: bool = False

    def open(self, index: int) -> Image.Image:
        """Decode an image and cut it in half; an odd width raises an :class:`InputError`."""
        image = ImageOps.exif_transpose(super().open(index))
        middle, rest = divmod(image.width, 2)
        if rest:
            raise InputError(f"its width {image.width} is odd, so it is no pair of images side by side")
        return image.crop((middle if self.right else 0, 0, image.width if self.right else middle, image.height))

    def scan(self, cache_folder: Path) -> Scan:
        """Scan the files; the sizes are those of the halves."""
        content, colour, sizes = super().scan(cache_folder)
        return Scan(f"{content} {'right' if self.right else 'left'}", colour, [[h, w // 2] for h, w in sizes])


def read_pairs(options: ReadOptions, partners: bool = True) -> Domains:
    """Read ``pairs``; missing folders and, with ``partners``, a missing partner raise an :class:`InputError`."""
    tree = open_tree(options.root)
    names = image_names(tree)
    depth = common_depth(names)
    tops = {name.split("/")[depth] for name in names}
    title = options.root.resolve().stem
    if tops == {"A", "B"}:
        folders = {f"{domain}/{folder}": (domain, split) for domain in "AB" for folder, split in SPLIT_FOLDERS.items()}
        return _read_folders(options, tree, names, depth, folders, PAIRS_HELP, partners)
    if "train" not in tops or not tops & (SPLIT_FOLDERS.keys() - {"train"}) or not tops <= SPLIT_FOLDERS.keys():
        raise _missing_folders(options, PAIRS_HELP)
    files: dict[str, list[str]] = {}
    for name in names:
        files.setdefault(SPLIT_FOLDERS[name.split("/")[depth]], []).append(name)
    left, right = (
        {
            split: HalfSource(f"{title}-{domain}/{split}", tree, part, None, domain == "B")
            for split, part in files.items()
        }
        for domain in "AB"
    )
    return Domains(_fill(left), _fill(right))


def read_domains(options: ReadOptions, partners: bool = False) -> Domains:
    """Read ``domains``; missing folders and, with ``partners``, a missing partner raise an :class:`InputError`."""
    tree = open_tree(options.root)
    names = image_names(tree)
    folders = {f"{split}{domain}": (domain, split) for domain in "AB" for split in ("train", "val", "test")}
    return _read_folders(options, tree, names, common_depth(names), folders, DOMAINS_HELP, partners)


def images_of(read: Callable[..., Domains], options: ReadOptions) -> Splits:
    """The images of domain B alone."""
    return read(options, partners=False).images


def files_by_stem(root: Path, names: list[str]) -> dict[str, list[str]] | None:
    """Sort the files of folders ``A`` and ``B`` by their paths up to the ending.

    Args:
        root: where the files are, for messages.
        names: all files.

    Returns:
        The files of each domain, partner by partner; None where there are no such folders.

    Raises:
        InputError: for a file without a partner.
    """
    depth = common_depth(names)
    parts = {name: PurePosixPath(name).parts[depth:] for name in names}
    if {path[0] for path in parts.values() if len(path) > 1} != {"A", "B"}:
        return None
    stems = {
        domain: {
            name: PurePosixPath(*path[1:]).with_suffix("").as_posix()
            for name, path in parts.items()
            if path[0] == domain
        }
        for domain in "AB"
    }
    _check_partners(root, "the folder", stems["A"], stems["B"])
    return {domain: sorted(part, key=part.__getitem__) for domain, part in stems.items()}


def check_sizes(inputs: Source, images: Source, scale: int, cut: bool = False) -> None:
    """Check that images are ``scale`` times as large as their partners.

    Args:
        inputs: the smaller images.
        images: as many, in the same order.
        scale: value of ``data.scale``.
        cut: whether images may be up to ``scale - 1`` pixels larger.

    Raises:
        InputError: for the first pair of other sizes.
    """
    if isinstance(inputs, HalfSource):  # both halves of an image have one size
        return
    for index, ((h, w), (height, width)) in enumerate(zip(image_sizes(inputs), image_sizes(images), strict=True)):
        if (h * scale, w * scale) == (height, width) or (cut and (h, w) == (height // scale, width // scale)):
            continue
        ratio = height // h
        common = ratio > 0 and (h * ratio, w * ratio) == (height, width)
        remedy = f"set data.scale to {ratio}" if common else "resize them, or set data.paired to false"
        raise InputError(
            f"{inputs.location(index)} is {w}x{h} and its partner {images.location(index)} is {width}x{height}, not "
            f"{scale} times as large; {remedy}"
        )


def _read_folders(
    options: ReadOptions,
    tree: FileTree,
    names: list[str],
    depth: int,
    folders: dict[str, tuple[str, str]],
    layout: str,
    partners: bool,
) -> Domains:
    """Read folders of one domain and split each; ``folders`` maps their paths to (domain, split)."""
    files: dict[tuple[str, str], dict[str, str]] = {}
    for name in names:
        parts = PurePosixPath(name).parts[depth:]
        for levels in (1, 2):
            if (key := folders.get("/".join(parts[:levels]))) and len(parts) > levels:
                stem = PurePosixPath(*parts[levels:]).with_suffix("").as_posix()
                files.setdefault(key, {})[name] = stem
    if not {("A", "train"), ("B", "train")} <= files.keys():
        raise _missing_folders(options, layout)
    sides = {domain: {split: files[domain, split] for side, split in files if side == domain} for domain in "AB"}
    if sides["A"].keys() != sides["B"].keys() or len(sides["A"]) < 2:
        raise _missing_folders(options, layout)
    if partners:
        for split in sides["A"]:
            _check_partners(options.root, split, sides["A"][split], sides["B"][split])
    title = options.root.resolve().stem
    return Domains(
        *(
            _fill(
                {
                    split: FileSource(f"{title}-{domain}/{split}", tree, sorted(stems, key=stems.__getitem__), None)
                    for split, stems in sides[domain].items()
                }
            )
            for domain in "AB"
        )
    )


def _check_partners(root: Path, split: str, a: dict[str, str], b: dict[str, str]) -> None:
    """Check that both domains have the same stems, each once; the arguments map files to stems."""
    for files, others, missing in ((a, b, "B"), (b, a, "A")):
        stems, partners = Counter(files.values()), set(others.values())
        for name, stem in files.items():
            if stem not in partners:
                raise InputError(
                    f"{root / name} has no partner in domain {missing} of {split}; add {stem} with any image ending, "
                    "or set data.paired to false"
                )
            if stems[stem] > 1:
                raise InputError(f"{root} has {stems[stem]} images {stem} in one folder; partners need unique names")


def _missing_folders(options: ReadOptions, layout: str) -> InputError:
    return InputError(f"{options.root} lacks images of a domain or split; it must contain {layout}")


def _fill(sources: dict[str, FileSource] | dict[str, HalfSource]) -> Splits:
    """Let a missing ``val`` or ``test`` be the other of the two."""
    splits: Splits = {**sources}
    splits.setdefault("val", splits.get("test", splits["train"]))
    splits.setdefault("test", splits["val"])
    return splits
