"""The kernels, on vectors: the same formulas as in native/simd, file by file."""
