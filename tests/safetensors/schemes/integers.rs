//! GPTQ, AWQ and the integers of compressed-tensors, in every variant, compared with their formulas.

use super::*;

fn gptq(bits: u32, rows: usize, cols: usize, width: usize, v2: bool, order: bool) {
    let groups = cols.div_ceil(width);
    let (q, z, s) = (codes(rows * cols, bits), codes(rows * groups, bits), scales(rows * groups));
    let index: Vec<usize> = (0..cols).map(|col| if order { col * 7 % groups } else { col / width }).collect();
    let down: Vec<Vec<u32>> = q.chunks(cols).map(|row| stream(row, bits)).collect();
    let qweight = transposed(&down.concat(), rows);
    let qzeros: Vec<u32> = transposed(&z, rows).chunks(rows).flat_map(|row| stream(row, bits)).collect();
    let (words, zero_words) = (qweight.len() / rows, qzeros.len() / groups);
    let mut parts = vec![
        ("w.qweight", vec![words as u64, rows as u64], Dtype::I32, word_bytes(qweight)),
        ("w.qzeros", vec![groups as u64, zero_words as u64], Dtype::I32, word_bytes(qzeros)),
        ("w.scales", vec![groups as u64, rows as u64], Dtype::F16, f16s(&transposed(&s, rows))),
    ];
    if order {
        let index = word_bytes(index.iter().map(|&group| group as u32));
        parts.push(("w.g_idx", vec![cols as u64], Dtype::I32, index));
    }
    let group_size = if width == cols { -1 } else { width as i64 };
    let config = format!(
        r#"{{"quantization_config": {{"quant_method": "gptq", "bits": {bits}, "group_size": {group_size}, "desc_act": {order},
            "checkpoint_format": "{}"}}}}"#,
        if v2 { "gptq_v2" } else { "gptq" }
    );
    Wanted { rows, cols }.check(&config, &parts, |row, col| {
        let group = index[col];
        let zero = z[row * groups + group] as f32 + if v2 { 0.0 } else { 1.0 };
        (q[row * cols + col] as f32 - zero) * s[row * groups + group]
    });
}

#[test]
fn gptq_is_read_in_all_its_bits_and_orders() {
    for bits in [2, 3, 4, 8] {
        for (rows, cols, width) in [(32, 64, 32), (64, 96, 96), (1056, 64, 16)] {
            gptq(bits, rows, cols, width, false, false);
            gptq(bits, rows, cols, width, true, false);
            gptq(bits, rows, cols, width, false, true);
        }
    }
}

#[test]
fn awq_is_read_with_and_without_zero_points() {
    let order = [0, 2, 4, 6, 1, 3, 5, 7];
    for (rows, cols, width) in [(16, 32, 16), (1064, 24, 24)] {
        let groups = cols / width;
        let (q, z, s) = (codes(rows * cols, 4), codes(rows * groups, 4), scales(rows * groups));
        let pack = |codes: &[u32]| -> Vec<u32> {
            let rows_of = transposed(codes, rows);
            rows_of.chunks(8).map(|eight| (0..8).map(|i| eight[order[i]] << (4 * i)).sum()).collect()
        };
        let across = (rows / 8) as u64;
        let mut parts = vec![
            ("w.qweight", vec![cols as u64, across], Dtype::I32, word_bytes(pack(&q))),
            ("w.scales", vec![groups as u64, rows as u64], Dtype::F16, f16s(&transposed(&s, rows))),
        ];
        let config = |zero_point| {
            format!(
                r#"{{"quantization_config": {{"quant_method": "awq", "bits": 4, "group_size": {width}, "zero_point": {zero_point},
                    "version": "gemm"}}}}"#
            )
        };
        let at = |row: usize, col: usize| (row * cols + col, row * groups + col / width);
        Wanted { rows, cols }.check(&config(false), &parts, |row, col| {
            let (value, group) = at(row, col);
            (q[value] as f32 - 8.0) * s[group]
        });
        assert!(problem(&config(true), &parts).contains("'w.qzeros' is missing"));
        parts.push(("w.qzeros", vec![groups as u64, across], Dtype::I32, word_bytes(pack(&z))));
        Wanted { rows, cols }.check(&config(true), &parts, |row, col| {
            let (value, group) = at(row, col);
            (q[value] as f32 - z[group] as f32) * s[group]
        });
    }
}

/// Two groups that differ only in their zero points: only the name shows to which one a module belongs.
#[test]
fn a_module_is_quantized_as_the_group_that_means_it_by_name() {
    let (rows, cols, width, bits) = (8usize, 64usize, 32usize, 4u32);
    let across = cols / width;
    let (q, s) = (codes(rows * cols, bits), scales(rows * across));
    let words: Vec<u32> = q.chunks(cols).flat_map(|row| stream(row, bits)).collect();
    let shape = [rows as u64, cols as u64].iter().flat_map(|extent| extent.to_le_bytes()).collect();
    let parts = vec![
        ("w.weight_packed", vec![rows as u64, (words.len() / rows) as u64], Dtype::I32, word_bytes(words)),
        ("w.weight_shape", vec![2], Dtype::I64, shape),
        ("w.weight_scale", vec![rows as u64, across as u64], Dtype::BF16, bf16s(&s)),
    ];
    let config = |of_asymmetric: &str, of_symmetric: &str| {
        let group = |target: &str, symmetric: bool| {
            format!(
                r#"{{"targets": ["{target}"], "weights": {{"num_bits": {bits}, "type": "int", "symmetric": {symmetric}, "group_size": {width}}}}}"#
            )
        };
        compressed(&format!(
            r#"{{"a": {}, "b": {}}}"#,
            group(of_asymmetric, false),
            group(of_symmetric, true)
        ))
    };
    for (asymmetric, symmetric) in [("re:other.*", "w"), ("other", "re:w"), ("Linear", "re:[a-w]$")] {
        Wanted { rows, cols }.check(&config(asymmetric, symmetric), &parts, |row, col| {
            (q[row * cols + col] as f32 - 8.0) * s[row * across + col / width]
        });
        assert!(problem(&config(symmetric, asymmetric), &parts).contains("'w.weight_zero_point' is missing"));
    }
}

#[test]
fn packed_integers_are_read_in_any_bits_and_by_the_group_that_fits() {
    for bits in 2..=8u32 {
        for (rows, cols, width) in [(7usize, 100usize, 32), (40, 64, 64), (33, 96, 16)] {
            let across = cols.div_ceil(width);
            let (q, z, s) = (codes(rows * cols, bits), codes(rows * across, bits), scales(rows * across));
            let rows_of: Vec<u32> = q.chunks(cols).flat_map(|row| stream(row, bits)).collect();
            let words = (rows_of.len() / rows) as u64;
            let shape = [rows as u64, cols as u64].iter().flat_map(|extent| extent.to_le_bytes()).collect();
            let columns: Vec<Vec<u32>> =
                transposed(&z, rows).chunks(rows).map(|column| stream(column, bits)).collect();
            let down = columns[0].len();
            let zeros = transposed(&columns.concat(), across);
            let mut parts = vec![
                ("w.weight_packed", vec![rows as u64, words], Dtype::I32, word_bytes(rows_of)),
                ("w.weight_shape", vec![2], Dtype::I64, shape),
                ("w.weight_scale", vec![rows as u64, across as u64], Dtype::BF16, bf16s(&s)),
            ];
            let config = |symmetric: bool| {
                compressed(&format!(
                    r#"{{"a": {{"weights": {{"num_bits": 8, "type": "float", "strategy": "channel"}}}},
                        "b": {{"weights": {{"num_bits": {bits}, "type": "int", "symmetric": {symmetric}, "group_size": {width}}}}}}}"#
                ))
            };
            let half = (1 << (bits - 1)) as f32;
            Wanted { rows, cols }.check(&config(true), &parts, |row, col| {
                (q[row * cols + col] as f32 - half) * s[row * across + col / width]
            });
            assert!(problem(&config(false), &parts).contains("'w.weight_zero_point' is missing"));
            parts.push((
                "w.weight_zero_point",
                vec![down as u64, across as u64],
                Dtype::I32,
                word_bytes(zeros),
            ));
            Wanted { rows, cols }.check(&config(false), &parts, |row, col| {
                let group = row * across + col / width;
                (q[row * cols + col] as f32 - z[group] as f32) * s[group]
            });
        }
    }
}

#[test]
fn bytes_are_read_with_scales_of_any_shape() {
    let (rows, cols) = (6, 40);
    let q: Vec<u8> = codes(rows * cols, 8).iter().map(|code| *code as u8).collect();
    let weight = ("w.weight", vec![rows as u64, cols as u64], Dtype::I8, q.clone());
    let signed = |row: usize, col: usize| f32::from(q[row * cols + col] as i8);
    let config = compressed(
        r#"{"a": {"weights": {"num_bits": 8, "type": "int", "group_size": 16, "block_structure": [4, 32]}}}"#,
    );
    type By = fn(usize, usize) -> usize;
    let cases: [(Vec<u64>, By); 5] = [
        (vec![], |_, _| 0),
        (vec![1], |_, _| 0),
        (vec![6, 1], |row, _| row),
        (vec![6, 3], |row, col| row * 3 + col / 16),
        (vec![2, 2], |row, col| row / 4 * 2 + col / 32),
    ];
    for (shape, by) in cases {
        let count = shape.iter().product::<u64>() as usize;
        let s = scales(count);
        let parts = [weight.clone(), ("w.weight_scale", shape.clone(), Dtype::F32, floats(s.clone()))];
        Wanted { rows, cols }.check(&config, &parts, |row, col| signed(row, col) * s[by(row, col)]);
        let z: Vec<u8> = codes(count, 3).iter().map(|code| *code as u8).collect();
        let [weight, scale] = parts;
        let parts = [weight, scale, ("w.weight_zero_point", shape, Dtype::I8, z.clone())];
        Wanted { rows, cols }.check(&config, &parts, |row, col| {
            (signed(row, col) - f32::from(z[by(row, col)])) * s[by(row, col)]
        });
    }
    // Each of the stacked matrices has its own blocks, with partial blocks at the edges.
    let s = scales(2 * 2 * 3);
    let q: Vec<u8> = codes(2 * 130 * 300, 6).iter().map(|code| *code as u8).collect();
    let parts = [
        ("w.weight", vec![2, 130, 300], Dtype::F8_E4M3, q.clone()),
        ("w.weight_scale_inv", vec![2, 2, 3], Dtype::F32, floats(s.clone())),
    ];
    let config = r#"{"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}"#;
    let (shape, found) = values(config, &parts, "w.weight").unwrap();
    assert_eq!(shape, [2, 130, 300]);
    for (at, found) in found.iter().enumerate() {
        let (matrix, row, col) = (at / 39000, at / 300 % 130, at % 300);
        assert_eq!(*found, e4m3(q[at]) * s[matrix * 6 + row / 128 * 3 + col / 128], "{at}");
    }
    let q: Vec<u8> = codes(rows * cols, 7).iter().map(|code| *code as u8 & 0x77).collect();
    for (end, shape) in
        [("w.weight_scale", vec![1]), ("w.qscale_weight", vec![]), ("w.weight_scale", vec![6])]
    {
        let s = scales(shape.iter().product::<u64>() as usize);
        let parts = [
            ("w.weight", vec![6, 40], Dtype::F8_E4M3, q.clone()),
            (end, shape, Dtype::BF16, bf16s(&s)),
            ("w.input_scale", vec![], Dtype::F32, vec![0; 4]),
            ("w.qscale_act", vec![], Dtype::F32, vec![0; 4]),
        ];
        Wanted { rows, cols }.check(
            r#"{"quantization_config": {"quant_method": "fp8"}}"#,
            &parts,
            |row, col| e4m3(q[row * cols + col]) * s[row % s.len()],
        );
    }
}
