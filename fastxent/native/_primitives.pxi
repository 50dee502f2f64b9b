# The vector functions of one number, for tests and measurements of their errors.


def primitives(bint is_double):
    """Return the contracts of the vector functions: lowest, highest, largest error, worst input."""
    contracts = {}
    for number in range(FX_PRIMITIVES):
        contract = fx_primitives[number].contracts[is_double]
        contracts[fx_primitives[number].name.decode()] = (
            contract.lowest, contract.highest, contract.ulps, contract.worst)
    return contracts


def evaluate_primitive(str name, values, out):
    """Apply a vector function to contiguous floats or doubles, on this thread."""
    cdef bint is_double = values.dtype == np.float64
    cdef int number = list(primitives(is_double)).index(name)
    cdef intptr_t source = values.ctypes.data, results = out.ctypes.data
    cdef fx_float_control callers
    if values.dtype != out.dtype or values.size != out.size or values.itemsize not in (4, 8):
        raise TypeError("values and out must be as many floats, or as many doubles")
    callers = fx_begin_floats()
    fx_kernels_of(selected_isa, is_double).primitives[number](
        <const void*>source, <void*>results, values.size)
    fx_end_floats(callers)
