"""What holds for every test: one thread, as the models here are too small to share out, for children too."""

import os

import torch

os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
