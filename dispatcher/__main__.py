"""`python -m dispatcher`: the same as the command `sidep-dispatcher`."""

from __future__ import annotations

from dispatcher.cli.main import main

if __name__ == "__main__":
    main()
