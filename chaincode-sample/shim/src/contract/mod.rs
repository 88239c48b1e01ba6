//! Contracts: chaincodes made of named, typed functions.
//!
//! [`Arguments`](crate::Arguments) converts the arguments and `serde` the results. As in Fabric's
//! contract APIs, a string is returned as it is, `()` and `None` as an empty payload, everything else
//! as JSON. A name may include the contract's name (`Contract:Function`).

mod function;
mod metadata;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use schemars::SchemaGenerator;

use crate::chaincode::Chaincode;
use crate::response::{Error, Response};
use crate::stub::Stub;

pub use function::Function;
use function::Signature;

/// Whether a function is intended to write. It only informs clients; peers do not enforce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    Submit,
    Evaluate,
}

type Answer = BoxFuture<'static, Result<Response, Error>>;
type Call = dyn Fn(Stub) -> Answer + Send + Sync;
type Before = dyn Fn(Stub) -> BoxFuture<'static, Result<(), Error>> + Send + Sync;
type After = dyn Fn(Stub, Response) -> Answer + Send + Sync;

struct Entry {
    intent: Intent,
    call: Box<Call>,
    signature: fn(&mut SchemaGenerator) -> Signature,
    /// Names of the parameters, for the metadata.
    parameters: Vec<String>,
}

/// A contract: a set of named functions.
///
/// ```
/// use chaincode_shim::{Contract, Error, Stub};
///
/// async fn add(_: Stub, a: i64, b: i64) -> Result<i64, Error> {
///     a.checked_add(b).ok_or_else(|| Error::new("the sum is too large"))
/// }
///
/// let contract = Contract::new("Calculator")
///     .evaluate("Add", add)
///     .parameters("Add", ["a", "b"])
///     .before(|stub: Stub| async move {
///         match stub.client_identity()?.msp_id() {
///             "Org1MSP" => Ok(()),
///             other => Err(Error::new(format!("permission denied for {other}")).with_status(403)),
///         }
///     });
/// ```
pub struct Contract {
    name: String,
    version: String,
    functions: BTreeMap<String, Entry>,
    before: Option<Box<Before>>,
    after: Option<Box<After>>,
    unknown: Option<Box<Call>>,
}

impl Contract {
    /// A contract without functions. Its version is `latest`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: "latest".to_owned(),
            functions: BTreeMap::new(),
            before: None,
            after: None,
            unknown: None,
        }
    }

    /// Sets the version in the metadata.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Adds a function that writes. It replaces a function with the same name.
    #[must_use]
    pub fn submit<A>(self, name: &str, function: impl Function<A>) -> Self {
        self.add(name, Intent::Submit, function)
    }

    /// Adds a function that only reads. It replaces a function with the same name.
    #[must_use]
    pub fn evaluate<A>(self, name: &str, function: impl Function<A>) -> Self {
        self.add(name, Intent::Evaluate, function)
    }

    /// Sets the names of a function's parameters in the metadata; the default is `param0` and so on.
    /// Ignored if there is no such function.
    #[must_use]
    pub fn parameters<N: Into<String>>(mut self, function: &str, names: impl IntoIterator<Item = N>) -> Self {
        if let Some(entry) = self.functions.get_mut(function) {
            entry.parameters = names.into_iter().map(Into::into).collect();
        }
        self
    }

    /// Runs `hook` before every function of this contract, including unknown ones. If it fails, so
    /// does the transaction.
    #[must_use]
    pub fn before<Fut, E>(mut self, hook: impl Fn(Stub) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<Error>,
    {
        self.before = Some(Box::new(move |stub| {
            let run = hook(stub);
            Box::pin(async move { run.await.map_err(Into::into) })
        }));
        self
    }

    /// Runs `hook` after every successful function; its result replaces the function's.
    #[must_use]
    pub fn after<Fut, E>(mut self, hook: impl Fn(Stub, Response) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Result<Response, E>> + Send + 'static,
        E: Into<Error>,
    {
        self.after = Some(Box::new(move |stub, response| {
            let run = hook(stub, response);
            Box::pin(async move { run.await.map_err(Into::into) })
        }));
        self
    }

    /// Handles calls of unknown functions, which otherwise fail.
    #[must_use]
    pub fn unknown<Fut, E>(mut self, hook: impl Fn(Stub) -> Fut + Send + Sync + 'static) -> Self
    where
        Fut: Future<Output = Result<Response, E>> + Send + 'static,
        E: Into<Error>,
    {
        self.unknown = Some(Box::new(move |stub| {
            let run = hook(stub);
            Box::pin(async move { run.await.map_err(Into::into) })
        }));
        self
    }

    fn add<A, F: Function<A>>(mut self, name: &str, intent: Intent, function: F) -> Self {
        let function = Arc::new(function);
        let call: Box<Call> = Box::new(move |stub| {
            let function = Arc::clone(&function);
            Box::pin(async move { function.call(stub).await })
        });
        let entry = Entry { intent, call, signature: F::signature, parameters: Vec::new() };
        self.functions.insert(name.to_owned(), entry);
        self
    }

    /// Finds a function by its registered name. As in Go's contract API, the first letter may be lower
    /// case.
    fn find(&self, name: &str) -> Result<&Call, Error> {
        if name.is_empty() {
            return Err(Error::new("the function name is missing"));
        }
        let found = self.functions.get(name).or_else(|| self.functions.get(&capitalized(name)));
        found
            .map(|entry| &*entry.call)
            .or(self.unknown.as_deref())
            .ok_or_else(|| Error::new(format!("Function {name} not found in contract {}", self.name)))
    }

    async fn run(&self, name: &str, stub: Stub) -> Result<Response, Error> {
        if let Some(before) = &self.before {
            before(stub.clone()).await?;
        }
        let response = self.find(name)?(stub.clone()).await?;
        match &self.after {
            Some(after) if !response.is_error() => after(stub, response).await,
            _ => Ok(response),
        }
    }
}

impl std::fmt::Debug for Contract {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let functions = self.functions.iter();
        formatter
            .debug_struct("Contract")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("functions", &functions.map(|(name, entry)| (name, entry.intent)).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Chaincode for Contract {
    async fn invoke(&self, stub: Stub) -> Result<Response, Error> {
        invoke(std::slice::from_ref(self), stub).await
    }

    /// Succeeds if there are no arguments.
    async fn init(&self, stub: Stub) -> Result<Response, Error> {
        init(std::slice::from_ref(self), stub).await
    }
}

/// Several contracts in one chaincode.
///
/// A client calls `Contract:Function`; without a contract's name, the default contract is called.
///
/// ```
/// # use chaincode_shim::{Contract, Contracts};
/// let chaincode = Contracts::new(Contract::new("Assets")).with(Contract::new("Owners"));
/// ```
#[derive(Debug)]
pub struct Contracts(Vec<Contract>);

impl Contracts {
    /// A chaincode with a default contract.
    pub fn new(default: Contract) -> Self {
        Self(vec![default])
    }

    /// Adds a contract. It replaces a contract with the same name.
    #[must_use]
    pub fn with(mut self, contract: Contract) -> Self {
        match self.0.iter_mut().find(|known| known.name == contract.name) {
            Some(known) => *known = contract,
            None => self.0.push(contract),
        }
        self
    }
}

impl Chaincode for Contracts {
    async fn invoke(&self, stub: Stub) -> Result<Response, Error> {
        invoke(&self.0, stub).await
    }

    /// Succeeds if there are no arguments.
    async fn init(&self, stub: Stub) -> Result<Response, Error> {
        init(&self.0, stub).await
    }
}

/// Calls the function that the client requested.
async fn invoke(contracts: &[Contract], stub: Stub) -> Result<Response, Error> {
    let requested = stub.function();
    let (contract, name) = match requested.rsplit_once(':') {
        Some((contract, name)) => (Some(contract), name),
        None => (None, requested.as_str()),
    };
    if contract == Some(metadata::SYSTEM) {
        return system(contracts, name);
    }
    let found = match contract {
        Some(wanted) => contracts.iter().find(|contract| contract.name == wanted),
        None => contracts.first(),
    };
    match found {
        Some(found) => found.run(name, stub).await,
        None => Err(Error::new(format!("Contract not found with name {}", contract.unwrap_or_default()))),
    }
}

async fn init(contracts: &[Contract], stub: Stub) -> Result<Response, Error> {
    if stub.function().is_empty() {
        return Ok(Response::success(Vec::new()));
    }
    invoke(contracts, stub).await
}

fn system(contracts: &[Contract], name: &str) -> Result<Response, Error> {
    if capitalized(name) != metadata::GET_METADATA {
        return Err(Error::new(format!("Function {name} not found in contract {}", metadata::SYSTEM)));
    }
    Ok(Response::success(metadata::metadata(contracts).to_string()))
}

fn capitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}
