"""The network on GPUs: Triton kernels for what torch has none for, and steps as CUDA graphs."""
