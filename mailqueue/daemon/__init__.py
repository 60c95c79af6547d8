"""The daemon: background parts with one lifetime contract, from due rows to recorded results."""
