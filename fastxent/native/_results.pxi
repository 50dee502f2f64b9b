# Memory of large results that is kept for later ones: a part of _native.pyx.


cdef class _ResultBlock:
    """Memory of a result; when nothing refers to it any more, it is kept or given back."""

    cdef void* data
    cdef size_t size

    def __dealloc__(self):
        if self.data != NULL:
            fx_give_result(self.data, self.size)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, <Py_ssize_t>self.size, False, flags)


def take_result(size_t size):
    """Return a block of at least so many bytes; None where there is none, or it is not kept."""
    cdef _ResultBlock block = _ResultBlock.__new__(_ResultBlock)
    block.data = fx_take_result(size, &block.size)
    return None if block.data == NULL else memoryview(block)


def set_result_cache(size_t limit):
    """Keep at most so many bytes of results; return whether this platform can."""
    return fx_set_result_cache(limit) == 0


def clear_result_cache():
    """Give back what is kept."""
    fx_clear_result_cache()


def held_by_result_cache():
    """Return how many bytes are kept."""
    return fx_held_by_result_cache()
