"""What a logger of a run can take: protocols that callbacks and models test for, never for a logger's class."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class MediaLogger(Protocol):
    """A logger for images."""

    def log_image(self, key: str, images: list[Any], step: int | None = None, **kwargs: Any) -> None:
        """Log images under a key."""
        ...


@runtime_checkable
class CardLogger(Protocol):
    """A logger for score cards."""

    def log_score_card(self, card: Mapping[str, Any], key: str = "score_card") -> None:
        """Log a score card, its numbers under ``scores``, under a key."""
        ...


@runtime_checkable
class TableLogger(Protocol):
    """A logger for tables with pictures."""

    def log_table(self, key: str, columns: list[str], data: list[list[Any]], *, step: int | None = None) -> None:
        """Log a table under a key. A cell is a plain value, or a picture as an array ``(height, width, channels)``."""
        ...


@runtime_checkable
class RowLogger(Protocol):
    """A logger of rows that a resumed run continues without gaps and doubles."""

    def position(self, metrics: Mapping[str, Any], step: int) -> dict[str, Any]:
        """The number of complete ``rows``, and the ``row`` and ``step`` that a resumed run logs first.

        ``metrics`` are figures of ``step`` that are logged after the checkpoint.
        """
        ...

    def rewind(self, num_rows: int) -> None:
        """Discard the rows after the first ``num_rows``."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Write figures."""


@runtime_checkable
class AlertLogger(Protocol):
    """A logger for alerts: a line of text to the user."""

    def log_alert(self, title: str, text: str) -> None:
        """Send a line of text under a title."""
        ...
