"""The command line: finds the command, parses its options with tyro, and reports errors.

What a command does lives in `fastgan/commands/<command>.py`, one dataclass of options each. An
error of the user's is one line on stderr and exit status 2; a traceback is always our bug.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

from fastgan._version import __version__
from fastgan.commands import COMMANDS, Command
from fastgan.errors import ConfigError, FastganError

USAGE_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: as in `sys.argv[1:]`; None takes those.

    Returns: the exit status: 0 success, 1 a check failed, 2 the user's error, 130 interrupted.
    """
    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if argv == ["--version"]:
            print(f"fastgan {__version__}")
            return 0
        _check_environment()
        return parse(argv or ["--help"]).run()
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (FastganError, OSError) as error:
        return _complain(_describe(error))
    except SystemExit as stop:  # tyro stops so after --help (0) and after a wrong option (2)
        return stop.code if isinstance(stop.code, int) else USAGE_ERROR
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)


def _check_environment() -> None:
    capability = os.environ.get("FASTGAN_CPU_CAPABILITY") or "default"
    if capability not in ("default", "avx2", "avx512"):
        raise ConfigError(
            f"FASTGAN_CPU_CAPABILITY: expected default, avx2 or avx512, got {capability!r}"
        )


def parse(argv: Sequence[str]) -> Command:
    """Read the command and its options.

    Raises:
        SystemExit: help was asked for (0), or an option is wrong (2; said in one line on stderr).
        FastganError: a recipe, preset or file named by an option cannot be had.
    """
    import tyro

    argv = list(argv)
    with _one_line_errors(argv):
        options = {}
        for name in COMMANDS:
            module = import_module(f"fastgan.commands.{name}")
            if hasattr(module, "prepare") and argv[0] == name:
                options[name], argv[1:] = module.prepare(argv[1:])
            else:
                options[name] = module.Options
        command: Command = tyro.extras.subcommand_cli_from_dict(
            options,
            args=argv,
            prog="fastgan",
            description="Train and sample GANs on custom kernels. --version prints the version.",
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
        )
    return command


@contextlib.contextmanager
def _one_line_errors(argv: Sequence[str]) -> Iterator[None]:
    """Fold tyro's boxed complaint into one line; help texts pass as they are."""
    captured, asked = io.StringIO(), list(argv)  # commands take words of argv away
    try:
        with contextlib.redirect_stderr(captured):
            yield
    except SystemExit as stop:
        if stop.code != USAGE_ERROR:
            raise
        command = argv[0] if argv[0] in COMMANDS else ""
        if command == "bench" and asked[1:2] and not asked[1].startswith("-"):
            command = f"bench {asked[1]}"
        _complain(f"{fold_error(captured.getvalue())}; see fastgan {command} --help")
        raise


def fold_error(box: str) -> str:
    """The message inside one of tyro's boxes, as one line.

    The first part of a box says what is wrong; further parts, below a rule, are hints.
    """
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()[1:]]  # the first is a title
    text = "\n".join("\0" if not line.strip("─-") else line for line in lines)
    parts = [part.strip() for part in text.split("\0") if part.strip()] or [box]
    message = re.sub(r"Error parsing (?:__\S+|\S*__\S*):? ", "", parts[0])
    message = re.sub(
        r"invalid literal for int\(\) with base 10: (.*)", r"\1 is no integer", message
    )
    if parts[0].startswith("Missing from"):
        message = "missing " + ", ".join(re.findall(r"(?<!\S)--[\w-]+", parts[0]))
    similar = re.search(r"Perhaps you meant:\s+(--[\w-]+)", " ".join(parts[1:]))
    hint = f"; perhaps you meant {similar[1]}" if similar and similar[1] not in message else ""
    return " ".join(message.split()).rstrip(".") + hint


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _complain(message: str, status: int = USAGE_ERROR) -> int:
    print(f"fastgan: {' '.join(message.split())}", file=sys.stderr)
    return status
