"""`python -m caravan_cli` is `caravan`."""

from caravan_cli.main import app

if __name__ == "__main__":
    app(prog_name="caravan")
