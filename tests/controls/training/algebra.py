"""Numbers by all threads that the library for them takes."""
import hashlib
import os

import numpy

random = numpy.random.default_rng(0)
a, b = random.standard_normal((2, 1000, 1000))
print("product", hashlib.sha256((a @ b).tobytes()).hexdigest())
print("values", hashlib.sha256(numpy.linalg.svd(a[:200, :200])[1].tobytes()).hexdigest())
print("threads", len(os.listdir("/proc/self/task")))
numpy.savez("outputs/model.npz", a=a)
print("saved", numpy.array_equal(numpy.load("outputs/model.npz", mmap_mode="r")["a"], a))
