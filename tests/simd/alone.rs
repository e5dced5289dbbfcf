//! Operations that can be specified without comparing with scalar.

use super::{Lanes, floats, put_i, random};
use crate::simd::{Isa, Kernel, MAX_LANES, Simd};

struct Alone;

impl Kernel for Alone {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut random = random();
        let table: [[f32; 16]; MAX_LANES] =
            core::array::from_fn(|_| core::array::from_fn(|_| f32::from_bits(random())));
        for (i, column) in s.columns(&table.each_ref()).into_iter().enumerate() {
            let mut lanes = [0.0; MAX_LANES];
            s.store(column, &mut lanes);
            for lane in 0..S::LANES {
                assert_eq!(
                    lanes[lane].to_bits(),
                    table[lane][i].to_bits(),
                    "columns: row {lane}, column {i}"
                );
            }
        }
        rows_of_bytes::<S, 4>(s, &core::array::from_fn(|_| random().to_le_bytes()));
        rows_of_bytes::<S, 8>(
            s,
            &core::array::from_fn(|_| (u64::from(random()) << 32 | u64::from(random())).to_le_bytes()),
        );
        for chunk in floats().chunks(S::LANES) {
            let bits = random();
            for first in (0..32).step_by(S::LANES) {
                let mut lanes = [0.0; MAX_LANES];
                s.store(s.negate_by_bits(s.load(chunk), bits, first), &mut lanes);
                for (lane, value) in chunk.iter().enumerate() {
                    let wanted = value.to_bits() ^ (bits >> (first + lane) & 1) << 31;
                    assert_eq!(lanes[lane].to_bits(), wanted, "negate_by_bits of {:#010x}", value.to_bits());
                }
            }
        }
        for value in floats() {
            let half = crate::simd::f32_to_f16(value).to_le_bytes();
            assert_eq!(s.narrow_f16(value), half, "narrow_f16 of {:#010x}", value.to_bits());
        }
        for chunk in floats().chunks(S::LANES) {
            let (mut same, mut quiet) = ([0.0; MAX_LANES], [0.0; MAX_LANES]);
            s.store(s.as_floats(s.bits(s.load(chunk))), &mut same);
            s.store(s.quiet(s.load(chunk)), &mut quiet);
            for (lane, value) in chunk.iter().enumerate() {
                assert_eq!(same[lane].to_bits(), value.to_bits(), "as_floats");
                let wanted = value.to_bits() | if value.is_nan() { 0x0040_0000 } else { 0 };
                assert_eq!(quiet[lane].to_bits(), wanted, "quiet of {:#010x}", value.to_bits());
            }
        }
    }
}

/// Runs `load_rows` from every position where a vector may begin.
fn rows_of_bytes<S: Simd, const N: usize>(s: S, rows: &[[u8; N]; 2 * MAX_LANES]) {
    let bytes = rows.as_flattened();
    for first in (0..bytes.len()).step_by(S::LANES) {
        let mut lanes = Lanes::new();
        put_i(s, s.load_rows(first, |k| &rows[k]), &mut lanes);
        let wanted: Lanes = bytes[first..][..S::LANES].iter().map(|&byte| u32::from(byte)).collect();
        assert_eq!(lanes, wanted, "load_rows of {N} from {first}");
    }
}

#[test]
fn words_alone_mean_what_they_say() {
    for isa in Isa::available() {
        isa.run(Alone);
        isa.run(InWide(Alone));
    }
}

/// Runs a kernel in the wide form of the lanes.
struct InWide<K>(K);

impl<K: Kernel> Kernel for InWide<K> {
    type Output = K::Output;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> K::Output {
        self.0.run(s.wide())
    }
}
