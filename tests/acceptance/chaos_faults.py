"""The faults of `make chaos` that are tried here: each a generator that gives SAME or ERROR for each time it was tried.

SAME: the result is that of a run to which nothing happened, bit for bit. ERROR: exit code 2 and one clear message, and
whatever was on the disk before is still there. Anything else raises.
"""

import errno
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

from tests.acceptance.chaos_lab import (
    Child,
    Failed,
    Lab,
    content,
    expect,
    require_error,
    small_disk,
)
from weixing.data import record
from weixing.text import corpus
from weixing.training.checkpoint_files import check_files, list_checkpoints

SAME, ERROR = "same result", "clear error"
SECONDS_TO_STOP = 10.0  # from a signal to the end

Outcomes = Iterator[str]
Fault = Callable[[Lab, random.Random, int], Outcomes]


def kills(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    seconds = lab.whole[1]
    while times:
        out = lab.new("killed")
        child = lab.start(*lab.pretrain(out))
        while child.runs() and not (out / "run.json").exists():  # before, there is nothing to resume
            time.sleep(0.001)
        time.sleep(chance.uniform(0, max(0.0, seconds + child.began - time.monotonic())))
        child.send(signal.SIGKILL)
        if child.ended().code == -signal.SIGKILL:
            times -= 1
            yield SAME if lab.require_same_resumed(out) else ERROR


def kills_while_saving(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    tries = 10 * times
    while times:
        out = lab.new("killed")
        child = lab.start(*lab.pretrain(out))
        _wait_for_checkpoints(child, out, chance.randint(1, lab.steps // lab.save_every - 1))
        _wait_for_writing(child, out)
        time.sleep(chance.uniform(0, 0.03))
        child.send(signal.SIGKILL)
        child.ended()
        if any((out / "checkpoints").glob(".step-*")):  # it was still being written
            times -= 1
            yield SAME if lab.require_same_resumed(out) else ERROR
        if not (tries := tries - 1):
            raise Failed("no checkpoint was under way at any kill")


def _wait_for_checkpoints(child: Child, out: Path, number: int) -> None:
    path = out / "checkpoints" / f"step-{5 * number:07d}"
    while child.runs() and not path.exists():
        time.sleep(0.001)


def _wait_for_writing(child: Child, out: Path) -> None:
    while child.runs():
        with suppress(FileNotFoundError):
            if any(name.startswith(".step-") for name in os.listdir(out / "checkpoints")):
                return


def kills_between_outputs(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    """A run killed at its first rename, one killed at its second, and so on, until one has no more of them."""
    lab = Lab(lab.folder / "short", steps=10, save_every=5, model=lab.model)
    for number in count(1):
        out = lab.new("killed")
        done = lab.do(*lab.pretrain(out), before=partial(_die_at_rename, number))
        if done.code == 0:
            return
        expect(done, -signal.SIGKILL)
        yield SAME if lab.require_same_resumed(out) else ERROR


def _die_at_rename(number: int) -> None:
    replace, left = os.replace, [number]

    def replace_or_die(*paths: str) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*paths)

    os.replace = replace_or_die  # type: ignore[assignment]


def signals(number: int) -> Fault:
    def fault(lab: Lab, chance: random.Random, times: int) -> Outcomes:
        while times:
            out = lab.new("stopped")
            child = lab.start(*lab.pretrain(out))
            _wait_for_checkpoints(child, out, 1)
            time.sleep(chance.uniform(0, lab.whole[1] / 3))
            child.send(number)
            began = time.monotonic()
            done = child.ended()
            if done.code == 0:
                continue  # it had done its last step
            expect(done, 128 + number)
            if (seconds := time.monotonic() - began) > SECONDS_TO_STOP:
                raise Failed(f"{seconds:.1f} s from the signal to the end")
            lab.require_same_resumed(out)
            times -= 1
            yield SAME

    return fault


def full_disk(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    """Of sizes between half a checkpoint and all that a run has at once."""
    checkpoint = sum(file.stat().st_size for file in list_checkpoints(lab.whole[0] / "checkpoints")[-1].iterdir())
    for number in range(times):
        share = 0.4 + 3.4 * number / max(1, times - 1)
        with small_disk(lab.folder / "disk", max(1, round(share * checkpoint / 2**20))) as resize:
            out = lab.folder / "disk" / "run"
            require_error(lab.do(*lab.pretrain(out)), "no space left")
            for path in list_checkpoints(out / "checkpoints"):
                check_files(path)
            resize(100)
            lab_sees_half_made(out)
            lab.require_same_resumed(out) if out.exists() else _begin(lab, out)
            yield ERROR


def lab_sees_half_made(out: Path) -> None:
    """That a run which found no room took back what it had begun to write."""
    if left := [path.name for path in out.rglob(".*")]:
        raise Failed(f"left half made: {left}")


def _begin(lab: Lab, out: Path) -> None:
    expect(lab.do(*lab.pretrain(out)), 0)
    lab.require_same(out)


def file_limit(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    """As of `ulimit -f`."""
    out = lab.new("limited")
    limit = 1 << 20
    done = lab.do(*lab.pretrain(out), before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    require_error(done, os.strerror(errno.EFBIG))
    _begin(lab, out)
    yield ERROR


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


DAMAGES = (_flip, _cut, _empty, Path.unlink)


def damaged_checkpoint(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    for damage in DAMAGES:
        for file in ("weights.safetensors", "state.pt", "checksums.json"):
            if (damage, file) == (Path.unlink, "checksums.json"):
                continue  # a checkpoint of an older version
            out = lab.copy("damaged")
            newest = list_checkpoints(out / "checkpoints")[-1]
            damage(newest / file)
            done = expect(lab.do("pretrain", "--out", out, "--resume"), 0)
            if f"warning: {newest} is damaged" not in done.said:
                raise Failed(f"the damaged one is not named: {done.said}")
            lab.require_same(out)
            yield SAME


def all_damaged(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    for damage in DAMAGES:
        out = lab.copy("damaged")
        saved = list_checkpoints(out / "checkpoints")
        for path in saved:
            damage(path / "state.pt")
        before = content(out / "checkpoints")
        done = lab.do("pretrain", "--out", out, "--resume")
        require_error(done, "all checkpoints of this run are damaged", *(path.name for path in saved))
        if content(out / "checkpoints") != before:
            raise Failed("the damaged checkpoints were touched")
        yield ERROR


def damaged_shards(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    """Before a run begins, and before it is resumed."""
    out = lab.copy("resumed")
    saved = content(out / "checkpoints")
    sound = content(lab.shards)
    for damage in DAMAGES:
        for file in ("rows-00000.bin", "manifest.json", "vocab.txt"):
            try:
                damage(lab.shards / file)
                require_error(lab.do(*lab.pretrain(lab.new("never"))), str(lab.shards))
                require_error(lab.do("pretrain", "--out", out, "--resume"), str(lab.shards))
            finally:
                (lab.shards / file).write_bytes(sound[file])
            if (lab.folder / "never").exists() or content(out / "checkpoints") != saved:
                raise Failed("something was written")
            yield ERROR
    expect(lab.do("pretrain", "--out", out, "--resume"), 0)
    lab.require_same(out)


def damaged_run_record(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    for damage in (_cut, _empty, Path.unlink):
        out = lab.copy("damaged")
        damage(out / "run.json")
        require_error(lab.do("pretrain", "--out", out, "--resume"), "run.json")
        shutil.copy(lab.whole[0] / "run.json", out)
        lab.require_same_resumed(out)
        yield ERROR


def cut_report(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    """The last line of metrics.jsonl is half there, as after a power cut."""
    out = lab.copy("damaged")
    os.truncate(out / "metrics.jsonl", (out / "metrics.jsonl").stat().st_size - 20)
    shutil.rmtree(list_checkpoints(out / "checkpoints")[-1])
    lab.require_same_resumed(out)
    yield SAME


def prepare_killed(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    command = ["prepare", lab.long_corpus, "--seq-length", "64", "--workers", "2", "--out"]
    whole = lab.new("prepared")
    seconds = expect(lab.do(*command, whole), 0).seconds
    while times:
        out = lab.new("again")
        child = lab.start(*command, out)
        time.sleep(chance.uniform(0, seconds))
        child.send(signal.SIGKILL)
        if child.ended().code != -signal.SIGKILL:
            continue
        if out.exists() and content(out) != content(whole):
            raise Failed("shards that are not whole have their name")
        expect(lab.do(*command, out, "--overwrite"), 0)
        if content(out) != content(whole) or list(lab.folder.glob(".again*")):
            raise Failed("other shards, or something half made beside them")
        times -= 1
        yield SAME


def prepare_resumed(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    command = ["prepare", lab.long_corpus, "--seq-length", "64", "--deduplicate", "exact", "--out"]
    whole, out = lab.new("prepared"), lab.folder / "resumed"
    seconds = expect(lab.do(*command, whole, before=_save_often), 0).seconds
    for _ in range(20 * times):
        lab.new("resumed")
        child = lab.start(*command, out, before=_save_often)
        time.sleep(chance.uniform(0, seconds))
        child.send(signal.SIGKILL)
        if child.ended().code != -signal.SIGKILL or not (lab.folder / ".resumed.partial" / "progress.json").exists():
            continue  # it was done, or had saved nothing
        expect(lab.do(*command, out, "--resume", before=_save_often), 0)
        if content(out) != content(whole) or list(lab.folder.glob(".resumed*")):
            raise Failed("other shards, or something half made beside them")
        yield SAME
        if not (times := times - 1):
            return
    raise Failed("nothing was saved at any kill")


def _save_often() -> None:
    record.SAVE_SECONDS, corpus.BLOCK_BYTES = 0, 100_000


def prepare_full_disk(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    command = ["prepare", lab.long_corpus, "--seq-length", "64", "--workers", "2", "--out"]
    with small_disk(lab.folder / "disk", 1) as resize:
        require_error(lab.do(*command, lab.folder / "disk" / "shards"), "no space left")
        if list((lab.folder / "disk").iterdir()):
            raise Failed("something half made was left")
        resize(100)
        expect(lab.do(*command, lab.folder / "disk" / "shards"), 0)
    yield ERROR


def prepare_full_disk_resumed(lab: Lab, chance: random.Random, times: int) -> Outcomes:
    command = ["prepare", lab.long_corpus, "--seq-length", "64", "--workers", "2", "--out"]
    whole = lab.new("prepared")
    expect(lab.do(*command, whole), 0)
    disk = lab.folder / "disk"
    with small_disk(disk, 1) as resize:
        require_error(lab.do(*command, disk / "shards", before=_save_often), "no space left")
        if not (disk / ".shards.partial" / "progress.json").exists():
            raise Failed("nothing was kept")
        resize(100)
        expect(lab.do(*command, disk / "shards", "--resume", before=_save_often), 0)
        if content(disk / "shards") != content(whole) or len(list(disk.iterdir())) != 1:
            raise Failed("other shards, or something half made beside them")
    yield SAME
