//! gRPC message frames: a zero byte, four bytes of length, the message.
//!
//! Splits a byte stream into messages without copying messages that arrive in one piece. Does no
//! I/O.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use fabric_primitives::limits::MAX_MESSAGE_BYTES;
use fabric_protos::prost::Message;

pub(super) const HEADER: usize = 5;

/// Why a frame is invalid. The texts are those of Go's gRPC.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("grpc: received message larger than max ({0} vs. {MAX_MESSAGE_BYTES})")]
    TooLarge(usize),
    #[error("grpc: compressed flag set with identity or empty encoding")]
    Compressed,
    #[error("grpc: received unexpected payload format {0}")]
    Format(u8),
    #[error("grpc: failed to unmarshal the received message: proto: {0}")]
    Message(String),
}

impl FrameError {
    /// The gRPC status code.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "ResourceExhausted",
            Self::Compressed | Self::Format(_) | Self::Message(_) => "Internal",
        }
    }
}

/// A decoder for frames.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The unread rest of the last piece.
    piece: Bytes,
    /// The part received so far of a message that spans several pieces.
    partial: BytesMut,
}

impl Frames {
    /// Adds a received piece. All messages of the previous piece must have been read.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.partial.is_empty() && self.piece.is_empty() {
            self.piece = piece;
        } else {
            self.partial.extend_from_slice(&self.piece);
            self.piece = Bytes::new();
            self.partial.extend_from_slice(&piece);
        }
    }

    /// The next complete message and its size.
    pub(super) fn next<M: Message + Default>(&mut self) -> Option<Result<(M, usize), FrameError>> {
        let bytes = match self.next_bytes()? {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(error)),
        };
        let length = bytes.len();
        Some(match M::decode(bytes) {
            Ok(message) => Ok((message, length)),
            Err(error) => Err(FrameError::Message(error.to_string())),
        })
    }

    fn next_bytes(&mut self) -> Option<Result<Bytes, FrameError>> {
        if !self.partial.is_empty() {
            let length = match length(&self.partial)? {
                Ok(length) => length,
                Err(error) => return Some(Err(error)),
            };
            if self.partial.len() < HEADER + length {
                // Reserve the whole message with one allocation, but limit the trust in a claimed
                // length by the bytes received.
                let wanted = (HEADER + length - self.partial.len()).min(self.partial.len().max(64 * 1024));
                self.partial.reserve(wanted);
                return None;
            }
            let mut frame = self.partial.split_to(HEADER + length).freeze();
            frame.advance(HEADER);
            if self.partial.is_empty() {
                self.partial = BytesMut::new();
            }
            return Some(Ok(frame));
        }
        let length = match length(&self.piece)? {
            Ok(length) => length,
            Err(error) => return Some(Err(error)),
        };
        if self.piece.len() < HEADER + length {
            return None;
        }
        let mut frame = self.piece.split_to(HEADER + length);
        frame.advance(HEADER);
        Some(Ok(frame))
    }
}

fn length(bytes: &[u8]) -> Option<Result<usize, FrameError>> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let [flag, length @ ..] = *header;
    let length = u32::from_be_bytes(length) as usize;
    Some(match flag {
        0 if length > MAX_MESSAGE_BYTES => Err(FrameError::TooLarge(length)),
        0 => Ok(length),
        1 => Err(FrameError::Compressed),
        other => Err(FrameError::Format(other)),
    })
}

/// A message in its frame, and the message's size.
pub(super) fn framed(message: &impl Message) -> (Bytes, usize) {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(HEADER + length);
    frame.put_u8(0);
    // A message longer than 4 GiB exceeds other limits anyway.
    frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut frame);
    (frame.freeze(), length)
}

#[cfg(test)]
mod tests {
    use fabric_protos::protos::GetState;
    use proptest::prelude::*;

    use super::*;

    fn get(key: &str) -> GetState {
        GetState { key: key.to_owned(), ..GetState::default() }
    }

    #[test]
    fn an_excessive_length_is_rejected_before_allocation() {
        let mut frames = Frames::default();
        frames.push(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1]));
        let error = frames.next::<GetState>().unwrap().unwrap_err();
        assert_eq!(error.to_string(), "grpc: received message larger than max (4294967295 vs. 104857600)");
    }

    #[test]
    fn compressed_messages_are_rejected() {
        let mut frames = Frames::default();
        frames.push(Bytes::from_static(&[1, 0, 0, 0, 0]));
        assert_eq!(frames.next::<GetState>(), Some(Err(FrameError::Compressed)));
    }

    proptest! {
        #[test]
        fn messages_survive_any_fragmentation(
            keys in prop::collection::vec("[a-z]{0,300}", 0..8),
            cuts in prop::collection::vec(1usize..200, 0..40),
        ) {
            let mut stream: Vec<u8> = keys.iter().flat_map(|key| framed(&get(key)).0).collect();
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let rest = stream.split_off(cut.min(stream.len()));
                frames.push(Bytes::from(std::mem::replace(&mut stream, rest)));
                while let Some(message) = frames.next::<GetState>() {
                    seen.push(message.unwrap().0.key);
                }
            }
            prop_assert_eq!(seen, keys);
        }

        /// Some inputs start like a frame with a slightly wrong length.
        #[test]
        fn random_bytes_never_panic(
            starts in prop::collection::vec((any::<bool>(), 0u8..16), 8),
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..16), 0..8),
        ) {
            let pieces = pieces.into_iter().zip(starts).map(|(piece, (is_frame, length))| {
                if is_frame { [&[0, 0, 0, 0, length], piece.as_slice()].concat() } else { piece }
            });
            let mut frames = Frames::default();
            'pieces: for piece in pieces {
                frames.push(Bytes::from(piece));
                while let Some(message) = frames.next::<GetState>() {
                    if message.is_err() {
                        break 'pieces;
                    }
                }
            }
        }
    }
}
