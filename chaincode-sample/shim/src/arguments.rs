//! Arguments of a function: from the bytes that a client sent to Rust types.
//!
//! Strings and numbers are read as clients of every Fabric SDK send them: as
//! text. What is neither is JSON, by [`Json`].

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;

/// Why arguments do not fit a function. Positions count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// Too many, or too few.
    #[error("incorrect number of arguments: expected {expected}, received {received}")]
    Count {
        /// How many the function takes.
        expected: usize,
        /// How many came.
        received: usize,
    },
    /// One that cannot be read.
    #[error("argument {position} is not {expected}: {received:?}")]
    Value {
        /// Which one.
        position: usize,
        /// What it should be, like "a whole number".
        expected: &'static str,
        /// What it is, shortened.
        received: String,
    },
    /// One whose JSON does not fit.
    #[error("argument {position} is not the JSON expected: {reason}")]
    Json {
        /// Which one.
        position: usize,
        /// Where and why.
        reason: String,
    },
}

/// A type that an argument can be.
///
/// # Errors
///
/// Every reader gets the bytes and the position to report.
pub trait FromArgument: Sized + Send + 'static {
    /// Reads one argument.
    ///
    /// # Errors
    ///
    /// When it is something else.
    fn from_argument(bytes: &[u8], position: usize) -> Result<Self, ArgumentError>;

    /// Describes it in the contract's metadata. Default: a string.
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<String>()
    }
}

/// An argument that is a JSON document.
///
/// ```
/// use chaincode_shim::{Arguments, Json};
///
/// let sizes: (Json<Vec<u32>>,) = Arguments::from_arguments(&[b"[1, 2]".to_vec()]).unwrap();
/// assert_eq!(sizes.0.0, [1, 2]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl FromArgument for Vec<u8> {
    fn from_argument(bytes: &[u8], _: usize) -> Result<Self, ArgumentError> {
        Ok(bytes.to_vec())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "binary" })
    }
}

impl FromArgument for String {
    fn from_argument(bytes: &[u8], position: usize) -> Result<Self, ArgumentError> {
        text(bytes, position).map(str::to_owned)
    }
}

impl FromArgument for bool {
    fn from_argument(bytes: &[u8], position: usize) -> Result<Self, ArgumentError> {
        match bytes {
            b"true" => Ok(true),
            b"false" => Ok(false),
            _ => Err(mismatch(bytes, position, "true or false")),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Self>()
    }
}

impl<T: DeserializeOwned + JsonSchema + Send + 'static> FromArgument for Json<T> {
    fn from_argument(bytes: &[u8], position: usize) -> Result<Self, ArgumentError> {
        serde_json::from_slice(bytes)
            .map(Json)
            .map_err(|error| ArgumentError::Json { position, reason: error.to_string() })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

macro_rules! numbers {
    ($expected:literal: $($number:ty),*) => {$(
        impl FromArgument for $number {
            fn from_argument(bytes: &[u8], position: usize) -> Result<Self, ArgumentError> {
                text(bytes, position)?
                    .parse()
                    .map_err(|_| mismatch(bytes, position, $expected))
            }

            fn schema(generator: &mut SchemaGenerator) -> Schema {
                generator.subschema_for::<Self>()
            }
        }
    )*};
}

numbers!("a whole number": i8, i16, i32, i64, i128);
numbers!("a whole number from 0": u8, u16, u32, u64, u128);
numbers!("a number": f32, f64);

/// The arguments of a function: a tuple of up to eight.
pub trait Arguments: Sized + Send + 'static {
    /// Reads all of them.
    ///
    /// # Errors
    ///
    /// When the number or a type is another.
    fn from_arguments(arguments: &[Vec<u8>]) -> Result<Self, ArgumentError>;

    /// Describes each of them.
    fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema>;
}

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: FromArgument),*> Arguments for ($($name,)*) {
            #[allow(non_snake_case, reason = "one name for the type and its value")]
            fn from_arguments(arguments: &[Vec<u8>]) -> Result<Self, ArgumentError> {
                let [$($name),*] = arguments else {
                    return Err(ArgumentError::Count {
                        expected: <[&str]>::len(&[$(stringify!($name)),*]),
                        received: arguments.len(),
                    });
                };
                let mut position = 0;
                let mut next = || { position += 1; position };
                let _ = &mut next;
                Ok(($($name::from_argument($name, next())?,)*))
            }

            fn schemas(generator: &mut SchemaGenerator) -> Vec<Schema> {
                let _ = &generator;
                vec![$($name::schema(generator)),*]
            }
        }
    };
}

tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);

fn text(bytes: &[u8], position: usize) -> Result<&str, ArgumentError> {
    std::str::from_utf8(bytes).map_err(|_| mismatch(bytes, position, "UTF-8 text"))
}

fn mismatch(bytes: &[u8], position: usize, expected: &'static str) -> ArgumentError {
    const SHOWN: usize = 40;
    let received = String::from_utf8_lossy(bytes);
    let received = match received.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &received[..end]),
        None => received.into_owned(),
    };
    ArgumentError::Value { position, expected, received }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(arguments: &[&str]) -> Vec<Vec<u8>> {
        arguments.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn text_and_numbers_are_read_by_type() {
        let read: (String, i64, f64, bool, Vec<u8>) =
            Arguments::from_arguments(&bytes(&["blue", "-5", "0.5", "true", "x"])).unwrap();
        assert_eq!(read, ("blue".to_owned(), -5, 0.5, true, b"x".to_vec()));
        <()>::from_arguments(&[]).unwrap();
    }

    #[test]
    fn a_wrong_number_of_arguments_is_named() {
        let error = <(String, i64)>::from_arguments(&bytes(&["a"])).unwrap_err();
        assert_eq!(error.to_string(), "incorrect number of arguments: expected 2, received 1");
        assert!(<()>::from_arguments(&bytes(&["a"])).is_err());
    }

    #[test]
    fn a_wrong_argument_is_named_by_position_and_shortened() {
        let error = <(String, i64)>::from_arguments(&bytes(&["a", "big"])).unwrap_err();
        assert_eq!(error.to_string(), r#"argument 2 is not a whole number: "big""#);
        let error = <(u32,)>::from_arguments(&bytes(&[&"9".repeat(500)])).unwrap_err();
        assert!(error.to_string().len() < 100, "{error}");
        let error = <(String,)>::from_arguments(&[vec![0xff]]).unwrap_err();
        assert_eq!(error.to_string(), "argument 1 is not UTF-8 text: \"\u{fffd}\"");
        let error = <(Json<Vec<u8>>,)>::from_arguments(&bytes(&["[1,"])).unwrap_err();
        assert!(matches!(error, ArgumentError::Json { position: 1, .. }), "{error}");
    }
}
