"""`python -m pdenet` is the command `pdenet`."""

if __name__ == "__main__":
    import sys

    from pdenet.cli import main

    sys.exit(main())
