#!/usr/bin/env bash
# Runs `make demo`, trains the other λ and schedules, and writes the results and the README's tables. Call it from the root of the
# repository. If it was stopped, call it again to go on.
set -euo pipefail
here=experiments/quickstart
make demo
cp runs/demo/results.csv $here/

compared() {  # NAME and the values of a point
    local name=$1
    shift
    .venv/bin/camtrain ablate --config configs/quickstart.yaml --set model.regularizer_weight=0.5 "$@" --seeds 0,1,2,3,4 \
        --num_steps 8 --jobs 2 --threads 1 --out "runs/quickstart_$name"
    cp "runs/quickstart_$name/results.csv" "$here/$name.csv"
}
compared weight_0.5
compared from_epoch_0 --set model.regularizer_start_epoch=0
compared rising --set model.regularizer_start_epoch=0 --set model.regularizer_warmup_epochs=5
.venv/bin/python -m experiments.quickstart.table
