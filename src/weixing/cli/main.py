"""The program `weixing`: its verbs, and how errors and signals become exit codes. Verbs import heavy libraries late."""

import errno
import signal
import sys
from typing import Any

import typer

from weixing.cli import demo as demo_verb
from weixing.cli import features, fill_mask, finetune, prepare, pretrain, table, vocab, zoo
from weixing.errors import UserError

app = typer.Typer(
    name="weixing",
    help="微型 — make, judge, ship and use families of compact Chinese encoders.\n\n"
    "Example: weixing demo    (the whole road in a few minutes on two CPU cores)",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command("demo")(demo_verb.run)
app.command("zoo")(zoo.run)
app.command("vocab")(vocab.run)
app.command("prepare")(prepare.run)
app.command("pretrain")(pretrain.run)
app.command("finetune")(finetune.run)
app.command("table")(table.run)
app.command("fill-mask")(fill_mask.run)
app.command("features")(features.run)


# typer carries its own copy of click from 0.27 on, so the class is taken from the one that typer names.
_UsageError: Any = typer.BadParameter.__base__


def _fail(message: str) -> int:
    print(f"weixing: {message}", file=sys.stderr)
    return 2


def run(arguments: list[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code: 0, 2, 130 or 143."""
    try:
        result = app(args=arguments, standalone_mode=False, prog_name="weixing")
        return result if isinstance(result, int) else 0
    except UserError as error:
        return _fail(str(error))
    except _UsageError as error:
        if not error.format_message():  # `weixing` alone: its help, already printed
            return 2
        verb = error.ctx.command_path if error.ctx else "weixing"
        return _fail(f"{error.format_message()} See: {verb} --help")
    except (typer.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" ({error.filename})" if error.filename else ""
            return _fail(
                f"no space left on the disk{where}. Nothing half-made was left behind. Free some, then repeat."
            )
        raise


def main() -> None:
    """Entry point of the `weixing` program."""
    sys.exit(run())
