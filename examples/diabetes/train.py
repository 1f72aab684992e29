"""Trains Ridge models on the diabetes data that scikit-learn ships.

A plain script: it knows nothing of Trainyard. What it prints is the log, what it writes to
outputs/ is kept, and each line of logs/metrics.jsonl is a metric.
"""

import argparse
import json
import os

import joblib
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import train_test_split

from alphas import parse_alphas


def log_metric(name, value, step):
    """Records one point of a metric: one JSON object a line, written at once."""
    with open("logs/metrics.jsonl", "a", encoding="utf-8") as metrics:
        metrics.write(json.dumps({"name": name, "value": value, "step": step}) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--alphas", default="0.0:1.0:0.05", help="first:end:step")
    arguments = parser.parse_args()
    os.makedirs("outputs", exist_ok=True)
    os.makedirs("logs", exist_ok=True)

    features, target = load_diabetes(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        features, target, test_size=0.2, random_state=0
    )
    print(f"{len(train_x)} rows to train on, {len(test_x)} to test on")

    best = None
    for step, alpha in enumerate(parse_alphas(arguments.alphas)):
        model = Ridge(alpha=alpha).fit(train_x, train_y)
        mse = float(mean_squared_error(test_y, model.predict(test_x)))
        log_metric("mse", mse, step)
        joblib.dump(model, f"outputs/ridge_{alpha:.2f}.pkl")
        print(f"alpha {alpha:.2f}  mse {mse:.2f}")
        if best is None or mse < best[1]:
            best = (alpha, mse)

    # A metric may be printed too: a line of the same form on standard output.
    print(json.dumps({"name": "best_mse", "value": best[1]}))
    print(f"best alpha {best[0]:.2f}")


if __name__ == "__main__":
    main()
