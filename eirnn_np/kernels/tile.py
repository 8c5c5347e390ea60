"""The micro-kernel: the one place where LLVM IR is written, and the matrix products on top of it."""

import math

import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from ..jit import inlined, kernel

# What holds a vector of 64 bytes on the CPU that is compiled for, and the rows of tiles that are 1, 2 .. vectors wide,
# whose sums the registers hold beside a row of b and an element of a. A tile that spills does a third of the work; one
# with fewer than 8 sums in flight waits for the latency of the FMA.
TILES = {
    "zmm": (8, 8, 8, 6),  # AVX-512: 32 registers of 64 bytes; 24 sums, 3 or 4 of b; 8 trials are a chunk
    "ymm": (6,),  # AVX2: 16 of 32; 12 sums, 2 of b
    "xmm": (2,),  # SSE: 16 of 16; 8 sums, 4 of b
    "": (4,),  # NEON and others: 32 of 16; 16 sums, 4 of b
}


def registers(*target):
    """The registers in which LLVM holds 64 bytes of float32: a key of TILES.

    Of the CPU that Numba compiles for, or of a target triple, CPU and features as LLVM names them.
    """
    triple, cpu, features = target or cpu_target.target_context.codegen().magic_tuple()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    vector = "<16 x float>"
    lines = f"%a = load {vector}, {vector}* %p\n %b = fadd {vector} %a, %a\n store {vector} %b, {vector}* %p\n ret void"
    code = machine.emit_assembly(llvm.parse_assembly(f"define void @probe({vector}* %p) {{\n {lines}\n}}"))
    return next((name for name in TILES if name in code), "")


# Part of no result's bytes. The cache is keyed by the CPU and its features: no kernel of another shape is ever loaded.
ROWS = TILES[registers()]
VECS = len(ROWS)
GROUP = math.lcm(*ROWS)  # rows of a that are packed together: whole tiles, whatever their width
PACKED = 512 if VECS > 1 else 200  # units: above, both factors of a weight gradient are packed; narrow tiles read more
DEPTH = 128 if VECS > 1 else 256  # rows of a panel that the first-level cache holds beside those of a: 16 to 32 KB


@intrinsic
def tile(typingctx, c, c0, ldc, svc, a, a0, lda, ska, b, b0, ldb, n, rows, vecs, ahead):
    """c[i, v] += sum_k a[i, k] b[k, v], k = 0 .. n-1 in order, by FMA.

    i < rows, at most ROWS[vecs - 1]; v runs over vecs vectors of 64 bytes, at most VECS: a loop for each shape, so that
    its tile lives in registers. Addresses are counted in elements: a0 + i lda + k ska, b0 + k ldb + v, and c0 + i ldc
    for the first vector of a row of c, svc more for each further one. LLVM splits the vectors where the machine has
    narrower ones; the order of the sums, so each bit of a result, stays.
    If VECS > 1, a line of what stands `ahead` of row k of b is fetched with it into the second-level cache.
    """
    i64 = types.int64
    sig = types.void(c, i64, i64, i64, a, i64, i64, i64, b, i64, i64, i64, i64, i64, i64)

    def codegen(context, bld, sig, args):
        c, a, b = (context.make_array(sig.args[q])(context, bld, args[q]).data for q in (0, 4, 8))
        c0, ldc, svc, a0, lda, ska, b0, ldb, n, rows, vecs, ahead = (args[q] for q in (1, 2, 3, 5, 6, 7, *range(9, 15)))
        size = sig.args[0].dtype.bitwidth // 8
        lanes, scalar = 64 // size, context.get_data_type(sig.args[0].dtype)
        vec, int32, int64 = ir.VectorType(scalar, lanes), ir.IntType(32), ir.IntType(64)
        name = f"llvm.fma.v{lanes}f{8 * size}"
        fma = bld.module.globals.get(name) or ir.Function(bld.module, ir.FunctionType(vec, [vec] * 3), name)
        byte, name = ir.IntType(8).as_pointer(), "llvm.prefetch.p0i8"
        kind = ir.FunctionType(ir.VoidType(), [byte, int32, int32, int32])
        fetch = bld.module.globals.get(name) or ir.Function(bld.module, kind, name)
        undef, zeros = ir.Constant(vec, ir.Undefined), ir.Constant(ir.VectorType(int32, lanes), [0] * lanes)

        def pointer(base, offset):
            return bld.bitcast(bld.gep(base, [offset]), vec.as_pointer())

        def loop(nrow, nvec, done):
            cells = [(i, v) for i in range(nrow) for v in range(nvec)]
            crow = [bld.add(c0, bld.mul(int64(i), ldc)) for i in range(nrow)]
            place = [pointer(c, bld.add(crow[i], bld.mul(int64(v), svc))) for i, v in cells]
            arow = [bld.gep(a, [bld.add(a0, bld.mul(int64(i), lda))]) for i in range(nrow)]
            # Pointers of which LLVM knows nothing stay in registers; else it adds lda again and again, for each k.
            arow = [bld.asm(ir.FunctionType(row.type, [row.type]), "", "=r,0", [row], False) for row in arow]
            start = [bld.load(at, align=size) for at in place]
            before, head, body, end = bld.block, *(bld.append_basic_block("tile." + s) for s in ("head", "body", "end"))
            bld.branch(head)
            bld.position_at_end(head)
            k = bld.phi(int64)
            k.add_incoming(int64(0), before)
            acc = [bld.phi(vec) for _ in cells]
            for phi, value in zip(acc, start):
                phi.add_incoming(value, before)
            bld.cbranch(bld.icmp_signed("<", k, n), body, end)

            bld.position_at_end(body)
            offset = bld.add(b0, bld.mul(k, ldb))
            w = [bld.load(pointer(b, bld.add(offset, int64(v * lanes))), align=size) for v in range(nvec)]
            if VECS > 1:  # a row of b with few sums has no time for it
                line = bld.bitcast(bld.gep(b, [bld.add(offset, ahead)]), byte)
                bld.call(fetch, [line, int32(0), int32(2), int32(1)])  # to be read, into the second level, as data
            ka = bld.mul(k, ska)
            splat = [
                bld.shuffle_vector(bld.insert_element(undef, bld.load(bld.gep(row, [ka])), int32(0)), undef, zeros)
                for row in arow
            ]
            for phi, (i, v) in zip(acc, cells):
                phi.add_incoming(bld.call(fma, [splat[i], w[v], phi]), body)
            k.add_incoming(bld.add(k, int64(1)), body)
            bld.branch(head)

            bld.position_at_end(end)
            for phi, at in zip(acc, place):
                bld.store(phi, at, align=size)
            bld.branch(done)

        done = bld.append_basic_block("tile.done")
        shape = bld.switch(bld.add(bld.mul(rows, int64(VECS + 1)), vecs), done)
        for nvec, most in enumerate(ROWS, 1):
            for nrow in range(1, most + 1):
                block = bld.append_basic_block(f"tile.{nrow}x{nvec}")
                shape.add_case(int64(nrow * (VECS + 1) + nvec), block)
                bld.position_at_end(block)
                loop(nrow, nvec, done)
        bld.position_at_end(done)
        return context.get_dummy_value()

    return sig, codegen


def _to_vector(of):
    """An intrinsic's code for to[t0 : t0 + lanes] = of(builder, that of to, a[a0 : a0 + lanes]): 64 bytes at once.

    For a loop over lanes LLVM would first look whether the two overlap.
    """

    def define(typingctx, to, t0, a, a0):
        def codegen(context, bld, sig, args):
            to, a = (context.make_array(sig.args[q])(context, bld, args[q]).data for q in (0, 2))
            size = sig.args[0].dtype.bitwidth // 8
            vec = ir.VectorType(context.get_data_type(sig.args[0].dtype), 64 // size).as_pointer()
            at, value = (bld.bitcast(bld.gep(base, [args[q]]), vec) for base, q in ((to, 1), (a, 3)))
            bld.store(of(bld, bld.load(at, align=size), bld.load(value, align=size)), at, align=size)
            return context.get_dummy_value()

        return types.void(to, types.int64, a, types.int64), codegen

    return define


move = intrinsic(_to_vector(lambda bld, before, value: value))
add = intrinsic(_to_vector(lambda bld, before, value: bld.fadd(before, value)))


@inlined
def share(n, most):
    """The first of the fewest parts, none above `most`, that make up n, the last two of them alike: 4 of 8 by 6."""
    if n >= 2 * most:
        return most
    return n if n <= most else (n + 1) // 2


@inlined
def panel(vecs):
    """Width of the next panel when vecs vectors are left: all, or so few that all trials of a chunk are one tile."""
    return vecs if vecs <= VECS else share(vecs, max(VECS - 1, 1))


@inlined
def set_part(parts, g, c0, a0, m):
    """Part g of a product: m rows, from element c0 of c and a0 of a on."""
    parts[g, 0], parts[g, 1], parts[g, 2] = c0, a0, m


@kernel
def product(c, ldc, svc, a, lda, ska, b, b0, ldb, parts, n, vecs):
    """c (m, vecs) += a (m, n) b (n, vecs), addressed as in tile, for all of parts: c0, a0 and m of each.

    ldb = 0 says that b is packed: panel after panel, each (n, width). A panel is taken DEPTH rows at a time, so that
    all rows of c find it in the first-level cache; meanwhile the next block comes nearer, a line of each of its rows
    with each tile.
    """
    lanes, left = 64 // c.itemsize, np.int64(0)
    while vecs > 0:
        v = panel(vecs)
        ld, k = ldb if ldb else v * lanes, np.int64(0)
        while k < n:
            depth, bk, line = share(n - k, DEPTH), b0 + k * ld, np.int64(0)
            following = depth * ld if k + depth < n or ldb == 0 else v * lanes - k * ld
            for g in range(parts.shape[0]):
                c0, ak, m, i = parts[g, 0] + left * svc, parts[g, 1] + k * ska, parts[g, 2], np.int64(0)
                while i < m:
                    rows = share(m - i, ROWS[v - 1])
                    at, ai = c0 + i * ldc, ak + i * lda
                    tile(c, at, ldc, svc, a, ai, lda, ska, b, bk, ld, depth, rows, v, following + line)
                    i += rows
                    line += lanes
            k += depth
        left += v
        b0 += v * lanes if ldb else v * lanes * n
        vecs -= v


@kernel(late=True)
def pack(packed, p0, parts, errs, e0, rows, r0, stride, M, vecs, n):
    """M columns of errs in groups of GROUP, each (n, GROUP), a part of a product; then, from p0 on, rows in panels.

    errs and rows have n rows of `stride` elements, and begin at e0 and r0; vecs vectors of rows are packed.
    """
    lanes = 64 // rows.itemsize
    for g in range(parts.shape[0]):
        i0 = g * GROUP
        set_part(parts, g, i0 * lanes, i0 * n, min(M - i0, GROUP))
        by_vectors = i0 + (GROUP + lanes - 1) // lanes * lanes <= stride
        for k in range(n):
            to, of = i0 * n + k * GROUP, e0 + k * stride + i0
            if by_vectors:  # what is too much is overwritten: by the next row, group or, at the end, by rows
                for i in range(0, GROUP, lanes):
                    move(packed, to + i, errs, of + i)
            else:
                for i in range(min(M - i0, GROUP)):
                    packed[to + i] = errs[of + i]
    left = np.int64(0)
    while left < vecs:
        width = panel(vecs - left)
        for k in range(n):
            for v in range(width):
                move(packed, p0 + (left * n + k * width + v) * lanes, rows, r0 + k * stride + (left + v) * lanes)
        left += width


@kernel
def weight_product(dw, M, packed, packed_parts, errs, e0, rows, r0, stride, part, n):
    """dw (vectors M lanes) += errs^T rows of n rows each, from elements e0 and r0 on.

    In a large network a tile would touch a new page of either for each k: there, both are packed first.
    """
    lanes = 64 // dw.itemsize
    vecs = dw.size // (M * lanes)
    if packed.size > 0:
        p0 = (packed_parts.shape[0] * GROUP * n + lanes - 1) // lanes * lanes
        pack(packed, p0, packed_parts, errs, e0, rows, r0, stride, M, vecs, n)
        product(dw, lanes, M * lanes, packed, 1, GROUP, packed, p0, 0, packed_parts, n, vecs)
    else:
        set_part(part, 0, 0, e0, M)
        product(dw, lanes, M * lanes, errs, 1, stride, rows, r0, stride, part, n, vecs)
