"""Corpus → shards: MB/s from files in to shards and manifest out, start-up included; tokenization; peak memory."""

from collections.abc import Callable

from bench.children import Finished, run, weixing, worker
from bench.measure import Case, Check, Measured, Reading, Side, bound, interleave, ratio
from bench.setting import Setting
from bench.uer import NAME as UER
from bench.uer import Uer

COPIES = 8  # of the corpus, which is one file of 8 MB
MANY = 100  # copies on which two workers are compared with one: on 8, start-up is most of the time
ONE, TWO, TOKENIZERS = "weixing", "weixing, 2 workers", "tokenizers"
ONE_MANY, TWO_MANY = f"{ONE}, {MANY} copies", f"{TWO}, {MANY} copies"


def cases(setting: Setting) -> dict[str, Callable[[], Case]]:
    """The one case of this section."""
    return {"corpus → shards": lambda: _measure(setting)}


def _measure(setting: Setting) -> Case:
    copies, many = (1, 2) if setting.quick else (COPIES, MANY)
    setting.inputs.shards("packed")  # whatever is compiled at the first use is compiled now
    sides = [
        Side(ONE, lambda: read_prepare(setting, copies, workers=1)),
        Side(TWO, lambda: read_prepare(setting, copies, workers=2)),
        Side(ONE_MANY, lambda: read_prepare(setting, many, workers=1)),
        Side(TWO_MANY, lambda: read_prepare(setting, many, workers=2)),
        Side(TOKENIZERS, lambda: _read_tokenizers(setting)),
    ]
    uer, skipped = setting.uer, {}
    if isinstance(uer, Uer):
        sides.append(Side(UER, lambda: _read_uer(setting, uer, copies)))
    else:
        skipped = {UER: uer}
    measured = interleave("prepare", sides, setting.rounds)
    setting.inputs.remove(setting.inputs.corpus(many))
    return Case(measured, _checks(measured), skipped)


def _checks(measured: dict[str, Measured]) -> list[Check]:
    one, tokenizers, uer = measured[ONE], measured[TOKENIZERS], measured.get(UER)
    one_many, two_many = measured[ONE_MANY], measured[TWO_MANY]
    return [
        ratio("prepare, one process each", one, uer, "mb_per_second", at_least=60, peer=UER),
        ratio("prepare, one process each, start-up left out", one, uer, "mb_per_second_without_startup", peer=UER),
        bound("tokenization alone, one process", one, "tokenizing_mb_per_second", "MB/s", at_least=150),
        ratio("tokenization alone, one core each", one, tokenizers, "tokenizing_mb_per_second", peer="tokenizers"),
        ratio("prepare, two workers over one, start-up left out", two_many, one_many, "mb_per_second_without_startup",
              at_least=1.7),
        ratio("prepare, two workers over one", two_many, one_many, "mb_per_second"),
        ratio(f"prepare, two workers over one, the corpus {COPIES} times over", measured[TWO], one, "mb_per_second"),
        bound("peak memory, one worker", one_many, "peak_memory_mb", "MB", at_most=500),
        bound("peak memory, two workers", two_many, "peak_memory_mb", "MB", at_most=500),
    ]  # fmt: skip


def read_prepare(setting: Setting, copies: int, workers: int) -> Reading:
    """`weixing prepare` on the corpus so many times over."""
    inputs = setting.inputs
    megabytes = inputs.corpus_bytes(copies) / 1e6

    def once(corpus: str) -> Finished:
        options = ("--vocab", inputs.vocabulary, "--workers", workers, "--json")
        try:
            return inputs.run(weixing("prepare", corpus, "--out", "shards-timed", *options))
        finally:
            inputs.remove("shards-timed")

    startup = once(inputs.one_document).seconds
    done = once(inputs.corpus(copies))
    return Reading(
        done.command,
        _figures(done, megabytes, startup)
        | {"tokenizing_mb_per_second": megabytes / done.result["seconds_tokenizing"]},
    )


def _read_uer(setting: Setting, uer: Uer, copies: int) -> Reading:
    inputs = setting.inputs
    megabytes = inputs.corpus_bytes(copies) / 1e6
    try:
        startup = uer.preprocess(inputs.one_document, "uer-timed.pt").seconds
        done = uer.preprocess(inputs.corpus(copies), "uer-timed.pt")
    finally:
        inputs.remove("uer-timed.pt")
    return Reading(
        done.command,
        _figures(done, megabytes, startup),
    )


def _figures(done: Finished, megabytes: float, startup: float) -> dict[str, float]:
    return {
        "mb_per_second": megabytes / done.seconds,
        "seconds": done.seconds,
        "startup_seconds": startup,
        "mb_per_second_without_startup": megabytes / max(done.seconds - startup, 1e-3),
        "peak_memory_mb": done.peak_memory_mb,
    }


def _read_tokenizers(setting: Setting) -> Reading:
    inputs = setting.inputs
    command = worker("hf_tokenize", inputs.corpus(), inputs.vocabulary)
    done = run(command, inputs.folder, timeout=600, environment={"RAYON_NUM_THREADS": "1"})
    megabytes = inputs.corpus_bytes() / 1e6
    return Reading(
        f"RAYON_NUM_THREADS=1 {done.command}",
        {"tokenizing_mb_per_second": megabytes / done.result["seconds"], "peak_memory_mb": done.peak_memory_mb},
    )
