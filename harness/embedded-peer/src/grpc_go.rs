//! Errors of the gRPC library as grpc-go writes them, which clients of Fabric see.

use hyper::Response;
use tonic::body::Body;
use tonic::{Code, Status};

/// The status of grpc-go for a message that is larger than the limit (`rpc_util.go`); other statuses unchanged.
pub(crate) fn status(status: Status) -> Status {
    let sizes = || {
        let rest = status.message().strip_prefix("Error, decoded message length too large: found ")?;
        let (found, rest) = rest.split_once(" bytes, the limit is: ")?;
        Some((found, rest.strip_suffix(" bytes")?))
    };
    match sizes().filter(|_| status.code() == Code::OutOfRange) {
        Some((found, most)) => {
            Status::resource_exhausted(format!("grpc: received message larger than max ({found} vs. {most})"))
        }
        None => status,
    }
}

/// The same for the answer to a call with one message.
pub(crate) fn response(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(answer) if answer.code() == Code::OutOfRange => status(answer).into_http(),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_too_large_has_the_text_of_grpc_go() {
        let text = "Error, decoded message length too large: found 104858579 bytes, the limit is: 104857600 bytes";
        let answer = status(Status::out_of_range(text));
        let expected = "grpc: received message larger than max (104858579 vs. 104857600)";
        assert_eq!((answer.code(), answer.message()), (Code::ResourceExhausted, expected));
        let other = status(Status::out_of_range("another error"));
        assert_eq!((other.code(), other.message()), (Code::OutOfRange, "another error"));
    }
}
