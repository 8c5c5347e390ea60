"""What the kernels pass to one another: named tuples of arrays, and the flat buffer of parameters."""

from collections import namedtuple

from ..jit import inlined, view

SONG, BRAINPY = range(2)  # dynamics
RELU, SOFTPLUS, TANH, RETANH, SIGMOID = range(5)  # activations
ABS, RECTIFY, FREE = range(3)  # constraints
ADAM, SGD = 1, 2  # kinds of update; 0 is none
BLOCK = 128  # rows of one weight-gradient product, at least
LARGE = 512  # units: above, the weights are more than the second-level cache of most CPUs
PART = 8  # numbers of a part of a product: a line of the cache
GAP = 4096  # bytes behind each desk: a CPU that fetches ahead of a thread stops at the end of a page of this size

# What a step takes. Arrays that it shall not use have no elements: labels or targets, noise, moments, states.
# params, grads, the moments m, v and frozen are flat: `place` has the order.
# grads, dx_start (H,), states and rates (T, B, H), outputs (T, B, O); an entry of a gradient above `limit` is too large
Outputs = namedtuple("Outputs", "grads dx_start states rates outputs limit")
# masks (H, H), (H, I), (O, R); x_start, alpha, scale (H,); penalties (8,) float64: l1_in l1_rec l1_out, l2_in l2_rec
# l2_out, l2_rates, omega; one_tau: is alpha the same for all units?
Network = namedtuple(
    "Network",
    "params x_start mask mask_in mask_out alpha scale n_read dynamics activation constraint constraint_in "
    "constraint_out penalties one_tau",
)
Batch = namedtuple("Batch", "inputs labels targets weights")  # (T, B, I), (T, B) or (T, B, O), (T, B)
# noise (T, B, H), or with `make` what seed and step give. With make_in u is made of the inputs: baseline_in, noise of
# the seed seed_in times scale_in, rectify_in; else the inputs are u
Draw = namedtuple("Draw", "noise make seed step make_in seed_in scale_in baseline_in rectify_in")
# done (3,) float64: the updates taken, the loss of the last, and the updates that were clipped. The kernel that updates
# writes it: no interruption comes between the two. A norm above `largest` is refused. frozen (uint8) is not 0 where a
# number is not trained.
Update = namedtuple("Update", "kind m v frozen done lr beta1 beta2 eps clip largest")

# All other arrays of a step. C is the number of chunks, N that of the trials of the largest, S (the stride) the length
# of a row of units, K the time steps of one weight-gradient product; up(n) is n rounded up to whole vectors.
#
# D is the number of desks. A chunk is worked on at a desk, and each thread has its own, one for each chunk that goes
# through time beside another: what it writes is still in its caches when the next chunk comes. The rows of these arrays
# are GAP bytes longer than the table says, so that no core fetches what another one writes.
#
# A weight gradient stands in columns of whole vectors, one column behind another: the order in which tiles take it.
# V is the number of vectors in its row.
#
# name     shape               holds                               written by         read by
# wf       (H+I+1) up(H+O)     weights of the forward product      pack_units         forward_chunk
# wb       (H+O) up(H)         weights of the backward product     pack_units         backward_chunk
# vecs     (2, N S)            1 - a; what scales the noise        pack_units         forward_chunk, backward_chunk
# fine     (vectors,)          penalty of the weights of units     penalty_units      step
# rows     (D, (T+1) N S)      [r_s, u_{s+1}, 1]                   forward_chunk      backward_chunk, group
# x        (D, N S)            x_s; on the way back dx_s           forward_chunk, backward_chunk: each its own
# z        (D, O T N)          z; after the loss dz                forward_chunk, the loss; backward_chunk, group
# errs     (D, K N S)          [dx_{s+1}, dz_s], K steps of them   backward_chunk     backward_chunk
# dr       (D, N S)            dr_s                                backward_chunk     backward_chunk
# words    (D, N .)            random words                        normal_rows        normal_rows
# normals  (D, N S)            normals, or the noise given         forward_chunk      forward_chunk
#                              f'(x_s) of other units than relu    backward_chunk     backward_chunk
# soft     (D, 5 T N)          softmax in float64                  cross_entropy      cross_entropy
# loss     (C, 8)              loss [c, 0], dw too large [c, 1],   group              step
#                              Omega's sum and number [c, 2:4]     omega_rows         gather_omega
# squares  (D, S)              partial sums of squares, float64    group, omega_rows: each its own
# flow     (D, 2 N S)          e_s; (a e_s) W_rec, then v_s        omega_products     omega_rows
# right    (D, K N S)          what dx_{s+1} meets in Omega's      omega_rows         backward_chunk
# domega   (C, V, H, lanes)    gradient; that gradient, as dw      backward_chunk     gather_omega
# norms    (blocks, 2)         largest |g| of a block of grads,    norm_block         clip_factor
#                              sum of the squares of g / that
# dw       (C, V, H+O, lanes)  [dW_rec dW_in db; dW_out . db_out]  backward_chunk     gather_units
# sums     (vectors, S)        a row of the sum of dw or domega;   sum_row            gather_units, gather_omega
#                              a row of weights                    weight_row         pack_units
# packed   (D, .)              errs, then rows (or right), packed  pack               product
# packed_parts (D, . PART)     parts of the product of the two     pack               product
# dx0      (C, up(H))          sum_b dx_0                          backward_chunk     gather_units
# parts    (D, . PART)         c0, a0, m of parts of a product     set_part           product
# fine, squares, flow, right, domega and norms have no elements where nothing asks for them; packed and
# packed_parts unless H is above PACKED.
Workspace = namedtuple(
    "Workspace",
    "wf wb vecs rows x z errs dr words normals soft loss dw sums packed packed_parts dx0 parts fine squares "
    "flow right domega norms",
)


@inlined
def place(which, I, H, R, O):
    """Where a parameter begins in the flat buffer, and how many numbers a unit (or output) has in it.

    The order is that of `Params`, which a test holds against this one: w_in 0, b_in 1, w_rec 2, b_rec 3, w_out 4,
    b_out 5, and x0 6, if it is trained.
    """
    start, width = 0, I
    if which > 0:
        start, width = start + H * I, 1
    if which > 1:
        start, width = start + H, H
    if which > 2:
        start, width = start + H * H, 1
    if which > 3:
        start, width = start + H, R
    if which > 4:
        start, width = start + O * R, 1
    if which > 5:
        start = start + O
    return start, width


@inlined
def split(flat, I, H, R, O):
    """Views w_in (H, I), b_in (H,), w_rec (H, H), b_rec (H,), w_out (O, R), b_out (O,) of the flat buffer."""
    return (
        view(flat, 0, (H, I)), view(flat, place(1, I, H, R, O)[0], (H,)),
        view(flat, place(2, I, H, R, O)[0], (H, H)), view(flat, place(3, I, H, R, O)[0], (H,)),
        view(flat, place(4, I, H, R, O)[0], (O, R)), view(flat, place(5, I, H, R, O)[0], (O,)),
    )  # fmt: skip
