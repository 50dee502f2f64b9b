"""The declarations in native/xla_ffi.h have the layout of the header that jaxlib ships."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.requirements import ROOT

jax = pytest.importorskip("jax")
HEADER = ROOT / "fastxent" / "native" / "xla_ffi.h"

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.skipif(not HEADER.exists(), reason="only in the source tree"),
]

#: Structs: ours and XLA's, and their fields in pairs.
STRUCTS = {
    ("fx_xla_extension", "XLA_FFI_Extension_Base"): "struct_size type next",
    ("fx_xla_version", "XLA_FFI_Api_Version"): (
        "struct_size extensions:extension_start major:major_version minor:minor_version"
    ),
    ("fx_xla_metadata", "XLA_FFI_Metadata"): "struct_size version:api_version traits",
    ("fx_xla_metadata_extension", "XLA_FFI_Metadata_Extension"): "base:extension_base metadata",
    ("fx_xla_buffer", "XLA_FFI_Buffer"): (
        "struct_size extensions:extension_start dtype data rank dims"
    ),
    ("fx_xla_values", "XLA_FFI_Args"): (
        "struct_size extensions:extension_start size types values:args"
    ),
    ("fx_xla_values ", "XLA_FFI_Rets"): (
        "struct_size extensions:extension_start size types values:rets"
    ),
    ("fx_xla_span", "XLA_FFI_ByteSpan"): "text:ptr length:len",
    ("fx_xla_scalar", "XLA_FFI_Scalar"): "dtype value",
    ("fx_xla_numbers", "XLA_FFI_Array"): "dtype size data",
    ("fx_xla_attributes", "XLA_FFI_Attrs"): (
        "struct_size extensions:extension_start size types names values:attrs"
    ),
    ("fx_xla_error_arguments", "XLA_FFI_Error_Create_Args"): (
        "struct_size extensions:extension_start message code:errc"
    ),
    ("fx_xla_destroy_arguments", "XLA_FFI_Error_Destroy_Args"): (
        "struct_size extensions:extension_start error"
    ),
    ("fx_xla_schedule_arguments", "XLA_FFI_ThreadPool_Schedule_Args"): (
        "struct_size extensions:extension_start context:ctx task data"
    ),
    ("fx_xla_threads_arguments", "XLA_FFI_ThreadPool_NumThreads_Args"): (
        "struct_size extensions:extension_start context:ctx threads:num_threads"
    ),
    ("fx_xla_api", "XLA_FFI_Api"): (
        "struct_size extensions:extension_start version:api_version internal:internal_api "
        "create_error:XLA_FFI_Error_Create get_message:XLA_FFI_Error_GetMessage "
        "destroy_error:XLA_FFI_Error_Destroy schedule:XLA_FFI_ThreadPool_Schedule "
        "count_threads:XLA_FFI_ThreadPool_NumThreads"
    ),
    ("fx_xla_frame", "XLA_FFI_CallFrame"): (
        "struct_size extensions:extension_start api context:ctx stage arguments:args "
        "results:rets attributes:attrs"
    ),
}
#: Those that later versions append to, or that end with what we do not need.
OPEN = {"XLA_FFI_Api", "XLA_FFI_CallFrame", "XLA_FFI_Metadata"}
NUMBERS = {
    "FX_XLA_MAJOR": "XLA_FFI_API_MAJOR",
    "FX_XLA_METADATA": "XLA_FFI_Extension_Metadata",
    "FX_XLA_EXECUTE": "XLA_FFI_ExecutionStage_EXECUTE",
    "FX_XLA_BUFFER": "XLA_FFI_ArgType_BUFFER",
    "FX_XLA_INVALID_ARGUMENT": "XLA_FFI_Error_Code_INVALID_ARGUMENT",
    "FX_XLA_RESOURCE_EXHAUSTED": "XLA_FFI_Error_Code_RESOURCE_EXHAUSTED",
    "FX_XLA_UNIMPLEMENTED": "XLA_FFI_Error_Code_UNIMPLEMENTED",
    "FX_XLA_ARRAY": "XLA_FFI_AttrType_ARRAY",
    "FX_XLA_SCALAR": "XLA_FFI_AttrType_SCALAR",
    "FX_XLA_STRING": "XLA_FFI_AttrType_STRING",
}
for bits in ("8", "16", "32", "64"):
    for kind in ("S", "U", "F") if bits != "8" else ("S", "U"):
        NUMBERS[f"FX_XLA_{kind}{bits}"] = f"XLA_FFI_DataType_{kind}{bits}"
for other in ("PRED", "BF16"):
    NUMBERS[f"FX_XLA_{other}"] = f"XLA_FFI_DataType_{other}"


def same(ours, theirs):
    return f'_Static_assert({ours} == {theirs}, "{ours}");'


def program():
    """Return C that compiles where all of it agrees."""
    lines = [
        "#include <stddef.h>",
        # The header is meant for C, but names a struct without the word in one place.
        "typedef struct XLA_FFI_Api_Version XLA_FFI_Api_Version;",
        '#include "xla/ffi/api/c_api.h"',
        '#include "xla_ffi.h"',
    ]
    for (ours, theirs), fields in STRUCTS.items():
        if theirs not in OPEN:
            lines.append(same(f"sizeof({ours})", f"sizeof({theirs})"))
        for field in fields.split():
            own, _, other = field.partition(":")
            other = other or own
            lines.append(same(f"offsetof({ours}, {own})", f"offsetof({theirs}, {other})"))
            size, of_other = f"sizeof((({ours} *)0)->{own})", f"sizeof((({theirs} *)0)->{other})"
            if theirs not in OPEN or own in {"arguments", "results", "attributes", "version"}:
                lines.append(same(size, of_other))
    lines += [same(ours, theirs) for ours, theirs in NUMBERS.items()]
    lines.append('_Static_assert(FX_XLA_MINOR <= XLA_FFI_API_MINOR, "minor");')
    return "\n".join(lines)


def compile_with_header(code, folder):
    source = folder / "layout.c"
    source.write_text(code)
    include = [f"-I{jax.ffi.include_dir()}", f"-I{HEADER.parent}"]
    command = ["cc", "-std=c11", "-fsyntax-only", *include, str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_layout(tmp_path):
    result = compile_with_header(program(), tmp_path)
    assert result.returncode == 0, result.stderr


def test_differences_are_found(tmp_path):
    wrong = program().replace("offsetof(fx_xla_buffer, rank)", "offsetof(fx_xla_buffer, data)")
    assert "_Static_assert" not in compile_with_header(program(), tmp_path).stderr
    assert "offsetof(fx_xla_buffer, data)" in compile_with_header(wrong, tmp_path).stderr


def test_every_struct_is_compared():
    declared = re.findall(r"^} (\w+);$", HEADER.read_text(), re.MULTILINE)
    assert {ours.strip() for ours, _ in STRUCTS} == set(declared)


def test_no_header_of_xla_is_included():
    native = HEADER.parent
    for path in [*native.glob("*.c"), *native.glob("*.h"), *native.glob("*.p*")]:
        assert not re.search(r"#include [<\"]xla/", Path(path).read_text())
