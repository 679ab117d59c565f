#!/usr/bin/env bash
# The measurements of docs/results.md, from raw text to the two tables and the loss curve. About six hours on one
# core. Usage: bench/first_road.sh DATA WORK [MODEL …]
#   DATA: a folder with vocab/google_zh_vocab.txt, corpus/{research,open,heldout}.jsonl.xz, bench/corpus_8mb.txt.xz and
#         tasks/{book_review,chnsenticorp,ocnli,tnews,iflytek}
#   WORK: a folder for shards, runs and results; a stopped run is resumed when the script is called again
#   MODEL: fine-tune these alone (./tiny or 2/128), so that two calls share two cores; by default both, then the curve
# Afterwards `python bench/results_page.py --collect WORK` copies what docs/results.md is written from into
# bench/results, and `python bench/results_page.py` writes the page and its plots.
set -euo pipefail
DATA=$(realpath "$1")
mkdir -p "$2" && cd "$2"
shift 2
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
tiny() {
  shards full128 "$DATA/corpus/research.jsonl.xz" "$DATA/corpus/open.jsonl.xz"
  shards heldout128 "$DATA/corpus/heldout.jsonl.xz"
  run tiny --data full128 --eval-data heldout128 --model 2/128 --steps 18000 --eval-every 2000 --report-every 100
}

# 2. Fine-tuning: the published grid (on ocnli, tnews and iflytek its cells of batch 32), then two more seeds of the best
#    cell, for the model and for the same shape untrained. There is no lcqmc here: its training rows are not in DATA.
grid() { # MODEL TASK BATCH_SIZES
  local out; out=grids/$2-$(basename "$1")
  local cells=(weixing finetune --model "$1" --vocab "$VOCAB" --task "$2" --data "$DATA/tasks" --threads 1 --processes 1)
  "${cells[@]}" --batch-sizes "$3" --resume --out "$out"
  local best; best=$(python -c 'import json, sys; best = json.load(open(sys.argv[1])); print(
    "--epochs", best["epochs"], "--batch-sizes", best["batch_size"], "--learning-rates", best["learning_rate"])' \
    "$out/model/result.json")
  # shellcheck disable=SC2086
  "${cells[@]}" $best --seeds 8,9 --resume --out "$out-seeds"
}
export OMP_NUM_THREADS=1
models=("$@")
[ $# -gt 0 ] || models=(./tiny 2/128)
for model in "${models[@]}"; do
  [ "$model" = 2/128 ] || tiny
  for task in chnsenticorp book_review; do grid $model $task 32,64; done
  for task in ocnli tnews iflytek; do grid $model $task 32; done
done

# 3. The loss curve: recipe uer at the settings of the reference curve
[ $# -eq 0 ] || exit 0
shards uer128 "$DATA/bench/corpus_8mb.txt.xz" --layout uer
run curve --data uer128 --model 2/128 --recipe uer --learning-rate 1e-3 --batch-size 64 --steps 1000 \
  --shuffle-window 25600 --report-every 50
