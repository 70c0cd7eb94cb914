"""``python -m partkit_cli``: the same as the ``partkit`` command, where nothing can be installed."""

from partkit_cli.main import main

if __name__ == "__main__":
    main()
