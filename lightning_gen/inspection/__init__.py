"""Pictures and numbers of one checkpoint, for ``lightning-gen inspect``.

An inspection is a function from a :class:`Subject` and its own options to :class:`Findings`. It tests the model for
capabilities, never for its class.
"""

from lightning_gen.inspection.findings import Findings
from lightning_gen.inspection.subject import Subject

__all__ = ["Findings", "Subject"]
