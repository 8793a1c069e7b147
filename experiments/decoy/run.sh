#!/usr/bin/env bash
# Trains each config on data whose training images give the label away, three seeds each, and writes results.csv and the README's
# table. Call it from the root of the repository, in the environment of `make test`. A run whose scores are there, or
# in results.csv, is not made again, unless AGAIN=1. SETTINGS and SEEDS choose some of the runs. Takes some two hours on two
# cores, with one process on each.
set -euo pipefail
export OMP_NUM_THREADS=1  # sums depend on the number of threads
plain="interpretable_gradient --model.regularizer_weight 0"
study=runs/decoy
settings=(
    "plain|$plain"
    "clean|$plain --data.decoy_strength 0"
    "right_for_right_reasons|right_for_right_reasons"
    "right_for_right_reasons_10|right_for_right_reasons --data.annotated_fraction 0.1"
    "interpretable_gradient|interpretable_gradient"
    "plain_60|$plain --trainer.max_epochs 60"
    "clean_60|$plain --data.decoy_strength 0 --trainer.max_epochs 60"
    "right_for_right_reasons_60|right_for_right_reasons --trainer.max_epochs 60"
    "right_for_right_reasons_60_10|right_for_right_reasons --trainer.max_epochs 60 --data.annotated_fraction 0.1"
    "map_outside|map_outside"
    "map_outside_10|map_outside --data.annotated_fraction 0.1"
    "energy_inside|energy_inside"
    "attention_mining|attention_mining"
    "map_l1|map_l1"
    "map_bce|map_bce"
    "sum|sum"
    "sum_10|sum --data.annotated_fraction 0.1"
    "saliency_guided|saliency_guided"
    "map_consistency|map_consistency"
    "map_distillation|map_distillation --model.regularizer.checkpoint TEACHER"
    "gradient_norm|gradient_norm"
    "gradient_smoothness|gradient_smoothness"
    "map_smoothness|map_smoothness"
    "map_sparsity|map_sparsity"
    "attention_branch|attention_branch"
    "lfi_cam|lfi_cam"
)

train() {  # a setting, a seed
    name=${1%%|*}
    read -r config options <<< "${1#*|}"
    run=$study/${name}_seed$2
    [ -z "${AGAIN:-}" ] && [ -n "$(ls "$run"/version_*/scores.json 2> /dev/null)" ] && return
    [ -z "${AGAIN:-}" ] && grep -q "^$name,$2," experiments/decoy/results.csv 2> /dev/null && return
    case " ${SETTINGS:-$name} " in *" $name "*) ;; *) return ;; esac
    if [[ $options == *TEACHER* && -z "$(ls $study/clean_seed"$2"/version_*/checkpoints/last.ckpt 2> /dev/null)" ]]; then
        echo "$name, seed $2: its teacher is not here: AGAIN=1 SETTINGS=clean SEEDS=$2 makes it"
        return
    fi
    options=${options//TEACHER/$(ls -t $study/clean_seed"$2"/version_*/checkpoints/last.ckpt 2> /dev/null | head -1)}
    mkdir -p $study
    # shellcheck disable=SC2086
    camtrain fit --config "configs/decoydigits_resnet8_$config.yaml" --seed_everything "$2" $options \
        --run.wandb disabled --run.name "decoy/${name}_seed$2" --cam_logger.num_images 4 --cam_logger.every_n_epochs 100 \
        --localization_scores.every_n_epochs 100 > "$study/${name}_seed$2.log" 2>&1 || echo "failed: $name, seed $2"
}
export -f train
export study

for seed in ${SEEDS:-0 1 2}; do
    for setting in "${settings[@]}"; do printf '%s\0%s\0' "$setting" "$seed"; done
done | xargs -0 -n 2 -P 2 bash -c 'train "$0" "$1"'
python -m experiments.decoy.table
