//! Reads gRPC messages out of one direction of an HTTP/2 connection that others speak.
//!
//! It only ever watches: it answers nothing, keeps no window, and does not decode headers. Bytes that
//! are not HTTP/2 end the watching. What it remembers is bounded, whatever comes. The frames are those
//! of RFC 9113 section 6, the messages those of gRPC's `PROTOCOL-HTTP2.md`.

use std::collections::HashMap;

/// What a client sends first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The longest message that is decoded, in bytes.
pub(super) const MESSAGE_LIMIT: usize = 1024 * 1024;

/// How many streams are watched at a time. A peer has one to each chaincode.
const STREAM_LIMIT: usize = 32;

/// How much of a frame other than DATA is kept, in bytes.
const SMALL: usize = 64;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// A whole message.
    Message(Vec<u8>),
    /// A message that is too long, or compressed, and its size in bytes.
    Opaque(usize),
    /// This side has ended the stream.
    End,
    /// The stream was broken off, with this error code.
    Reset(u32),
    /// The connection will end, with this error code.
    GoAway(u32),
    /// This is not HTTP/2; nothing more will be seen.
    Lost,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Watcher {
    state: State,
    streams: HashMap<u32, Stream>,
}

#[derive(Debug)]
enum State {
    /// So much of the preface has been seen.
    Preface(usize),
    /// The bytes of a frame's header received so far.
    Header(Vec<u8>),
    Frame(Frame),
    Lost,
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Bytes of the payload that are still to come.
    left: usize,
    /// The bytes of padding at its end, once that is known.
    padding: Option<usize>,
    /// The beginning of a payload that is no data.
    small: Vec<u8>,
}

/// The message that is being read from a stream.
#[derive(Debug, Default)]
struct Stream {
    /// The bytes of the message prefix received so far: compression flag and length.
    prefix: Vec<u8>,
    body: Vec<u8>,
    /// Bytes of the body that are still to come.
    left: usize,
}

impl Watcher {
    /// Of the side that has opened the connection.
    pub(super) fn of_client() -> Self {
        Self { state: State::Preface(0), streams: HashMap::new() }
    }

    /// Of the other side.
    pub(super) fn of_server() -> Self {
        Self { state: State::Header(Vec::new()), streams: HashMap::new() }
    }

    /// Reads the next bytes, and reports each event.
    pub(super) fn read(&mut self, mut bytes: &[u8], report: &mut impl FnMut(Seen)) {
        while !bytes.is_empty() {
            bytes = self.step(bytes, report);
        }
    }

    /// Takes some bytes, at least one, and returns the rest.
    fn step<'a>(&mut self, bytes: &'a [u8], report: &mut impl FnMut(Seen)) -> &'a [u8] {
        match &mut self.state {
            State::Lost => &[],
            State::Preface(seen) => {
                let expected = &PREFACE[*seen..];
                let length = expected.len().min(bytes.len());
                if bytes[..length] != expected[..length] {
                    self.state = State::Lost;
                    report(Seen::Lost);
                    return &[];
                }
                *seen += length;
                if *seen == PREFACE.len() {
                    self.state = State::Header(Vec::new());
                }
                &bytes[length..]
            }
            State::Header(header) => {
                let rest = fill(header, 9, bytes);
                if let [a, b, c, kind, flags, s0, s1, s2, s3] = **header {
                    let left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                    let stream = u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff;
                    let padding = if kind == DATA && flags & PADDED != 0 { None } else { Some(0) };
                    let small = Vec::new();
                    self.state = State::Frame(Frame { kind, flags, stream, left, padding, small });
                    self.end_of_frame(report);
                }
                rest
            }
            State::Frame(frame) => {
                let (now, rest) = bytes.split_at(frame.left.min(bytes.len()));
                let data = frame.take(now);
                if frame.kind == DATA {
                    let stream = frame.stream;
                    let known = self.streams.len() < STREAM_LIMIT || self.streams.contains_key(&stream);
                    if known {
                        self.streams.entry(stream).or_default().read(data, report);
                    }
                }
                self.end_of_frame(report);
                rest
            }
        }
    }

    /// Handles a complete frame, and prepares for the next one.
    fn end_of_frame(&mut self, report: &mut impl FnMut(Seen)) {
        let State::Frame(frame) = &self.state else { return };
        if frame.left > 0 {
            return;
        }
        let code = |at: usize| {
            let bytes = frame.small.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_be_bytes)
        };
        match frame.kind {
            DATA | HEADERS if frame.flags & END_STREAM != 0 => {
                self.streams.remove(&frame.stream);
                report(Seen::End);
            }
            RST_STREAM => {
                self.streams.remove(&frame.stream);
                report(Seen::Reset(code(0)));
            }
            GOAWAY => report(Seen::GoAway(code(4))),
            _ => {}
        }
        self.state = State::Header(Vec::new());
    }
}

impl Frame {
    /// Takes bytes of the payload, and returns those that are data.
    fn take<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        if self.padding.is_none()
            && let [padding, rest @ ..] = bytes
        {
            self.padding = Some(usize::from(*padding));
            self.left -= 1;
            bytes = rest;
        }
        if self.kind != DATA {
            let room = SMALL.saturating_sub(self.small.len()).min(bytes.len());
            self.small.extend_from_slice(&bytes[..room]);
        }
        let data = self.left.saturating_sub(self.padding.unwrap_or_default()).min(bytes.len());
        self.left -= bytes.len();
        &bytes[..data]
    }
}

impl Stream {
    fn read(&mut self, mut bytes: &[u8], report: &mut impl FnMut(Seen)) {
        while !bytes.is_empty() {
            if self.prefix.len() < 5 {
                bytes = fill(&mut self.prefix, 5, bytes);
                let [_, a, b, c, d] = *self.prefix else { return };
                self.left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                self.body.clear();
            }
            let (now, rest) = bytes.split_at(self.left.min(bytes.len()));
            bytes = rest;
            let size = self.size();
            if size <= MESSAGE_LIMIT {
                self.body.extend_from_slice(now);
            }
            self.left -= now.len();
            if self.left == 0 {
                let is_plain = self.prefix.first() == Some(&0) && size <= MESSAGE_LIMIT;
                report(if is_plain { Seen::Message(std::mem::take(&mut self.body)) } else { Seen::Opaque(size) });
                self.prefix.clear();
            }
        }
    }

    fn size(&self) -> usize {
        let size = self.prefix.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
        usize::try_from(size).unwrap_or(usize::MAX)
    }
}

/// Fills a buffer up to a length, and returns the bytes beyond.
fn fill<'a>(buffer: &mut Vec<u8>, length: usize, bytes: &'a [u8]) -> &'a [u8] {
    let (now, rest) = bytes.split_at(length.saturating_sub(buffer.len()).min(bytes.len()));
    buffer.extend_from_slice(now);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn grpc(body: &[u8]) -> Vec<u8> {
        [&[0][..], &u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
    }

    fn seen(mut watcher: Watcher, pieces: &[&[u8]]) -> Vec<Seen> {
        let mut seen = Vec::new();
        for piece in pieces {
            watcher.read(piece, &mut |what| seen.push(what));
        }
        seen
    }

    /// Settings, headers, two messages over three frames of which one is padded and one empty, the end.
    fn connection() -> Vec<u8> {
        let messages = [grpc(b"first"), grpc(b"")].concat();
        let padded = [&[3], &messages[4..], &[0; 3]].concat();
        [
            PREFACE.to_vec(),
            frame(4, 0, 0, &[0; 12]),
            frame(HEADERS, 4, 1, b"whatever"),
            frame(DATA, 0, 1, &messages[..4]),
            frame(DATA, 0, 1, b""),
            frame(DATA, PADDED, 1, &padded),
            frame(DATA, 0, 3, &grpc(b"other")),
            frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes()),
            frame(DATA, END_STREAM, 1, b""),
            frame(GOAWAY, 0, 0, &[0, 0, 0, 3, 0, 0, 0, 2, b'x']),
        ]
        .concat()
    }

    fn expected() -> Vec<Seen> {
        let message = |text: &[u8]| Seen::Message(text.to_vec());
        vec![message(b"first"), message(b""), message(b"other"), Seen::Reset(8), Seen::End, Seen::GoAway(2)]
    }

    #[test]
    fn messages_are_found_however_the_bytes_come() {
        let bytes = connection();
        assert_eq!(seen(Watcher::of_client(), &[&bytes]), expected());
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(seen(Watcher::of_client(), &single), expected());
    }

    #[test]
    fn compressed_and_long_messages_are_shown_by_size() {
        let mut compressed = grpc(b"zip");
        compressed[0] = 1;
        let size = MESSAGE_LIMIT + 1;
        let long = [&[0][..], &u32::try_from(size).unwrap().to_be_bytes()].concat();
        let mut pieces = vec![frame(DATA, 0, 1, &compressed), frame(DATA, 0, 1, &long)];
        pieces.extend(std::iter::repeat_n(frame(DATA, 0, 1, &[7; 4096]), size / 4096));
        pieces.push(frame(DATA, 0, 1, &[7; 1]));
        pieces.push(frame(DATA, 0, 1, &grpc(b"next")));
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let seen = seen(Watcher::of_server(), &pieces);
        assert_eq!(seen, [Seen::Opaque(3), Seen::Opaque(size), Seen::Message(b"next".to_vec())]);
    }

    #[test]
    fn what_is_not_http2_is_lost_once() {
        assert_eq!(seen(Watcher::of_client(), &[b"PRI * HTTP/1.1", b"more"]), [Seen::Lost]);
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..2000), at in 0_usize..2000) {
            let at = at.min(bytes.len());
            let whole = seen(Watcher::of_server(), &[&bytes]);
            prop_assert_eq!(seen(Watcher::of_server(), &[&bytes[..at], &bytes[at..]]), whole);
        }
    }
}
