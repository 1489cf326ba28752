"""The suites that the `eventsourcing` library ships for recorders.

Their module imports the library's AES cipher, which wants a package that Kasal does not install and that no
recorder uses; an empty module stands in for it.
"""

from __future__ import annotations

import sys
from types import ModuleType

cipher = ModuleType("eventsourcing.cipher")
cipher.AESCipher = object  # type: ignore[attr-defined]
sys.modules.setdefault(cipher.__name__, cipher)

from eventsourcing.tests.persistence import (  # noqa: E402
    ApplicationRecorderTestCase as ApplicationRecorderTestCase,
)
from eventsourcing.tests.persistence import (  # noqa: E402
    NonInterleavingNotificationIDsBaseCase as NonInterleavingNotificationIDsBaseCase,
)
