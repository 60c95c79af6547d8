from collections.abc import Iterator

import pytest

from mailqueue import errors
from mailqueue.cli.exits import Exit, status_of

EXPECTED = {
    errors.ConfigError: 78,
    errors.SchemaMissingError: 78,
    errors.SchemaOutdatedError: 78,
    errors.SchemaTooNewError: 78,
    errors.OutboxBusyError: 75,
    errors.OutboxFullError: 75,
    errors.OutboxReadOnlyError: 77,
    errors.NotAnOutboxError: 65,
    errors.OutboxError: 69,
    errors.AlreadyRunningError: 69,
    errors.ContentError: 65,
}


@pytest.mark.parametrize(("kind", "status"), EXPECTED.items(), ids=str)
def test_each_error_ends_in_the_status_of_sysexits(
    kind: type[errors.MailqueueError], status: int
) -> None:
    """What a restart may mend is temporary, what needs a person is configuration (sysexits.h)."""
    assert status_of(kind("why")) == status


def test_errors_about_one_message() -> None:
    """A message that is not there is no input; an address or key that cannot be is bad data."""
    assert status_of(errors.UnknownMessageError(7)) == Exit.NO_INPUT
    assert status_of(errors.AddressError("x", "it has no @")) == Exit.DATA
    assert status_of(errors.IdempotencyError("key", 7)) == Exit.DATA
    assert status_of(errors.LimitError("too big", limit=1, actual=2)) == Exit.DATA


def test_statuses_are_those_of_sysexits() -> None:
    """No error of ours ends in a status that a shell or Python gives another meaning."""
    for kind in _subclasses(errors.MailqueueError):
        bare = kind.__new__(kind)
        assert 64 <= status_of(bare) <= 78


def _subclasses(kind: type[errors.MailqueueError]) -> Iterator[type[errors.MailqueueError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _subclasses(each)
