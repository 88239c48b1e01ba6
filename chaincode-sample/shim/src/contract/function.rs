//! Functions of a contract: async functions with convertible arguments and a serializable result.

use std::future::Future;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::arguments::Arguments;
use crate::response::{Error, Response};
use crate::stub::Stub;

/// The JSON schemas of a function's parameters and result.
#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    /// One for each parameter.
    pub parameters: Vec<Schema>,
    /// `None` if nothing is returned.
    pub returns: Option<Schema>,
}

/// A function of a contract: an async function that takes a [`Stub`] and up to eight arguments
/// ([`FromArgument`](crate::FromArgument)), and returns a `Result`. Its success type implements
/// `serde::Serialize` and `schemars::JsonSchema`; its error type converts into [`Error`].
///
/// `A` is the tuple of parameter types, which the compiler infers.
#[diagnostic::on_unimplemented(
    message = "not a function of a contract",
    label = "must take a `Stub` and up to eight arguments that implement `FromArgument`",
    note = "it must be async and return a `Result` whose success type implements `Serialize` and `JsonSchema`"
)]
pub trait Function<A>: Send + Sync + 'static {
    /// Converts the arguments, calls the function and serializes its result.
    #[doc(hidden)]
    fn call(&self, stub: Stub) -> impl Future<Output = Result<Response, Error>> + Send;

    /// Describes parameters and result.
    #[doc(hidden)]
    fn signature(generator: &mut SchemaGenerator) -> Signature;
}

macro_rules! functions {
    ($($name:ident)*) => {
        impl<F, Fut, T, E, $($name),*> Function<($($name,)*)> for F
        where
            F: Fn(Stub, $($name),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<T, E>> + Send,
            T: Serialize + JsonSchema,
            E: Into<Error>,
            ($($name,)*): Arguments,
        {
            #[allow(non_snake_case, reason = "one name for the type and its value")]
            async fn call(&self, stub: Stub) -> Result<Response, Error> {
                let ($($name,)*) = stub.parameters()?;
                let result = self(stub, $($name),*).await.map_err(Into::into)?;
                Ok(Response::success(payload(&result)?))
            }

            fn signature(generator: &mut SchemaGenerator) -> Signature {
                let parameters = <($($name,)*)>::schemas(generator);
                let returns = (T::schema_name() != "null").then(|| generator.subschema_for::<T>());
                Signature { parameters, returns }
            }
        }
    };
}

functions!();
functions!(A1);
functions!(A1 A2);
functions!(A1 A2 A3);
functions!(A1 A2 A3 A4);
functions!(A1 A2 A3 A4 A5);
functions!(A1 A2 A3 A4 A5 A6);
functions!(A1 A2 A3 A4 A5 A6 A7);
functions!(A1 A2 A3 A4 A5 A6 A7 A8);

/// Serializes a result as the client receives it.
fn payload(result: &impl Serialize) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(result)?;
    Ok(match json.first() {
        Some(b'"') => serde_json::from_slice::<String>(&json)?.into_bytes(),
        Some(b'n') => Vec::new(),
        _ => json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_serialized_like_in_contract_apis() {
        assert_eq!(payload(&"say \"hi\"").unwrap(), b"say \"hi\"");
        assert_eq!(payload(&()).unwrap(), b"");
        assert_eq!(payload(&None::<u8>).unwrap(), b"");
        assert_eq!(payload(&true).unwrap(), b"true");
        assert_eq!(payload(&-5).unwrap(), b"-5");
        assert_eq!(payload(&["a"]).unwrap(), br#"["a"]"#);
    }
}
