"""Azure's clients for Python, unmodified, against vault-emulator."""

import harness
import identity  # noqa: F401: each module registers its cases
import secrets_  # noqa: F401
import keys  # noqa: F401
import certificates  # noqa: F401

harness.run()
