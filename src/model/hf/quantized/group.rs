//! [`Group`]: what a configuration of compressed-tensors says of some modules, and which modules these are.

use regex_lite::Regex;

use crate::model::hf::json::Node;

/// What a group of modules is quantized to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) bits: Option<u64>,
    pub(super) is_float: bool,
    pub(super) symmetric: bool,
    pub(super) width: Option<u64>,
    pub(super) block: Option<(u64, u64)>,
    /// Whether columns are sorted, so that an index of groups is needed.
    pub(super) by_group: bool,
}

/// How a group means a module: by its name before by its class, and a group without targets last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Means {
    ByName,
    ByClass,
    Perhaps,
}

/// The groups of `config_groups` that a module can be of: those that mean it by name, or else those that mean classes of modules, or else
/// all, since names in files are not always those of modules.
pub(super) fn of_module(groups: &Node<'_>, module: &str) -> Vec<Group> {
    let names = groups.value.as_object().into_iter().flat_map(|object| object.keys());
    let found = names.filter_map(|name| {
        let node = groups.get(name)?;
        Some((means(&node, module), group(&node)?))
    });
    let found: Vec<(Option<Means>, Group)> = found.collect();
    let best = found.iter().filter_map(|(means, _)| *means).min();
    let is_best = |means: Option<Means>| best.is_none() || means == best;
    found.into_iter().filter(|(means, _)| is_best(*means)).map(|(_, group)| group).collect()
}

fn group(node: &Node<'_>) -> Option<Group> {
    let weights = node.get("weights")?;
    let number = |key: &str| weights.get(key).and_then(|number| number.value.as_u64());
    Some(Group {
        bits: number("num_bits"),
        is_float: weights.get("type").and_then(|kind| kind.value.as_str()) == Some("float"),
        symmetric: weights.get("symmetric").and_then(|flag| flag.value.as_bool()).unwrap_or(true),
        width: number("group_size"),
        block: weights.any(&["block_structure", "block_size"]).and_then(|block| pair(&block)),
        by_group: weights.get("actorder").is_some_and(|order| {
            order.value.as_str() == Some("group") || order.value.as_bool() == Some(true)
        }),
    })
}

/// Two numbers, as of rows and columns.
pub(super) fn pair(node: &Node<'_>) -> Option<(u64, u64)> {
    match node.value.as_array()?.as_slice() {
        [rows, cols] => Some((rows.as_u64()?, cols.as_u64()?)),
        _ => None,
    }
}

/// A target is a module's name, an expression after `re:` that matches from the start of the name, or a class such as `Linear`.
fn means(group: &Node<'_>, module: &str) -> Option<Means> {
    let Some(targets) = group.get("targets") else { return Some(Means::Perhaps) };
    let targets = targets.value.as_array().into_iter().flatten().filter_map(|target| target.as_str());
    let each = targets.filter_map(|target| match target.strip_prefix("re:") {
        Some(expression) => match Regex::new(&format!("^(?:{expression})")) {
            Ok(expression) => expression.is_match(module).then_some(Means::ByName),
            // It looks ahead or behind, which only Python's expressions can.
            Err(_) => Some(Means::Perhaps),
        },
        None if target == module => Some(Means::ByName),
        // Modules have names within names, classes do not.
        None => (!target.contains('.')).then_some(Means::ByClass),
    });
    each.min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hf::json::Document;

    #[test]
    fn a_module_is_of_the_groups_that_mean_it() {
        let groups = r#"{
            "a": {"targets": ["Linear"], "weights": {"num_bits": 8}},
            "b": {"targets": ["re:.*\\.(gate|up)_proj$", "model.layers.1.mlp.down_proj"], "weights": {"num_bits": 4}},
            "c": {"targets": ["re:model\\.layers\\.[01]\\.self_attn"], "weights": {"num_bits": 3}},
            "d": {"targets": ["re:self_attn"], "weights": {"num_bits": 2}},
            "e": {"targets": ["Linear"]}
        }"#;
        let bits = |text: &str, module: &str| {
            let json = Document::parse("config.json", text.as_bytes()).unwrap();
            of_module(&json.root(), module).iter().map(|group| group.bits.unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(bits(groups, "model.layers.0.mlp.up_proj"), [4]);
        assert_eq!(bits(groups, "model.layers.1.mlp.down_proj"), [4]);
        assert_eq!(bits(groups, "model.layers.11.mlp.down_proj"), [8]);
        // From the start, and not to the end.
        assert_eq!(bits(groups, "model.layers.1.self_attn.q_proj"), [3]);
        assert_eq!(bits(groups, "model.layers.12.self_attn.q_proj"), [8]);
        // Nothing is known where names are others or the expression is Python's alone.
        let ahead = r#"{"a": {"targets": ["re:(?!lm_head).*"], "weights": {"num_bits": 4}}, "b": {"weights": {"num_bits": 8}}}"#;
        assert_eq!(bits(ahead, "x"), [4, 8]);
        assert_eq!(bits(r#"{"a": {"targets": ["other.name"], "weights": {"num_bits": 4}}}"#, "x"), [4]);
        // Deep or long expressions end too.
        let long =
            format!(r#"{{"a": {{"targets": ["re:{}"], "weights": {{"num_bits": 4}}}}}}"#, "(".repeat(5000));
        assert_eq!(bits(&long, "x"), [4]);
        let slow = r#"{"a": {"targets": ["re:(a*)*b"], "weights": {"num_bits": 4}}, "b": {"targets": ["Linear"], "weights": {"num_bits": 8}}}"#;
        assert_eq!(bits(slow, &"a".repeat(3000)), [8]);
    }
}
