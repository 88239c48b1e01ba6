//! Memory grows with the state, not with the number of blocks.

use super::support::{Rules, ledger, submit};

/// Indexes and positions of a block with one transaction take about 120 bytes.
const BYTES_OF_A_COMMIT: u64 = 400;
const KEYS: u64 = 100;
const WARM: u64 = 2_000;

/// Resident bytes of this process.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// `LEDGER_COMMITS` is the number of commits.
#[test]
fn memory_does_not_grow_with_blocks() {
    let commits = std::env::var("LEDGER_COMMITS").map_or(6_000, |number| number.parse().unwrap());
    let ledger = ledger();
    let rules = Rules::default();
    let mut before = 0;
    for number in 0..commits {
        if number == WARM {
            before = resident();
        }
        let (key, value) = (format!("key{}", number % KEYS), "x".repeat(4_000));
        submit(&ledger, &rules, &format!("tx{number}"), |simulation| simulation.set_state("cc", &key, value).unwrap());
    }
    let (grown, after) = (resident().saturating_sub(before), commits - WARM);
    println!("{grown} bytes more after {after} commits");
    assert!(grown < after * BYTES_OF_A_COMMIT, "{grown} bytes more after {after} commits");

    let history = ledger.simulate("reader").history("cc", "key7").unwrap();
    assert_eq!(history.len() as u64, commits.div_ceil(KEYS));
    assert_eq!(history.last().unwrap().tx_id, "tx7");
    assert_eq!(ledger.transaction("tx7").unwrap().block, 8);
}
