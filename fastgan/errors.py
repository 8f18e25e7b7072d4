"""Every exception that fastgan raises on purpose. A leaf: imports nothing of the project."""


class FastganError(Exception):
    """Base class of the project's own errors; the command line prints it as one line."""


class ConfigError(FastganError, ValueError):
    """A setting has a value that cannot work; the message names the field and the valid range."""


class DataError(FastganError, ValueError):
    """A data set cannot be read as asked; the message lists the offending files."""


class CheckpointError(FastganError, ValueError):
    """A checkpoint is missing, damaged, or belongs to another configuration."""


class BackendUnavailableError(FastganError, RuntimeError):
    """An explicitly requested backend cannot run the call; the message lists every backend."""
