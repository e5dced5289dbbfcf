use super::*;
use crate::simd::Isa;

fn values(count: usize) -> Vec<f32> {
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.4
    };
    (0..count).map(|_| next() * next() * next()).collect()
}

fn schemes() -> impl Iterator<Item = Affine> {
    let granularities =
        [Granularity::Tensor, Granularity::Row, Granularity::Group(32), Granularity::Group(7)];
    (2..=8).flat_map(move |bits| {
        granularities.into_iter().flat_map(move |granularity| {
            [(true, true), (true, false), (false, true), (false, false)].map(|(signed, symmetric)| {
                Affine::new(bits).granularity(granularity).signed(signed).symmetric(symmetric)
            })
        })
    })
}

#[test]
fn nothing_is_clipped_and_errors_are_within_half_a_step() {
    let values = values(8 * 96);
    for scheme in schemes() {
        let tensor = scheme.quantize(&values, 96, None).unwrap();
        assert_eq!(tensor.scales.len(), scheme.scale_count(values.len(), 96));
        let mut restored = vec![0.0; values.len()];
        tensor.dequantize(&mut restored).unwrap();
        let (low, high) = scheme.range();
        let width = scheme.width(values.len(), 96);
        let groups = scheme.runs(&values, 96).flat_map(|run| run.chunks(width));
        let others = scheme.runs(&restored, 96).flat_map(|run| run.chunks(width));
        for ((group, restored), (scale, zero)) in
            groups.zip(others).zip(tensor.scales.iter().zip(&tensor.zero_points))
        {
            assert!((low..=high).contains(zero));
            for (value, restored) in group.iter().zip(restored) {
                // Rounding the zero point shifts the range by up to half a step.
                let most = if scheme.symmetric { 0.5001 } else { 1.0001 };
                assert!((value - restored).abs() <= scale * most, "{scheme:?}: {value} {restored} {scale}");
            }
        }
        for isa in Isa::available() {
            let mut same = vec![0.0; values.len()];
            tensor.dequantize_with(isa, &mut same).unwrap();
            assert_eq!(same, restored, "{isa:?}");
        }
        let parts = AffineTensor::from_parts(
            scheme,
            96,
            tensor.codes.clone(),
            tensor.scales.clone(),
            tensor.zero_points.clone(),
        );
        assert_eq!(parts.unwrap(), tensor);
    }
}

#[test]
fn least_squares_is_never_worse_and_follows_importance() {
    let values = values(4 * 64);
    let weighed = |tensor: &AffineTensor, weights: &[f32]| {
        let mut restored = vec![0.0; values.len()];
        tensor.dequantize(&mut restored).unwrap();
        let errors = values.iter().zip(&restored).zip(weights.iter().cycle());
        errors.map(|((value, restored), weight)| f64::from(weight * (value - restored).powi(2))).sum::<f64>()
    };
    let weights: Vec<f32> = (0..64).map(|at| if at % 3 == 0 { 50.0 } else { 1.0 }).collect();
    for scheme in schemes() {
        let searching = scheme.calibration(Calibration::LeastSquares);
        let ends = scheme.quantize(&values, 64, None).unwrap();
        let plain = searching.quantize(&values, 64, None).unwrap();
        let with = searching.quantize(&values, 64, Some(&weights)).unwrap();
        assert!(weighed(&plain, &[1.0; 64]) <= weighed(&ends, &[1.0; 64]) * 1.000_001, "{scheme:?}");
        assert!(weighed(&with, &weights) <= weighed(&ends, &weights) * 1.000_001, "{scheme:?}");
    }
    let scheme = Affine::new(3).granularity(Granularity::Group(64)).calibration(Calibration::LeastSquares);
    let plain = scheme.quantize(&values, 64, None).unwrap();
    let with = scheme.quantize(&values, 64, Some(&weights)).unwrap();
    assert!(weighed(&with, &weights) < weighed(&plain, &weights));
}

#[test]
fn fake_quantization_says_what_was_clipped() {
    let mut values = vec![0.5, -0.25, 100.0, 0.125, -0.5, 0.0, 0.25, -100.0];
    let scheme = Affine::new(6).granularity(Granularity::Tensor).calibration(Calibration::Percentile(75.0));
    let passes = scheme.fake_quantize(&mut values, 4, None).unwrap();
    assert_eq!(passes, [true, true, false, true, true, true, true, false]);
    assert!(values[2] <= 0.6 && values[7] >= -0.6, "{values:?}");
    let mut zeros = [0.0; 8];
    assert_eq!(Affine::new(2).fake_quantize(&mut zeros, 4, None).unwrap(), [true; 8]);
    assert_eq!(zeros, [0.0; 8]);
    assert!(Affine::new(4).fake_quantize(&mut [], 0, None).unwrap().is_empty());
}

#[test]
fn what_cannot_be_is_refused() {
    let values = [0.0; 8];
    for scheme in [
        Affine::new(1),
        Affine::new(9),
        Affine::new(u32::MAX),
        Affine::new(4).granularity(Granularity::Group(0)),
        Affine::new(4).calibration(Calibration::Percentile(f32::NAN)),
        Affine::new(4).calibration(Calibration::Percentile(12.0)),
    ] {
        assert!(scheme.quantize(&values, 4, None).is_err(), "{scheme:?}");
        assert!(AffineTensor::from_parts(scheme, 4, vec![0; 8], vec![0.0; 2], vec![0; 2]).is_err());
    }
    let scheme = Affine::new(4);
    assert!(scheme.quantize(&values, 3, None).is_err());
    assert!(scheme.quantize(&values, 0, None).is_err());
    assert!(scheme.quantize(&values, 4, Some(&[1.0; 3])).is_err());
    assert!(scheme.quantize(&values, 4, Some(&[1.0, -1.0, 0.0, 0.0])).is_err());
    assert!(scheme.quantize(&[f32::NAN; 4], 4, None).is_err());
    let parts = |codes: u8, scale: f32, zero: i32| {
        AffineTensor::from_parts(scheme, 4, vec![codes; 8], vec![scale; 2], vec![zero; 2])
    };
    assert!(parts(15, 1.0, 7).is_ok() && parts(16, 1.0, 0).is_err() && parts(0, f32::INFINITY, 0).is_err());
    assert!(parts(0, 1.0, 8).is_err() && parts(0, 1.0, -9).is_err());
    assert!(AffineTensor::from_parts(scheme, 4, vec![0; 8], vec![1.0], vec![0]).is_err());
    // The greatest and the least values.
    for value in [f32::MAX, f32::MIN_POSITIVE, 1e-45] {
        for calibration in [Calibration::MinMax, Calibration::LeastSquares] {
            for symmetric in [true, false] {
                let scheme = scheme.calibration(calibration).symmetric(symmetric);
                let tensor = scheme.quantize(&[value, -value, 0.0, value / 2.0], 4, None).unwrap();
                assert!(tensor.scales[0].is_finite(), "{value} {tensor:?}");
            }
        }
    }
}

#[test]
fn rows_are_packed_each_for_itself() {
    let tensor = Affine::new(3).quantize(&values(6), 3, None).unwrap();
    let packed = tensor.pack(Packing::LowFirst).unwrap();
    assert_eq!(packed.len(), 4);
    let mut codes = [0; 3];
    Packing::LowFirst.unpack(3, &packed[2..], &mut codes).unwrap();
    assert_eq!(codes, tensor.codes[3..]);
    assert!(tensor.pack(Packing::Awq).is_err());
}
