"""Training with two workers that load the data: loader.py START SHARING"""
import sys

import digits
import torch


def main():
    start, sharing = sys.argv[1:]
    torch.multiprocessing.set_sharing_strategy(sharing)
    batches = torch.utils.data.DataLoader(
        digits.Digits(), batch_size=64, shuffle=True, num_workers=2, persistent_workers=True,
        multiprocessing_context=start, generator=torch.Generator().manual_seed(0),
    )
    model = digits.network()
    digits.say(model, digits.train(model, batches))


if __name__ == "__main__":
    main()
