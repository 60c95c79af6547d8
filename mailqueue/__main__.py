"""`python -m mailqueue` is the `mailqueue` command."""

from mailqueue.cli.main import main

if __name__ == "__main__":
    main()
