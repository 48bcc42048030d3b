"""The one exception that means "the user can fix this"."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Bad usage or input: one sentence that names the file, the key and the fix.

    Every command line prints it as a single line and exits 2, without a traceback.
    """


@contextmanager
def disk_full_is_a_user_error() -> Iterator[None]:
    """An error of a full disk inside the block becomes one sentence; every other error passes.

    Non-obvious: safetensors says it in the text of an error of its own, not as an ``OSError``.
    """
    try:
        yield
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if isinstance(error, UserError) or not (full or os.strerror(errno.ENOSPC) in str(error)):
            raise
        where = f" at {error.filename}" if isinstance(error, OSError) and error.filename else ""
        raise UserError(
            f"The disk is full{where}: nothing that was finished is lost; free some space and "
            "give the same command again."
        ) from error
