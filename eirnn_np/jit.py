"""How kernels are compiled: each function once, by itself, and kept on disk.

Numba links the code of a function into each of its callers and optimises it again there, and a parallel loop has
several callers of its own: half of the time of compiling went into that. Here are three kinds of function:

    kernel     compiled once for its argument types; other compiled functions call it by its address
    inlined    a few lines that become part of each caller
    entry      what Python calls

The compiled code of a caller names the kernels that it calls; they are made known to LLVM before it is loaded. A name
contains the digest of the sources and types, so no code ever meets a kernel of another version.
"""

import functools
import hashlib
import inspect
import pickle
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from llvmlite import binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.imputils import impl_ret_new_ref
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic, register_jitable

from . import cache, notices

PREFIX = "eirnn_np."  # of the names by which kernels are called
NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # for what Python does not call

inlined = register_jitable(forceinline=True, error_model="numpy", **NO_WRAPPERS)

_kernels: dict[tuple[str, str], Callable] = {}  # (module, name): what makes that kernel callable for argument types
_callable: dict[str, tuple] = {}  # the name by which a kernel is called: (module, name, argument types)


def entry(function=None, **options):
    """Compile a function that Python calls; options are those of njit."""
    if function is None:
        return lambda function: entry(function, **options)
    dispatcher = njit(**{"error_model": "numpy", "no_cfunc_wrapper": True, **options})(function)
    dispatcher._cache = KernelCache(function)
    return dispatcher


def kernel(function):
    """Compile a function that other compiled functions call; Python cannot. Integers reach it as int64."""
    place = Path(function.__code__.co_filename).parent
    dispatcher = njit(error_model="numpy", **NO_WRAPPERS)(function)
    dispatcher._cache = KernelCache(function)
    key = function.__module__, function.__qualname__

    def provide(arguments):
        """Compile or load the kernel for these types; its name and return type."""
        dispatcher.compile(arguments)
        result = dispatcher.overloads[arguments]
        digest = hashlib.sha256(repr((cache.stamp(place), arguments)).encode()).hexdigest()[:16]
        name = f"{PREFIX}{function.__module__}.{function.__qualname__}.{digest}"
        if name not in _callable:
            llvm.add_symbol(name, result.library.get_pointer_to_function(result.fndesc.llvm_func_name))
            _callable[name] = (*key, arguments)
        return name, result.signature.return_type

    def definition(typingctx, *arguments):
        name, returned = provide(tuple(map(_plain, arguments)))

        def codegen(context, builder, sig, values):
            kind = context.call_conv.get_function_type(sig.return_type, sig.args)
            callee = cgutils.get_or_insert_function(builder.module, kind, name)
            status, result = context.call_conv.call_function(builder, callee, sig.return_type, sig.args, values)
            with cgutils.if_unlikely(builder, status.is_error):
                context.call_conv.return_status_propagate(builder, status)
            return impl_ret_new_ref(context, builder, sig.return_type, result)

        return returned(*map(_plain, arguments)), codegen

    context = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = inspect.signature(function)
    named = named.replace(parameters=[context, *named.parameters.values()])
    functools.update_wrapper(definition, function).__dict__.update(__signature__=named)
    _kernels[key] = provide
    return intrinsic(definition)


def _plain(kind):
    """The type in which an argument is passed: no literals, and int64 for all integers, so that there is one code."""
    kind = types.unliteral(kind)
    return types.int64 if isinstance(kind, types.Integer) else kind


class KernelCache(_Cache):
    """The cache of a dispatcher, in files of cache.py."""

    def __init__(self, function):
        self._function, self._source = function, Path(function.__code__.co_filename)
        self._stamp = cache.stamp(self._source.parent)

    def load_overload(self, sig, target_context):
        """What was kept for these types, with all kernels that it calls; or None."""
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        stored = cache.read(path, self._stamp) if path else None
        if stored is None:
            notices.about_to_compile(self._function.__module__)
            return None
        called, reduced = pickle.loads(stored)
        for module, name, arguments in called:
            import_module(module)
            _kernels[module, name](arguments)
        return CompileResult._rebuild(target_context, *reduced)

    def save_overload(self, sig, result):
        """Keep a result of the compiler."""
        path = self._path(sig, result.codegen)
        if path:
            called = [_callable[f.name] for f in result.library._final_module.functions if f.name in _callable]
            cache.write(path, self._stamp, dumps((called, result._reduce())))

    def _path(self, sig, codegen):
        """The file for these types, this CPU and this Python; None where none can be kept."""
        place = cache.folder(self._source.parent) if self._stamp else None
        if place is None:
            return None
        options = str([config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.BOUNDSCHECK])
        key = repr((normalize_signature(sig)[0], codegen.magic_tuple(), sys.implementation.cache_tag, options))
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        return place / f"{self._source.stem}.{self._function.__qualname__}-{digest}.kernel"

    @property
    def cache_path(self):
        return str(cache.folder(self._source.parent))

    def enable(self):
        """Always on, as a cache that does not fit is none."""

    disable = flush = enable


# How a thread treats numbers next to 0 and how it rounds is a register of its own, which other code may have changed in
# some threads (torch.set_flush_denormal, a library built with -ffast-math): so the body of each parallel loop begins
# with `mode = ieee()` and ends with `restore(mode)`, or its bits would depend on which thread runs it.
MODES = {  # by architecture: type of the register, how it is read and written, its value for IEEE 754
    "x86": ("i32", "llvm.x86.sse.stmxcsr", "llvm.x86.sse.ldmxcsr", 0x1F80),
    "aarch64": ("i64", "llvm.aarch64.get.fpcr", "llvm.aarch64.set.fpcr", 0),
}


def mode_access(module):
    """(bits, read, write, value of IEEE 754) for the machine of an LLVM module; None where it is not known."""
    triple = module.triple or llvm.get_process_triple()
    machine = "aarch64" if triple.startswith(("aarch64", "arm64")) else "x86" if "86" in triple.split("-")[0] else None
    if machine is None:
        return None
    name, get, put, plain = MODES[machine]
    bits, void = ir.IntType(int(name[1:])), ir.VoidType()
    pointer = ir.IntType(8).as_pointer()

    def function(name, returned, arguments):
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(returned, arguments), name)

    def read(builder):
        if machine == "aarch64":
            return builder.call(function(get, bits, []), [])
        slot = cgutils.alloca_once(builder, bits)
        builder.call(function(get, void, [pointer]), [builder.bitcast(slot, pointer)])
        return builder.load(slot)

    def write(builder, value):
        if machine == "aarch64":
            builder.call(function(put, void, [bits]), [value])
            return
        slot = cgutils.alloca_once_value(builder, value)
        builder.call(function(put, void, [pointer]), [builder.bitcast(slot, pointer)])

    return bits, read, write, plain


@intrinsic
def ieee(typingctx):
    """Let the floats of this thread be those of IEEE 754, rounded to nearest; returns its mode before."""

    def codegen(context, builder, sig, args):
        access = mode_access(builder.module)
        if access is None:
            return context.get_constant(types.int64, 0)
        bits, read, write, plain = access
        before = read(builder)
        write(builder, ir.Constant(bits, plain))
        return builder.zext(before, ir.IntType(64)) if bits.width < 64 else before

    return types.int64(), codegen


@intrinsic
def restore(typingctx, mode):
    """Give this thread back its mode, as `ieee` has returned it."""

    def codegen(context, builder, sig, args):
        access = mode_access(builder.module)
        if access is not None:
            bits, _, write, _ = access
            write(builder, builder.trunc(args[0], bits) if bits.width < 64 else args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen
