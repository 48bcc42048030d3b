"""A full disk, told by whichever library met it, becomes one sentence; nothing else is changed."""

import errno

import pytest
from safetensors import SafetensorError

from wmvla.errors import UserError, disk_full_is_a_user_error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/data/x"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),
    ],
)
def test_a_full_disk_is_told_in_one_line(error):
    with pytest.raises(UserError, match="The disk is full") as caught, disk_full_is_a_user_error():
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EACCES, "Permission denied"), ValueError("x"), UserError("said already")],
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)) as caught, disk_full_is_a_user_error():
        raise error
    assert caught.value is error
