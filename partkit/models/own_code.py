"""Where Python code of the user's own is looked for, once the user has agreed that it runs."""

from __future__ import annotations

import os
import sys


def look_in_working_folder() -> str:
    """Let modules be imported from the working folder, which is named; what is installed comes first.

    Last, and never without consent: a ``random.py`` that lies beside a plan must not stand in for Python's own.
    """
    here = os.getcwd()  # noqa: PTH109 - sys.path holds strings
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # stays there: the user's code may import more of the folder when it runs
    return here
