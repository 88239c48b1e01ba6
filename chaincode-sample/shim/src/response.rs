//! What a transaction answers: a status, a message, a payload.
//!
//! The peer endorses every status below 400 (`shim/response.go` of
//! fabric-chaincode-go); nothing here decides what an answer should be.

use fabric_protos::protos;

/// The answer of a transaction, as the peer sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// 200 is success; 400 and above fails the endorsement.
    pub status: i32,
    /// For people; empty on success, by custom.
    pub message: String,
    /// For programs; what the client receives as the result.
    pub payload: Vec<u8>,
}

impl Response {
    /// The status of a success.
    pub const OK: i32 = 200;
    /// From this status on, the peer does not endorse.
    pub const ERROR_THRESHOLD: i32 = 400;
    /// The status of an error that says nothing else.
    pub const ERROR: i32 = 500;

    /// A success (status 200) with this payload.
    pub fn success(payload: impl Into<Vec<u8>>) -> Self {
        Self { status: Self::OK, message: String::new(), payload: payload.into() }
    }

    /// A failure (status 500) with this message.
    pub fn error(message: impl Into<String>) -> Self {
        Self { status: Self::ERROR, message: message.into(), payload: Vec::new() }
    }

    /// Whether the peer refuses to endorse this answer.
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

/// Why a transaction fails: a status (500 unless said otherwise) and the
/// message that the client receives.
///
/// Every [`std::error::Error`] turns into one by `?`, with its text as the
/// message. For that reason this type is not a `std::error::Error` itself.
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

    /// Another status; below 400 it would be an endorsed answer and no error,
    /// so such a status leaves 500 in place.
    #[must_use]
    pub fn with_status(mut self, status: i32) -> Self {
        self.0.status = if status < Response::ERROR_THRESHOLD { Response::ERROR } else { status };
        self
    }

    /// A payload beside the message.
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
