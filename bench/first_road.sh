#!/usr/bin/env bash
# The measurements of docs/results.md, from raw text to the two tables and the loss curve. About three hours on two
# cores. Usage: bench/first_road.sh DATA WORK
#   DATA: a folder with vocab/google_zh_vocab.txt, corpus/{research,open,heldout}.jsonl.xz, bench/corpus_8mb.txt.xz and
#         tasks/{book_review,chnsenticorp}/{train,dev}.tsv
#   WORK: a folder for shards, runs and results; a stopped run is resumed when the script is called again
# Afterwards `python bench/results_page.py --collect WORK` copies what docs/results.md is written from into
# bench/results, and `python bench/results_page.py` writes the page and its plots.
set -euo pipefail
DATA=$(realpath "$1")
mkdir -p "$2" && cd "$2"
VOCAB=$DATA/vocab/google_zh_vocab.txt

shards() { # NAME OPTIONS...: prepare once
  local name=$1; shift
  [ -d "$name" ] || weixing prepare "$@" --out "$name" --vocab "$VOCAB"
}
run() { # NAME OPTIONS...: pretrain, or resume
  local name=$1; shift
  [ -d "$name/model" ] && return
  if [ -f "$name/run.json" ]; then weixing pretrain --out "$name" --resume; else weixing pretrain "$@" --out "$name"; fi
}

# 1. Pretraining: recipe weixing, 2/128, on one core
shards full128 "$DATA/corpus/research.jsonl.xz" "$DATA/corpus/open.jsonl.xz"
shards heldout128 "$DATA/corpus/heldout.jsonl.xz"
OMP_NUM_THREADS=1 run tiny --data full128 --eval-data heldout128 --model 2/128 --steps 18000 --eval-every 2000 \
  --report-every 100

# 2. Fine-tuning: one cell, three seeds, beside the same shape untrained
for task in book_review chnsenticorp; do
  for model in ./tiny 2/128; do
    OMP_NUM_THREADS=1 weixing finetune --model "$model" --vocab "$VOCAB" --task "$task" --data "$DATA/tasks" \
      --epochs 3 --batch-sizes 32 --learning-rates 3e-4 --seeds 7,8,9 --resume --out "tuned/$task-$(basename $model)"
  done
done

# 3. The loss curve: recipe uer at the settings of the reference curve
shards uer128 "$DATA/bench/corpus_8mb.txt.xz" --layout uer
run curve --data uer128 --model 2/128 --recipe uer --learning-rate 1e-3 --batch-size 64 --steps 1000 \
  --shuffle-window 25600 --report-every 50
