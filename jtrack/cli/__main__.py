"""`python -m jtrack.cli`."""

from jtrack.cli import main

main()
