"""`python -m headworks` is the command `headworks`."""

from headworks.cli import main

main()
