"""A figure, by a library that keeps a cache of fonts in the home directory."""
import hashlib

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

figure, axes = pyplot.subplots()
axes.plot([1, 2, 4])
axes.set_title("loss")
figure.savefig("outputs/loss.png", metadata={"Software": None})
with open("outputs/loss.png", "rb") as file:
    print("figure", hashlib.sha256(file.read()).hexdigest())
