"""The forward pass in C++: the kernels, and what packs, compiles and calls them."""
