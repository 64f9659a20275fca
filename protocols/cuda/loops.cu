// Steps of protocols as one pass over memory each, for the compiler that comes with torch (NVRTC).
//
// protocols/ring/loops.py, wave_loops.py and tree_loops.py say the same for processors, and every
// kernel gives their bits. Nothing here knows how it is launched: an index starts at FIRST_INDEX and
// goes on by STEP, so that a compiler for C++ takes the same text, which is how it is tested where
// there is no device. Whole numbers arrive in 32 bits, longer ones in two parts.

typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
typedef long long i64;

#ifndef KERNEL
#define KERNEL extern "C" __global__ void
#define INSIDE static __device__ __forceinline__
#define FIRST_INDEX (blockIdx.x * (i64)blockDim.x + threadIdx.x)
#define STEP (gridDim.x * (i64)blockDim.x)
#endif

#define EACH(i, n) for (i64 i = FIRST_INDEX; i < (n); i += STEP)

INSIDE u64 whole(int low, int high) { return (u64)(u32)low | ((u64)(u32)high << 32); }

// --- comparison: 64 elements to a word of a plane ------------------------------------------------

template <typename Table>
INSIDE void order_word(const Table *shares, const u64 *x, int count, u64 number, int position,
                       u64 chunk, u64 first, u64 *less, u64 *equal) {
    u64 below = 0, same = 0;
    for (int j = 0; j < count; j++) {
        u64 table = shares[j];
        u64 c = ((x[j] - number) >> position) & chunk;
        below |= ((table >> c) & 1) << j;
        same |= (((table ^ ((table << 1) | first)) >> c) & 1) << j;
    }
    *less = below;
    *equal = same;
}

#define ORDERS(name, Table)                                                                       \
    KERNEL name(const Table *shares, const u64 *x, int n, int low, int high, int position,        \
                int chunk, int first, u64 *less, u64 *equal) {                                    \
        EACH(w, ((i64)n + 63) / 64) {                                                             \
            i64 left = n - 64 * w;                                                                \
            order_word(shares + 64 * w, x + 64 * w, (int)(left < 64 ? left : 64),                 \
                       whole(low, high), position, (u64)chunk, (u64)first, less + w, equal + w);  \
        }                                                                                         \
    }

ORDERS(orders_words, u64)
ORDERS(orders_halves, u32)

KERNEL planes(const u64 *x, int n, int low, int high, int position, u64 *out) {
    u64 number = whole(low, high);
    EACH(w, ((i64)n + 63) / 64) {
        i64 left = n - 64 * w;
        u64 word = 0;
        for (int j = 0; j < (left < 64 ? left : 64); j++)
            word |= (((x[64 * w + j] - number) >> position) & 1) << j;
        out[w] = word;
    }
}

KERNEL thermometer_words(const u64 *r, int n, int position, int chunk, u64 *out) {
    EACH(i, n) out[i] = (1ULL << ((r[i] >> position) & (u64)chunk)) - 1;
}

KERNEL thermometer_halves(const u64 *r, int n, int position, int chunk, u32 *out) {
    EACH(i, n) out[i] = (u32)((1ULL << ((r[i] >> position) & (u64)chunk)) - 1);
}

KERNEL mask_products(const u64 *lam, const u64 *mu, int m, int words, u64 *mixed, u64 *pure) {
    EACH(w, words) {
        pure[w] = ~0ULL;
        for (int j = 0; j < m - 1; j++)
            for (int k = 0; k < 1 << j; k++)
                pure[(i64)((1 << j) + k) * words + w] =
                    pure[(i64)k * words + w] & mu[(i64)j * words + w];
        i64 row = 0;
        for (int i = 0; i < m; i++)
            for (int k = 0; k < 1 << (m - 1 - i); k++, row++)
                mixed[row * words + w] =
                    lam[(i64)i * words + w] & pure[(i64)(k << i) * words + w];
    }
}

// Ten chunks at most: 512 terms.
KERNEL join(const u64 *less, const u64 *equal, const u64 *mixed, const u64 *pure, int m, int words,
            int first, u64 *out) {
    EACH(w, words) {
        u64 terms[512];
        i64 row = 0;
        for (int i = 0; i < m; i++) {
            u64 opened = less[(i64)i * words + w];
            u64 same = i ? equal[(i64)(i - 1) * words + w] : 0;
            for (int k = 0; k < 1 << (m - 1 - i); k++, row++) {
                u64 factor = k ? pure[(i64)((k << i) - 1) * words + w] : 0 - (u64)first;
                u64 term = mixed[row * words + w] ^ (opened & factor);
                terms[k] = i ? term ^ (terms[2 * k] & same) ^ terms[2 * k + 1] : term;
            }
        }
        out[w] = terms[0];
    }
}

// --- truncation and selection ---------------------------------------------------------------------

KERNEL deal_truncation(const u64 *r, int n, int bits, int spare, u64 *rho, u32 *wrap) {
    EACH(i, n) {
        u64 top = r[i] << spare;
        rho[i] = top >> (bits + spare);
        wrap[i] = (u32)(top >> 63);
    }
}

KERNEL deal_selection(const u64 *r, const u64 *plane, int n, int bits, int spare, u64 *beta,
                      u64 *beta_rho, u32 *beta_wrap) {
    EACH(i, n) {
        u64 bit = (plane[i >> 6] >> (i & 63)) & 1, top = r[i] << spare;
        beta[i] = bit;
        beta_rho[i] = (top >> (bits + spare)) & (0 - bit);
        beta_wrap[i] = (u32)((top >> 63) & bit);
    }
}

INSIDE u64 times_public(u64 x, u64 factor, u64 wrap, int bits, int spare) {
    int total = bits + spare;
    u64 half = 1ULL << 62, shifted = (x << spare) + half;
    u64 lifted = (wrap << (64 - total)) * (1 - (shifted >> 63));
    return ((shifted >> total) - (half >> total)) * factor + lifted;
}

KERNEL truncated(const u64 *x, const u64 *rho, const u32 *wrap, int n, int bits, int spare,
                 int first, u64 *out) {
    EACH(i, n) out[i] = times_public(x[i], (u64)first, wrap[i], bits, spare) - rho[i];
}

KERNEL select_truncated(const u8 *flips, const u64 *x, const u64 *y, const u64 *beta,
                        const u64 *beta_rho, const u32 *beta_wrap, int n, int bits, int spare,
                        u64 *out) {
    EACH(i, n) {
        u64 selected = times_public(x[i], beta[i], beta_wrap[i], bits, spare) - beta_rho[i];
        out[i] = flips[i] ? y[i] - selected : selected;
    }
}

KERNEL select_exact(const u8 *flips, const u64 *x, const u64 *y, const u64 *beta,
                    const u64 *beta_r, int n, u64 *out) {
    EACH(i, n) {
        u64 selected = x[i] * beta[i] - beta_r[i];
        out[i] = flips[i] ? y[i] - selected : selected;
    }
}

KERNEL indicator(const u8 *flips, const u64 *beta, int n, int first, u64 *out) {
    EACH(i, n) out[i] = flips[i] ? (u64)first - beta[i] : beta[i];
}

// --- the ring of 48 bits --------------------------------------------------------------------------

INSIDE u64 wide(const u16 *data, i64 i) {
    return (u64)data[3 * i] | ((u64)data[3 * i + 1] << 16) | ((u64)data[3 * i + 2] << 32);
}

KERNEL narrow(const u64 *x, int n, u16 *out) {
    EACH(i, n) {
        out[3 * i] = (u16)x[i];
        out[3 * i + 1] = (u16)(x[i] >> 16);
        out[3 * i + 2] = (u16)(x[i] >> 32);
    }
}

KERNEL widen(const u16 *data, int n, u64 *out) { EACH(i, n) out[i] = wide(data, i); }

KERNEL add_narrow(const u64 *x, const u16 *data, int n, u64 *out) {
    EACH(i, n) out[i] = (x[i] + wide(data, i)) & ((1ULL << 48) - 1);
}

// --- waves: to be compiled without fused multiplication and addition, which rounds once -----------

// constants: an angle's unit, an eighth, and the coefficients of cosine and sine.
INSIDE void circle(u64 x, u64 turn, const double *constants, int terms, double *cos, double *sin) {
    const double *cosines = constants + 2, *sines = constants + 2 + terms;
    double u = ((double)(i64)(x * turn) * constants[0]) * constants[1];
    double square = -(u * u), c = cosines[terms - 1], s = sines[terms - 1];
    for (int k = terms - 2; k >= 0; k--) {
        c = c * square + cosines[k];
        s = s * square + sines[k];
    }
    s = s * u;
    for (int k = 0; k < 3; k++) {
        double twice = (s * c) * 2.0;
        c = (s * s) * -2.0 + 1.0;
        s = twice;
    }
    *cos = c;
    *sin = s;
}

KERNEL waves(const u64 *x, int n, int low, int high, const double *constants, int terms,
             const double *factors, int count, const u64 *dealt, u64 *out) {
    EACH(i, n) {
        double c, s, last_c = 1.0, last_s = 0.0;
        circle(x[i], whole(low, high), constants, terms, &c, &s);
        double twice = 2.0 * c;
        u64 total = 0;
        for (i64 k = 0; k < count; k++) {
            double a = factors[2 * k], b = factors[2 * k + 1];
            total += (u64)(i64)rint(c * a + s * b) * dealt[2 * k * n + i];
            total += (u64)(i64)rint(s * a + -c * b) * dealt[(2 * k + 1) * n + i];
            double next_c = c * twice - last_c, next_s = s * twice - last_s;
            last_c = c, last_s = s;
            c = next_c, s = next_s;
        }
        out[i] = total;
    }
}

KERNEL deal_waves(const u64 *r, int n, int low, int high, const double *constants, int terms,
                  int count, double scale, u64 *out) {
    EACH(i, n) {
        double c, s, last_c = 1.0, last_s = 0.0;
        circle(r[i], whole(low, high), constants, terms, &c, &s);
        double twice = 2.0 * c;
        for (i64 k = 0; k < count; k++) {
            out[2 * k * n + i] = (u64)(i64)rint(c * scale);
            out[(2 * k + 1) * n + i] = (u64)(i64)rint(s * scale);
            double next_c = c * twice - last_c, next_s = s * twice - last_s;
            last_c = c, last_s = s;
            c = next_c, s = next_s;
        }
    }
}

// --- AES-128 (FIPS 197): columns and round keys with their first byte lowest ----------------------

INSIDE u32 turned(u32 x, int bits) { return (x << bits) | (x >> (32 - bits)); }

INSIDE u32 swapped(u32 x) {
    return (x >> 24) | ((x >> 8) & 0xff00) | ((x & 0xff00) << 8) | (x << 24);
}

// table[x]: 2 s, s, s, 3 s for the S-box s of x.
INSIDE u32 boxed(const u32 *table, u32 x) { return (table[x & 255] >> 8) & 255; }

INSIDE void schedule(const u32 *table, const u32 *key, u32 *rounds) {
    for (int i = 0; i < 4; i++) rounds[i] = key[i];
    u32 constant = 1;
    for (int i = 4; i < 44; i++) {
        u32 last = rounds[i - 1];
        if (i % 4 == 0) {
            last = boxed(table, last >> 8) ^ constant | boxed(table, last >> 16) << 8 |
                   boxed(table, last >> 24) << 16 | boxed(table, last) << 24;
            constant = constant & 128 ? 27 : constant << 1;
        }
        rounds[i] = rounds[i - 4] ^ last;
    }
}

INSIDE u32 mixed_column(const u32 *table, u32 a, u32 b, u32 c, u32 d, u32 key) {
    return table[a & 255] ^ turned(table[(b >> 8) & 255], 8) ^
           turned(table[(c >> 16) & 255], 16) ^ turned(table[d >> 24], 24) ^ key;
}

INSIDE u32 last_column(const u32 *table, u32 a, u32 b, u32 c, u32 d, u32 key) {
    return (boxed(table, a) | boxed(table, b >> 8) << 8 | boxed(table, c >> 16) << 16 |
            boxed(table, d >> 24) << 24) ^ key;
}

INSIDE void encipher(const u32 *table, const u32 *rounds, u32 *state) {
    u32 a = state[0] ^ rounds[0], b = state[1] ^ rounds[1];
    u32 c = state[2] ^ rounds[2], d = state[3] ^ rounds[3];
    for (int round = 4; round < 40; round += 4) {
        u32 e = mixed_column(table, a, b, c, d, rounds[round]);
        u32 f = mixed_column(table, b, c, d, a, rounds[round + 1]);
        u32 g = mixed_column(table, c, d, a, b, rounds[round + 2]);
        u32 h = mixed_column(table, d, a, b, c, rounds[round + 3]);
        a = e, b = f, c = g, d = h;
    }
    state[0] = last_column(table, a, b, c, d, rounds[40]);
    state[1] = last_column(table, b, c, d, a, rounds[41]);
    state[2] = last_column(table, c, d, a, b, rounds[42]);
    state[3] = last_column(table, d, a, b, c, rounds[43]);
}

// The stream of counters from c0..c3 (a big-endian number) under key k0..k3, from half-word `skip`
// of the first block on.
KERNEL keystream(const u32 *table, int k0, int k1, int k2, int k3, int c0, int c1, int c2, int c3,
                 int skip, int halves, u32 *out) {
    u32 key[4] = {(u32)k0, (u32)k1, (u32)k2, (u32)k3}, rounds[44];
    schedule(table, key, rounds);
    u64 high = whole(c1, c0), low = whole(c3, c2);
    EACH(i, ((i64)skip + halves + 3) / 4) {
        u64 lower = low + (u64)i, upper = high + (lower < low);
        u32 state[4] = {swapped((u32)(upper >> 32)), swapped((u32)upper),
                        swapped((u32)(lower >> 32)), swapped((u32)lower)};
        encipher(table, rounds, state);
        for (int j = 0; j < 4; j++) {
            i64 place = 4 * i + j - skip;
            if (place >= 0 && place < halves) out[place] = state[j];
        }
    }
}

// --- point functions: protocols/points.py and tree_loops.py, a whole path at a time ----------------

#define SLICE 8192

// H(u) = AES(u) ^ u for a node's preimage u; low and high words.
INSIDE void hashed(const u32 *table, const u32 *rounds, u64 low, u64 high, u64 *out) {
    u32 state[4] = {(u32)low, (u32)(low >> 32), (u32)high, (u32)(high >> 32)};
    encipher(table, rounds, state);
    out[0] = ((u64)state[0] | (u64)state[1] << 32) ^ low;
    out[1] = ((u64)state[2] | (u64)state[3] << 32) ^ high;
}

INSIDE void permutation(const u32 *table, const u64 *keys, i64 slice, u32 *rounds) {
    u64 low = keys[2 * slice], high = keys[2 * slice + 1];
    u32 key[4] = {(u32)low, (u32)(low >> 32), (u32)high, (u32)(high >> 32)};
    schedule(table, key, rounds);
}

INSIDE u64 window_of(u64 x, int low, int window) { return (x >> low) & ((1ULL << window) - 1); }

KERNEL point_keys(const u32 *table, const u64 *seeds, const u64 *others, const u64 *r, int m,
                  int low, int window, int levels, const u64 *keys, u64 *out) {
    EACH(i, m) {
        i64 slice = i / SLICE, begin = slice * SLICE;
        i64 size = m - begin < SLICE ? m - begin : SLICE, at = i - begin;
        u64 *words = out + begin * 2 * (levels + 1);
        u32 rounds[44];
        permutation(table, keys, slice, rounds);
        u64 alpha = window_of(r[i], low, window);
        u64 node[2] = {seeds[2 * i] & ~1ULL, seeds[2 * i + 1]};
        u64 offset[2] = {node[0] ^ ((others[2 * i] & ~1ULL) | 1), node[1] ^ others[2 * i + 1]};
        u64 first[2], second[2];
        for (int level = 0; level < levels; level++) {
            u64 right = 0 - ((alpha >> (window - 1 - level)) & 1), corrected = 0 - (node[0] & 1);
            u64 other[2] = {node[0] ^ offset[0], node[1] ^ offset[1]};
            hashed(table, rounds, node[1], node[0] ^ node[1], first);
            hashed(table, rounds, other[1], other[0] ^ other[1], second);
            for (int half = 0; half < 2; half++) {
                u64 word = first[half] ^ second[half] ^ (offset[half] & ~right);
                words[(2 * level + half) * size + at] = word;
                node[half] = first[half] ^ (node[half] & right) ^ (word & corrected);
            }
        }
        u64 other[2] = {node[0] ^ offset[0], node[1] ^ offset[1]};
        hashed(table, rounds, node[1], node[0] ^ node[1], first);
        hashed(table, rounds, other[1], other[0] ^ other[1], second);
        u64 unit = 1ULL << (alpha & 63), upper = 0 - ((alpha >> 6) & 1);
        words[2 * levels * size + at] = first[0] ^ second[0] ^ (unit & ~upper);
        words[(2 * levels + 1) * size + at] = first[1] ^ second[1] ^ (unit & upper);
    }
}

KERNEL point_sums(const u32 *table, const u64 *seeds, const u64 *corrections, const u64 *keys,
                  const u64 *xs, int m, int low, int window, int levels, int first, u8 *out) {
    EACH(i, m) {
        i64 slice = i / SLICE, begin = slice * SLICE;
        i64 size = m - begin < SLICE ? m - begin : SLICE, at = i - begin;
        const u64 *words = corrections + begin * 2 * (levels + 1);
        u32 rounds[44];
        permutation(table, keys, slice, rounds);
        u64 x = window_of(xs[i], low, window), sum = (u64)first, hash[2];
        u64 node[2] = {(seeds[2 * i] & ~1ULL) | (u64)(!first), seeds[2 * i + 1]};
        for (int level = 0; level < levels; level++) {
            int bit = window - 1 - level;
            u64 right = 0 - ((x >> bit) & 1), corrected = 0 - (node[0] & 1);
            sum ^= ((x ^ (x >> 1)) >> bit) & node[0];
            hashed(table, rounds, node[1], node[0] ^ node[1], hash);
            for (int half = 0; half < 2; half++)
                node[half] = hash[half] ^ (node[half] & right) ^
                             (words[(2 * level + half) * size + at] & corrected);
        }
        hashed(table, rounds, node[1], node[0] ^ node[1], hash);
        u64 corrected = 0 - (node[0] & 1), upper = 0 - ((x >> 6) & 1);
        u64 upto = (2ULL << (x & 63)) - 1;
        u64 folded = (hash[0] ^ (words[2 * levels * size + at] & corrected)) & (upto | upper);
        folded ^= (hash[1] ^ (words[(2 * levels + 1) * size + at] & corrected)) & upto & upper;
        for (int half = 32; half; half /= 2) folded ^= folded >> half;
        out[i] = (u8)((sum ^ folded ^ (node[0] & (x >> 7))) & 1);
    }
}
