"""How Numba compiles what only other compiled functions call: to a fragment of their code.

By itself, Numba optimises and assembles every function that it compiles, together with all that it
calls, although it will not be run: two thirds of the time of a kernel of fifty functions. A
fragment is neither; it is linked into the kernel, which is optimised once.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering


class _Fragment(JITCodeLibrary):
    """Code that is there to be linked; what it calls is linked next to it."""

    def finalize(self) -> None:
        """Be ready to be linked, and not to be run."""
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class _FragmentLowering(NativeLowering):
    _name = "fastxent_fragment_lowering"

    def run_pass(self, state: Any) -> bool:
        name = state.func_id.func_qualname
        state.library = _Fragment(state.targetctx.codegen(), name)
        state.flags.no_compile = True
        super().run_pass(state)
        # Numba finds a function by what Python would call, and insists that it be a builtin. Each
        # list has another one.
        lowered = state["cr"]._replace(cfunc=[].append)
        libraries = [state.library, *state.library._linking_libraries]
        state.targetctx.insert_user_function(lowered.cfunc, lowered.fndesc, libraries)
        state["cr"] = lowered
        return True


class FragmentCompiler(Compiler):
    """Numba's pipeline, with another last step."""

    def define_pipelines(self) -> list[Any]:
        """Return the one pipeline."""
        pipeline = DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [
            (_FragmentLowering, text) if step is NativeLowering else (step, text)
            for step, text in pipeline.passes
        ]
        pipeline.finalize()
        return [pipeline]
