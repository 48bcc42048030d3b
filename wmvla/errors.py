"""The one exception that means "the user can mend this"."""


class UserError(ValueError):
    """Bad usage or input: one sentence that names the file, the key and the fix.

    Every command line prints it as a single line and exits 2, without a traceback.
    """
