"""How kernels are compiled: each function once, by itself, and kept on disk.

Numba links the code of a function into each of its callers and optimises it again there, and a parallel loop has
several callers of its own: half of the time of compiling went into that. Here are three kinds of function:

    kernel     compiled once for its argument types; other compiled functions call it by its address; it makes no array;
               one that is `late` is compiled when it is called for the first time
    inlined    a few lines that become part of each caller
    entry      what Python calls; with BORROWED, if it makes no array

and `in_parallel(kernel)`, which calls a kernel many times, on as many threads as are asked for. At the end of the file
stand the intrinsics that kernels of every wing use: `view`, `row`, `ieee` and `restore`, `wide`.

The compiled code of a caller names the kernels that it calls; they are made known to LLVM before it is loaded. A name
contains the digest of the sources and types, so no code ever meets a kernel of another version.
"""

import ctypes
import functools
import hashlib
import inspect
import pickle
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, config
from numba.core.caching import _Cache
from numba.core.callconv import excinfo_ptr_t
from numba.core.compiler import CompileResult
from numba.core.imputils import impl_ret_new_ref
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature
from numba.extending import intrinsic, register_jitable
from numba.np.arrayobj import make_array, populate_array

from . import cache, notices

PREFIX = "eirnn_np."  # of the names by which kernels are called
LAUNCH = "numba_parallel_for"  # of Numba's threading layers: what its gufuncs and pranges call
FIND = f"{PREFIX}find"  # what a caller asks for the address of a late kernel
NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # for what Python does not call
BORROWED = {"_nrt": False}  # arrays belong to the caller and none is made: nothing counts references to them

inlined = register_jitable(forceinline=True, error_model="numpy", **NO_WRAPPERS)

_kernels: dict[tuple[str, str], Any] = {}  # (module, name): kernel
_by_intrinsic: dict[Any, Any] = {}  # what stands for a kernel in Python: kernel
_bound: dict[str, tuple] = {}  # name by which LLVM knows it: (kernel, argument types)
_places: dict[str, ctypes.c_void_p] = {}  # name of a late kernel: where its address stands, once there is one


def entry(function=None, **options):
    """Compile a function that Python calls; options are those of njit.

    The GIL is released: a thread of a parallel loop that meets a late kernel needs it to have that compiled.
    """
    if function is None:
        return lambda function: entry(function, **options)
    dispatcher = njit(**{"error_model": "numpy", "no_cfunc_wrapper": True, "nogil": True, **options})(function)
    dispatcher._cache = KernelCache(function, of_python=True)
    return dispatcher


def kernel(function=None, *, late=False):
    """Compile a function that other compiled functions call; Python cannot. Integers reach it as int64.

    With `late` it is compiled when it is first called, for what few networks use; such a kernel returns nothing.
    """
    if function is None:
        return lambda function: kernel(function, late=late)
    made = _Kernel(function, late)

    def definition(typingctx, *arguments):
        kinds = tuple(map(_plain, arguments))
        name, returned = made.bind(kinds)

        def codegen(context, builder, sig, values):
            status, result = _call(context, builder, made, name, sig.return_type, kinds, values)
            _hand_on(context, builder, status.code, status.excinfoptr)
            return impl_ret_new_ref(context, builder, sig.return_type, result)

        return returned(*kinds), codegen

    compiled = _named(definition, function)
    _by_intrinsic[compiled] = made
    return compiled


class _Kernel:
    """A kernel as its callers see it: for each combination of argument types a name, known to LLVM once it is bound."""

    def __init__(self, function, late):
        self.function, self.late = function, late
        self.key = function.__module__, function.__qualname__
        self._stamp = cache.stamp(Path(function.__code__.co_filename).parent)
        self._dispatcher = njit(error_model="numpy", **NO_WRAPPERS, **BORROWED)(function)
        self._dispatcher._cache = KernelCache(function)
        _kernels[self.key] = self

    def bind(self, arguments):
        """Make the name known, and what it stands for: the code, or the place of its address; name and return type."""
        digest = hashlib.sha256(repr((self._stamp, arguments)).encode()).hexdigest()[:16]
        name = f"{PREFIX}{'.'.join(self.key)}.{digest}"
        if self.late and name not in _bound:
            _places[name] = ctypes.c_void_p()
            llvm.add_symbol(name, ctypes.addressof(_places[name]))
        elif name not in _bound:
            llvm.add_symbol(name, self.address(arguments))
        _bound[name] = self, arguments
        return name, types.none if self.late else self._dispatcher.overloads[arguments].signature.return_type

    def address(self, arguments):
        """Compile the code, or load it."""
        self._dispatcher.compile(arguments)
        result = self._dispatcher.overloads[arguments]
        assert result.signature.return_type == types.none or not self.late
        return result.library.get_pointer_to_function(result.fndesc.llvm_func_name)


@ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)
def _find(name):
    """The address of a late kernel, at its first call; 0 if an exception, which ctypes prints, has come between."""
    made, arguments = _bound[name.decode()]
    _places[name.decode()].value = address = made.address(arguments)
    return address


llvm.add_symbol(FIND, ctypes.cast(_find, ctypes.c_void_p).value)


def in_parallel(kernel, by_worker=False):
    """`all(n, workers, *arguments)`, for compiled functions: kernel(*arguments, i), i = 0 .. n-1, on Numba's threads.

    Each of the workers, at most `thread_count()`, does its share of 0 .. n-1, one after another; where there is one, it
    is the caller. With `by_worker`, kernel(*arguments, q, i) is called: what belongs to worker q is never in use twice.

    As prange, by the function of Numba's threading layers that is under it, without what surrounds that: the arguments
    stay where they are, and nobody takes and releases the GIL. What an `entry` calls.
    """
    made, own = _by_intrinsic[kernel], 2 if by_worker else 1  # the kernel's parameters that are no arguments

    def definition(typingctx, n, workers, *arguments):
        kinds = (*map(_plain, arguments), *[types.int64] * own)
        name, returned = made.bind(kinds)
        numba.get_num_threads()  # starts the layer, which makes LAUNCH known
        assert returned == types.none
        assert not made.late

        def codegen(context, builder, sig, values):
            """Put the arguments into a record, and have the layer call `body`, which finds them there."""
            i64, i32, pointer = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
            # n, the number of workers, the arguments, and of an exception the code and what it says
            record = ir.LiteralStructType([*(value.type for value in values), i32, pointer])
            at = cgutils.alloca_once(builder, record)
            for k, value in enumerate([*values, i32(0), pointer(None)]):
                builder.store(value, cgutils.gep_inbounds(builder, at, 0, k))

            # Workers first .. first + count - 1: `first` is how far the layer has moved the one array it is told of.
            kind = ir.FunctionType(ir.VoidType(), [pointer.as_pointer(), i64.as_pointer(), i64.as_pointer(), pointer])
            body = ir.Function(builder.module, kind, builder.module.get_unique_name(f"{name}.items"))
            body.linkage = "internal"
            inner = ir.IRBuilder(body.append_basic_block())
            mine = inner.bitcast(body.args[3], record.as_pointer())
            n, workers, *given = (inner.load(cgutils.gep_inbounds(inner, mine, 0, k)) for k in range(len(values)))
            first, count = inner.ptrtoint(inner.load(body.args[0]), i64), inner.load(body.args[1])
            access = mode_access(builder.module)
            if access:  # as by `ieee`
                bits, read, write, plain = access
                before = read(inner)
                write(inner, ir.Constant(bits, plain))
            with cgutils.for_range(inner, count) as loop:
                q = inner.add(first, loop.index)
                begin, end = (inner.sdiv(inner.mul(w, n), workers) for w in (q, inner.add(q, i64(1))))
                with cgutils.for_range(inner, end, begin) as share:
                    which = [q, share.index][-own:]
                    status, _ = _call(context, inner, made, name, types.none, kinds, [*given, *which])
                    with cgutils.if_unlikely(inner, status.is_error):
                        said = inner.bitcast(status.excinfoptr, pointer)
                        for k, value in enumerate((status.code, said), len(values)):
                            inner.store(value, cgutils.gep_inbounds(inner, mine, 0, k))
            if access:
                write(inner, before)
            inner.ret_void()

            starts = (pointer(None), values[1], i64(1))
            arrays, sizes, steps = (cgutils.alloca_once_value(builder, value) for value in starts)
            data = builder.bitcast(at, pointer)
            with builder.if_else(builder.icmp_signed(">", values[1], i64(1))) as (many, one):
                with many:
                    kind = ir.FunctionType(ir.VoidType(), [pointer] * 5 + [i64] * 3)
                    launch = cgutils.get_or_insert_function(builder.module, kind, LAUNCH)
                    places = [builder.bitcast(v, pointer) for v in (body, arrays, sizes, steps)]
                    builder.call(launch, [*places, data, i64(0), i64(1), _thread_count(builder)])
                with one:
                    builder.call(body, [arrays, sizes, steps, data])
            code, said = (builder.load(cgutils.gep_inbounds(builder, at, 0, len(values) + k)) for k in (0, 1))
            _hand_on(context, builder, code, builder.bitcast(said, excinfo_ptr_t))
            return context.get_dummy_value()

        return types.none(types.int64, types.int64, *kinds[:-own]), codegen

    return _named(definition, made.function, ("n", "workers"), -own)


@intrinsic
def thread_count(typingctx):
    """The number of threads that there are for `in_parallel`."""
    return types.int64(), lambda context, builder, sig, args: _thread_count(builder)


def _thread_count(builder):
    kind = ir.FunctionType(ir.IntType(64), [])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, "get_num_threads"), [])


def _named(definition, function, first=(), end=None):
    """An intrinsic with the name and the parameters of `function`, after those of `first`, up to the one at `end`."""
    before = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("typingctx", *first)]
    named = inspect.signature(function)
    rest = list(named.parameters.values())[:end]
    functools.update_wrapper(definition, function).__dict__.update(
        __signature__=named.replace(parameters=before + rest)
    )
    return intrinsic(definition)


def _call(context, builder, made, name, returned, kinds, values):
    """Call a kernel by its name: status and result."""
    kind = context.call_conv.get_function_type(returned, kinds)
    if made.late:
        callee = builder.bitcast(_late_address(context, builder, name), kind.as_pointer())
    else:
        callee = cgutils.get_or_insert_function(builder.module, kind, name)
    return context.call_conv.call_function(builder, callee, returned, kinds, values)


def _late_address(context, builder, name):
    """What stands in the place of a late kernel's address; if it is nothing yet, what FIND says."""
    pointer, module = ir.IntType(8).as_pointer(), builder.module
    place = module.globals.get(name) or ir.GlobalVariable(module, pointer, name)
    found = cgutils.alloca_once_value(builder, builder.load(place))
    with cgutils.if_unlikely(builder, cgutils.is_null(builder, builder.load(found))):
        find = cgutils.get_or_insert_function(module, ir.FunctionType(pointer, [pointer]), FIND)
        builder.store(builder.call(find, [context.insert_const_string(module, name)]), found)
        with cgutils.if_unlikely(builder, cgutils.is_null(builder, builder.load(found))):
            context.call_conv.return_user_exc(builder, RuntimeError, (f"{name} could not be compiled",))
    return builder.load(found)


def _hand_on(context, builder, code, said):
    """Raise in the caller what a kernel has raised."""
    status = context.call_conv._get_return_status(builder, code, said)
    with cgutils.if_unlikely(builder, status.is_error):
        context.call_conv.return_status_propagate(builder, status)


def _plain(kind):
    """The type in which an argument is passed: no literals, and int64 for all integers, so that there is one code."""
    kind = types.unliteral(kind)
    return types.int64 if isinstance(kind, types.Integer) else kind


class KernelCache(_Cache):
    """The cache of a dispatcher, in files of cache.py."""

    def __init__(self, function, of_python=False):
        self._function, self._source, self._of_python = function, Path(function.__code__.co_filename), of_python
        self._stamp = cache.stamp(self._source.parent)

    def load_overload(self, sig, target_context):
        """What was kept for these types, with all kernels that it calls; or None."""
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        stored = cache.read(path, self._stamp) if path else None
        if stored is None:
            notices.about_to_compile(self._function.__module__, str(sig) if self._of_python else "")
            return None
        called, parallel, reduced = pickle.loads(stored)
        if parallel:
            numba.get_num_threads()  # starts the layer, which makes LAUNCH known
        for name, key, arguments in called:
            import_module(key[0])
            # Of a module that makes its kernels later, or of a folder whose sources have changed.
            if key not in _kernels or _kernels[key].bind(arguments)[0] != name:
                return None
        return CompileResult._rebuild(target_context, *reduced)

    def save_overload(self, sig, result):
        """Keep a result of the compiler."""
        path = self._path(sig, result.codegen)
        if path:
            module = result.library._final_module
            names = {value.name for values in (module.functions, module.global_variables) for value in values}
            bound = [(name, *_bound[name]) for name in sorted(names & _bound.keys())]
            called = [(name, made.key, arguments) for name, made, arguments in bound]
            cache.write(path, self._stamp, dumps((called, LAUNCH in names, result._reduce())))

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


@intrinsic
def view(typingctx, a, start, shape):
    """The array of `shape`, a tuple, that begins at element `start` of a; both in C order.

    What slices and reshape would make of ws.rows[c, : T * n].reshape((T, n)), without their code for all other cases,
    which is most of what a kernel with many views compiles. Checks nothing, and does not keep `a` alive.
    """
    return _of_shape(a, shape, lambda builder, source, start: builder.gep(source.data, [start]))


@intrinsic
def row(typingctx, a, i, shape):
    """The array of `shape` that begins where a[i] does; as `view`."""

    def place(builder, source, i):
        begin = builder.ptrtoint(source.data, i.type)
        step = builder.extract_value(source.strides, 0)
        return builder.inttoptr(builder.add(begin, builder.mul(i, step)), source.data.type)

    return _of_shape(a, shape, place)


def _of_shape(a, shape, place):
    """Signature and code of `view` and `row`; place(builder, source, index) is where the array begins."""
    kind = types.Array(a.dtype, len(shape), "C")
    sizes_of = types.UniTuple(types.int64, len(shape))

    def codegen(context, builder, sig, values):
        source, result = make_array(sig.args[0])(context, builder, values[0]), make_array(kind)(context, builder)
        sizes = cgutils.unpack_tuple(builder, values[2])
        itemsize = context.get_constant(types.int64, a.dtype.bitwidth // 8)
        strides = [itemsize]
        for size in sizes[:0:-1]:
            strides.insert(0, builder.mul(strides[0], size))
        populate_array(result, place(builder, source, values[1]), sizes, strides, itemsize, meminfo=None)
        return result._getvalue()

    return kind(a, types.int64, sizes_of), codegen


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


@intrinsic
def wide(typingctx):
    """Let LLVM make loops of this function in vectors of 64 bytes where there are such.

    For Intel's CPUs it takes half of that by itself, as the first that had them lowered their clock. The bits are the
    same; other CPUs ignore it.
    """

    def codegen(context, builder, sig, args):
        # llvmlite adds only what it knows; LLVM knows attributes that are strings, too.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), codegen
