//! What a chaincode is: two functions over a [`Stub`].
//!
//! Most chaincodes are a [`Contract`](crate::Contract); this trait is for
//! those that want the raw call.

use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;

use crate::protocol::CallKind;
use crate::{Error, Response, Stub};

/// A chaincode.
///
/// Transactions run side by side, so state of the chaincode itself is behind
/// `&self`; state that peers must agree on belongs to the ledger. A function
/// that blocks its thread holds up other transactions: hand such work to
/// `tokio::task::spawn_blocking`.
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
    /// An error reaches the client as status and message; a panic answers
    /// this transaction alone with status 500.
    fn invoke(&self, stub: Stub) -> impl Future<Output = Result<Response, Error>> + Send;

    /// Runs the initialization that a definition with `--init-required` asks
    /// for. The default is [`invoke`](Self::invoke).
    fn init(&self, stub: Stub) -> impl Future<Output = Result<Response, Error>> + Send {
        self.invoke(stub)
    }
}

/// A chaincode behind a pointer, so that the session is not generic.
pub(crate) trait Runnable: Send + Sync {
    /// Calls `init` or `invoke`.
    fn run(self: Arc<Self>, kind: CallKind, stub: Stub) -> BoxFuture<'static, Response>;
}

impl<C: Chaincode> Runnable for C {
    fn run(self: Arc<Self>, kind: CallKind, stub: Stub) -> BoxFuture<'static, Response> {
        Box::pin(async move {
            match kind {
                CallKind::Init => self.init(stub).await.into(),
                CallKind::Invoke => self.invoke(stub).await.into(),
            }
        })
    }
}
