# The commonest call, where it is short: labels, the class axis last, no options. A request takes
# longer than the losses of 100 anchors, so such a call goes from its arrays straight to a Job.

from libc.stdint cimport int64_t
from libc.string cimport memset

from fastxent.native._arrays cimport Operand, coalesce, read_operand
from fastxent.native._job cimport BLOCK_LOGITS, OPERANDS, Job, list_operands
from fastxent.native._kernels cimport (
    FX_FLOAT32, FX_INT32, FX_INT64,
)
from fastxent.native._requests cimport (
    choose_kernels, choose_precision, set_label_map, set_loss,
)


cdef inline bint describe_short_call(Job* job, int code, object logits, object labels, object out,
                                     const int64_t* ignored, int isa) except -1:
    """Fill in a job; false where the call is of another kind, or its labels are not valid."""
    cdef Operand* operands[OPERANDS]
    cdef Py_ssize_t highest
    memset(job, 0, sizeof(Job))
    job.dimensions.count = -1
    read_operand(logits, True, False, &job.logits, &job.dimensions)
    read_operand(labels, False, False, &job.targets, &job.dimensions)
    read_operand(out, False, True, &job.out, &job.dimensions)
    job.classes = job.options.classes = logits.shape[-1]
    if (job.logits.type != FX_FLOAT32 or job.targets.type not in (FX_INT32, FX_INT64)
            or job.classes < 2 or job.dimensions.size == 0
            or job.dimensions.size * job.classes > BLOCK_LOGITS):
        return False
    list_operands(job, operands)
    coalesce(&job.dimensions, operands, OPERANDS)
    if job.dimensions.count > 1 or not are_aligned(job):
        return False
    set_loss(job, code)
    job.has_labels = True
    job.weight = job.mean_class_weight = job.options.positive = job.options.negative = 1.0
    choose_precision(job, isa)
    set_label_map(job, ignored, 1, job.classes if job.is_sigmoid else -1)
    choose_kernels(job)
    highest = job.classes - (not job.is_sigmoid)
    return job.kernels.first_invalid_label(job.targets.data, job.targets.strides[0],
                                           job.targets.type, job.dimensions.size, highest,
                                           &job.labels) < 0


cdef inline bint are_aligned(const Job* job) noexcept:
    """Return whether the elements of logits and labels lie where the processor expects them."""
    cdef Py_ssize_t label_size = 8 if job.targets.type == FX_INT64 else 4
    return not ((<size_t>job.logits.data | <size_t>job.logits.strides[0]
                 | <size_t>job.logits.class_stride) % sizeof(float)
                or (<size_t>job.targets.data | <size_t>job.targets.strides[0]) % label_size)
