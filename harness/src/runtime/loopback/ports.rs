//! Free ports of this machine, mostly of its loopback, reserved until their program starts.
//!
//! They are not chosen by the kernel (port 0), which takes them from the range of outgoing connections.
//! A client that polls such a port can be given the same port as its own, be connected to itself, and keep
//! the node from listening.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Services usually have lower ports.
const LOWEST: u16 = 10_240;

/// The start of the kernel's range if that is not known.
const EPHEMERAL: u16 = 32_768;

/// Ports that are reserved by listening on them.
///
/// All are reserved before the first is released, so they are all different. Another program can take one only
/// between [`Ports::release`] and the moment when the node listens.
#[derive(Debug)]
pub(in crate::runtime) struct Ports {
    held: Mutex<Vec<(u16, TcpListener)>>,
}

impl Ports {
    /// Reserves `count` free ports, and returns them. The same seed gives the same ports, as far as they are
    /// free.
    pub(in crate::runtime) fn take(count: usize, seed: Option<u64>) -> io::Result<(Self, VecDeque<u16>)> {
        Self::of(Ipv4Addr::LOCALHOST, count, seed)
    }

    /// Reserves `count` free ports of another address.
    #[cfg(feature = "docker")]
    pub(in crate::runtime) fn take_on(address: Ipv4Addr, count: usize) -> io::Result<(Self, VecDeque<u16>)> {
        Self::of(address, count, None)
    }

    fn of(address: Ipv4Addr, count: usize, seed: Option<u64>) -> io::Result<(Self, VecDeque<u16>)> {
        let kernels_choice = || kernels_choice(address);
        let held = free_in(address, &range(), seed)
            .chain(std::iter::repeat_with(kernels_choice).map_while(Result::ok))
            .take(count)
            .collect::<Vec<_>>();
        if held.len() < count {
            // For the system's error.
            kernels_choice()?;
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let free = held.iter().map(|(port, _)| *port).collect();
        Ok((Self { held: Mutex::new(held) }, free))
    }

    /// Releases these ports, as far as they are reserved.
    pub(in crate::runtime) fn release(&self, ports: &[u16]) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(port, _)| !ports.contains(port));
    }

    /// Takes the listeners of these ports.
    pub(in crate::runtime) fn listeners(&self, ports: &[u16]) -> Vec<TcpListener> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extract_if(.., |(port, _)| ports.contains(port)).map(|(_, listener)| listener).collect()
    }
}

fn kernels_choice(address: Ipv4Addr) -> io::Result<(u16, TcpListener)> {
    let listener = TcpListener::bind((address, 0))?;
    Ok((listener.local_addr()?.port(), listener))
}

/// The ports below the kernel's range for outgoing connections.
fn range() -> Range<u16> {
    let limits = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let first = limits.ok().and_then(|text| text.split_whitespace().next()?.parse().ok());
    LOWEST..first.unwrap_or(EPHEMERAL)
}

/// The free ports among a thousand, from a random start, so that concurrent runs seldom collide.
fn free_in(
    address: Ipv4Addr,
    range: &Range<u16>,
    seed: Option<u64>,
) -> impl Iterator<Item = (u16, TcpListener)> + use<> {
    let Range { start, end } = *range;
    let length = u64::from(end.saturating_sub(start));
    // Consecutive seeds should be far apart.
    let of_seed = |seed: u64| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let offset = seed.map_or_else(|| RandomState::new().hash_one(std::process::id()), of_seed);
    (0..length.min(1000)).filter_map(move |step| {
        let port = start + u16::try_from((offset % length + step) % length).ok()?;
        Some((port, TcpListener::bind((address, port)).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ports_are_different_and_reserved_until_they_are_released() {
        let (ports, free) = Ports::take(20, None).unwrap();
        assert_eq!(free.iter().collect::<BTreeSet<_>>().len(), 20);
        let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        assert_eq!(bind(free[0]).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        ports.release(&[free[0]]);
        bind(free[0]).unwrap();
        bind(free[1]).unwrap_err();
        let outgoing = range().end;
        assert!(free.iter().all(|port| (LOWEST..outgoing).contains(port)), "{free:?}");
    }

    #[test]
    fn a_seed_repeats_its_ports() {
        let take = |seed| Ports::take(5, Some(seed)).unwrap().1;
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
    }
}
