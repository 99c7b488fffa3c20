"""The exception for invalid user input."""


class InputError(ValueError):
    """Raised for invalid user input, with one line that says what is wrong and what is valid.

    The command line prints the message and exits with code 2.
    """
