"""The two built-in tasks: ``python -m weixing.text.sample.make_tasks`` rewrites ``tasks/*/{train,dev}.tsv``.

* ``sentiment``: is a short review favourable (1) or not (0)?
* ``pairs``: do two sentences speak of the same matter (1) or of two (0)?

They are made to show, within minutes and honestly, what pretraining gives, and are no measure of a model. Most verdicts
in the dev half of ``sentiment`` are words that its train half does not have, and no wording in the dev half of
``pairs`` is in its train half: what these mean can only be learnt from the sample corpus, where a document keeps to one
verdict and to one matter. No text of a dev half is in the corpus.
"""

from collections.abc import Callable

from weixing.files import atomic_file
from weixing.text.sample.generator import sample_task
from weixing.text.sample.pairs import pair
from weixing.text.sample.reviews import DEV_WORDS, SHARED_WORDS, task_review
from weixing.text.sample.tables import Dice

SEED = 11
ROWS = {"sentiment": {"train": 2_000, "dev": 500}, "pairs": {"train": 4_000, "dev": 1_000}}
UNSEEN_SHARE = 0.8  # of the dev reviews: their verdicts are in no review of the train half
SHORTEST, LONGEST = 15, 80  # characters of a review


def make_task(name: str) -> dict[str, str]:
    """The files of task `name`, ``train`` and ``dev``, as text."""
    dice = Dice(SEED)
    draw: Callable[[Dice, int, bool], tuple[str, ...]] = _review if name == "sentiment" else _pair
    seen: set[str] = set()
    files = {}
    for half, count in ROWS[name].items():
        rows: list[str] = []
        while len(rows) < count:
            label = len(rows) % 2
            texts = draw(dice, label, half == "dev")
            if seen.isdisjoint(texts):
                seen.update(texts)
                rows.append("\t".join((str(label), *texts)))
        header = "\t".join(("label", "text_a", "text_b")[: 1 + len(texts)])
        files[half] = "\n".join([header, *dice.shuffled(rows), ""])
    return files


def _review(dice: Dice, label: int, for_dev: bool) -> tuple[str, ...]:
    words = DEV_WORDS if for_dev and dice.chance(UNSEEN_SHARE) else SHARED_WORDS
    while not SHORTEST <= len(text := task_review(dice, label == 1, words)) <= LONGEST:
        pass
    return (text,)


def _pair(dice: Dice, label: int, for_dev: bool) -> tuple[str, ...]:
    return pair(dice, label == 1, half=int(for_dev))


def main() -> None:
    """Rewrite the four files."""
    for name in ("sentiment", "pairs"):
        for half, text in make_task(name).items():
            with atomic_file(sample_task(name) / f"{half}.tsv") as beside:
                beside.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
