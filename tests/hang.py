"""The one bound of waits in tests. It ends a test that hangs and says nothing of how fast anything should be."""

from __future__ import annotations

HANG_S = 600.0
