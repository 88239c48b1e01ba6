//! A limit for connections that have not authenticated yet, which does not lock out anybody who does.

use std::collections::VecDeque;
use std::net::IpAddr;

/// The handshakes that a server has not finished. When there are too many, the oldest one of the client address that has
/// the most gives way to a new one. A handshake takes milliseconds, so the oldest is one that nobody completes.
#[derive(Debug)]
pub struct Handshakes<H> {
    most: usize,
    /// Oldest first.
    open: VecDeque<(IpAddr, H)>,
}

impl<H> Handshakes<H> {
    /// With at most this many, at least one.
    pub fn at_most(most: usize) -> Self {
        Self { most: most.max(1), open: VecDeque::new() }
    }

    /// Makes room for another handshake: forgets those that are not open any more. Returns one that the caller must end, if
    /// there is no room otherwise.
    pub fn make_room(&mut self, is_open: impl Fn(&H) -> bool) -> Option<H> {
        self.open.retain(|(_, handshake)| is_open(handshake));
        if self.open.len() < self.most {
            return None;
        }
        let count = |address: &IpAddr| self.open.iter().filter(|(other, _)| other == address).count();
        // Of equal counts, the last one: reversed, that is the oldest.
        let (oldest, _) = self.open.iter().enumerate().rev().max_by_key(|(_, (address, _))| count(address))?;
        self.open.remove(oldest).map(|(_, handshake)| handshake)
    }

    /// Adds a handshake that has begun.
    pub fn add(&mut self, client: IpAddr, handshake: H) {
        self.open.push_back((client, handshake));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(handshakes: &mut Handshakes<u32>, last: u8, number: u32) -> Option<u32> {
        let ended = handshakes.make_room(|number| *number < 100);
        handshakes.add(IpAddr::from([10, 0, 0, last]), number);
        ended
    }

    #[test]
    fn the_oldest_of_the_address_with_most_gives_way() {
        let mut handshakes = Handshakes::at_most(4);
        for (client, number) in [(1, 1), (2, 2), (2, 3), (1, 4)] {
            assert_eq!(admit(&mut handshakes, client, number), None);
        }
        assert_eq!(admit(&mut handshakes, 2, 5), Some(1), "both have two; the oldest is of the first");
        assert_eq!(admit(&mut handshakes, 3, 6), Some(2), "the second has three");
        assert_eq!(admit(&mut handshakes, 3, 7), Some(3), "the second has two, and the oldest of them");
    }

    #[test]
    fn what_is_not_open_takes_no_room() {
        let mut handshakes = Handshakes::at_most(1);
        assert_eq!(admit(&mut handshakes, 1, 100), None);
        assert_eq!(admit(&mut handshakes, 1, 1), None);
        assert_eq!(admit(&mut handshakes, 2, 2), Some(1));
    }
}
