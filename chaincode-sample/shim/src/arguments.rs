//! Conversion of a function's arguments from bytes to Rust types.
//!
//! Strings, numbers and booleans are text, as clients of every Fabric SDK send them. Use [`Json`]
//! for other types.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;

/// Why the arguments do not match a function. Positions start at 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// Too many or too few arguments.
    #[error("incorrect number of arguments: expected {expected}, received {received}")]
    Count {
        /// The number of the function's parameters.
        expected: usize,
        /// The number of arguments received.
        received: usize,
    },
    /// An argument with an invalid value.
    #[error("argument {position} is not {expected}: {received:?}")]
    Value {
        /// Its position.
        position: usize,
        /// The expected type, such as "an integer".
        expected: &'static str,
        /// The received value, shortened.
        received: String,
    },
    /// An argument with invalid JSON, or JSON of another type.
    #[error("invalid JSON in argument {position}: {reason}")]
    Json {
        /// Its position.
        position: usize,
        /// Where and why it is invalid.
        reason: String,
    },
}

/// A type of a function's parameter.
///
/// ```
/// use chaincode_shim::{ArgumentError, FromArgument};
///
/// enum Color {
///     Red,
///     Blue,
/// }
///
/// impl FromArgument for Color {
///     fn from_argument(bytes: &[u8], position: usize) -> Result<Self, ArgumentError> {
///         match String::from_argument(bytes, position)?.as_str() {
///             "red" => Ok(Self::Red),
///             "blue" => Ok(Self::Blue),
///             other => {
///                 Err(ArgumentError::Value { position, expected: "red or blue", received: other.to_owned() })
///             }
///         }
///     }
/// }
/// ```
pub trait FromArgument: Sized + Send + 'static {
    /// Converts one argument. `position` is for the error.
    ///
    /// # Errors
    ///
    /// When the value is invalid for this type.
    fn from_argument(bytes: &[u8], position: usize) -> Result<Self, ArgumentError>;

    /// The type's JSON schema in the contract's metadata. Default: a string.
    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<String>()
    }
}

/// A parameter that is a JSON document.
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

numbers!("an integer": i8, i16, i32, i64, i128);
numbers!("an integer of at least 0": u8, u16, u32, u64, u128);
numbers!("a number": f32, f64);

/// The parameters of a function: a tuple of up to eight types.
pub trait Arguments: Sized + Send + 'static {
    /// Converts all arguments.
    ///
    /// # Errors
    ///
    /// When their number or the value of one is wrong.
    fn from_arguments(arguments: &[Vec<u8>]) -> Result<Self, ArgumentError>;

    /// The JSON schema of each parameter.
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
    fn text_and_numbers_are_converted_by_type() {
        let read: (String, i64, f64, bool, Vec<u8>) =
            Arguments::from_arguments(&bytes(&["blue", "-5", "0.5", "true", "x"])).unwrap();
        assert_eq!(read, ("blue".to_owned(), -5, 0.5, true, b"x".to_vec()));
        <()>::from_arguments(&[]).unwrap();
    }

    #[test]
    fn a_wrong_number_of_arguments_is_an_error() {
        let error = <(String, i64)>::from_arguments(&bytes(&["a"])).unwrap_err();
        assert_eq!(error.to_string(), "incorrect number of arguments: expected 2, received 1");
        assert!(<()>::from_arguments(&bytes(&["a"])).is_err());
    }

    #[test]
    fn an_invalid_argument_is_reported_by_position_and_shortened() {
        let error = <(String, i64)>::from_arguments(&bytes(&["a", "big"])).unwrap_err();
        assert_eq!(error.to_string(), r#"argument 2 is not an integer: "big""#);
        let error = <(u32,)>::from_arguments(&bytes(&[&"9".repeat(500)])).unwrap_err();
        assert!(error.to_string().len() < 100, "{error}");
        let error = <(String,)>::from_arguments(&[vec![0xff]]).unwrap_err();
        assert_eq!(error.to_string(), "argument 1 is not UTF-8 text: \"\u{fffd}\"");
        let error = <(Json<Vec<u8>>,)>::from_arguments(&bytes(&["[1,"])).unwrap_err();
        assert!(matches!(error, ArgumentError::Json { position: 1, .. }), "{error}");
    }
}
