// Matrix products of all experts in one launch, bf16 with f32 sums: the rows of x are sorted by group (expert),
// and the blocks read the offsets themselves, so the host never waits for the counts.
// Two implementations: grouped_mma.cu (mma.sync, sm_80 and newer) and grouped_wgmma.cu (wgmma, H100/H200).
// Both take the inner index in steps of 16, ascending: the tile size and the grid do not change the bits.
// Read next: grouped_tiles.h, the index arithmetic.
#pragma once
#include "tensor/tensor.h"

namespace switchyard::cuda {

enum class GroupedKind { Mma, Wgmma };

GroupedKind grouped_product_kind();  // what the products below use by default
bool wgmma_available();              // the rank's GPU and driver can run GroupedKind::Wgmma

struct GroupedChoice {  // for benches and tests; the default is right elsewhere
  GroupedKind kind = grouped_product_kind();
  int tile_rows = 0;  // of GroupedKind::Mma: 64 or 128; 0: by the average number of rows of a group
};

// Rows of k elements travel in pieces of 16 bytes: both widths must be multiples of 8.
inline bool grouped_widths_fit(int64_t k, int64_t m) { return k % 8 == 0 && m % 8 == 0; }

// y[r] = x[r] w[g] (+ bias[g]) for the rows offsets[g]..offsets[g+1]-1. x [n, k] and y [n, m] bf16; w bf16 [G, k, m],
// or [G, m, k] with transpose_w; bias [G, m] bf16 or f32, or undefined; offsets i64 [G+1], on the device or the host.
void grouped_mma(const Tensor& x, const Tensor& offsets, const Tensor& w, bool transpose_w,
                 const Tensor& bias, Tensor& y, GroupedChoice choice = {});
// dw[g] = dy_g^T x_g: dy [n, m] and x [n, k] bf16, dw [G, m, k] f32 or bf16; a group without rows gives zeros.
void grouped_mma_dw(const Tensor& dy, const Tensor& x, const Tensor& offsets, Tensor& dw,
                    GroupedChoice choice = {});

}  // namespace switchyard::cuda
