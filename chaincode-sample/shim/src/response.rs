//! The response of a transaction: a status, a message and a payload.
//!
//! The peer endorses every status below 400 (`shim/response.go` of fabric-chaincode-go).

use fabric_protos::protos;

/// The response of a transaction.
///
/// ```
/// use chaincode_shim::Response;
///
/// let response = Response::success("42");
/// assert_eq!((response.status, response.is_error()), (200, false));
/// assert!(Response::error("out of stock").is_error());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// 200 is success; the peer does not endorse 400 and higher.
    pub status: i32,
    /// A message for the client; usually empty on success.
    pub message: String,
    /// The result for the client.
    pub payload: Vec<u8>,
}

impl Response {
    /// The status of a successful response.
    pub const OK: i32 = 200;
    /// The lowest status that the peer does not endorse.
    pub const ERROR_THRESHOLD: i32 = 400;
    /// The default status of an error.
    pub const ERROR: i32 = 500;

    /// A successful response (status 200) with this payload.
    pub fn success(payload: impl Into<Vec<u8>>) -> Self {
        Self { status: Self::OK, message: String::new(), payload: payload.into() }
    }

    /// An error (status 500) with this message.
    pub fn error(message: impl Into<String>) -> Self {
        Self { status: Self::ERROR, message: message.into(), payload: Vec::new() }
    }

    /// Whether the peer does not endorse this response.
    pub fn is_error(&self) -> bool {
        self.status >= Self::ERROR_THRESHOLD
    }
}

impl From<Response> for protos::Response {
    fn from(response: Response) -> Self {
        Self { status: response.status, message: response.message, payload: response.payload }
    }
}

impl From<protos::Response> for Response {
    fn from(response: protos::Response) -> Self {
        Self { status: response.status, message: response.message, payload: response.payload }
    }
}

impl From<Result<Response, Error>> for Response {
    fn from(result: Result<Response, Error>) -> Self {
        result.unwrap_or_else(|error| error.0)
    }
}

/// Why a transaction fails: a status (500 by default) and the message that the client receives.
///
/// The operator `?` converts every [`std::error::Error`] into it, with its text as the message.
/// Therefore this type does not implement `std::error::Error` itself.
///
/// ```
/// use chaincode_shim::Error;
///
/// let error = Error::new("the asset a1 does not exist").with_status(404);
/// assert_eq!(error.status(), 404);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Response);

impl Error {
    /// An error with this message and status 500.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Response::error(message))
    }

    /// Sets the status. The peer would endorse a status below 400, so such a status becomes 500.
    #[must_use]
    pub fn with_status(mut self, status: i32) -> Self {
        self.0.status = if status < Response::ERROR_THRESHOLD { Response::ERROR } else { status };
        self
    }

    /// Adds a payload to the message.
    #[must_use]
    pub fn with_payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.0.payload = payload.into();
        self
    }

    /// The status that the peer receives.
    pub fn status(&self) -> i32 {
        self.0.status
    }

    /// The message that the client receives.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

impl std::fmt::Debug for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_status_500_with_its_text() {
        let error = Error::from("x".parse::<i64>().unwrap_err());
        assert_eq!(error.status(), 500);
        assert_eq!(error.message(), "invalid digit found in string");
    }

    #[test]
    fn an_error_never_has_a_status_that_the_peer_endorses() {
        assert_eq!(Error::new("x").with_status(399).status(), 500);
        assert_eq!(Error::new("x").with_status(400).status(), 400);
    }
}
