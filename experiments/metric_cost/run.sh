#!/usr/bin/env bash
# Makes the tables of README.md. Call it from the root of the repository; needs `pip install torchcam quantus opencv-python-headless`
# beside the test extra, and takes about an hour on one core.
set -euo pipefail
export OMP_NUM_THREADS=1
python -m experiments.metric_cost.faithfulness --figures insertion_deletion --images 4 --rounds 5
python -m experiments.metric_cost.faithfulness --figures epoch --rounds 5
python -m experiments.metric_cost.localization --maps 10000 --peer-maps 200
python -m experiments.metric_cost.localization --noise --maps 100 --peer-maps 5 --rounds 5
python -m experiments.metric_cost.table
