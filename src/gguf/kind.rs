//! [`ValueKind`]: the whole type of a value, values as text, and conversions between types that lose nothing.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::array::ArrayRef;
use super::value::{Array, MAX_DEPTH, Value, ValueRef, ValueType};
use crate::error::{Error, Named, ParseProblem, Result};

/// The whole type of a metadata value: a [`ValueType`], or arrays of one, nested in each other or not.
///
/// As text it is `u32`, `[string]` or `[[f32]]`; `str` is read as `string`.
///
/// ```
/// use gguf_codec::{Array, Value, ValueKind};
///
/// let kind: ValueKind = "[u16]".parse()?;
/// assert_eq!(kind.parse_value("[1, 65535]")?, Value::Array(Array::U16(vec![1, 65535])));
/// let error = kind.parse_value("[1, 65536]").unwrap_err();
/// assert_eq!(error.to_string(), "element 1: 65536 is out of the range of u16, 0 to 65535");
/// // 5 is an i32, and just as well a u64.
/// assert_eq!("u64".parse::<ValueKind>()?.convert(5.into())?, Value::U64(5));
/// # Ok::<(), gguf_codec::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueKind {
    /// What is in the innermost arrays. [`ValueType::Array`] where that is not known, or not one type.
    leaf: ValueType,
    /// Levels of arrays around it.
    depth: u32,
}

/// What is wrong with a text or a value, without the key.
type Why<T> = Result<T, String>;

impl ValueKind {
    /// A value of this type that is not an array, or for [`ValueType::Array`] an array whose elements are arrays of any
    /// types.
    pub const fn scalar(ty: ValueType) -> Self {
        match ty {
            ValueType::Array => ValueKind { leaf: ty, depth: 1 },
            _ => ValueKind { leaf: ty, depth: 0 },
        }
    }

    /// An array of elements of this type.
    pub const fn array(element: ValueType) -> Self {
        ValueKind { leaf: element, depth: 1 }
    }

    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Array(array) => Self::of_array(array),
            value => Self::scalar(value.tag()),
        }
    }

    fn of_array(array: &Array) -> Self {
        let inner = match array {
            Array::Array(elements) => Self::common(elements.iter().map(Self::of_array)),
            _ => None,
        };
        match inner {
            Some(ValueKind { leaf, depth }) => ValueKind { leaf, depth: depth + 1 },
            None => Self::array(array.element_type()),
        }
    }

    pub(super) fn of_ref(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Array(array) => Self::of_array_ref(array),
            value => Self::scalar(value.tag()),
        }
    }

    fn of_array_ref(array: ArrayRef<'_>) -> Self {
        let inner = match array.element_type() {
            ValueType::Array => Self::common(array.iter().map(Self::of_ref)),
            _ => None,
        };
        match inner {
            Some(ValueKind { leaf, depth }) => ValueKind { leaf, depth: depth + 1 },
            None => Self::array(array.element_type()),
        }
    }

    fn common(mut kinds: impl Iterator<Item = Self>) -> Option<Self> {
        let first = kinds.next()?;
        kinds.all(|kind| kind == first).then_some(first)
    }

    /// Returns the type that a file stores with the value: [`ValueType::Array`] for every array.
    pub const fn stored_type(self) -> ValueType {
        if self.depth > 0 { ValueType::Array } else { self.leaf }
    }

    /// The type of an array's elements; `None` where it is not an array, or of arrays of several types.
    pub fn element(self) -> Option<Self> {
        let depth = self.depth.checked_sub(1)?;
        (depth > 0 || self.leaf != ValueType::Array).then_some(ValueKind { leaf: self.leaf, depth })
    }

    /// Reads a value of this type from text: integers and floats in decimal digits (a float is the one nearest to these),
    /// `true` and `false`, a string as it is, arrays in JSON. A string within JSON holds a byte that is not UTF-8 as Python's
    /// `surrogateescape` does: `"\udcff"` for 0xFF.
    ///
    /// # Errors
    /// [`Error::Parse`], which says what is wrong, in which element.
    pub fn parse_value(self, text: &str) -> Result<Value> {
        self.parse(text).map_err(unparsed)
    }

    /// As [`parse_value`](Self::parse_value) for what may not be UTF-8: a string of any bytes. Text of all other types may
    /// end with line breaks, as a file does.
    ///
    /// # Errors
    /// As [`parse_value`](Self::parse_value).
    pub fn parse_bytes(self, bytes: &[u8]) -> Result<Value> {
        if self == Self::scalar(ValueType::String) {
            return Ok(Value::String(bytes.to_vec()));
        }
        let text = core::str::from_utf8(bytes)
            .map_err(|error| Error::Parse { problem: ParseProblem::Utf8 { at: error.valid_up_to() } })?;
        self.parse_value(text.trim_end_matches(['\n', '\r']))
    }

    /// The value as this type, if that loses nothing: integers that fit; an integer that a float holds, and a float that is
    /// an integer; an `f64` that an `f32` holds, or that has the same digits: 0.1 is 0.1 in either.
    ///
    /// # Errors
    /// [`Error::Parse`], which says what cannot be converted, in which element.
    pub fn convert(self, value: Value) -> Result<Value> {
        self.converted(value).map_err(unparsed)
    }

    pub(crate) fn parse(self, text: &str) -> Why<Value> {
        let Some(element) = self.depth.checked_sub(1) else { return scalar(self.leaf, text) };
        let mut json = Json { text, at: 0 };
        let array = json.array(self.leaf, element)?;
        json.skip_space();
        if json.at < text.len() {
            return Err(format!("this is not a JSON array: '{}' follows it", start_of(json.rest())));
        }
        Ok(Value::Array(array))
    }

    pub(crate) fn converted(self, value: Value) -> Why<Value> {
        let Some(element) = self.depth.checked_sub(1) else { return convert(self.leaf, value) };
        match value {
            Value::Array(array) => converted_array(self.leaf, element, array).map(Value::Array),
            value => Err(format!("{} is not an array, and must be {self}", described(&value))),
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brackets = self.depth as usize;
        f.pad(&format!("{}{}{}", "[".repeat(brackets), self.leaf, "]".repeat(brackets)))
    }
}

impl From<ValueType> for ValueKind {
    /// As [`scalar`](ValueKind::scalar).
    fn from(ty: ValueType) -> Self {
        Self::scalar(ty)
    }
}

/// Equal to a type that is not an array's.
impl PartialEq<ValueType> for ValueKind {
    fn eq(&self, other: &ValueType) -> bool {
        *self == Self::scalar(*other)
    }
}

impl FromStr for ValueKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        use ValueType::*;
        let inner = name.trim_start_matches('[');
        let depth = name.len() - inner.len();
        let leaf = inner.trim_end_matches(']');
        let types = [U8, I8, U16, I16, U32, I32, U64, I64, F32, F64, Bool, String];
        let leaf = types.into_iter().find(|ty| ty.name() == leaf || *ty == String && leaf == "str");
        match leaf {
            Some(leaf) if inner.len() - inner.trim_end_matches(']').len() == depth => {
                if depth > MAX_DEPTH as usize {
                    let problem = ParseProblem::Depth { found: depth, most: MAX_DEPTH };
                    return Err(Error::Parse { problem });
                }
                Ok(ValueKind { leaf, depth: depth as u32 })
            }
            _ => {
                let known = types.into_iter().map(ValueType::name).chain(["[TYPE] for arrays"]).collect();
                let problem = ParseProblem::Name {
                    what: Named::ValueType,
                    name: name.chars().take(60).collect(),
                    known,
                };
                Err(Error::Parse { problem })
            }
        }
    }
}

fn unparsed(message: String) -> Error {
    Error::Parse { problem: ParseProblem::Value { message } }
}

/// A value in a message: its type, and what it is where that is short.
fn described(value: &Value) -> String {
    match value {
        Value::Array(_) => format!("a value of type {}", value.value_type()),
        value => format!("{value} ({})", value.tag()),
    }
}

/// So much of a text as a message shows.
fn start_of(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", text[..at].escape_debug()),
        None => text.escape_debug().to_string(),
    }
}

/// Collects values of one type into its array; nothing else is in `$values`.
macro_rules! collect {
    ($ty:expr, $values:expr, $array:expr; $($plain:ident)*) => {
        match $ty {
            $(ValueType::$plain => {
                let plain = |value: Why<Value>| match value? {
                    Value::$plain(value) => Ok(value),
                    other => Err(format!("{} is not {}", described(&other), $ty)),
                };
                Array::$plain($values.map(plain).collect::<Why<_>>()?)
            })*
            ValueType::Array => $array,
        }
    };
}

/// An array of values that are all of the type, which is not an array's.
fn array_of(ty: ValueType, values: impl Iterator<Item = Why<Value>>) -> Why<Array> {
    Ok(collect!(ty, values, Array::Array(Vec::new()); U8 I8 U16 I16 U32 I32 F32 Bool String U64 I64 F64))
}

impl Array {
    /// Its elements as values.
    pub(crate) fn into_values(self) -> Box<dyn Iterator<Item = Value>> {
        macro_rules! values {
            ($($ty:ident)*) => {
                match self {
                    $(Array::$ty(elements) => Box::new(elements.into_iter().map(Value::$ty)),)*
                }
            };
        }
        values!(U8 I8 U16 I16 U32 I32 F32 Bool String Array U64 I64 F64)
    }

    /// One of its elements.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn element(&self, index: usize) -> Option<Value> {
        macro_rules! element {
            ($($ty:ident)*) => {
                match self {
                    $(Array::$ty(elements) => elements.get(index).cloned().map(Value::$ty),)*
                }
            };
        }
        element!(U8 I8 U16 I16 U32 I32 F32 Bool String Array U64 I64 F64)
    }

    /// The elements whose positions are asked for.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn filtered(self, is_kept: impl Fn(usize) -> bool) -> Self {
        macro_rules! filtered {
            ($($ty:ident)*) => {
                match self {
                    $(Array::$ty(elements) => {
                        let kept = elements.into_iter().enumerate().filter(|(index, _)| is_kept(*index));
                        Array::$ty(kept.map(|(_, element)| element).collect())
                    })*
                }
            };
        }
        filtered!(U8 I8 U16 I16 U32 I32 F32 Bool String Array U64 I64 F64)
    }

    /// Puts a value of the elements' type in the place of one; whether there is such a place and it is of the type.
    #[cfg(all(feature = "std", any(unix, windows)))]
    pub(crate) fn replace_element(&mut self, index: usize, value: Value) -> bool {
        macro_rules! replace {
            ($($ty:ident)*) => {
                match (self, value) {
                    $((Array::$ty(elements), Value::$ty(value)) => {
                        elements.get_mut(index).map(|element| *element = value).is_some()
                    })*
                    _ => false,
                }
            };
        }
        replace!(U8 I8 U16 I16 U32 I32 F32 Bool String Array U64 I64 F64)
    }
}

fn numbered<T>(index: usize, result: Why<T>) -> Why<T> {
    result.map_err(|why| format!("element {index}: {why}"))
}

fn converted_array(leaf: ValueType, depth: u32, array: Array) -> Why<Array> {
    if depth == 0 && leaf == ValueType::Array {
        return match array {
            Array::Array(_) => Ok(array),
            array => Err(format!("the elements are {}, and must be arrays", array.element_type())),
        };
    }
    let values = array.into_values().enumerate();
    match depth.checked_sub(1) {
        None => array_of(leaf, values.map(|(index, value)| numbered(index, convert(leaf, value)))),
        Some(below) => {
            let inner = values.map(|(index, value)| {
                numbered(
                    index,
                    match value {
                        Value::Array(array) => converted_array(leaf, below, array),
                        value => Err(format!("{} is not an array", described(&value))),
                    },
                )
            });
            inner.collect::<Why<_>>().map(Array::Array)
        }
    }
}

/// An integer, of whatever type.
pub(crate) fn as_integer(value: &Value) -> Option<i128> {
    Some(match *value {
        Value::U8(value) => value.into(),
        Value::I8(value) => value.into(),
        Value::U16(value) => value.into(),
        Value::I16(value) => value.into(),
        Value::U32(value) => value.into(),
        Value::I32(value) => value.into(),
        Value::U64(value) => value.into(),
        Value::I64(value) => value.into(),
        // Beyond 2^100 no type holds it.
        Value::F32(value) if value % 1.0 == 0.0 && value.abs() < 1e30 => value as i128,
        Value::F64(value) if value % 1.0 == 0.0 && value.abs() < 1e30 => value as i128,
        _ => return None,
    })
}

fn convert(ty: ValueType, value: Value) -> Why<Value> {
    if value.tag() == ty {
        return Ok(value);
    }
    let integer = as_integer(&value);
    macro_rules! integers {
        ($number:ident) => {
            integer.and_then(|value| value.try_into().ok()).map(Value::$number)
        };
    }
    let converted = match ty {
        ValueType::U8 => integers!(U8),
        ValueType::I8 => integers!(I8),
        ValueType::U16 => integers!(U16),
        ValueType::I16 => integers!(I16),
        ValueType::U32 => integers!(U32),
        ValueType::I32 => integers!(I32),
        ValueType::U64 => integers!(U64),
        ValueType::I64 => integers!(I64),
        ValueType::F32 => match value {
            Value::F64(value) => narrowed(value).map(Value::F32),
            _ => integer
                .map(|value| (value, value as f32))
                .and_then(|(value, float)| (float as i128 == value).then_some(Value::F32(float))),
        },
        ValueType::F64 => match value {
            Value::F32(value) => Some(Value::F64(value.into())),
            _ => integer
                .map(|value| (value, value as f64))
                .and_then(|(value, float)| (float as i128 == value).then_some(Value::F64(float))),
        },
        ValueType::Bool | ValueType::String | ValueType::Array => None,
    };
    converted.ok_or_else(|| match (&value, range_of(ty)) {
        (_, Some(range)) if integer.is_some() => {
            format!("{} is out of the range of {ty}, {range}", described(&value))
        }
        (Value::F64(_), _) if ty == ValueType::F32 => {
            format!("{} has more digits than f32 holds", described(&value))
        }
        _ => format!("{} cannot become {ty} without loss", described(&value)),
    })
}

/// The float of single precision that is written with the same digits, or equal.
fn narrowed(value: f64) -> Option<f32> {
    let single = value as f32;
    let same = f64::from(single) == value || value.is_nan();
    (same || single.is_finite() && format!("{single:e}") == format!("{value:e}")).then_some(single)
}

fn range_of(ty: ValueType) -> Option<String> {
    macro_rules! ranges {
        ($($name:ident $number:ty),*) => {
            match ty {
                $(ValueType::$name => Some(format!("{} to {}", <$number>::MIN, <$number>::MAX)),)*
                _ => None,
            }
        };
    }
    ranges!(U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64)
}

/// A value that is not an array, from its text.
fn scalar(ty: ValueType, text: &str) -> Why<Value> {
    macro_rules! integer {
        ($name:ident) => {
            Value::$name(integer(ty, text)?)
        };
    }
    Ok(match ty {
        ValueType::U8 => integer!(U8),
        ValueType::I8 => integer!(I8),
        ValueType::U16 => integer!(U16),
        ValueType::I16 => integer!(I16),
        ValueType::U32 => integer!(U32),
        ValueType::I32 => integer!(I32),
        ValueType::U64 => integer!(U64),
        ValueType::I64 => integer!(I64),
        ValueType::F32 => Value::F32(float(ty, text, f32::is_infinite, f32::MAX)?),
        ValueType::F64 => Value::F64(float(ty, text, f64::is_infinite, f64::MAX)?),
        ValueType::Bool => {
            Value::Bool(text.parse().map_err(|_| format!("'{}' is not true or false", start_of(text)))?)
        }
        ValueType::String => Value::String(text.into()),
        ValueType::Array => return Err("an array of arrays of several types cannot be read from text".into()),
    })
}

fn integer<T: FromStr>(ty: ValueType, text: &str) -> Why<T> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("'{}' is not a whole number", start_of(text)));
    }
    let range = range_of(ty).unwrap_or_default();
    text.parse().map_err(|_| format!("{} is out of the range of {ty}, {range}", start_of(text)))
}

fn float<T: FromStr + Copy + fmt::LowerExp>(
    ty: ValueType,
    text: &str,
    is_infinite: impl Fn(T) -> bool,
    most: T,
) -> Why<T> {
    let value = text.parse().map_err(|_| format!("'{}' is not a number", start_of(text)))?;
    // Infinity may be asked for, but not come from too many digits.
    if is_infinite(value) && text.contains(|character: char| character.is_ascii_digit()) {
        return Err(format!("{} is out of the range of {ty}, -{most:e} to {most:e}", start_of(text)));
    }
    Ok(value)
}

/// JSON arrays of one type. Numbers are read from their own digits, so that none is rounded twice.
struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Json<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// Moves past a character that must come next, or need not.
    fn takes(&mut self, character: char) -> bool {
        self.skip_space();
        let takes = self.rest().starts_with(character);
        self.at += usize::from(takes);
        takes
    }

    /// Recurses as deep as the type is, which has a bound.
    fn array(&mut self, leaf: ValueType, depth: u32) -> Why<Array> {
        if !self.takes('[') {
            let found = start_of(self.rest());
            return Err(format!("this is not a JSON array: it begins with '{found}', not with '['"));
        }
        if self.takes(']') {
            let none = core::iter::empty();
            return if depth > 0 { Ok(Array::Array(Vec::new())) } else { array_of(leaf, none) };
        }
        let mut ended = false;
        if let Some(below) = depth.checked_sub(1) {
            let mut arrays = Vec::new();
            while !ended {
                let index = arrays.len();
                arrays.push(numbered(index, self.array(leaf, below))?);
                ended = self.next_or_end()?;
            }
            return Ok(Array::Array(arrays));
        }
        let mut index = 0;
        let values = core::iter::from_fn(|| {
            if ended {
                return None;
            }
            let value = numbered(index, self.scalar(leaf));
            index += 1;
            Some(value.and_then(|value| {
                ended = self.next_or_end()?;
                Ok(value)
            }))
        });
        array_of(leaf, values)
    }

    /// Whether the array ends here; else another element follows.
    fn next_or_end(&mut self) -> Why<bool> {
        if self.takes(']') {
            return Ok(true);
        }
        if self.takes(',') {
            return Ok(false);
        }
        let found =
            if self.rest().is_empty() { "its end".into() } else { format!("'{}'", start_of(self.rest())) };
        Err(format!("this is not a JSON array: {found} where ',' or ']' must be"))
    }

    fn scalar(&mut self, ty: ValueType) -> Why<Value> {
        self.skip_space();
        if ty == ValueType::String {
            return self.string().map(Value::String);
        }
        let rest = self.rest();
        let end = rest.find([',', ']', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        self.at += end;
        scalar(ty, &rest[..end])
    }

    fn string(&mut self) -> Why<Vec<u8>> {
        let rest = self.rest();
        if !self.takes('"') {
            let end = rest.find([',', ']']).unwrap_or(rest.len());
            return Err(format!("{} is not a string", start_of(&rest[..end])));
        }
        let mut bytes = Vec::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(['"', '\\']).ok_or("a string does not end")?;
            bytes.extend(&rest.as_bytes()[..plain]);
            self.at += plain + 1;
            if rest[plain..].starts_with('"') {
                return Ok(bytes);
            }
            let escape = self.rest().chars().next().ok_or("a string does not end")?;
            self.at += escape.len_utf8();
            bytes.push(match escape {
                '"' | '\\' | '/' => escape as u8,
                'b' => 8,
                'f' => 12,
                'n' => b'\n',
                'r' => b'\r',
                't' => b'\t',
                'u' => {
                    self.unicode(&mut bytes)?;
                    continue;
                }
                _ => return Err(format!("'\\{}' is no escape in JSON", escape.escape_debug())),
            });
        }
    }

    fn unicode(&mut self, bytes: &mut Vec<u8>) -> Why<()> {
        let first = self.four_digits()?;
        let character = match first {
            0xd800..0xdc00 => {
                let pair = self.rest().starts_with("\\u");
                self.at += if pair { 2 } else { 0 };
                let second = if pair { self.four_digits()? } else { 0 };
                let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
                low.and_then(|low| char::from_u32(0x10000 + ((first - 0xd800) << 10 | low)))
            }
            // A byte that is not UTF-8, as Python writes it.
            0xdc80..0xdd00 => {
                bytes.push((first - 0xdc00) as u8);
                return Ok(());
            }
            first => char::from_u32(first),
        };
        let character = character.ok_or_else(|| format!("'\\u{first:04x}' is half a character"))?;
        bytes.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn four_digits(&mut self) -> Why<u32> {
        let digits =
            self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let digits = digits.ok_or("four hexadecimal digits must follow '\\u'")?;
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> ValueKind {
        name.parse().unwrap()
    }

    #[test]
    fn kinds_have_names() {
        for name in ["u8", "string", "[f64]", "[[string]]", "[[[bool]]]"] {
            assert_eq!(kind(name).to_string(), name);
        }
        assert_eq!(kind("[str]"), kind("[string]"));
        let deep = "[".repeat(30_000);
        for wrong in [
            "",
            "[",
            "[]",
            "u32]",
            "[u32",
            "u128",
            "array",
            &deep,
            &format!("{deep}u8{}", "]".repeat(30_000)),
        ] {
            wrong.parse::<ValueKind>().unwrap_err();
        }
        kind(&format!("{}u8{}", "[".repeat(64), "]".repeat(64)));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_escaped() {
        let read = kind("[str]").parse(r#"["\udcff\udc80a", "\ud83d\ude00", "\u00e9é\\\"\/\n"]"#).unwrap();
        let strings = [&b"\xff\x80a"[..], "😀".as_bytes(), "éé\\\"/\n".as_bytes()];
        assert_eq!(read, Value::Array(Array::String(strings.map(<[u8]>::to_vec).to_vec())));
        for wrong in
            [r#"["\ud83d"]"#, r#"["\udc00"]"#, r#"["\u12"]"#, r#"["\x"]"#, r#"["a]"#, r#"["a""#, "[\"\\"]
        {
            kind("[str]").parse(wrong).unwrap_err();
        }
    }

    #[test]
    fn what_is_no_array_is_explained() {
        for (ty, text, why) in [
            ("[u8]", "1", "begins with '1', not with '['"),
            ("[u8]", "[1", "its end where ',' or ']' must be"),
            ("[u8]", "[1]]", "']' follows it"),
            ("[u8]", "[1,]", "element 1: '' is not a whole number"),
            ("[u8]", "[1 2]", "'2]' where ','"),
            ("[[u8]]", "[[1],[300]]", "element 1: element 0: 300 is out of the range of u8, 0 to 255"),
            ("[[u8]]", "[1]", "element 0: this is not a JSON array"),
        ] {
            let found = kind(ty).parse(text).unwrap_err();
            assert!(found.contains(why), "{found}");
        }
        let parsed = kind("[[u8]]").parse("[ [ ] , [ 1 ] ]").unwrap();
        let [empty, one] = [Array::U8(vec![]), Array::U8(vec![1])];
        assert_eq!(parsed, Value::Array(Array::Array(vec![empty, one])));
    }

    #[test]
    fn nothing_is_lost_in_a_conversion() {
        for (ty, value, converted) in [
            ("u32", Value::I32(5), Some(Value::U32(5))),
            ("u32", Value::U64(1 << 32), None),
            ("i8", Value::I64(-129), None),
            ("u64", Value::I8(-1), None),
            ("f32", Value::F64(1e-5), Some(Value::F32(1e-5))),
            ("f32", Value::F64(0.1f32.into()), Some(Value::F32(0.1))),
            ("f32", Value::F64(0.123456789012), None),
            ("f32", Value::F64(1e300), None),
            ("f32", Value::F64(f64::INFINITY), Some(Value::F32(f32::INFINITY))),
            ("f32", Value::I32(500_000), Some(Value::F32(5e5))),
            ("f32", Value::I32((1 << 24) + 1), None),
            ("f64", Value::U64(u64::MAX), None),
            ("u8", Value::F32(2.0), Some(Value::U8(2))),
            ("u8", Value::F32(2.5), None),
            ("bool", Value::U8(1), None),
            ("string", Value::U8(1), None),
            ("u8", Value::from("1"), None),
            ("u8", Value::from([1u8]), None),
            ("[u8]", Value::U8(1), None),
            ("[u8]", Value::from([1i64, 255]), Some(Value::from([1u8, 255]))),
            ("[u8]", Value::from([1i64, 256]), None),
        ] {
            assert_eq!(kind(ty).converted(value.clone()).ok(), converted, "{value} to {ty}");
        }
    }
}
