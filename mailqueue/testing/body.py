"""The bytes after a 354: finding the final dot and taking the stuffing out."""

_DOT_LINE = b"\r\n.\r\n"


class Body:
    """A body under way (RFC 5321 section 4.5.2), fed in pieces of any size.

    Attributes:
        octets: how much was taken so far, as sent, the final dot included.
        is_complete: whether the final dot has come.
    """

    def __init__(self) -> None:
        # As if a line had just ended, so that a dot on the very first line is seen like any other.
        self._data = bytearray(b"\r\n")
        self.octets = 0
        self.is_complete = False

    def feed(self, data: bytes) -> int:
        """Take `data` up to the final dot and return how much of it that was."""
        begin = len(self._data)
        self._data += data
        end = self._data.find(_DOT_LINE, max(0, begin - len(_DOT_LINE) + 1))
        if end < 0:
            self.octets += len(data)
            return len(data)
        taken = end + len(_DOT_LINE) - begin
        self.octets += taken
        self.is_complete = True
        del self._data[end + 2 :]
        return taken

    @property
    def content(self) -> bytes:
        """The message without the dot and without dot-stuffing."""
        return bytes(self._data.replace(b"\r\n.", b"\r\n"))[2:]
