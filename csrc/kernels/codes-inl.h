// Codes from values and values from codes, for every kernel:
//
//     r = clamp(round(t), 0, top),  t = (x − Z) / s          x̂ = s r + Z
//
// There are three ways to t. Calibration divides, which gives torch's codes to the bit. In the transformed domain sums are
// rounded in another order than torch's anyway, so it multiplies by 1 / s, which is several times cheaper. The engine has
// 1 / s, −Z / s and the transform's factor folded into one multiply-add.

constexpr float kSmallestUnit = 1e-8f;  // the magnitude of a token of zeros

INLINE F divided(F x, F scale, F zero) { return (x - zero) / scale; }
INLINE F multiplied(F x, F inverse, F zero) { return (x - zero) * inverse; }
INLINE F folded(F x, F code_scale, F code_offset) { return fma(x, code_scale, code_offset); }

// NaN stays NaN, as in torch: the vector whose NaN counts stands second.
INLINE F code_of(F t, F top) { return nearest(smaller(top, larger(all(0.0f), t))); }
INLINE F value_of(F code, F scale, F zero) { return code * scale + zero; }
