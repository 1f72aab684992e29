"""What was trained is shown by TensorBoard, which serves on the loopback and answers."""
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import tensorboard.program
import torch.utils.tensorboard

PATIENCE_S = 60

with torch.utils.tensorboard.SummaryWriter("logs/board") as writer:
    for step in range(10):
        writer.add_scalar("loss", 1 / (step + 1), step)
board = tensorboard.program.TensorBoard()
board.configure(argv=["tensorboard", "--logdir=logs", "--host=127.0.0.1", "--port=0"])
address = board.launch()
question = urllib.parse.urlencode({"run": "board", "tag": "loss"})
until = time.monotonic() + PATIENCE_S
while True:
    try:
        with urllib.request.urlopen(f"{address}data/plugin/scalars/scalars?{question}", timeout=30) as answer:
            points = json.load(answer)
        break
    except urllib.error.HTTPError:
        # It has not read the files yet.
        if time.monotonic() > until:
            raise
        time.sleep(0.2)
print(*(f"{step}:{value:.4f}" for _, step, value in points))
