#!/usr/bin/env bash
# Trains configs/quickstart.yaml with and without the regularizer, three seeds each, and writes results.csv, the
# README's table and panel.png. Call it from the root of the repository, in the environment that `make demo` makes. Takes
# ten to twenty minutes on two cores.
set -euo pipefail
export OMP_NUM_THREADS=1  # sums depend on the number of threads, and after ten epochs so do accuracies

for weight in 0 0.0075 0.1; do
    for seed in 0 1 2; do
        camtrain fit --config configs/quickstart.yaml --seed_everything "$seed" --model.regularizer_weight "$weight" \
            --cam_logger.num_images 4 --run.wandb disabled --run.name "quickstart_study/weight_${weight}_seed$seed"
    done
done
study=runs/quickstart_study
python -m experiments.results_table experiments/quickstart \
    "λ = 0=$study/weight_0_seed*" "λ = 7.5e-3=$study/weight_0.0075_seed*" "λ = 0.1=$study/weight_0.1_seed*"
cp "$(ls -t $study/weight_0.0075_seed0/version_*/panels/test.png | head -1)" experiments/quickstart/panel.png
