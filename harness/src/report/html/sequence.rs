//! A sequence diagram of the messages of a case.

use crate::journal::{Party, Role, short, short_id};
use crate::report::document::MessageRecord;
use maud::{Markup, html};

const TIME: usize = 70;
const ROW: usize = 26;
const HEAD: usize = 44;
/// Maximum length of the text next to the arrows, in characters, and the width of a character in pixels.
const TEXT: usize = 110;
const CHARACTER: usize = 7;

/// The vertical lines of the senders and receivers.
struct Lanes {
    parties: Vec<Party>,
    width: usize,
}

impl Lanes {
    /// The client first, then the gateway peer, then the others.
    fn of(messages: &[MessageRecord]) -> Self {
        let gateway = messages.iter().find(|message| message.from.role == Role::Client).map(|message| &message.to);
        let mut parties: Vec<Party> = Vec::new();
        for party in messages.iter().flat_map(|message| [&message.from, &message.to]) {
            let party = lane(party);
            if !parties.contains(&party) {
                parties.push(party);
            }
        }
        let domain = |party: &Party| party.name.split_once('.').map(|(_, domain)| domain.to_owned());
        parties.sort_by_key(|party| (party.role, gateway != Some(party), domain(party), party.name.clone()));
        let width = if parties.len() > 4 { 116 } else { 150 };
        Self { parties, width }
    }

    fn middle(&self, party: &Party) -> usize {
        let party = lane(party);
        let index = self.parties.iter().position(|known| *known == party).unwrap_or_default();
        TIME + index * self.width + self.width / 2
    }

    /// The position of the texts.
    fn end(&self) -> usize {
        TIME + self.parties.len() * self.width - self.width / 2 + 18
    }
}

/// All orderers share a line.
fn lane(party: &Party) -> Party {
    if party.role == Role::Orderer { Party::orderers() } else { party.clone() }
}

/// Draws messages. `begin` is the start of the shown times, in milliseconds since the start of the run.
pub(super) fn drawing(messages: &[MessageRecord], begin: f64) -> Markup {
    let lanes = Lanes::of(messages);
    let longest = messages.iter().map(|message| message.text.chars().count().min(TEXT)).max().unwrap_or_default();
    let width = (lanes.end() + longest * CHARACTER).max(lanes.end() + lanes.width / 2);
    let height = HEAD + messages.len() * ROW + 12;
    let box_width = lanes.width - 8;
    html! {
        div.drawing {
            svg width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="img"
                aria-label={ (messages.len()) " messages" } {
                @for row in (0..messages.len()).step_by(2) {
                    rect.stripe x="0" y=(HEAD + row * ROW) width=(width) height=(ROW) {}
                }
                @for party in &lanes.parties {
                    @let x = lanes.middle(party);
                    line.life x1=(x) y1="34" x2=(x) y2=(height) {}
                    rect.box x=(x - box_width / 2) y="4" width=(box_width) height="30" rx="5" {}
                    text.title x=(x) y="23" text-anchor="middle" {
                        (fitting(&short(party), box_width / CHARACTER))
                        title { (party.name) }
                    }
                }
                @for (row, message) in messages.iter().enumerate() {
                    (arrow(message, &lanes, HEAD + row * ROW, begin))
                }
            }
        }
    }
}

fn arrow(message: &MessageRecord, lanes: &Lanes, y: usize, begin: f64) -> Markup {
    let (from, to) = (lanes.middle(&message.from), lanes.middle(&message.to));
    let (line, baseline) = (y + 20, y + 17);
    let is_answer = lane(&message.from).role != Role::Client && from > to;
    let tip = if to > from { to.saturating_sub(8) } else { to + 8 };
    let kind_width = from.abs_diff(to).max(lanes.width) / CHARACTER;
    html! {
        g.wrong[message.failed] {
            title { (title(message)) }
            text.mono.faint x=(TIME - 12) y=(baseline) text-anchor="end" { (since(message.at - begin)) }
            path.arrow.answer[is_answer] d={ "M" (from) " " (line) "H" (tip) } {}
            path.head d={ "M" (to) " " (line) "L" (tip) " " (line - 4) "V" (line + 4) "Z" } {}
            text.mono.on x=(usize::midpoint(from, to)) y=(y + 14) text-anchor="middle" {
                (fitting(&message.kind, kind_width))
            }
            text.mono x=(lanes.end()) y=(baseline) { (fitting(&message.text, TEXT)) }
        }
    }
}

/// A time in milliseconds with one decimal, or from a second in seconds.
fn since(milliseconds: f64) -> String {
    if milliseconds < 1000.0 { format!("{milliseconds:.1}") } else { format!("{:.2} s", milliseconds / 1000.0) }
}

/// The tooltip of a message.
fn title(message: &MessageRecord) -> String {
    let MessageRecord { at, from, to, kind, text, transaction, .. } = message;
    let transaction = match transaction.as_str() {
        "" => String::new(),
        id => format!("\ntransaction {}", short_id(id)),
    };
    format!("{kind}: {} > {}, {at:.3} ms since the run began{transaction}\n{text}", from.name, to.name)
}

pub(super) fn fitting(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some(_) => text.chars().take(characters.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(from: Party, to: Party) -> MessageRecord {
        let (kind, text, transaction) = ("K".to_owned(), "t".to_owned(), String::new());
        MessageRecord { at: 1.0, from, to, kind, text, transaction, failed: false }
    }

    #[test]
    fn the_gateway_is_next_to_the_client_and_orderers_share_a_line() {
        let peer = |name: &str| Party::peer(name);
        let chaincode = Party::new(Role::Chaincode, "cc");
        let messages = [
            message(Party::orderers(), peer("peer0.a")),
            message(Party::client(), peer("peer1.b")),
            message(peer("peer0.a"), chaincode.clone()),
            message(peer("peer1.b"), Party::new(Role::Orderer, "orderer2")),
        ];
        let lanes = Lanes::of(&messages);
        assert_eq!(lanes.parties, [Party::client(), peer("peer1.b"), peer("peer0.a"), chaincode, Party::orderers()]);
        assert_eq!(lanes.middle(&Party::new(Role::Orderer, "orderer2")), lanes.middle(&Party::orderers()));
    }

    #[test]
    fn a_long_time_is_in_seconds() {
        assert_eq!([since(0.04), since(999.9), since(60_012.3)], ["0.0", "999.9", "60.01 s"]);
    }

    #[test]
    fn a_long_text_is_truncated() {
        assert_eq!(fitting("äöü", 3), "äöü");
        assert_eq!(fitting("äöüß", 3), "äö…");
    }
}
