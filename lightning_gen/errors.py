"""The error that a user can mend."""


class InputError(ValueError):
    """Input that cannot be used: the message is one clear line that names what is wrong and what would be right.

    The command line prints the message alone and exits with code 2; from Python it is an ordinary ValueError.
    """
