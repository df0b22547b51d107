"""All speed comparisons: `python -m tests.benchmarks` (`make benchmark`)."""

from __future__ import annotations

import torch

from tests.benchmarks import memory, overlapped_judging, ragged_rollout, remote_throughput, uniform_rollout, update
from tests.benchmarks.models import SIZES

torch.set_num_threads(1)
update.main()
ragged_rollout.main()
uniform_rollout.main(list(SIZES))
memory.main()
remote_throughput.main()
overlapped_judging.main()
