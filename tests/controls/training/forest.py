"""A random forest on scikit-learn's digits, its work shared out by joblib: forest.py BACKEND"""
import hashlib
import sys

import joblib
import sklearn.datasets
import sklearn.ensemble
import sklearn.model_selection

digits = sklearn.datasets.load_digits()
split = sklearn.model_selection.train_test_split(digits.data, digits.target, random_state=0)
train, test, train_labels, test_labels = split
with joblib.parallel_backend(sys.argv[1], n_jobs=2):
    forest = sklearn.ensemble.RandomForestClassifier(100, random_state=0)
    forest.fit(train, train_labels)
    scores = sklearn.model_selection.cross_val_score(forest, train, train_labels, cv=4)
odds = forest.predict_proba(test)
print(f"accuracy {forest.score(test, test_labels):.4f}")
print("scores", *(f"{score:.4f}" for score in scores))
print("odds", hashlib.sha256(odds.tobytes()).hexdigest())
