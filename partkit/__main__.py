"""``python -m partkit``: the same as the ``partkit`` command."""

import runpy

if __name__ == "__main__":
    runpy.run_module(
        "partkit_cli", run_name="__main__"
    )  # a name, not an import: the library stands without its terminal
