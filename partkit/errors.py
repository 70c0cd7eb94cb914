"""Every fault that partkit reports to its user, each with the exit code that the command line gives it."""

from __future__ import annotations


class PartkitError(Exception):
    """A fault of the request, the files or the machine, stated in one sentence with what to do next.

    ``message`` says what is wrong, where, and the numbers; ``hint`` names the next command or change.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}; {self.hint}"


class UsageError(PartkitError):
    """The request itself is wrong: an unknown name, an option out of range, a file that is not there."""

    exit_code = 2


class FormatError(PartkitError):
    """A file is not what it must be: not JSON, another schema version, unknown or missing keys."""

    exit_code = 2


class MismatchError(PartkitError):
    """A plan or profile belongs to another model structure, another mode or another machine."""

    exit_code = 2


class CaptureError(PartkitError):
    """The model cannot be exported to a graph; names the operation and source line that stopped it."""

    exit_code = 2


class WeightsError(PartkitError):
    """A tensor of a checkpoint is missing, has the wrong shape, or its file is damaged."""

    exit_code = 2


class MachineError(PartkitError):
    """The machine lacks a package or a device that the request needs."""

    exit_code = 3


class UnsupportedError(PartkitError):
    """An executor cannot run this model, or not on this machine: a row with its reason, and no fault of a rank."""

    exit_code = 3


class InfeasibleError(PartkitError):
    """No plan satisfies the request; carries the numbers and what would make it feasible."""

    exit_code = 4


class TooFewDevicesError(InfeasibleError):
    """The model does not fit on the devices that it may use, and ``num_devices`` like them would do."""

    def __init__(self, message: str, *, num_devices: int, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.num_devices = num_devices


class RankFailedError(PartkitError):
    """A rank died, hung or raised; names the first cause, ``rank`` where that is one."""

    exit_code = 5

    def __init__(self, message: str, *, hint: str | None = None, rank: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.rank = rank


class RefusedByRankError(RankFailedError):
    """A fault of the request that a rank found out; has the exit code of that fault."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class OutOfMemoryError(RankFailedError):
    """A rank found too little memory on its device, which others may have held."""


class CacheWarning(UserWarning):
    """Something cannot be kept for later commands: all else goes on."""


class RestartWarning(UserWarning):
    """Ranks were lost and others have taken over: no output is missing."""
