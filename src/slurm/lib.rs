//! Slurm's commands: the arguments and environment with which each is run, and typed answers.
