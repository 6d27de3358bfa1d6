"""What a helper process may use."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class ChildLimits:
    """
    What one helper process may use, set by the system where it can.

    Linux sets all of them; macOS does not hold to ``memory_bytes``; Windows knows none,
    and a helper there is held to ``stall_s`` alone. Where the first three are set, a
    helper can also make no file grow and leaves no core dump, it has no environment
    beyond paths and language, no terminal, and no error stream. Apart from ``cpu_s``,
    which is counted anew for each recording, it cannot take its limits back.

    They keep a decoder that crashes, fills the memory or never ends from hurting the
    program. They are no sandbox for code that has taken the decoder over: it may still
    read, empty and delete what its user may, and use the network.

    Attributes:
        memory_bytes: Address space, at least 600 MiB: NumPy and FFmpeg take 200 MiB of
            it before they have done anything (RLIMIT_AS).
        cpu_s: Processor time for one recording, seconds of all threads together,
            rounded up by less than one (RLIMIT_CPU, which counts whole seconds).
        open_files: Open files (RLIMIT_NOFILE).
        stall_s: Longest time without a sign of life, seconds.
        idle_s: A helper that has had no work for so long ends by itself, seconds; not
            on Windows.

    Raises:
        ValueError: If a limit is too low.
    """

    memory_bytes: int = attrs.field(
        default=1 << 30, validator=attrs.validators.ge(600 << 20)
    )
    cpu_s: float = attrs.field(default=600.0, validator=attrs.validators.ge(1.0))
    open_files: int = attrs.field(default=64, validator=attrs.validators.ge(32))
    stall_s: float = attrs.field(default=60.0, validator=attrs.validators.gt(0.0))
    idle_s: float = attrs.field(default=60.0, validator=attrs.validators.gt(0.0))
