//! [`Config`]: what `quantization_config` and the files like it say.

use super::group::{self, Group};
use super::stated::of_files;
use crate::model::hf::description::Description;
use crate::model::hf::json::Node;
use crate::safetensors::Dtype;

pub(super) struct Config<'a> {
    node: Option<Node<'a>>,
    /// The root of `config.json`.
    model: Option<Node<'a>>,
    /// In small letters; empty where nothing names one.
    method: String,
    /// The type that the model is used in.
    pub(super) dtype: Dtype,
}

/// Methods whose checkpoints are read, by the beginnings of their names.
const READ: &[&str] = &[
    "gptq",
    "awq",
    "auto-round",
    "intel/auto-round",
    "autoround",
    "bitsandbytes",
    "compressed",
    "fp8",
    "fbgemm",
    "mxfp4",
    "modelopt",
    "bitnet",
    "torchao",
    "hqq",
    "quanto",
    "awq or hqq",
    "fine_grained_fp8",
    "finegrained",
];

impl<'a> Config<'a> {
    pub(super) fn of(description: &'a Description) -> Self {
        let model = description.config.as_ref().map(|config| config.root());
        let text =
            |key: &str| model.as_ref().and_then(|model| model.get(key)?.value.as_str().map(str::to_owned));
        let in_text =
            model.as_ref().and_then(|model| model.get("text_config")?.any(&["dtype", "torch_dtype"]));
        let dtype = text("dtype")
            .or(text("torch_dtype"))
            .or(in_text.and_then(|node| node.value.as_str().map(str::to_owned)));
        let dtype = match dtype.as_deref() {
            Some("float16" | "torch.float16" | "half") => Dtype::F16,
            _ => Dtype::BF16,
        };
        let (node, method) = match of_files(description) {
            Some((node, method)) => (Some(node), method.to_ascii_lowercase()),
            None => (None, String::new()),
        };
        Config { node, model, method, dtype }
    }

    /// Whether nothing speaks of a method that is not read.
    pub(super) fn may_be_read(&self) -> bool {
        self.method.is_empty() || READ.iter().any(|method| self.method.starts_with(method))
    }

    pub(super) fn is_method(&self, start: &str) -> bool {
        self.method.starts_with(start)
    }

    /// Whether floats of 8 bits are those of a quantization, whatever is beside them.
    pub(super) fn has_fp8(&self) -> bool {
        ["fp8", "fbgemm", "compressed", "modelopt", "fine"]
            .iter()
            .any(|method| self.method.starts_with(method))
    }

    pub(super) fn get(&self, key: &str) -> Option<Node<'a>> {
        self.node.as_ref()?.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.value.as_str()
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.value.as_bool()
    }

    /// A number of `config.json` itself, or of its `text_config`.
    pub(super) fn of_model(&self, key: &str) -> Option<u64> {
        let model = self.model.as_ref()?;
        let number = |node: &Node<'_>| node.get(key).and_then(|number| number.value.as_u64());
        number(model).or_else(|| number(&model.get("text_config")?))
    }

    /// An integer, which may be −1.
    pub(super) fn integer(&self, key: &str) -> Option<i64> {
        self.get(key)?.value.as_i64()
    }

    /// The groups of the configuration that a module can be of.
    pub(super) fn groups(&self, module: &str) -> Vec<Group> {
        self.get("config_groups").map_or(Vec::new(), |groups| group::of_module(&groups, module))
    }

    /// Rows and columns of a block of a module's weight.
    pub(super) fn block(&self, module: &str) -> Option<(u64, u64)> {
        self.get("weight_block_size")
            .and_then(|block| group::pair(&block))
            .or_else(|| self.groups(module).into_iter().find_map(|group| group.block))
    }
}
