"""Training: the pretraining loop, optimizers and schedules, checkpoints, devices, the run log."""
