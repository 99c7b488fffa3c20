"""Typed functions as commands, and the parser's errors about models."""

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser

from lightning_gen.cli.catalogue import MODEL
from lightning_gen.cli.limits import check_options
from lightning_gen.cli.unknown_options import names_of, unknown_option
from lightning_gen.errors import InputError

MODEL_ERRORS = {
    r"Expected a dot import path string: (\S+)": r"there is no model \1",
    r"Problem with given class_path (.+?)(?: - Expected a <class.*)?$": r"cannot create the model \1",
    r"Expected an instantiatable class, but .*is abstract": "the model is an abstract base class",
    r"Import path does not correspond to a subclass of GenerativeModule": "the model is not a GenerativeModule",
    r'"(\S+)" is not a subclass of GenerativeModule': r"\1 is not a GenerativeModule",
    r"(No module named .+)": r"cannot import the model: \1",
    r"the following arguments are required: (?:\w+\.)?model$": "a configuration or --model is required",
}
"""How jsonargparse 4.53 reports the name of a class that cannot be used, and what the user reads."""


def run_function(function: Callable[..., None], name: str, args: Sequence[str]) -> None:
    """Run a function whose arguments are read from the command line by their types.

    An argument whose type is a dataclass is flattened: each of the dataclass's fields is an option of its own, such as
    ``--steps 50``. ``--raw`` sets an argument of type bool, and ``--metrics fid isc`` one that is a list or a tuple.

    Args:
        function: a function with type annotations and a docstring. The docstrings of function and dataclasses, which
            may have no field name in common, are the command's help.
        name: the command's name in its help.
        args: the command's options.
    """
    kinds = get_type_hints(function)
    groups = {argument: kind for argument, kind in kinds.items() if isinstance(kind, type) and is_dataclass(kind)}
    defaults: dict[str, Any] = {}
    for argument, kind in groups.items():
        default = inspect.signature(function).parameters[argument].default
        defaults |= vars(default) if isinstance(default, kind) else {}
    values, options = parse_options(function, name, args, tuple(groups.values()), set(groups), defaults)
    function(**options, **dict(zip(groups, values, strict=True)))


def parse_options(
    function: Callable[..., Any],
    name: str,
    args: Sequence[str],
    groups: Sequence[type],
    skip: Collection[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> tuple[list[Any], dict[str, Any]]:
    """Parse the options of a command: the fields of dataclasses, and the arguments of a function.

    Args:
        function: a function with type annotations and a docstring.
        name: the command's name in its help.
        args: the command's options.
        groups: dataclasses whose fields are options.
        skip: arguments of the function that are no options.
        defaults: defaults that replace those of the dataclasses' fields.

    Returns:
        An instance of each dataclass, and the function's arguments by name.

    Raises:
        InputError: for an option that does not exist.
        ArgumentError: for any other error of the command line.
    """
    parser = ArgumentParser(
        prog=f"lightning-gen {name}",
        description=(inspect.getdoc(function) or "").partition("\n\nArgs:")[0],
        exit_on_error=False,
        allow_abbrev=False,
    )
    kinds = {argument: kind for argument, kind in get_type_hints(function).items() if argument not in skip}
    parser.add_function_arguments(function, as_group=False, skip=set(skip))
    for group in groups:
        parser.add_class_arguments(group, as_group=False)
        kinds |= get_type_hints(group)
    parser.set_defaults(dict(defaults or {}))
    lists = {f"--{argument}" for argument, kind in kinds.items() if is_list(kind)}
    switches = {f"--{argument}" for argument, kind in kinds.items() if kind is bool}
    try:
        options = parser.parse_args(join_values(args, lists, switches)).as_dict()
    except ArgumentError as error:
        message = unknown_option(str(error), name, names_of(parser))
        if message is None:
            raise
        raise InputError(message) from error
    check_options(options)
    values = [group(**{field.name: options.pop(field.name) for field in fields(group)}) for group in groups]
    return values, options


def is_list(kind: Any) -> bool:
    """Whether a type, or a member of a union type, is a list or a tuple."""
    return any((get_origin(member) or member) in (list, tuple) for member in (kind, *get_args(kind)))


def join_values(args: Sequence[str], lists: Collection[str], switches: Collection[str] = ()) -> list[str]:
    """Rewrite a command line for jsonargparse, which reads one value per option and has no switches in signatures.

    ``--metrics fid isc`` becomes ``--metrics=[fid,isc]`` and ``--raw`` becomes ``--raw=true``.

    Args:
        args: the command line.
        lists: the options that take several values.
        switches: the options whose value may be left out.

    Returns:
        The rewritten command line.
    """
    starts = [i for i, arg in enumerate(args) if arg.startswith("--")]
    result = list(args[: starts[0]] if starts else args)
    for start, end in pairwise([*starts, len(args)]):
        option, *values = args[start:end]
        name, equals, value = option.partition("=")
        if option in switches and not values:
            option = f"{name}=true"
        elif option in lists or (name in lists and value):
            items = [value] if equals else values
            is_joined = len(items) == 1 and items[0].startswith("[")
            option = f"{name}={items[0] if is_joined else '[' + ','.join(items) + ']'}"
            values = values if equals else []
        result += [option, *values]
    return result


def model_error(message: str) -> str | None:
    """Explain an error about the class in ``--model``, ``--model.help`` or a configuration's ``model.class_path``.

    Args:
        message: the parser's message.

    Returns:
        The reason and where to see the models, or None for an error about anything else.
    """
    flat = re.sub(r"\s+", " ", message).strip()
    is_about_model = flat.startswith(('Parser key "model":', "--model.help:", "the following arguments are required:"))
    if not is_about_model or flat.count("Parser key") > 1 or "is not accepted" in flat:
        return None
    if "object has no attribute 'keys'" in flat:
        return "model.init_args must be a mapping of hyper-parameters"
    for pattern, reason in MODEL_ERRORS.items():
        match = re.search(pattern, flat)
        if match is not None:
            return f"{match.expand(reason)}; {MODEL.advice}"
    return None
