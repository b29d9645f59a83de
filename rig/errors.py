"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """Bad input. The message is one line: what was wrong, what was expected, what to type instead. The CLI exits with 2."""
