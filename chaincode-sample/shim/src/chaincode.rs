//! The trait that a chaincode implements.
//!
//! Most chaincodes are a [`Contract`](crate::Contract); implement [`Chaincode`] to handle the raw
//! call.

use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::protocol::CallKind;
use crate::response::{Error, Response};
use crate::stub::Stub;

/// A chaincode.
///
/// Transactions run concurrently, so `&self` is shared. Keep only local state in it, such as caches
/// and configuration; state that peers must agree on belongs on the ledger. A function that blocks
/// its thread delays other transactions: move such work to `tokio::task::spawn_blocking`.
///
/// ```
/// use chaincode_shim::{Chaincode, Error, Response, Stub};
///
/// struct Echo;
///
/// impl Chaincode for Echo {
///     async fn invoke(&self, stub: Stub) -> Result<Response, Error> {
///         Ok(Response::success(stub.args().concat()))
///     }
/// }
/// ```
pub trait Chaincode: Send + Sync + 'static {
    /// Runs one transaction.
    ///
    /// An error reaches the client as a status and a message. A panic fails only this transaction,
    /// with status 500.
    fn invoke(&self, stub: Stub) -> impl Future<Output = Result<Response, Error>> + Send;

    /// Runs the initialization of a chaincode whose definition has `--init-required`. Calls
    /// [`invoke`](Self::invoke) by default.
    fn init(&self, stub: Stub) -> impl Future<Output = Result<Response, Error>> + Send {
        self.invoke(stub)
    }
}

/// [`Chaincode`] as a trait object.
pub(crate) trait DynChaincode: Send + Sync {
    /// Calls `init` or `invoke`.
    fn run(self: Arc<Self>, kind: CallKind, stub: Stub) -> BoxFuture<'static, Response>;
}

impl<C: Chaincode> DynChaincode for C {
    fn run(self: Arc<Self>, kind: CallKind, stub: Stub) -> BoxFuture<'static, Response> {
        Box::pin(async move {
            match kind {
                CallKind::Init => self.init(stub).await.into(),
                CallKind::Invoke => self.invoke(stub).await.into(),
            }
        })
    }
}
