//! [`Edit`]: changes keys and names. The tensors' data is unchanged.

mod apply;
mod change;
mod checks;
mod layer_rules;
mod layers;
mod plan;
mod renames;
mod template;

pub use self::apply::Edited;
pub use self::change::EditChange;
pub use self::plan::EditPlan;
use crate::byte_order::ByteOrder;
use crate::file::Existing;
use crate::gguf::ValueKind;
use crate::gguf::value::Value;

/// Changes to a model's metadata, and tensors to rename or remove.
///
/// Keys that are set keep their places and their types. New keys follow the others. The data is never decoded. It keeps its byte
/// order, and moves if the header's length or `general.alignment` changes.
///
/// Removing and renaming refer to the names in the input file, so that two names can be exchanged. Setting, adding and similar
/// changes refer to those in the output file.
///
/// A file that could not be opened with the default [`Limits`](crate::Limits) is not written.
///
/// ```no_run
/// use gguf_codec::model::Edit;
///
/// let mut edit = Edit::new();
/// edit.set("general.name", "My model").remove("general.url").rename_tensor("output", "output.weight");
/// for change in edit.plan("in.gguf")?.changes {
///     println!("{change}"); // general.name: "Model" → "My model" (string)
/// }
/// edit.write("in.gguf", "out.gguf")?;
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "nothing is edited before `write` or `in_place`"]
pub struct Edit {
    put: Vec<(String, Put)>,
    removed: Vec<String>,
    keys: Vec<(String, String)>,
    tensors: Vec<(String, String)>,
    removed_tensors: Vec<String>,
    existing: Existing,
    drop_trailing: bool,
    byte_order: Option<ByteOrder>,
}

/// The change to a key's value.
#[derive(Debug, Clone, PartialEq)]
enum Put {
    Set(Given),
    Element(usize, Given),
    Add(Value),
    SetOrAdd(Value),
    Replace(Value),
    Retype(ValueKind),
}

/// A value that is given the type of the key.
#[derive(Debug, Clone, PartialEq)]
enum Given {
    Value(Value),
    Text(String),
    Bytes(Vec<u8>),
}

impl Edit {
    /// Creates an edit without changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of an existing key, keeping the key's type.
    ///
    /// A value of another type is converted if that is lossless, as by [`ValueKind::convert`]: an integer of any width
    /// that fits, `1e-5` to an `f32`, each element of an array. Anything else is an error, and so is a missing key.
    /// [`add`](Self::add) creates a new key, and [`replace`](Self::replace) changes the type.
    ///
    /// ```
    /// use gguf_codec::Gguf;
    /// use gguf_codec::model::Edit;
    ///
    /// # let folder = std::env::temp_dir().join(format!("gguf-codec-doc-set-{}", std::process::id()));
    /// # std::fs::create_dir_all(&folder)?;
    /// # let path = folder.join("model.gguf");
    /// # std::fs::copy("examples/sample.gguf", &path)?;
    /// let mut edit = Edit::new();
    /// edit.set("llama.context_length", 16384); // an i32, and a u32 in the file
    /// assert_eq!(edit.plan(&path)?.changes[0].to_string(), "llama.context_length: 2048 → 16384 (u32)");
    ///
    /// let mut typo = Edit::new();
    /// typo.set("llama.context_lenght", 16384);
    /// assert_eq!(
    ///     typo.plan(&path).unwrap_err().to_string(),
    ///     "the metadata has no key 'llama.context_lenght'; is it 'llama.context_length'?"
    /// );
    /// # std::fs::remove_dir_all(&folder)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.put(key, Put::Set(Given::Value(value.into())))
    }

    /// Like [`set`](Self::set), with a value that [`ValueKind::parse_value`] parses from text according to the key's type.
    pub fn set_text(&mut self, key: impl Into<String>, text: impl Into<String>) -> &mut Self {
        self.put(key, Put::Set(Given::Text(text.into())))
    }

    /// Like [`set_text`](Self::set_text), with the contents of a file: bytes for a string, UTF-8 or not, and for other
    /// types text that may end with line breaks.
    pub fn set_bytes(&mut self, key: impl Into<String>, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.put(key, Put::Set(Given::Bytes(bytes.into())))
    }

    /// Sets one element of an array, keeping the element type. The other elements are unchanged.
    pub fn set_element(
        &mut self,
        key: impl Into<String>,
        index: usize,
        value: impl Into<Value>,
    ) -> &mut Self {
        self.put(key, Put::Element(index, Given::Value(value.into())))
    }

    /// Like [`set_element`](Self::set_element), from text as in [`set_text`](Self::set_text).
    pub fn set_element_text(
        &mut self,
        key: impl Into<String>,
        index: usize,
        text: impl Into<String>,
    ) -> &mut Self {
        self.put(key, Put::Element(index, Given::Text(text.into())))
    }

    /// Like [`set_element`](Self::set_element), from bytes as in [`set_bytes`](Self::set_bytes).
    pub fn set_element_bytes(
        &mut self,
        key: impl Into<String>,
        index: usize,
        bytes: impl Into<Vec<u8>>,
    ) -> &mut Self {
        self.put(key, Put::Element(index, Given::Bytes(bytes.into())))
    }

    /// Adds a key, which must not exist, with the value's own type.
    ///
    /// Where no type is given, Rust makes an integer literal an `i32` and a float literal an `f64`. llama.cpp expects
    /// `u32` and `f32` for its keys: write `4096u32`.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.put(key, Put::Add(value.into()))
    }

    /// Gives a key this value and the value's own type, whether or not the key exists: like [`replace`](Self::replace) where it
    /// does, and like [`add`](Self::add) where it does not. A misspelt key is not noticed.
    ///
    /// ```
    /// use gguf_codec::model::Edit;
    ///
    /// let mut edit = Edit::new();
    /// edit.set_or_add("general.name", "Mine").set_or_add("general.url", "https://example.com");
    /// let changes = edit.plan("examples/sample.gguf")?.changes;
    /// assert_eq!(changes[0].to_string(), "general.name: \"Sample Llama 2 layers\" → \"Mine\" (string)");
    /// assert_eq!(changes[1].to_string(), "general.url: added, \"https://example.com\" (string)");
    /// # Ok::<(), gguf_codec::Error>(())
    /// ```
    pub fn set_or_add(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.put(key, Put::SetOrAdd(value.into()))
    }

    /// Replaces the value of an existing key by one of any type.
    pub fn replace(&mut self, key: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.put(key, Put::Replace(value.into()))
    }

    /// Changes the type of a key's value, if [`ValueKind::convert`] can do so without loss.
    pub fn retype(&mut self, key: impl Into<String>, kind: impl Into<ValueKind>) -> &mut Self {
        self.put(key, Put::Retype(kind.into()))
    }

    fn put(&mut self, key: impl Into<String>, put: Put) -> &mut Self {
        self.put.push((key.into(), put));
        self
    }

    /// Sets the byte order of the output: of its header, and of the numbers in its tensors. If it differs from that of the input,
    /// the whole file is rewritten.
    pub fn byte_order(&mut self, order: ByteOrder) -> &mut Self {
        self.byte_order = Some(order);
        self
    }

    /// Removes bytes after the data that belong to no tensor. Otherwise they are kept if the data does not move, and are an
    /// error if the file is rewritten.
    pub fn drop_trailing(&mut self) -> &mut Self {
        self.drop_trailing = true;
        self
    }

    /// Sets what happens if the output of [`write`](Self::write) exists. By default the file stays and writing is an error.
    pub fn existing(&mut self, existing: Existing) -> &mut Self {
        self.existing = existing;
        self
    }

    /// Removes a key, which must exist.
    pub fn remove(&mut self, key: impl Into<String>) -> &mut Self {
        self.removed.push(key.into());
        self
    }

    /// Renames a key, keeping its place.
    pub fn rename_key(&mut self, from: impl Into<String>, to: impl Into<String>) -> &mut Self {
        self.keys.push((from.into(), to.into()));
        self
    }

    /// Renames a tensor, keeping its place.
    pub fn rename_tensor(&mut self, from: impl Into<String>, to: impl Into<String>) -> &mut Self {
        self.tensors.push((from.into(), to.into()));
        self
    }

    /// Removes a tensor, which must exist. The data of the tensors after it moves.
    pub fn remove_tensor(&mut self, name: impl Into<String>) -> &mut Self {
        self.removed_tensors.push(name.into());
        self
    }
}
