"""`python -m captioners`: the command line where no `captioners` script is on the path."""

from captioners.cli.main import main

if __name__ == "__main__":
    main()
