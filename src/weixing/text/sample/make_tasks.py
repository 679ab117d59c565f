"""draft"""

from weixing.text.sample import paraphrases as P
from weixing.text.sample.generator import sample_task
from weixing.text.sample.reviews import DEV_WORDS, SHARED_WORDS, task_review
from weixing.text.sample.tables import Dice


def sentiment(dice, count, dev_share, seen):
    while count:
        label = count % 2
        t = task_review(dice, bool(label), DEV_WORDS if dice.chance(dev_share) else SHARED_WORDS)
        if t in seen or not 15 <= len(t) <= 80:
            continue
        seen.add(t)
        count -= 1
        yield f"{label}\t{t}"


def pairs(dice, count, dev_share, seen):
    while count:
        same = bool(count % 2)
        p = P.draw_pair(dice, same, dev_share)
        key=(p.text_a,p.text_b)
        if key in seen or (dev_share and (p.text_a in seen or p.text_b in seen)): continue
        seen |= {key, p.text_a, p.text_b}; count -= 1
        yield f"{int(same)}\t{p.text_a}\t{p.text_b}"

if __name__ == "__main__":
    for name, make, head in (("sentiment", sentiment, "label\ttext_a"), ("pairs", pairs, "label\ttext_a\ttext_b")):
        dice = Dice(11)
        seen = set()
        for half, n, share in (("train", 2000, 0.0), ("dev", 500, 0.5 if name=="pairs" else 0.8)):
            (sample_task(name) / f"{half}.tsv").write_text(
                "\n".join([head, *dice.shuffled(list(make(dice, n, share, seen)))]) + "\n"
            )
