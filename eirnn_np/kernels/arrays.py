"""What the kernels pass to one another: named tuples of arrays, and the flat buffer of parameters."""

from collections import namedtuple

from ..jit import inlined

SONG, BRAINPY = 0, 1  # dynamics
BLOCK = 128  # rows of one weight-gradient product, at least

# What a step takes. Arrays that it shall not use have no elements: labels or targets, noise, moments, states.
# params, grads and the moments m, v are flat: w_in b_in w_rec b_rec w_out b_out and x0, if it is trained.
Outputs = namedtuple("Outputs", "grads dx_start states rates outputs")  # flat, (H,), (T, B, H) twice, (T, B, O)
Network = namedtuple("Network", "params x_start mask alpha scale n_exc dynamics")  # mask (H, H), three vectors (H,)
Batch = namedtuple("Batch", "inputs labels targets weights")  # (T, B, I), (T, B) or (T, B, O), (T, B)
Draw = namedtuple("Draw", "noise make seed step")  # noise (T, B, H), or with `make` what seed and step give
# done (2,) float64: the updates that Adam has taken, and the loss of the last. The kernel that updates writes it: no
# interruption comes between the two.
Update = namedtuple("Update", "m v done lr beta1 beta2 eps")

# All other arrays of a step. N is the number of trials of the largest chunk, S (the stride) the length of a row of
# units, K the time steps of one weight-gradient product; up(n) is n rounded up to whole vectors.
#
# name     shape               holds                               written by         read by
# wf       (H+I+1) up(H+O)     weights of the forward product      pack_units         forward_chunk
# wb       (H+O) up(H)         weights of the backward product     pack_units         backward_chunk
# vecs     (2, N S)            1 - a; what scales the noise        pack_units         forward_chunk, backward_chunk
# rows     (C, (T+1) N S)      [r_s, u_{s+1}, 1]                   forward_chunk      backward_chunk, chunk
# x        (C, N S)            x_s; on the way back dx_s           forward_chunk, backward_chunk: each its own
# z        (C, O T N)          z; after the loss dz                forward_chunk, the loss; backward_chunk, chunk
# errs     (C, K N S)          [dx_{s+1}, dz_s], K steps of them   backward_chunk     backward_chunk
# dr       (C, N S)            dr_s                                backward_chunk     backward_chunk
# words    (C, N, up64(H))     random words                        normal_rows        normal_rows
# normals  (C, N S)            normals, or the noise given         forward_chunk      forward_chunk
# soft     (C, 5, T N)         softmax in float64                  cross_entropy      cross_entropy
# loss     (C, 8)              loss [c, 0], dw too large [c, 1]    chunk              step
# dw       (C, H+O, S)         [dW_rec dW_in db; dW_out . db_out]  backward_chunk     gather_units: it adds to [0]
# dx0      (C, up(H))          sum_b dx_0                          backward_chunk     gather_units
Workspace = namedtuple("Workspace", "wf wb vecs rows x z errs dr words normals soft loss dw dx0")


@inlined
def split(flat, I, H, E, O):
    """Views w_in (H, I), b_in (H,), w_rec (H, H), b_rec (H,), w_out (O, E), b_out (O,) of the flat buffer."""
    b_in = H * I
    w_rec = b_in + H
    b_rec = w_rec + H * H
    w_out = b_rec + H
    b_out = w_out + O * E
    return (
        flat[:b_in].reshape((H, I)),
        flat[b_in:w_rec],
        flat[w_rec:b_rec].reshape((H, H)),
        flat[b_rec:w_out],
        flat[w_out:b_out].reshape((O, E)),
        flat[b_out : b_out + O],
    )
