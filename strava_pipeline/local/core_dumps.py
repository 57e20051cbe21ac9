"""Keeps what a process holds in memory, keys among it, out of core dumps.

By its limit, which all that it starts inherits. PR_SET_DUMPABLE would end with the next program that is started, and
hide what we start from ourselves, who look for it in /proc.
"""

from __future__ import annotations

import resource

# Less than any core takes, so none is written to a file; and the one value at which the kernel starts no program that
# core_pattern names either (fs/coredump.c): at 0 such a program gets the core, and decides by itself.
_NONE_BYTES = 1


def forbid_core_dumps() -> None:
    """From now on, neither this process nor what it starts leaves a core; nobody of them can take that back.

    Call it from programs of ours only: it changes the process.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    allowed = _NONE_BYTES if hard == resource.RLIM_INFINITY else min(_NONE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (allowed, allowed))
