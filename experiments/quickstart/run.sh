#!/usr/bin/env bash
# Trains configs/quickstart.yaml with and without its regularizer, three seeds each, scores the maps, and writes results.csv and the
# README's table. Call it from the root of the repository, in the environment that `make demo` makes. If it was stopped, call it
# again to go on. Takes some ten minutes on two cores.
set -euo pipefail
study=runs/quickstart_study
camtrain ablate --config configs/quickstart.yaml --set model.regularizer_weight=0,0.5 --seeds 0,1,2 --out $study \
    --jobs 2 --threads 1
cp $study/results.csv experiments/quickstart/
python -m experiments.quickstart.table
