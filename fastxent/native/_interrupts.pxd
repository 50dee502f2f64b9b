# What ends a long call early, between its blocks (interrupts.h).

from libc.stdint cimport int64_t


cdef extern from "interrupts.h" nogil:
    int FX_LOOK_EVERY

    ctypedef struct fx_watch:
        int64_t next_look
        int is_over

    int64_t fx_milliseconds()


cdef extern from *:
    """
    static unsigned long fx_main_thread = 0;
    static void fx_set_main_thread(unsigned long identifier) { fx_main_thread = identifier; }

    /* Run Python's handlers, of which one may raise an exception: it stays with this thread. */
    static int fx_look(void) {
        PyGILState_STATE state;
        int has_raised;
        if (PyThread_get_thread_ident() != fx_main_thread) return 0;
        state = PyGILState_Ensure();
        has_raised = PyErr_CheckSignals() != 0;
        PyGILState_Release(state);
        return has_raised;
    }

    /* Whether the next block may be computed; thread 0 is the one that has called. */
    static inline int fx_goes_on(fx_watch *watch, int thread) {
        if (__atomic_load_n(&watch->is_over, __ATOMIC_RELAXED)) return 0;
        if (thread != 0 || !fx_looks_now(watch) || !fx_look()) return 1;
        __atomic_store_n(&watch->is_over, 1, __ATOMIC_RELAXED);
        return 0;
    }
    """
    void fx_set_main_thread(unsigned long identifier)
    bint fx_goes_on(fx_watch* watch, int thread) nogil
