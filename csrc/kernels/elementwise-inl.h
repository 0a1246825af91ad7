// Element-wise expressions. Registers are short arrays: an instruction is one loop over vectors, and its values stay in
// the first-level cache.

enum Operation { kAdd, kSubtract, kMultiply, kDivide, kAddNumber, kTimesNumber, kNumberMinus, kNumberOver, kMaximum,
                 kSigmoid, kGelu, kSilu, kRelu, kLeakyRelu, kSquareRoot, kSquare, kTanh, kSetNumber };
enum Activation { kNoActivation, kGeluActivation, kSiluActivation, kReluActivation };

constexpr int kRegistersOfExpressions = 16;

template <int V>
INLINE void exponential(F (&x)[V]) {  // e^x, x ≤ 0
    UNROLL for (int v = 0; v < V; v++) x[v] = x[v] * all(1.44269504f);
    power_of_two(x);
}

// 1 / (1 + e^−x) without overflow: e^−|x| is at most 1.
template <int V>
INLINE void sigmoid(F (&x)[V]) {
    F e[V];
    UNROLL for (int v = 0; v < V; v++) e[v] = all(0.0f) - magnitude(x[v]);
    exponential(e);
    UNROLL for (int v = 0; v < V; v++) {
        const F small = e[v] / (all(1.0f) + e[v]);  // of −|x|
        const F positive = larger(x[v], all(0.0f)), is_positive = smaller(positive * all(1e38f), all(1.0f));
        x[v] = fma(is_positive, all(1.0f) - small - small, small);
    }
}

// Apply `change` to `count` values, four vectors at a time; the arrays have room for four whole vectors after them.
template <class Change>
INLINE void each(float* to, const float* from, size_t count, Change change) {
    for (size_t i = 0; i < count; i += 4 * W) {
        F x[4];
        UNROLL for (int v = 0; v < 4; v++) x[v] = load(from + i + v * W);
        change(x);
        UNROLL for (int v = 0; v < 4; v++) store(to + i + v * W, x[v]);
    }
}

template <class Change>
INLINE void each_of_two(float* to, const float* left, const float* right, size_t count, Change change) {
    for (size_t i = 0; i < count; i += W) store(to + i, change(load(left + i), load(right + i)));
}

static void activate(int activation, float* x, size_t count) {
    switch (activation) {
        case kGeluActivation: return each(x, x, count, [](auto& v) INLINED { gelu(v); });
        case kSiluActivation: return each(x, x, count, [](auto& v) INLINED {
            F s[4] = {v[0], v[1], v[2], v[3]};
            sigmoid(s);
            UNROLL for (int i = 0; i < 4; i++) v[i] = v[i] * s[i];
        });
        case kReluActivation: return each(x, x, count, [](auto& v) INLINED {
            UNROLL for (int i = 0; i < 4; i++) v[i] = larger(v[i], all(0.0f));
        });
    }
}

static void add(float* x, const float* y, size_t count) {
    each_of_two(x, x, y, count, [](F a, F b) INLINED { return a + b; });
}

static void execute(const Instruction& i, float (*r)[kElementsAtOnce + 64], size_t count) {
    float* to = r[i.to];
    const float *left = r[i.left], *right = r[i.right];
    const float number = i.number;
    auto one = [&](auto change) INLINED {
        each(to, left, count, [&](auto& v) INLINED { UNROLL for (int k = 0; k < 4; k++) v[k] = change(v[k]); });
    };
    switch (i.operation) {
        case kAdd: return each_of_two(to, left, right, count, [](F a, F b) INLINED { return a + b; });
        case kSubtract: return each_of_two(to, left, right, count, [](F a, F b) INLINED { return a - b; });
        case kMultiply: return each_of_two(to, left, right, count, [](F a, F b) INLINED { return a * b; });
        case kDivide: return each_of_two(to, left, right, count, [](F a, F b) INLINED { return a / b; });
        case kAddNumber: return one([&](F a) INLINED { return a + all(number); });
        case kTimesNumber: return one([&](F a) INLINED { return a * all(number); });
        case kNumberMinus: return one([&](F a) INLINED { return all(number) - a; });
        case kNumberOver: return one([&](F a) INLINED { return all(number) / a; });
        case kMaximum: return one([&](F a) INLINED { return larger(a, all(number)); });
        case kSquareRoot: return one([&](F a) INLINED { return square_root(a); });
        case kSquare: return one([&](F a) INLINED { return a * a; });
        case kRelu: return one([&](F a) INLINED { return larger(a, all(0.0f)); });
        case kLeakyRelu:
            return one([&](F a) INLINED { return fma(smaller(a, all(0.0f)), all(number), larger(a, all(0.0f))); });
        case kSigmoid: return each(to, left, count, [](auto& v) INLINED { sigmoid(v); });
        case kGelu: return each(to, left, count, [](auto& v) INLINED { gelu(v); });
        case kSilu: __builtin_memmove(to, left, sizeof(float) * count); return activate(kSiluActivation, to, count);
        case kTanh: return each(to, left, count, [](auto& v) INLINED {  // 2 σ(2x) − 1
            UNROLL for (int k = 0; k < 4; k++) v[k] = v[k] + v[k];
            sigmoid(v);
            UNROLL for (int k = 0; k < 4; k++) v[k] = v[k] + v[k] - all(1.0f);
        });
        case kSetNumber: for (size_t k = 0; k < count; k++) to[k] = number; return;
    }
}

// For short rows: a call of memcpy takes longer than the copy.
INLINE void copy(float* to, const float* from, int count) {
    if (count < W) {
        __builtin_memcpy(to, from, sizeof(float) * count);
        return;
    }
    for (int i = 0; i + W < count; i += W) store(to + i, load(from + i));
    store(to + count - W, load(from + count - W));
}

static inline float* row_of(const Rows& x, int64_t row) { return x.data + (x.at ? x.at[row] : row * x.stride); }

static void elementwise(const ElementwiseCall& call, int64_t first, int64_t last, int at_once) {
    alignas(64) float r[kRegistersOfExpressions][kElementsAtOnce + 64];
    const int C = call.channels;
    // a row that is longer than a register is computed in pieces
    for (int64_t row = first; row < last; row += at_once) {
        const int64_t rows = row + at_once < last ? at_once : last - row;
        for (int begin = 0; begin < C; begin += kElementsAtOnce) {
            const int width = C - begin < kElementsAtOnce ? C - begin : kElementsAtOnce;
            for (int i = 0; i < call.inputs; i++) {
                const Rows& x = call.x[i];
                if (x.channel == 1 && !x.at && x.stride == width) {
                    __builtin_memcpy(r[i], x.data + row * x.stride, sizeof(float) * rows * width);
                    continue;
                }
                float* to = r[i];
                for (int64_t k = 0; k < rows; k++, to += width) {
                    const float* from = row_of(x, row + k) + begin * x.channel;
                    if (x.channel == 1)
                        copy(to, from, width);
                    else if (x.channel == 0)
                        for (int c = 0; c < width; c++) to[c] = *from;
                    else
                        for (int c = 0; c < width; c++) to[c] = from[c * x.channel];
                }
            }
            for (int i = 0; i < call.instructions; i++) execute(call.program[i], r, (size_t)rows * width);
            const float* from = r[call.result];
            for (int64_t k = 0; k < rows; k++, from += width) {
                float* to = row_of(call.y, row + k) + begin * call.y.channel;
                if (call.y.channel == 1)
                    copy(to, from, width);
                else
                    for (int c = 0; c < width; c++) to[c * call.y.channel] = from[c];
            }
        }
    }
}
