//! Tests every operation on bytes on every instruction set of this machine against [`PlainBytes`], byte by byte.

use crate::simd::{ByteKernel, Bytes, Isa, PlainBytes, Range, Scalar, Simd, TileKernel, Tiles, Wide};

/// Returns the same bytes in each run: extremes first, then random ones.
fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let random = (0..count).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    let mut bytes: Vec<u8> = random.collect();
    for (byte, extreme) in bytes.iter_mut().zip([0, 1, 127, 128, 129, 255, 85, 86, 170, 171]) {
        *byte = extreme;
    }
    bytes
}

/// Collects the results of all operations, one after the other.
struct Words {
    multiplies: bool,
    seed: u64,
}

struct Multiplying(Words);

impl ByteKernel for Words {
    type Output = Vec<u8>;
    const MULTIPLIES: bool = false;
    #[inline(always)]
    fn run<D: Bytes>(self, d: D) -> Vec<u8> {
        words(d, self.seed, self.multiplies)
    }
}

impl ByteKernel for Multiplying {
    type Output = Vec<u8>;
    const MULTIPLIES: bool = true;
    #[inline(always)]
    fn run<D: Bytes>(self, d: D) -> Vec<u8> {
        words(d, self.0.seed, self.0.multiplies)
    }
}

#[inline(always)]
fn words<D: Bytes>(d: D, seed: u64, multiplies: bool) -> Vec<u8> {
    let s = d.lanes();
    let all = bytes(seed, 20 * 32);
    let chunks = all.as_chunks::<32>().0;
    let (a, b) = (d.load_b(&chunks[0]), d.load_b(&chunks[1]));
    let sixteen: &[u8; 16] = chunks[2].first_chunk().unwrap();
    let number = u64::from_le_bytes(*chunks[3].first_chunk().unwrap());
    let two = [number, u64::from_le_bytes(*chunks[4].first_chunk().unwrap())];
    let index = d.and_b(a, d.splat_b(15));
    let mut out = Vec::new();
    let mut put = |value: D::B| {
        let mut to = [0; 32];
        d.store_b(value, &mut to);
        out.extend(to);
    };
    put(a);
    put(d.splat_b(chunks[5][0]));
    put(d.twice(sixteen));
    put(d.nibbles(sixteen));
    put(d.rows_b(|k| chunks[6 + k].first_chunk::<8>().unwrap()));
    put(d.rows_b(|k| chunks[6 + k].first_chunk::<4>().unwrap()));
    put(d.bits_b(number as u32));
    put(d.and_b(a, b));
    put(d.or_b(a, b));
    put(d.xor_b(a, b));
    put(d.add_b(a, b));
    put(d.sub_b(a, b));
    put(d.shr_b::<1>(a));
    put(d.shr_b::<4>(a));
    put(d.shr_b::<6>(a));
    put(d.shl_b::<1>(a));
    put(d.shl_b::<4>(a));
    put(d.lookup_b(sixteen, index));
    put(d.shl_within_b::<3>(d.shr_b::<3>(a)));
    put(d.negate_b(a, number as u32));
    put(d.add_where_b(a, number as u32, 200));
    put(d.times_3(a));
    put(d.spread_nibbles(sixteen));
    let pairs: &[[u8; 64]] = all.as_chunks().0;
    put(d.second_bytes(bytemuck::cast_ref(&pairs[0])));
    put(d.bytes_of(d.second_words(bytemuck::cast_ref(&pairs[1]))));
    put(d.bytes_of(d.words(bytemuck::cast_ref(&chunks[2]))));
    let table: [[u8; 8]; 512] = core::array::from_fn(|row| [row as u8, (row >> 8) as u8, 2, 3, 4, 5, 6, 7]);
    let rows: [D::B; 8] = d.many_rows(&table, &chunks[3], b);
    rows.into_iter().for_each(&mut put);
    let table: [[u8; 4]; 256] = core::array::from_fn(|row| [row as u8, 1, 2, 3]);
    let rows: [D::B; 4] = d.many_rows(&table, &chunks[3], b);
    rows.into_iter().for_each(&mut put);
    put(d.times_3_high(a));
    put(d.swap_middle(a));
    put(d.bytes_of(d.widen_eight(number)));
    put(d.halves_of_units(two));
    put(d.both_of_units(number));
    put(d.splat_short(-300));
    put(d.sub_shorts(a, b));
    put(d.mul_shorts(a, b));
    let shorts = d.sub_shorts(d.halves_of_units(two), d.splat_short(128));
    put(d.bytes_of(d.dot_shorts(shorts, d.both_of_units(number))));
    let gathered = d.gather_f16(|j| [chunks[7][2 * j], chunks[7][2 * j + 1] & 0x3f]);
    put(d.bytes_of(s.bits(gathered)));
    if multiplies {
        let mut y = [[0; 32]; 8];
        for (y, chunk) in y.iter_mut().zip(&chunks[12..]) {
            *y = chunk.map(|byte| if byte == 128 { 127 } else { byte });
        }
        for range in [Range::Four, Range::Six, Range::Seven, Range::Signed] {
            let mut x = [a; 8];
            for (x, chunk) in x.iter_mut().zip(&chunks[4..]) {
                let most = match range {
                    Range::Four => 15,
                    Range::Six => 63,
                    Range::Seven => 127,
                    Range::Signed => 255,
                };
                *x = d.and_b(d.load_b(chunk), d.splat_b(most));
            }
            // Kernels subtract what was added to signed bytes, times the activations.
            let ones = d.splat_b(1);
            let added = if range == Range::Signed { D::ADDED_TO_SIGNED } else { 0 };
            for x in &mut x {
                *x = d.add_b(*x, d.splat_b(added as u8));
            }
            let less = |sums, ones| {
                let (mut sums_of, mut ones_of) = ([0.0; 8], [0.0; 8]);
                s.store(s.as_floats(sums), &mut sums_of);
                s.store(s.as_floats(ones), &mut ones_of);
                let mut result = [0i32; 8];
                for j in 0..8 {
                    result[j] = sums_of[j].to_bits() as i32 - added * ones_of[j].to_bits() as i32;
                }
                result
            };
            let [low, high] = d.sums(range, &x, &y);
            let [ones_low, ones_high] = d.sums(Range::Four, &[ones; 8], &y);
            let units = d.sums_of_units(range, &x, &y);
            let ones_of_units = d.sums_of_units(Range::Four, &[ones; 8], &y);
            let scaled = d.scaled_sums(range, &x, &y, shorts);
            let ones_scaled = d.scaled_sums(Range::Four, &[ones; 8], &y, shorts);
            let all = d.sums_of_all(range, &x, &y);
            let ones_of_all = d.sums_of_all(Range::Four, &[ones; 8], &y);
            // Individual lanes of these are arbitrary. Only their total matters.
            let total = |lanes: [i32; 8]| [lanes.iter().fold(0, |all: i32, lane| all.wrapping_add(*lane)); 8];
            let (scaled, all) = (total(less(scaled, ones_scaled)), total(less(all, ones_of_all)));
            for result in
                [less(low, ones_low), less(high, ones_high), less(units, ones_of_units), scaled, all]
            {
                out.extend(result.iter().flat_map(|lane| lane.to_le_bytes()));
            }
        }
        let mut vectors = [s.splat_i(0); 8];
        for (vector, chunk) in vectors.iter_mut().zip(&chunks[8..]) {
            *vector = s.load_u8(chunk);
        }
        let mut totals = [0.0; 8];
        s.store(s.as_floats(d.totals(&vectors)), &mut totals);
        out.extend(totals.iter().flat_map(|lane| lane.to_bits().to_le_bytes()));
    }
    out
}

#[test]
fn every_word_of_bytes_means_the_same() {
    for seed in 1..20 {
        for multiplies in [false, true] {
            let wanted = words(PlainBytes(Wide::<Scalar, 8>(Scalar)), seed, multiplies);
            for isa in Isa::available().into_iter().flat_map(|isa| [isa, isa.without_dot_products()]) {
                let found = if multiplies {
                    isa.run_bytes(Multiplying(Words { multiplies, seed }))
                } else {
                    isa.run_bytes(Words { multiplies, seed })
                };
                let same = found.iter().zip(&wanted).position(|(found, wanted)| found != wanted);
                assert_eq!(same.map(|at| at / 32), None, "the number of the word in {isa}, seed {seed}");
                assert_eq!(found.len(), wanted.len());
            }
        }
    }
}

/// Compares the operations on tiles with sums in plain Rust.
struct TileWords<const ANY_RANGE: bool>(u64);

impl<const ANY_RANGE: bool> TileKernel for TileWords<ANY_RANGE> {
    const NEEDS_NO_DOTS: bool = ANY_RANGE;
    #[inline(always)]
    fn run<T: Tiles>(self, t: T) {
        let (s, lanes) = (t.lanes(), T::S::LANES);
        let all = bytes(self.0, 16 * 32);
        let rows: Vec<[u8; 32]> = all.as_chunks::<32>().0[..lanes].to_vec();
        let mut panel = vec![0; 32 * lanes];
        t.interleave(|r| &rows[r], &mut panel);
        for (at, &byte) in panel.iter().enumerate() {
            let (four, row, i) = (at / (4 * lanes), at / 4 % lanes, at % 4);
            assert_eq!(byte, rows[row][4 * four + i], "byte {at} of a panel of {lanes} rows");
        }
        let y: Vec<u8> = bytes(self.0 + 100, 4 * 32)
            .into_iter()
            .map(|byte| if byte == 128 { 127 } else { byte })
            .collect();
        let fours: Vec<&[[u8; 4]; 8]> =
            y.as_chunks::<32>().0.iter().map(|y| y.as_chunks().0.first_chunk().unwrap()).collect();
        let scales: Vec<f32> = (0..lanes).map(|r| f32::from_bits((r as i32 * 9 - 60) as u32)).collect();
        let scale = s.bits(s.load(&scales));
        let ranges: &[(Range, u8)] = if ANY_RANGE {
            &[(Range::Four, 15), (Range::Seven, 127), (Range::Signed, 255)]
        } else {
            &[(Range::Seven, 127)]
        };
        for &(range, most) in ranges {
            let panel: Vec<u8> = panel.iter().map(|byte| byte & most).collect();
            let (mut sums, mut scaled) = ([s.splat_i(7); 4], [s.splat_i(7); 4]);
            let x = [fours[0], fours[1], fours[2], fours[3]];
            t.dots(range, &mut sums, &panel, x);
            t.scaled_dots(range, &mut scaled, &panel, x, scale);
            for c in 0..4 {
                for r in 0..lanes {
                    let dot: i32 = (0..32)
                        .map(|i| {
                            let w = rows[r][i] & most;
                            let w = if range == Range::Signed { i32::from(w as i8) } else { i32::from(w) };
                            w * i32::from(y[32 * c + i] as i8)
                        })
                        .sum();
                    let mut lane = [0.0; 16];
                    s.store(s.as_floats(sums[c]), &mut lane);
                    assert_eq!(lane[r].to_bits() as i32, 7 + dot, "{range:?}, {lanes} rows");
                    s.store(s.as_floats(scaled[c]), &mut lane);
                    assert_eq!(
                        lane[r].to_bits() as i32,
                        7 + dot * (r as i32 * 9 - 60),
                        "{range:?}, {lanes} rows"
                    );
                }
            }
        }
        let pair = |low: i16, high: i16| s.splat_i(i32::from(low) & 0xffff | i32::from(high) << 16);
        let mut lane = [0.0; 16];
        s.store(s.as_floats(t.add_pairs(s.splat_i(5), pair(-3, 4000), pair(-2000, -7))), &mut lane);
        assert_eq!(lane[lanes - 1].to_bits() as i32, 5 + 6000 - 28000);
    }
}

#[test]
fn every_word_of_tiles_means_the_same() {
    for isa in Isa::available().into_iter().flat_map(|isa| [isa, isa.without_dot_products()]) {
        for seed in 1..20 {
            if isa.has_tiles() {
                isa.run_tiles(TileWords::<false>(seed));
                if isa.tiles_tell_ranges() {
                    isa.run_tiles(TileWords::<true>(seed));
                }
            }
        }
    }
}
