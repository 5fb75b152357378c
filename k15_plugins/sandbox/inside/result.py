"""How a run's facts travel out of a box."""

import struct

RESULT = struct.Struct("=iBddQII")
"""Wait status, why the server ended it, processor and clock seconds, peak memory, lengths of both outputs."""

ENDED_BY_CLOCK, ENDED_BY_FILES, ENDED_BY_THREADS = 1, 2, 3
