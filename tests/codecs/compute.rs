//! Tests every implementation of multiplication against the contract of docs/compute.md, which one instruction set's products are
//! compared with, and the contract against exact arithmetic.

use gguf_codec::compute::{Activations, Experts, Matrix, Scratch};
use gguf_codec::{ByteOrder, Codec, Error, GgmlType, Isa, Shape, Tensor, dequantize};

use super::common::data::{Rng, random_blocks};

/// Returns mostly small values and some large ones.
fn values(rng: &mut Rng, len: usize) -> Vec<f32> {
    let value = || (rng.between(-1.0, 1.0) * 2f64.powi(rng.below(6) as i32 - 3)) as f32;
    std::iter::repeat_with(value).take(len).collect()
}

fn types() -> Vec<GgmlType> {
    GgmlType::ALL.iter().copied().filter(|&ty| Activations::new::<f32>(ty, &[], 0).is_ok()).collect()
}

/// Returns random blocks whose values are finite and small enough that sums do not overflow.
fn blocks(rng: &mut Rng, ty: GgmlType, count: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut values = vec![0.0f32; ty.block_len()];
    while all.len() < count * ty.block_bytes() {
        let block = random_blocks(rng, ty, ty.block_len());
        dequantize(ty, &block, &mut values).unwrap();
        if values.iter().all(|value| value.abs() < 1e6) {
            all.extend(block);
        }
    }
    all
}

fn every_isa() -> Vec<Isa> {
    let mut all = Isa::available();
    for isa in Isa::available() {
        // Scalar has no tiles.
        if isa != Isa::SCALAR {
            all.push(isa.without_dot_products());
        }
    }
    all
}

#[track_caller]
fn assert_same(what: &str, found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!(
            found.to_bits() == wanted.to_bits() || found.is_nan() && wanted.is_nan(),
            "{what}: output {i} is {found:?}, not {wanted:?}"
        );
    }
}

#[test]
fn every_way_gives_the_same_bits() {
    let mut rng = Rng::new(1);
    for ty in types() {
        let unit = ty.block_len();
        let lens: &[usize] = if unit == 256 { &[1, 3, 8, 17] } else { &[1, 2, 7, 8, 9, 17] };
        for &len in lens {
            let (row_len, rows) = (len * unit, 1 + rng.below(20));
            let bytes = blocks(&mut rng, ty, len * rows);
            let matrix = Matrix::new(ty, &bytes, row_len).unwrap();
            for columns in [1, 3, 4, 5, 9, 21] {
                let values = values(&mut rng, columns * row_len);
                let x = Activations::new_with(Isa::SCALAR, ty, &values, row_len).unwrap();
                let mut wanted = vec![f32::NAN; columns * rows];
                matrix.matmul_with(Isa::SCALAR, &x, &mut wanted).unwrap();
                for isa in every_isa() {
                    let what = format!("{ty} in {isa}, {rows} rows of {row_len}, {columns} columns");
                    let again = Activations::new_with(isa, ty, &values, row_len).unwrap();
                    assert_eq!(again.dequantize(), x.dequantize(), "{what}");
                    let mut out = vec![f32::NAN; columns * rows];
                    matrix.matmul_with(isa, &again, &mut out).unwrap();
                    assert_same(&what, &out, &wanted);
                    let row = rng.below(rows);
                    assert_same(&what, &[matrix.dot_with(isa, row, &again).unwrap()], &wanted[row..=row]);
                }
            }
        }
    }
}

#[test]
fn products_are_as_exact_as_single_precision() {
    let mut rng = Rng::new(2);
    for ty in types() {
        let (row_len, rows) = (ty.block_len().max(32) * 11, 5);
        let bytes = blocks(&mut rng, ty, row_len / ty.block_len() * rows);
        let mut weights = vec![0.0f32; rows * row_len];
        dequantize(ty, &bytes, &mut weights).unwrap();
        let values = values(&mut rng, row_len);
        let matrix = Matrix::new(ty, &bytes, row_len).unwrap();
        let x = Activations::new(ty, &values, row_len).unwrap();
        let (mut out, mut unrounded) = (vec![0.0; rows], vec![0.0; rows]);
        matrix.matmul(&x, &mut out).unwrap();
        matrix.matmul_f32(&values, &mut unrounded).unwrap();
        for (row, weights) in weights.chunks(row_len).enumerate() {
            for (out, x) in [(out[row], &x.dequantize()), (unrounded[row], &values)] {
                let exact: f64 = weights.iter().zip(x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
                // A format with mins adds up numbers larger than its values.
                let greatest = weights.iter().fold(0.0, |greatest: f32, w| greatest.max(w.abs()));
                let mass: f64 = x.iter().map(|&x| f64::from(x.abs()) * f64::from(greatest)).sum();
                let error = (f64::from(out) - exact).abs();
                assert!(error <= 1e-6 * mass, "{ty}, row {row}: {out} for {exact}, of {mass}");
            }
        }
    }
}

#[test]
fn floats_are_summed_as_documented() {
    let mut rng = Rng::new(3);
    for ty in types() {
        let (row_len, rows, columns) = (ty.block_len().max(5) * 3, 7, 5);
        let bytes = blocks(&mut rng, ty, row_len / ty.block_len() * rows);
        let mut weights = vec![0.0f32; rows * row_len];
        dequantize(ty, &bytes, &mut weights).unwrap();
        let values = values(&mut rng, columns * row_len);
        let mut wanted = Vec::new();
        for x in values.chunks(row_len) {
            for w in weights.chunks(row_len) {
                let mut a = [0.0f32; 16];
                for i in 0..row_len {
                    a[i % 16] += w[i] * x[i];
                }
                let b: Vec<f32> = (0..8).map(|j| a[j] + a[j + 8]).collect();
                wanted.push(((b[0] + b[4]) + (b[2] + b[6])) + ((b[1] + b[5]) + (b[3] + b[7])));
            }
        }
        let matrix = Matrix::new(ty, &bytes, row_len).unwrap();
        for isa in every_isa() {
            let mut out = vec![f32::NAN; rows * columns];
            matrix.matmul_f32_with(isa, &values, &mut out).unwrap();
            assert_same(&format!("{ty} in {isa}"), &out, &wanted);
        }
    }
}

/// 70 rows of 512 in Q4_K, and 6 columns.
fn example() -> (Vec<u8>, Vec<f32>) {
    let mut rng = Rng::new(4);
    let bytes = blocks(&mut rng, GgmlType::Q4_K, 2 * 70);
    (bytes, values(&mut rng, 6 * 512))
}

#[test]
fn splitting_the_work_does_not_change_it() {
    let (bytes, values) = example();
    let matrix = Matrix::new(GgmlType::Q4_K, &bytes, 512).unwrap();
    let mut x = Activations::new(GgmlType::Q5_K, &values, 512).unwrap();
    let mut wanted = vec![0.0; 6 * 70];
    matrix.matmul(&x, &mut wanted).unwrap();

    // Rows separately, into one output, with reused memory.
    let mut out = vec![f32::NAN; 6 * 70];
    let mut scratch = Scratch::new();
    for first in (0..70).step_by(17) {
        let rows = matrix.rows(first..(first + 17).min(70)).unwrap();
        rows.matmul_strided(&x, &mut out[first..], 70, &mut scratch).unwrap();
    }
    assert_same("rows", &out, &wanted);

    // Columns separately.
    for column in 0..6 {
        x.set(&values[column * 512..][..512]).unwrap();
        let mut out = vec![f32::NAN; 70];
        matrix.matmul(&x, &mut out).unwrap();
        assert_same("a column", &out, &wanted[column * 70..][..70]);
    }

    #[cfg(feature = "rayon")]
    {
        for columns in [1, 6] {
            x.set(&values[..columns * 512]).unwrap();
            let (mut out, mut again) = (vec![f32::NAN; columns * 70], vec![f32::NAN; columns * 33]);
            gguf_codec::compute::par_matmul(
                &mut [(matrix, &mut out), (matrix.rows(5..38).unwrap(), &mut again)],
                &x,
            )
            .unwrap();
            assert_same("all cores", &out, &wanted[..columns * 70]);
            for (again, wanted) in again.chunks(33).zip(wanted.chunks(70)) {
                assert_same("a second matrix", again, &wanted[5..38]);
            }
            matrix.matmul_f32(&values[..columns * 512], &mut out).unwrap();
            let mut all = vec![f32::NAN; columns * 70];
            matrix.par_matmul_f32(&values[..columns * 512], &mut all).unwrap();
            assert_same("floats on all cores", &all, &out);
        }
    }
}

#[test]
fn columns_go_to_the_experts_chosen_for_them() {
    let (bytes, values) = example();
    // Seven experts of ten rows. Two are chosen for each of six columns.
    let experts = Experts::new(GgmlType::Q4_K, &bytes, 512, 10).unwrap();
    assert_eq!(experts.count(), 7);
    let chosen = [3, 0, 3, 6, 1, 3, 0, 2, 5, 5, 4, 3];
    let x = Activations::new(GgmlType::Q4_K, &values, 512).unwrap();
    let mut out = vec![f32::NAN; 12 * 10];
    experts.matmul(&x, &chosen, &mut out).unwrap();
    for (i, (out, &expert)) in out.chunks(10).zip(&chosen).enumerate() {
        let mut wanted = vec![f32::NAN; 10];
        let column = x.select(&[i / 2]).unwrap();
        experts.expert(expert).unwrap().matmul(&column, &mut wanted).unwrap();
        assert_same("an expert", out, &wanted);
    }
    #[cfg(feature = "rayon")]
    {
        let mut all = vec![f32::NAN; 12 * 10];
        experts.par_matmul(&x, &chosen, &mut all).unwrap();
        assert_same("all cores", &all, &out);
    }
    let error = experts.matmul(&x, &[7; 12], &mut out).unwrap_err();
    assert_eq!(error.to_string(), "expert 7 is out of range: there are 7");
    assert!(matches!(experts.matmul(&x, &[0; 11], &mut out), Err(Error::Length { found: 11, .. })));
    assert!(matches!(Experts::new(GgmlType::Q4_K, &bytes, 512, 9), Err(Error::Length { found: 70, .. })));
}

#[test]
fn a_column_that_is_not_finite_becomes_nan_and_no_other() {
    let (bytes, mut values) = example();
    let matrix = Matrix::new(GgmlType::Q4_K, &bytes, 512).unwrap();
    let mut wanted = vec![0.0; 6 * 70];
    matrix.matmul(&Activations::new(GgmlType::Q4_K, &values, 512).unwrap(), &mut wanted).unwrap();
    (values[512 + 300], values[3 * 512]) = (f32::INFINITY, f32::NAN);
    for isa in every_isa() {
        let x = Activations::new_with(isa, GgmlType::Q4_K, &values, 512).unwrap();
        let mut out = vec![0.0; 6 * 70];
        matrix.matmul_with(isa, &x, &mut out).unwrap();
        for (column, (out, wanted)) in out.chunks(70).zip(wanted.chunks(70)).enumerate() {
            if let 1 | 3 = column {
                assert!(out.iter().all(|out| out.is_nan()), "{isa}");
            } else {
                assert_same("another column", out, wanted);
            }
        }
    }
}

#[test]
fn activations_are_those_of_ggml_with_a_scale_that_is_not_rounded() {
    let (_, values) = example();
    for (ty, of, scale_bytes) in [(GgmlType::Q8_0, GgmlType::Q8_0, 2), (GgmlType::Q4_K, GgmlType::Q8_K, 4)] {
        let blocks = Codec::new(of).quantize_to_vec(&values, 512).unwrap();
        let x = Activations::new(ty, &values, 512).unwrap().dequantize();
        for (i, block) in blocks.chunks(of.block_bytes()).enumerate() {
            let quants = &block[scale_bytes..][..of.block_len()];
            let values = &x[i * of.block_len()..][..of.block_len()];
            let greatest = (0..quants.len()).find(|&i| (quants[i] as i8).unsigned_abs() == 127).unwrap();
            let scale = values[greatest] / f32::from(quants[greatest] as i8);
            for (&q, &value) in quants.iter().zip(values) {
                let wanted = f32::from(q as i8) * scale;
                assert!(
                    (wanted - value).abs() <= wanted.abs() * 1e-6,
                    "{of}, block {i}: {value}, not {wanted}"
                );
            }
        }
    }
    // Beyond the range of a 16-bit scale, and far below it.
    for factor in [1e30f32, 1e-30] {
        let scaled: Vec<f32> = values.iter().map(|value| value * factor).collect();
        let x = Activations::new(GgmlType::Q8_0, &scaled, 512).unwrap().dequantize();
        let error = x.iter().zip(&scaled).map(|(x, value)| (x - value).abs()).fold(0.0, f32::max);
        assert!(error < factor / 10.0, "{factor}: {error}");
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let (bytes, values) = example();
    let matrix = Matrix::new(GgmlType::Q4_K, &bytes, 512).unwrap();
    let x = Activations::new(GgmlType::Q4_K, &values, 512).unwrap();
    let message = |result: gguf_codec::Result<()>| result.unwrap_err().to_string();
    let mut out = vec![0.0; 6 * 70];

    let error = message(matrix.matmul(&x, &mut out[1..]));
    assert_eq!(error, "the output, in values, is 419 long, and must be 420, 6 columns of 70 rows");
    let other = Activations::new(GgmlType::Q8_0, &values, 512).unwrap();
    assert_eq!(
        message(matrix.matmul(&other, &mut out)),
        "weights of type Q4_K are multiplied with activations that have a scale for each 256 values, and these have a scale \
         for each 32 values: make them for Q4_K"
    );
    let short = Activations::new(GgmlType::Q4_K, &values, 256).unwrap();
    assert_eq!(
        message(matrix.matmul(&short, &mut out)),
        "a column of the activations, in values, is 256 long, and must be 512, as a row of the weights"
    );
    let error = message(Activations::new(GgmlType::Q4_K, &values, 500).map(drop));
    assert_eq!(
        error,
        "the row, in values, is 500 long, and must be a multiple of 256, the values in a block of Q4_K"
    );
    let error = message(Activations::new(GgmlType::Q4_K, &values[1..], 512).map(drop));
    assert_eq!(error, "the activations, in values, is 3071 long, and must be whole columns of 512");
    let error = message(Activations::new(GgmlType::I32, &values, 512).map(drop));
    assert_eq!(error, "weights of type I32 cannot be multiplied: it is for numbers that are not weights");
    assert!(matches!(Matrix::new(GgmlType::Q4_K, &bytes[1..], 512), Err(Error::Length { .. })));
    assert!(matches!(matrix.rows(3..71), Err(Error::OutOfRange { found: 71, count: 70, .. })));
    assert!(matches!(matrix.dot(70, &x), Err(Error::OutOfRange { found: 70, .. })));
    assert!(matches!(x.select(&[0, 6]), Err(Error::OutOfRange { found: 6, count: 6, .. })));
    let mut scratch = Scratch::new();
    assert!(matches!(
        matrix.matmul_strided(&x, &mut out, 69, &mut scratch),
        Err(Error::Length { found: 69, .. })
    ));
    assert!(matches!(matrix.matmul_strided(&x, &mut out, 71, &mut scratch), Err(Error::Length { .. })));

    let shape = Shape::new(&[512, 70]).unwrap();
    let tensor = |order| Tensor::new("w", shape, GgmlType::Q4_K, order, &bytes).unwrap();
    assert_eq!(tensor(ByteOrder::Little).matrix().unwrap().row_count(), 70);
    assert_eq!(
        message(tensor(ByteOrder::Big).matrix().map(drop)),
        "tensor 'w' is in big-endian byte order, and weights are multiplied as little-endian blocks: convert the file first"
    );
    assert!(matches!(tensor(ByteOrder::Little).experts(), Err(Error::Length { found: 2, .. })));
}

#[test]
fn nothing_is_a_product_too() {
    let (bytes, values) = example();
    let matrix = Matrix::new(GgmlType::Q4_K, &bytes, 512).unwrap();
    let x = Activations::new::<f32>(GgmlType::Q4_K, &[], 512).unwrap();
    assert_eq!(x.columns(), 0);
    matrix.matmul(&x, &mut []).unwrap();
    assert!(matches!(matrix.dot(0, &x), Err(Error::OutOfRange { what: "column", .. })));
    let none = matrix.rows(3..3).unwrap();
    let x = Activations::new(GgmlType::Q4_K, &values, 512).unwrap();
    none.matmul(&x, &mut []).unwrap();
    let empty = Matrix::new(GgmlType::Q4_K, &[], 0).unwrap();
    assert_eq!((empty.row_count(), empty.row_len()), (0, 0));
}

#[test]
fn rows_are_looked_up() {
    let (bytes, _) = example();
    let matrix = Matrix::new(GgmlType::Q4_K, &bytes, 512).unwrap();
    let mut all = vec![0.0f32; 70 * 512];
    dequantize(GgmlType::Q4_K, &bytes, &mut all).unwrap();
    let mut out = vec![0.0f32; 3 * 512];
    matrix.gather_rows(&[69, 0, 69], &mut out).unwrap();
    for (out, row) in out.chunks(512).zip([69, 0, 69]) {
        assert_eq!(out, &all[row * 512..][..512]);
    }
    assert!(matches!(matrix.gather_rows(&[70], &mut out[..512]), Err(Error::OutOfRange { .. })));
    assert!(matches!(matrix.gather_rows(&[usize::MAX], &mut out[..512]), Err(Error::OutOfRange { .. })));
    assert!(matches!(matrix.gather_rows(&[1], &mut out), Err(Error::Length { .. })));
}
