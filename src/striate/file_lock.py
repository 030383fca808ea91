"""A lock on an open file or folder, which the system itself takes back when its process ends, however it ends."""

from __future__ import annotations

import errno


def lock_opened(number: int) -> bool | None:
    """Lock the open file or folder `number` until it is closed or this process ends.

    True: it is locked; False: another process has it; None: the system cannot (Windows, some network file systems).
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        return False if e.errno in (errno.EWOULDBLOCK, errno.EAGAIN) else None
    return True
