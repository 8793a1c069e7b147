#!/usr/bin/env bash
# Trains configs/quickstart.yaml with double backpropagation, three seeds each, and puts the scores beside those of frozen
# gates. Call it from the root of the repository after experiments/quickstart/run.sh.
set -euo pipefail
export OMP_NUM_THREADS=1

for weight in 0.0075 0.1; do
    for seed in 0 1 2; do
        camtrain fit --config configs/quickstart.yaml --seed_everything "$seed" --model.regularizer_weight "$weight" \
            --model.engine camtrain.gradients.DoubleBackprop --cam_logger.num_images 0 --run.wandb disabled \
            --run.name "engine_equivalence_digits/weight_${weight}_seed$seed"
    done
done
gates=runs/quickstart_study twice=runs/engine_equivalence_digits
python experiments/results_table.py experiments/engine_equivalence_digits \
    "λ = 7.5e-3, frozen gates=$gates/weight_0.0075_seed*" "λ = 7.5e-3, double backprop=$twice/weight_0.0075_seed*" \
    "λ = 0.1, frozen gates=$gates/weight_0.1_seed*" "λ = 0.1, double backprop=$twice/weight_0.1_seed*"
