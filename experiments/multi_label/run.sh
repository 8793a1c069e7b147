#!/usr/bin/env bash
# Trains scenes of two digits with each setting, three seeds each, and writes results.csv and the README's table. Call it from the
# root of the repository, in the environment of `make test`. A run whose scores are there, or in results.csv, is not made again,
# unless AGAIN=1. SETTINGS and SEEDS choose some of the runs, EPOCHS and DATA shorten them for a try.
set -euo pipefail
export OMP_NUM_THREADS=1
study=runs/multi_label
energy="--model.regularizer EnergyInside --model.regularizer.annotation masks --model.regularizer_balance_steps 10"
large="$energy --model.regularizer_weight 0.3"
ramp="$energy --model.regularizer_weight 0.1 --model.regularizer_warmup_epochs 10"
settings=(
    "plain|"
    "one_label|$large --model.regularizer.class_of label"
    "every_label|$large --model.regularizer.class_of every_label"
    "one_label_ramp|$ramp --model.regularizer.class_of label"
    "every_label_ramp|$ramp --model.regularizer.class_of every_label"
)

train() {  # a setting, a seed
    name=${1%%|*}
    run=$study/${name}_seed$2
    [ -z "${AGAIN:-}" ] && [ -n "$(ls "$run"/version_*/scores.json 2> /dev/null)" ] && return
    [ -z "${AGAIN:-}" ] && grep -q "^$name,$2," experiments/multi_label/results.csv 2> /dev/null && return
    case " ${SETTINGS:-$name} " in *" $name "*) ;; *) return ;; esac
    mkdir -p $study
    # shellcheck disable=SC2086
    camtrain fit --config experiments/multi_label/base.yaml --seed_everything "$2" ${1#*|} \
        ${EPOCHS:+--trainer.max_epochs $EPOCHS} ${DATA:-} \
        --run.wandb disabled --run.name "multi_label/${name}_seed$2" > "$study/${name}_seed$2.log" 2>&1 \
        || echo "failed: $name, seed $2"
}
export -f train
export study

for seed in ${SEEDS:-0 1 2}; do
    for setting in "${settings[@]}"; do printf '%s\0%s\0' "$setting" "$seed"; done
done | xargs -0 -n 2 -P "${JOBS:-2}" bash -c 'train "$0" "$1"'
python -m experiments.multi_label.table
