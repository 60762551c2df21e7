"""`python -m headworks.simulate` does what `headworks simulate` does."""

import typer

from headworks.simulate.cli import simulate

if __name__ == "__main__":
    typer.run(simulate)
