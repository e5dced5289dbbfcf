//! Floats of 4 and 8 bits, bitsandbytes, and planes of rows, in every variant, compared with their formulas.

use super::*;

const E2M1: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

#[test]
fn floats_of_four_and_eight_bits_are_read_in_blocks() {
    let (rows, cols) = (5, 64);
    let q = codes(rows * cols, 4);
    let packed = nibbles(&q);
    let powers: Vec<u8> = codes(rows * 2, 3).iter().map(|code| *code as u8 + 120).collect();
    let power = |row: usize, col: usize| 2f32.powi(i32::from(powers[row * 2 + col / 32]) - 127);
    let wanted = |row: usize, col: usize| E2M1[q[row * cols + col] as usize] * power(row, col);
    // gpt-oss: the name has no suffix.
    let parts = [
        ("w.weight_blocks", vec![5, 2, 16], Dtype::U8, packed.clone()),
        ("w.weight_scales", vec![5, 2], Dtype::U8, powers.clone()),
    ];
    Wanted { rows, cols }.check(r#"{"quantization_config": {"quant_method": "mxfp4"}}"#, &parts, wanted);
    let parts = [
        ("w.weight_packed", vec![5, 32], Dtype::U8, packed.clone()),
        ("w.weight_scale", vec![5, 2], Dtype::U8, powers.clone()),
    ];
    Wanted { rows, cols }.check(&compressed("{}"), &parts, wanted);
    let eight: Vec<u8> = codes(rows * cols, 6).iter().map(|code| *code as u8).collect();
    let parts = [
        ("w.weight", vec![5, 64], Dtype::F8_E4M3, eight.clone()),
        ("w.weight_scale", vec![5, 2], Dtype::U8, powers.clone()),
    ];
    Wanted { rows, cols }
        .check(&compressed("{}"), &parts, |row, col| e4m3(eight[row * cols + col]) * power(row, col));
    // NVFP4: a factor in ModelOpt, a divisor in compressed-tensors.
    let s: Vec<u8> = codes(rows * 4, 6).iter().map(|code| *code as u8 + 16).collect();
    let scale = |row: usize, col: usize| e4m3(s[row * 4 + col / 16]);
    let parts = [
        ("w.weight", vec![5, 32], Dtype::U8, packed.clone()),
        ("w.weight_scale", vec![5, 4], Dtype::F8_E4M3, s.clone()),
        ("w.weight_scale_2", vec![], Dtype::F32, floats([0.3])),
        ("w.input_scale", vec![], Dtype::F32, floats([0.1])),
    ];
    let config = r#"{"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}"#;
    Wanted { rows, cols }
        .check(config, &parts, |row, col| E2M1[q[row * cols + col] as usize] * (scale(row, col) * 0.3));
    // Smoothed: what inputs are multiplied by.
    let pre = scales(cols);
    let smoothed = ("w.pre_quant_scale", vec![64], Dtype::F32, floats(pre.clone()));
    let [first, second, third, fourth] = parts;
    let config = r#"{"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4_AWQ"}}"#;
    Wanted { rows, cols }.check(config, &[first, second, third, fourth, smoothed.clone()], |row, col| {
        E2M1[q[row * cols + col] as usize] * (scale(row, col) * 0.3) * pre[col]
    });
    let of_rows = scales(rows);
    let parts = [
        ("w.weight", vec![5, 64], Dtype::I8, eight.clone()),
        ("w.weight_scale", vec![5], Dtype::F32, floats(of_rows.clone())),
        smoothed,
    ];
    let config =
        r#"{"quantization_config": {"quant_method": "modelopt", "quant_algo": "W8A8_SQ_PER_CHANNEL"}}"#;
    Wanted { rows, cols }
        .check(config, &parts, |row, col| f32::from(eight[row * cols + col] as i8) * of_rows[row] * pre[col]);
    // In blocks, with extents of 1 between; one block down, and two across.
    let of_blocks = scales(2);
    let parts = [
        ("w.weight", vec![5, 64], Dtype::F8_E4M3, eight.clone()),
        ("w.weight_scale", vec![1, 1, 2, 1], Dtype::F32, floats(of_blocks.clone())),
    ];
    let config = r#"{"quantization_config": {"quant_method": "modelopt", "quant_algo": "fp8_pb_wo", "weight_block_size": [8, 32]}}"#;
    Wanted { rows, cols }
        .check(config, &parts, |row, col| e4m3(eight[row * cols + col]) * of_blocks[col / 32]);
    let parts = [
        ("w.weight_packed", vec![5, 32], Dtype::U8, packed),
        ("w.weight_scale", vec![5, 4], Dtype::F8_E4M3, s.clone()),
        ("w.weight_global_scale", vec![1], Dtype::F32, floats([700.0])),
    ];
    Wanted { rows, cols }.check(&compressed("{}"), &parts, |row, col| {
        E2M1[q[row * cols + col] as usize] * (scale(row, col) / 700.0)
    });
}

#[test]
fn bitsandbytes_is_read_from_any_storage_and_with_nested_scales() {
    let (rows, cols) = (3, 50);
    let q = codes(rows * cols, 4);
    let packed: Vec<u8> = q.chunks(2).map(|pair| (pair[0] << 4 | pair.get(1).unwrap_or(&0)) as u8).collect();
    let map: Vec<f32> = (0..16).map(|code| (code as f32 - 7.5) / 7.5).collect();
    let state = r#"{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [3, 50]"#;
    let absmax = scales(3);
    // 75 bytes is an odd number; with one more column, the codes can also be stored in 16-bit elements.
    let parts = |storage: (Vec<u64>, Dtype), state: &str, scales: Vec<Part>| {
        let mut parts = vec![
            ("w.weight", storage.0, storage.1, packed.clone()),
            ("w.weight.quant_map", vec![16], Dtype::F32, floats(map.clone())),
            (
                "w.weight.quant_state.bitsandbytes__nf4",
                vec![state.len() as u64],
                Dtype::U8,
                state.as_bytes().to_vec(),
            ),
        ];
        parts.extend(scales);
        parts
    };
    let config = r#"{"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}}"#;
    let stored = vec![("w.weight.absmax", vec![3], Dtype::F32, floats(absmax.clone()))];
    for storage in [(vec![75, 1], Dtype::U8), (vec![1, 75], Dtype::I8), (vec![25, 3], Dtype::U8)] {
        let parts = parts(storage, &format!("{state}}}"), stored.clone());
        Wanted { rows, cols }.check(config, &parts, |row, col| {
            let at = row * cols + col;
            map[q[at] as usize] * absmax[at / 64]
        });
    }
    let outer = scales(2);
    let nested_map: Vec<f32> = (0..256).map(|code| code as f32 / 256.0 - 0.5).collect();
    let nested = vec![
        ("w.weight.absmax", vec![3], Dtype::U8, vec![3, 200, 77]),
        ("w.weight.nested_absmax", vec![2], Dtype::F32, floats(outer.clone())),
        ("w.weight.nested_quant_map", vec![256], Dtype::F32, floats(nested_map.clone())),
    ];
    let more = r#", "nested_blocksize": 2, "nested_dtype": "float32", "nested_offset": 0.25}"#;
    let whole = parts((vec![75, 1], Dtype::U8), &format!("{state}{more}"), nested);
    Wanted { rows, cols }.check(config, &whole, |row, col| {
        let at = row * cols + col;
        let block = at / 64;
        map[q[at] as usize] * (nested_map[[3, 200, 77][block]] * outer[block / 2] + 0.25)
    });
    // Absurd and missing parts.
    for (from, to, wanted) in [
        ("\"blocksize\": 64", "\"blocksize\": 0", "'blocksize', from 1"),
        ("\"blocksize\": 64", "\"blocksize\": 4611686018427387904", "'blocksize', from 1"),
        ("[3, 50]", "[3, 51]", "77 bytes"),
        ("[3, 50]", "[4294967296, 4294967296]", "extents"),
        ("[3, 50]", "[-3, 50]", "'shape'"),
        ("\"shape\"", "\"shame\"", "'shape'"),
    ] {
        let parts = parts((vec![75, 1], Dtype::U8), &format!("{state}}}").replace(from, to), stored.clone());
        let error = problem(config, &parts);
        assert!(error.contains(wanted) && error.contains("bitsandbytes 4 bit"), "{error}");
    }
    let q: Vec<u8> = codes(rows * cols, 8).iter().map(|code| *code as u8).collect();
    let scb = [1.5f32, 0.3, 127.0];
    let mut parts = vec![
        ("w.weight", vec![3, 50], Dtype::I8, q.clone()),
        ("w.SCB", vec![3], Dtype::F32, floats(scb)),
        ("w.weight_format", vec![], Dtype::U8, vec![0]),
    ];
    Wanted { rows, cols }
        .check(config, &parts, |row, col| f32::from(q[row * cols + col] as i8) * (scb[row] / 127.0));
    parts[2].3 = vec![1];
    assert!(problem(config, &parts).contains("'w.weight_format'"));
}

#[test]
fn planes_of_rows_are_read() {
    // BitNet: four planes.
    let (rows, cols) = (8, 12);
    let q: Vec<u32> = codes(rows * cols, 4).iter().map(|code| code % 3).collect();
    let packed: Vec<u8> = (0..2 * cols)
        .map(|at| (0..4).map(|plane| q[plane * 2 * cols + at] << (2 * plane)).sum::<u32>() as u8)
        .collect();
    let parts = |scale: f32| {
        [
            ("w.weight", vec![2, 12], Dtype::U8, packed.clone()),
            ("w.weight_scale", vec![1], Dtype::BF16, bf16s(&[scale])),
        ]
    };
    let config = |class: &str| format!(r#"{{"quantization_config": {{"quant_method": "bitnet"{class}}}}}"#);
    Wanted { rows, cols }
        .check(&config(""), &parts(3.0), |row, col| (q[row * cols + col] as f32 - 1.0) / 3.0);
    Wanted { rows, cols }.check(&config(r#", "linear_class": "autobitlinear""#), &parts(3.0), |row, col| {
        (q[row * cols + col] as f32 - 1.0) * 3.0
    });
    assert!(problem(&config(""), &parts(0.0)).contains("another number than 0"));
    assert!(problem(&config(""), &parts(f32::NAN)).contains("finite"));

    // HQQ: halves, quarters, … of the rows of groups.
    for (bits, per, unit) in [(8u32, 1, 1), (4, 2, 1), (3, 10, 4), (2, 4, 1), (1, 8, 1)] {
        for (axis, group) in [(0, 16), (1, 16), (1, 0)] {
            let (rows, cols) = (8, 48);
            let (down, across) = match (axis, group) {
                (_, 0) => (rows, cols),
                (0, _) => (group, rows * cols / group),
                _ => (rows * cols / group, group),
            };
            let q = codes(rows * cols, bits);
            let planes = down.div_ceil(per);
            let words: Vec<u32> = (0..planes * across)
                .map(|at| {
                    let of_plane = |plane: usize| q.get(plane * planes * across + at).copied().unwrap_or(0);
                    let top = if bits == 3 { 27 } else { 8 - bits };
                    (0..per).map(|plane| of_plane(plane) << (top - bits * plane as u32)).sum()
                })
                .collect();
            let stored = match unit {
                1 => words.iter().map(|word| *word as u8).collect(),
                _ => word_bytes(words),
            };
            let count = if axis == 1 { down } else { across };
            let (s, z) = (scales(count), scales(count + 1)[..count].to_vec());
            let text = if bits == 3 { "3bit_32".to_owned() } else { format!("{bits}bit_u8") };
            let int = |number: u32| number.to_le_bytes().to_vec();
            let mut parts = vec![
                (
                    "w.W_q",
                    vec![planes as u64, across as u64],
                    if unit == 1 { Dtype::U8 } else { Dtype::I32 },
                    stored,
                ),
                ("w.scale", vec![count as u64], Dtype::F16, f16s(&s)),
                ("w.zero", vec![count as u64], Dtype::F32, floats(z.clone())),
                ("w.nbits", vec![], Dtype::I32, int(bits)),
                ("w.axis", vec![], Dtype::I32, int(axis)),
                (
                    "w.shape",
                    vec![2],
                    Dtype::I64,
                    [8u64, 48].iter().flat_map(|extent| extent.to_le_bytes()).collect(),
                ),
                ("w.packing", vec![text.len() as u64], Dtype::U8, text.as_bytes().to_vec()),
                ("w.view_as_float", vec![], Dtype::U8, vec![0]),
                ("w.quant_scale", vec![], Dtype::U8, vec![0]),
            ];
            if group > 0 {
                parts.push(("w.group_size", vec![], Dtype::I32, int(group as u32)));
            }
            let config = r#"{"quantization_config": {"quant_method": "hqq"}}"#;
            Wanted { rows, cols }.check(config, &parts, |row, col| {
                let at = row * cols + col;
                let group = if axis == 1 { at / across } else { at % across };
                (q[at] as f32 - z[group]) * s[group]
            });
            parts[8].3 = vec![1];
            assert!(problem(config, &parts).contains("quantized themselves"));
        }
    }

    // quanto: low bits first.
    let config = r#"{"quantization_config": {"quant_method": "quanto"}, "hidden_size": 48}"#;
    for (bits, per) in [(4, 2), (2, 4)] {
        let (rows, cols, groups, width) = (6, 48, 18, 16);
        let q = codes(rows * cols, bits);
        let planes = groups / per + usize::from(groups % per != 0);
        let packed = (0..planes * width)
            .map(|at| {
                let of_plane = |plane: usize| q.get(plane * planes * width + at).copied().unwrap_or(0);
                (0..per).map(|plane| of_plane(plane) << (bits * plane as u32)).sum::<u32>() as u8
            })
            .collect::<Vec<u8>>();
        let (s, z) = (scales(groups), scales(groups + 1)[..groups].to_vec());
        let integers: Vec<u8> = codes(groups, 3).iter().map(|code| *code as u8).collect();
        let name = "a.q_proj.weight";
        let parts = |shift: Part| {
            [
                ("a.q_proj.weight._data._data", vec![planes as u64, width as u64], Dtype::U8, packed.clone()),
                ("a.q_proj.weight._scale", vec![groups as u64, 1], Dtype::F32, floats(s.clone())),
                shift,
                ("a.q_proj.input_scale", vec![], Dtype::F32, vec![0; 4]),
            ]
        };
        let shift = |dtype, bytes| ("a.q_proj.weight._shift", vec![groups as u64, 1], dtype, bytes);
        let (shape, found) = values(config, &parts(shift(Dtype::F32, floats(z.clone()))), name).unwrap();
        assert_eq!(shape, [6, 48]);
        let wanted: Vec<f32> =
            (0..rows * cols).map(|at| q[at] as f32 * s[at / width] - z[at / width]).collect();
        assert_eq!(found, wanted);
        let (_, found) = values(config, &parts(shift(Dtype::I8, integers.clone())), name).unwrap();
        let wanted: Vec<f32> = (0..rows * cols)
            .map(|at| (q[at] as f32 - f32::from(integers[at / width])) * s[at / width])
            .collect();
        assert_eq!(found, wanted);
    }
    let q: Vec<u8> = codes(40, 8).iter().map(|code| *code as u8).collect();
    let s = scales(4);
    let parts = [
        ("w.weight._data", vec![4, 10], Dtype::I8, q.clone()),
        ("w.weight._scale", vec![4, 1], Dtype::F32, floats(s.clone())),
    ];
    Wanted { rows: 4, cols: 10 }
        .check(config, &parts, |row, col| f32::from(q[row * 10 + col] as i8) * s[row]);

    // ModelOpt's INT4: two rows in a byte, and a factor for each column.
    let (rows, cols) = (6, 8);
    let q = codes(rows * cols, 4);
    let packed: Vec<u8> = (0..3 * cols)
        .map(|at| {
            (q[at / cols * 2 * cols + at % cols] | q[(at / cols * 2 + 1) * cols + at % cols] << 4) as u8
        })
        .collect();
    let (s, pre) = (scales(12), scales(8));
    let parts = [
        ("w.weight", vec![3, 8], Dtype::U8, packed),
        ("w.weight_scale", vec![6, 2], Dtype::F32, floats(s.clone())),
        ("w.pre_quant_scale", vec![8], Dtype::F32, floats(pre.clone())),
    ];
    let config = r#"{"quantization_config": {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ", "group_size": 4}}"#;
    Wanted { rows, cols }.check(config, &parts, |row, col| {
        let code = q[row * cols + col] as i32;
        (code - if code > 7 { 16 } else { 0 }) as f32 * s[row * 2 + col / 4] * pre[col]
    });
}
