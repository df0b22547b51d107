"""What a training run shares, whatever its algorithm: configuration, run folder, checkpoints, judge and results."""
