//! A chaincode made of typed functions, found by name.
//!
//! Arguments are converted by [`Arguments`], results by `serde`: a string as
//! it is, nothing as nothing, everything else as JSON, as Fabric's contract
//! APIs do. Names may be qualified (`Contract:Function`).

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;

use crate::{Arguments, Chaincode, Error, Response, Stub};

/// Whether a function is meant to write. For clients' information; a peer
/// does not enforce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Submit,
    Evaluate,
}

type Call = dyn Fn(Stub) -> BoxFuture<'static, Result<Response, Error>> + Send + Sync;

struct Entry {
    intent: Intent,
    call: Arc<Call>,
}

/// A contract: functions by name.
///
/// ```
/// use chaincode_shim::{Contract, Error, Stub};
///
/// async fn add(_: Stub, a: i64, b: i64) -> Result<i64, Error> {
///     a.checked_add(b).ok_or_else(|| Error::new("the sum is too large"))
/// }
///
/// let contract = Contract::new("Calculator").evaluate("Add", add);
/// ```
pub struct Contract {
    name: String,
    functions: BTreeMap<String, Entry>,
}

impl Contract {
    /// A contract without functions.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), functions: BTreeMap::new() }
    }

    /// Adds a function that writes. The last one added under a name counts.
    #[must_use]
    pub fn submit<A>(self, name: &str, function: impl Function<A>) -> Self {
        self.add(name, Intent::Submit, function)
    }

    /// Adds a function that only reads.
    #[must_use]
    pub fn evaluate<A>(self, name: &str, function: impl Function<A>) -> Self {
        self.add(name, Intent::Evaluate, function)
    }

    fn add<A>(mut self, name: &str, intent: Intent, function: impl Function<A>) -> Self {
        let function = Arc::new(function);
        let call: Arc<Call> = Arc::new(move |stub| {
            let function = Arc::clone(&function);
            Box::pin(async move { function.call(stub).await })
        });
        self.functions.insert(name.to_owned(), Entry { intent, call });
        self
    }

    /// Finds a function by the name that a client sent: as registered, or
    /// with a small first letter, which Go's contract API takes as well.
    fn find(&self, requested: &str) -> Result<&Entry, Error> {
        let (contract, name) = requested.rsplit_once(':').unwrap_or((self.name.as_str(), requested));
        if contract != self.name {
            return Err(Error::new(format!("Contract not found with name {contract}")));
        }
        if name.is_empty() {
            return Err(Error::new("the name of the function is missing"));
        }
        self.functions
            .get(name)
            .or_else(|| self.functions.get(&capitalized(name)))
            .ok_or_else(|| Error::new(format!("Function {name} not found in contract {contract}")))
    }
}

impl std::fmt::Debug for Contract {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let functions = self.functions.iter();
        formatter
            .debug_struct("Contract")
            .field("name", &self.name)
            .field("functions", &functions.map(|(name, entry)| (name, entry.intent)).collect::<Vec<_>>())
            .finish()
    }
}

impl Chaincode for Contract {
    async fn invoke(&self, stub: Stub) -> Result<Response, Error> {
        let call = Arc::clone(&self.find(&stub.function())?.call);
        call(stub).await
    }

    /// Without arguments there is nothing to initialize.
    async fn init(&self, stub: Stub) -> Result<Response, Error> {
        if stub.function().is_empty() {
            return Ok(Response::success(Vec::new()));
        }
        self.invoke(stub).await
    }
}

/// A function of a contract: asynchronous, takes a [`Stub`] and up to eight
/// arguments ([`Arguments`]), returns a result that `serde` can write.
///
/// `A` is the tuple of argument types; it is never named by users.
#[diagnostic::on_unimplemented(
    message = "this is not a function of a contract",
    label = "takes a `Stub` and up to eight arguments that implement `FromArgument`",
    note = "it is asynchronous and returns a `Result` of something that implements `Serialize`"
)]
pub trait Function<A>: Send + Sync + 'static {
    /// Converts the arguments, runs, converts the result.
    fn call(&self, stub: Stub) -> impl Future<Output = Result<Response, Error>> + Send;
}

macro_rules! functions {
    ($($name:ident)*) => {
        impl<F, Fut, T, E, $($name),*> Function<($($name,)*)> for F
        where
            F: Fn(Stub, $($name),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Result<T, E>> + Send,
            T: Serialize,
            E: Into<Error>,
            ($($name,)*): Arguments,
        {
            #[allow(non_snake_case, reason = "one name for the type and its value")]
            async fn call(&self, stub: Stub) -> Result<Response, Error> {
                let ($($name,)*) = stub.parameters()?;
                let result = self(stub, $($name),*).await.map_err(Into::into)?;
                Ok(Response::success(payload(&result)?))
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

/// A result as the client receives it.
fn payload(result: &impl Serialize) -> Result<Vec<u8>, Error> {
    let json = serde_json::to_vec(result)?;
    Ok(match json.first() {
        Some(b'"') => serde_json::from_slice::<String>(&json)?.into_bytes(),
        Some(b'n') => Vec::new(),
        _ => json,
    })
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_written_as_contract_apis_do() {
        assert_eq!(payload(&"say \"hi\"").unwrap(), b"say \"hi\"");
        assert_eq!(payload(&()).unwrap(), b"");
        assert_eq!(payload(&None::<u8>).unwrap(), b"");
        assert_eq!(payload(&true).unwrap(), b"true");
        assert_eq!(payload(&-5).unwrap(), b"-5");
        assert_eq!(payload(&["a"]).unwrap(), br#"["a"]"#);
    }

    #[test]
    fn functions_are_found_by_name() {
        async fn nothing(_: Stub) -> Result<(), Error> {
            Ok(())
        }
        let contract = Contract::new("C").submit("Do", nothing);
        for name in ["Do", "do", "C:Do", "C:do"] {
            assert!(contract.find(name).is_ok(), "{name}");
        }
        let cases = [
            ("DO", "Function DO not found in contract C"),
            ("C:Other", "Function Other not found in contract C"),
            ("D:Do", "Contract not found with name D"),
            ("", "the name of the function is missing"),
            ("C:", "the name of the function is missing"),
        ];
        for (name, text) in cases {
            let error = contract.find(name).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some(text), "{name}");
        }
    }
}
