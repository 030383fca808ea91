"""`python -m striate`."""

from .cli import main

main()
