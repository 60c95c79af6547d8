"""The command line: thin commands over what the lower floors do, and text for people."""
