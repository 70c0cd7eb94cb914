"""``python -m partkit_cli``: the same as the ``partkit`` command, where nothing can be installed."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working folder: what lies beside a plan must not stand in for installed modules
    from partkit_cli.main import main

    main()
