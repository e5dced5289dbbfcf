//! Parsing values from text.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use super::convert::{array_of, numbered, range_of};
use super::why::{Why, start_of};
use crate::gguf::value::{Array, Value};
use crate::gguf::value_type::ValueType;

/// Parses a value that is not an array.
pub(super) fn scalar(ty: ValueType, text: &str) -> Why<Value> {
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
    // Infinity may be requested by name, but must not result from too large a number.
    if is_infinite(value) && text.contains(|character: char| character.is_ascii_digit()) {
        return Err(format!("{} is out of the range of {ty}, -{most:e} to {most:e}", start_of(text)));
    }
    Ok(value)
}

/// Parses an array from JSON. `leaf` is the innermost element type, inside `depth` further levels of arrays.
pub(super) fn array(leaf: ValueType, depth: u32, text: &str) -> Why<Array> {
    let mut json = Json { text, at: 0 };
    let array = json.array(leaf, depth)?;
    json.skip_space();
    match json.rest() {
        "" => Ok(array),
        rest => Err(format!("this is not a JSON array: '{}' follows it", start_of(rest))),
    }
}

/// A parser for JSON arrays of one type. Numbers are parsed from their own digits, so that none is rounded twice.
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

    /// Consumes a character if it comes next. Returns whether it did.
    fn takes(&mut self, character: char) -> bool {
        self.skip_space();
        let takes = self.rest().starts_with(character);
        self.at += usize::from(takes);
        takes
    }

    /// Recurses as deep as the type is nested, which is bounded.
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

    /// Returns `true` if the array ends here, `false` if another element follows.
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
            // A byte that is not UTF-8, as Python encodes it.
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
