"""Messages of the parser and of other libraries, reduced to one short line."""

import re

MAX_LENGTH = 300
"""The largest number of characters of a message that this package did not write itself."""
MAX_VALUE = 60
"""The largest number of characters of a quoted value."""
KEY = re.compile(r'Parser key "([^"]+)":')
VALUE = re.compile(r"(?:Given value:|Got value:) (.*)")
EXPECTED = re.compile(r"^(?:- )?(?:Expected an? |Not a valid )(.+?)(?:\. Got value: .*)?$")
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "collections.abc.Iterable": "a list",
    "path": "a path",
    "NoneType": "null",
}
"""Types by their names in the messages of jsonargparse 4.53."""


def one_line(message: str) -> str:
    """Reduce a message to one line.

    Of the parser's nested report on a value, the line names the option, the value and what is valid.

    Args:
        message: the message.

    Returns:
        One line, of at most ``MAX_LENGTH`` characters if the message was reduced.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    keys = [*dict.fromkeys(KEY.findall(message))]
    option = option_name(keys)
    for line in lines:
        if match := re.search(r"Option '(\S+)' is not accepted|Group '(\S+)' does not accept nested key '(\S+)'", line):
            return clip(f"{option or 'configuration'}: {match.group(0)}")
    innermost = innermost_report(message)
    kinds = [describe(match.group(1)) for line in innermost if (match := EXPECTED.match(line))]
    if keys and kinds:
        value = next((match.group(1) for line in innermost if (match := VALUE.search(line))), None)
        is_value = "has an invalid value" if value is None else f"is {clip(value, MAX_VALUE)}"
        return clip(f"{option} {is_value}; it must be {alternatives(kinds)}")
    flat = re.sub(r"\s+", " ", message).strip().split(" - Parser key")[0]
    return clip(KEY.sub(f"{option}:", flat, count=1)) if keys else flat


def innermost_report(message: str) -> list[str]:
    """The lines of a nested report that are about the last key in it, without their indentation."""
    lines = [line for line in message.splitlines() if line.strip()]
    starts = [i for i, line in enumerate(lines) if KEY.search(line)]
    if not starts:
        return []
    report = []
    for line in lines[starts[-1] + 1 :]:
        if indentation(line) <= indentation(lines[starts[-1]]):
            break
        report.append(line.strip())
    return report


def indentation(line: str) -> int:
    """The number of spaces that a line starts with."""
    return len(line) - len(line.lstrip())


def option_name(keys: list[str]) -> str:
    """The option of nested keys: ``--num`` of a command, or ``model.width`` of a configuration."""
    name = ".".join(keys)
    return name if "." in name or not name else f"--{name}"


def describe(kind: str) -> str:
    """Describe a type as the parser writes it: ``<class 'int'>`` is a whole number, a Literal its choices."""
    kind = re.sub(r"<class '([^']+)'>", r"\1", kind).replace("typing.", "")
    if match := re.match(r"Literal\[(.*)\]", kind):
        return match.group(1).replace("'", "")
    if kind.startswith(("dot import path string", "subclass of")) or "lightning" in kind:
        return "the import path of a class"
    if kind.startswith("path but"):
        return "a path"
    if match := re.match(r"(?:tuple|list) with (\d+) elements", kind):
        return f"a list of {match.group(1)} values"
    return KINDS.get(kind, kind)


def alternatives(kinds: list[str]) -> str:
    """Join descriptions, each once, with null last."""
    unique = sorted(dict.fromkeys(kinds), key=lambda kind: kind == "null")
    return " or ".join([", ".join(unique[:-1]), unique[-1]] if len(unique) > 1 else unique)


def clip(text: str, length: int = MAX_LENGTH) -> str:
    """Shorten a text to a number of characters; the left-out end is marked."""
    return text if len(text) <= length else f"{text[: length - 4]} ..."


def clip_words(text: str, length: int = 100) -> str:
    """Shorten each word of more than twice a number of characters, such as a path, to that number."""
    return re.sub(rf"\S{{{2 * length},}}", lambda match: f"{match.group(0)[: length - 4]} ...", text)
