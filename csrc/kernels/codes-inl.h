// Codes from values and values from codes, for every kernel:
//
//     r = clamp(round(t), 0, top),  t = (x − Z) / s          x̂ = s r + Z
//
// t is computed in three ways. Calibration divides, which gives torch's codes bit for bit. In the transformed domain the
// order of sums differs from torch's anyway, so calibration multiplies by 1 / s, which is several times cheaper. The engine
// folds 1 / s, −Z / s and the factor of the transform into one multiply-add.

constexpr float kSmallestUnit = 1e-8f;  // the magnitude of a token of zeros

INLINE F divided(F x, F scale, F zero) { return (x - zero) / scale; }
INLINE F multiplied(F x, F inverse, F zero) { return (x - zero) * inverse; }
INLINE F folded(F x, F code_scale, F code_offset) { return fma(x, code_scale, code_offset); }

// NaN stays NaN, as in torch: these instructions return their second operand if either is NaN.
INLINE F code_of(F t, F top) { return nearest(smaller(top, larger(all(0.0f), t))); }
INLINE F value_of(F code, F scale, F zero) { return code * scale + zero; }
