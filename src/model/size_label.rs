//! `general.size_label`: the number of parameters in two digits or more.

use alloc::format;
use alloc::string::String;

use crate::tensor::Shape;

/// Returns the label for a model of these tensors, by their names and shapes. With `experts`, that of a mixture: their number times
/// what a model of one expert has.
pub(super) fn size_label<'t>(
    tensors: impl IntoIterator<Item = (&'t str, Shape)>,
    experts: Option<u32>,
) -> String {
    let (mut stacked, mut others) = (0u128, 0u128);
    for (name, shape) in tensors {
        let count = u128::from(shape.element_count());
        let is_stack = name.contains("_exps.") && shape.dims().len() == 3;
        let sum = if is_stack { &mut stacked } else { &mut others };
        *sum = sum.saturating_add(count);
    }
    match experts.filter(|&experts| experts > 0) {
        Some(experts) => {
            format!("{experts}x{}", rounded(others.saturating_add(stacked / u128::from(experts))))
        }
        None => rounded(others.saturating_add(stacked)),
    }
}

/// A number with two digits or more, such as `1.1B` and `135M`.
fn rounded(parameters: u128) -> String {
    let parameters = parameters as f64;
    let (scaled, unit) = match parameters {
        p if p > 1e12 => (p * 1e-12, 'T'),
        p if p > 1e9 => (p * 1e-9, 'B'),
        p if p > 1e6 => (p * 1e-6, 'M'),
        p => (p * 1e-3, 'K'),
    };
    let digits = format!("{scaled:.0}").trim_start_matches('0').len();
    format!("{scaled:.*}{unit}", 2usize.saturating_sub(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_labelled_as_gguf_py_does() {
        for (parameters, label) in [
            (22_565_376, "23M"),
            (134_515_008, "135M"),
            (1_100_048_384, "1.1B"),
            (0, "0.00K"),
            (1500, "1.5K"),
            (999_999, "1000K"),
        ] {
            assert_eq!(rounded(parameters), label);
        }
    }

    #[test]
    fn experts_count_once_in_a_mixture() {
        let tensors = [
            ("token_embd.weight", &[1000, 1000][..]),
            ("blk.0.ffn_up_exps.weight", &[1000, 1000, 8]),
            ("blk.0.ffn_up_exps.bias", &[1000, 8]),
        ];
        let tensors = tensors.map(|(name, dims)| (name, Shape::new(dims).unwrap()));
        assert_eq!(size_label(tensors, Some(8)), "8x2.0M");
        assert_eq!(size_label(tensors, None), "9.0M");
    }
}
