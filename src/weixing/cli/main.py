"""The program `weixing`: its verbs, and how errors and signals become exit codes. Verbs import heavy libraries late."""

import errno
import gc
import signal
import sys
from types import FrameType
from typing import Any

import typer

from weixing.cli import (
    average,
    bench_inference,
    card,
    classify,
    compare,
    convert,
    features,
    fill_mask,
    finetune,
    inspect,
    plan,
    prepare,
    pretrain,
    pretrain_family,
    publish,
    replay,
    runs,
    serve,
    table,
    tasks,
    vocab,
    zoo,
)
from weixing.cli import demo as demo_verb
from weixing.errors import RanksError, UserError

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
app.command("plan")(plan.run)
app.command("vocab")(vocab.run)
app.command("prepare")(prepare.run)
app.command("pretrain")(pretrain.run)
app.command("pretrain-family")(pretrain_family.run)
app.command("average")(average.run)
app.command("runs")(runs.run)
app.command("convert")(convert.run)
app.command("inspect")(inspect.run)
app.command("tasks")(tasks.run)
app.command("finetune")(finetune.run)
app.command("replay")(replay.run)
app.command("table")(table.run)
app.command("compare")(compare.run)
app.command("card")(card.run)
app.command("publish")(publish.run)
app.command("fill-mask")(fill_mask.run)
app.command("features")(features.run)
app.command("classify")(classify.run)
app.command("bench-inference")(bench_inference.run)
app.command("serve")(serve.run)


# typer carries its own copy of click from 0.27 on, so the class is taken from the one that typer names.
_UsageError: Any = typer.BadParameter.__base__


def _fail(message: str, code: int = 2) -> int:
    print(f"weixing: {message}", file=sys.stderr)
    return code


def run(arguments: list[str] | None = None) -> int:
    """Run one command line (default: the process's own) and return its exit code: 0, 1, 2, 130 or 143.

    An exception that gets out of here is a fault of the program, which no user can mend.
    """
    try:
        result = app(args=arguments, standalone_mode=False, prog_name="weixing")
        return result if isinstance(result, int) else 0
    except UserError as error:
        return _fail(str(error))
    except RanksError as error:
        return _fail(str(error), 1)
    except _UsageError as error:
        if not error.format_message():  # `weixing` alone: its help, already printed
            return 2
        verb = error.ctx.command_path if error.ctx else "weixing"
        return _fail(f"{error.format_message()} See: {verb} --help")
    except (typer.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT
    except Exception as error:
        if message := _of_the_machine(error):
            return _fail(message)
        raise


def _of_the_machine(error: Exception) -> str | None:
    """What to say of an error that the machine caused, not the program: a full disk, a path, too little memory."""
    if _disk_is_full(error):
        where = f" ({error.filename})" if isinstance(error, OSError) and error.filename else ""
        return (
            f"no space left on the disk{where}. No half-made output has its name; what was saved before can be gone on "
            "with: --resume. Free some space, then repeat."
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}."
    # The second is torch's; torch is not imported here, for it takes seconds.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (
            f"out of memory: {str(error).partition('. ')[0] or 'the machine has no more'}. Lower --micro-batch-size "
            "(pretrain), --batch-sizes (finetune) or --batch-tokens (features), or free memory, then repeat."
        )
    if any(kind.__name__ == "TorchDynamoException" for kind in type(error).__mro__):  # no compiler, or an old driver
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        return f"torch.compile failed: {reason.strip().rstrip('.')}. Start again with --no-compile."
    return None


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind `error`: by its number or a cause's, or, from libraries in Rust, by the text."""
    while error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if f"(os error {errno.ENOSPC})" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Entry point of the `weixing` program. SIGTERM ends it like an error does: what was half made is removed."""
    signal.signal(signal.SIGTERM, _terminate)
    code = run()
    gc.freeze()  # what imports have made is not searched for garbage a last time: 0.1 s
    sys.exit(code)
