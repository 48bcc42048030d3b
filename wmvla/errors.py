"""The one exception that means "the user can mend this"."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Bad usage or input: one sentence that names the file, the key and the fix.

    Every command line prints it as a single line and exits 2, without a traceback.
    """


@contextmanager
def disk_full_is_a_user_error() -> Iterator[None]:
    """An ``OSError`` of a full disk inside the block becomes one sentence; every other error passes."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f" at {error.filename}" if error.filename else ""
        raise UserError(
            f"The disk is full{where}: nothing that was finished is lost; make room and give the same command again."
        ) from error
