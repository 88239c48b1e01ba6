//! A blocking gRPC client with one stream of HTTP/2 over TLS.
//!
//! It has only what the benchmark needs, so that the driver uses little processor time. Frames and flow
//! control follow RFC 9113; header fields of the server are ignored.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::Result;

/// The timeout of a read.
const TIMEOUT: Duration = Duration::from_secs(30);
const STREAM: u32 = 1;
/// The receive window in bytes. A `WINDOW_UPDATE` is sent after half of it.
const WINDOW: u32 = 1 << 30;
const DEFAULT_WINDOW: u32 = 65_535;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// A running call.
pub(crate) struct Call {
    tls: ClientConnection,
    socket: TcpStream,
    /// Bytes of an incomplete frame.
    frames: Vec<u8>,
    /// Bytes of received messages.
    messages: Vec<u8>,
    taken: usize,
    /// Messages that wait for the server's send windows.
    outgoing: Vec<u8>,
    /// The send windows of the connection and of the stream.
    windows: [i64; 2],
    stream_window: i64,
    frame_size: usize,
    unacknowledged: u32,
}

impl Call {
    /// Calls a method, such as `/protos.Chaincode/Connect`.
    pub(crate) fn begin(address: SocketAddr, config: Arc<ClientConfig>, method: &str) -> Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        let mut tls = ClientConnection::new(config, ServerName::IpAddress(address.ip().into()))?;
        tls.set_buffer_limit(None);
        let mut call = Self {
            tls,
            socket,
            frames: Vec::new(),
            messages: Vec::new(),
            taken: 0,
            outgoing: Vec::new(),
            windows: [DEFAULT_WINDOW.into(); 2],
            stream_window: DEFAULT_WINDOW.into(),
            frame_size: 16_384,
            unacknowledged: 0,
        };
        call.tls.writer().write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")?;
        // SETTINGS_INITIAL_WINDOW_SIZE.
        let settings = [&[0, 4][..], &WINDOW.to_be_bytes()].concat();
        call.frame(SETTINGS, 0, 0, &settings)?;
        call.frame(WINDOW_UPDATE, 0, 0, &(WINDOW - DEFAULT_WINDOW).to_be_bytes())?;
        call.frame(HEADERS, END_HEADERS, STREAM, &header(method, &address.to_string()))?;
        call.flush()?;
        Ok(call)
    }

    /// Queues a message for the next [`flush`](Self::flush).
    pub(crate) fn send(&mut self, message: &impl Message) -> Result<()> {
        let length = u32::try_from(message.encoded_len())?;
        self.outgoing.push(0);
        self.outgoing.extend(length.to_be_bytes());
        Ok(message.encode(&mut self.outgoing)?)
    }

    /// Sends as much as the send windows allow.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let mut sent = 0;
        while sent < self.outgoing.len() {
            let window = usize::try_from(self.windows[0].min(self.windows[1])).unwrap_or(0);
            let size = window.min(self.frame_size).min(self.outgoing.len() - sent);
            if size == 0 {
                break;
            }
            let outgoing = std::mem::take(&mut self.outgoing);
            self.frame(DATA, 0, STREAM, &outgoing[sent..sent + size])?;
            self.outgoing = outgoing;
            self.windows = self.windows.map(|window| window - i64::try_from(size).unwrap_or(i64::MAX));
            sent += size;
        }
        self.outgoing.drain(..sent);
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// The next received message, if there is one.
    pub(crate) fn received(&mut self) -> Option<&[u8]> {
        let rest = self.messages.get(self.taken..)?;
        let prefix: &[u8; 5] = rest.first_chunk()?;
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        let message = rest.get(5..5 + length)?;
        self.taken += 5 + length;
        Some(message)
    }

    /// Waits for bytes from the server.
    pub(crate) fn wait(&mut self) -> Result<()> {
        self.messages.drain(..std::mem::take(&mut self.taken));
        if self.tls.read_tls(&mut self.socket)? == 0 {
            return Err("the server closed the connection".into());
        }
        let state = self.tls.process_new_packets()?;
        let begin = self.frames.len();
        self.frames.resize(begin + state.plaintext_bytes_to_read(), 0);
        self.tls.reader().read_exact(&mut self.frames[begin..])?;
        let frames = std::mem::take(&mut self.frames);
        let mut rest = &frames[..];
        while let Some((head, after)) = rest.split_first_chunk::<9>() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some((payload, next)) = after.split_at_checked(length) else { break };
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.take(head[3], head[4], stream, payload)?;
            rest = next;
        }
        self.frames = rest.to_vec();
        // Send acknowledgements, and messages that waited for a send window.
        self.flush()
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        match kind {
            DATA if flags & PADDED == 0 => {
                self.messages.extend_from_slice(payload);
                self.unacknowledged += u32::try_from(payload.len())?;
                if self.unacknowledged > WINDOW / 2 {
                    let increment = std::mem::take(&mut self.unacknowledged).to_be_bytes();
                    self.frame(WINDOW_UPDATE, 0, 0, &increment)?;
                    self.frame(WINDOW_UPDATE, 0, STREAM, &increment)?;
                }
            }
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    let value = u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]);
                    match setting[1] {
                        4 => {
                            self.windows[1] += i64::from(value) - self.stream_window;
                            self.stream_window = value.into();
                        }
                        5 => self.frame_size = value as usize,
                        _ => {}
                    }
                }
                self.frame(SETTINGS, ACK, 0, &[])?;
            }
            PING if flags & ACK == 0 => self.frame(PING, ACK, 0, payload)?,
            WINDOW_UPDATE => {
                let increment = u32::from_be_bytes(payload.try_into()?);
                self.windows[usize::from(stream != 0)] += i64::from(increment);
            }
            HEADERS if flags & END_STREAM != 0 => return Err("the server ended the call".into()),
            RST_STREAM | GOAWAY => return Err(format!("the server ended the call: {payload:?}").into()),
            DATA => return Err("padded data is unsupported".into()),
            _ => {}
        }
        Ok(())
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<()> {
        let length = u32::try_from(payload.len())?.to_be_bytes();
        let mut head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 0];
        head[5..].copy_from_slice(&stream.to_be_bytes());
        let mut writer = self.tls.writer();
        writer.write_all(&head)?;
        Ok(writer.write_all(payload)?)
    }
}

/// The header fields of a gRPC request in HPACK (RFC 7541), as literals without indexing.
fn header(method: &str, authority: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap_or(u8::MAX)], text.as_bytes()].concat();
    [
        // `:method: POST` and `:scheme: https` from the static table.
        vec![0x83, 0x87],
        [vec![0x04], text(method)].concat(),
        [vec![0x01], text(authority)].concat(),
        [vec![0x0f, 0x10], text("application/grpc")].concat(),
        [vec![0x00], text("te"), text("trailers")].concat(),
    ]
    .concat()
}
