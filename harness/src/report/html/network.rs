//! The network as a drawing: who is there, and who calls whom.

use super::escape;
use crate::report::document::{Document, Organization};
use std::fmt::{self, Write};

const NODE_HEIGHT: usize = 28;
const PAD: usize = 14;
const GAP: usize = 26;
const TITLE: usize = 24;
/// Pixels of a character, and those of a box around them.
const CHARACTER: usize = 7;
const AROUND: usize = 22;
/// How many nodes stand side by side in an organization.
const COLUMNS: usize = 4;

/// A group of nodes: an organization, or the chaincode servers.
struct Group<'a> {
    title: String,
    nodes: Vec<&'a str>,
    columns: usize,
    node_width: usize,
    x: usize,
    y: usize,
}

impl<'a> Group<'a> {
    fn new(title: String, nodes: Vec<&'a str>, columns: usize) -> Self {
        let longest = nodes.iter().map(|node| node.chars().count()).max().unwrap_or_default();
        let node_width = longest.min(60) * CHARACTER + AROUND;
        let columns = nodes.len().clamp(1, columns);
        Self { title, nodes, columns, node_width, x: 0, y: 0 }
    }

    fn width(&self) -> usize {
        let nodes = PAD + self.columns * (self.node_width + PAD);
        nodes.max(self.title.chars().count() * CHARACTER + 2 * PAD)
    }

    fn height(&self) -> usize {
        TITLE + self.nodes.len().div_ceil(self.columns) * (NODE_HEIGHT + PAD) + 4
    }

    fn middle(&self) -> usize {
        self.x + self.width() / 2
    }

    fn write(&self, page: &mut String) -> fmt::Result {
        let (x, y) = (self.x, self.y);
        write!(
            page,
            "<rect class=\"group\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"8\"/>\
             <text class=\"title\" x=\"{}\" y=\"{}\">{}</text>",
            self.width(),
            self.height(),
            x + PAD,
            y + 18,
            escape(&self.title),
        )?;
        for (index, node) in self.nodes.iter().enumerate() {
            let x = x + PAD + index % self.columns * (self.node_width + PAD);
            let y = y + TITLE + 4 + index / self.columns * (NODE_HEIGHT + PAD);
            write!(
                page,
                "<rect class=\"box\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{NODE_HEIGHT}\" rx=\"5\"/>\
                 <text class=\"mono\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                self.node_width,
                x + self.node_width / 2,
                y + 18,
                escape(&super::sequence::fitting(node, 60)),
            )?;
        }
        Ok(())
    }
}

fn group(organization: &Organization) -> Group<'_> {
    let nodes = organization.nodes.iter().map(String::as_str).collect();
    Group::new(organization.msp_id.clone(), nodes, COLUMNS)
}

/// Draws client, organizations, chaincode servers and orderers from top to bottom.
pub(super) fn write(page: &mut String, document: &Document) -> fmt::Result {
    let of_kind = |kind| document.organizations.iter().filter(move |one| one.kind == kind && !one.nodes.is_empty());
    let mut peers: Vec<Group<'_>> = of_kind("peer").map(group).collect();
    let servers = document.chaincodes.iter().map(String::as_str).collect();
    let mut below = vec![Group::new("chaincode".to_owned(), servers, 2)];
    below.extend(of_kind("orderer").map(group));

    let (first, second) = (TITLE + 20 + GAP, row_height(&peers));
    let width = row_width(&peers).max(row_width(&below)).max(640);
    place(&mut peers, width, first + GAP);
    place(&mut below, width, first + second + 4 * GAP);
    let height = first + second + 4 * GAP + row_height(&below) + 4;
    write!(
        page,
        "<div class=\"drawing\"><svg width=\"{}\" height=\"{height}\" viewBox=\"0 0 {} {height}\" role=\"img\" \
         aria-label=\"the network\">",
        width + 2,
        width + 2
    )?;
    let client = peers.first().map_or(width / 2, Group::middle);
    let mut labels = String::new();
    if let Some(gateway) = peers.first() {
        edge(page, &mut labels, (client, 34), (client, gateway.y), "gateway, TLS")?;
    }
    for (index, organization) in peers.iter().enumerate() {
        let bottom = organization.y + organization.height();
        for (number, other) in below.iter().enumerate() {
            let what = match (index, number) {
                (0, 0) => format!("chaincode, {}", tls(&document.chaincode_tls)),
                (_, 1) if index + 1 == peers.len() => "transactions and blocks, TLS".to_owned(),
                _ => String::new(),
            };
            let from = organization.x + organization.width() * (number + 1) / (below.len() + 1);
            let to = other.x + other.width() * (index + 1) / (peers.len() + 1);
            edge(page, &mut labels, (from, bottom), (to, other.y), &what)?;
        }
    }
    write!(
        page,
        "<rect class=\"box\" x=\"{}\" y=\"4\" width=\"90\" height=\"30\" rx=\"5\"/>\
         <text class=\"title\" x=\"{client}\" y=\"23\" text-anchor=\"middle\">client</text>",
        client.saturating_sub(45),
    )?;
    peers.iter().chain(&below).try_for_each(|group| group.write(page))?;
    page.push_str(&labels);
    page.write_str("</svg></div>")
}

fn tls(mode: &str) -> &'static str {
    match mode {
        "off" => "no TLS",
        "tls" => "TLS",
        _ => "mutual TLS",
    }
}

/// A line, and what is said about it, which is drawn last.
fn edge(
    page: &mut String,
    labels: &mut String,
    (x1, y1): (usize, usize),
    (x2, y2): (usize, usize),
    what: &str,
) -> fmt::Result {
    write!(page, "<line class=\"edge\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>")?;
    if what.is_empty() {
        return Ok(());
    }
    let (x, y) = (usize::midpoint(x1, x2), usize::midpoint(y1, y2) + 4);
    write!(labels, "<text class=\"on faint\" x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", escape(what))
}

fn row_width(groups: &[Group<'_>]) -> usize {
    groups.iter().map(|group| group.width() + GAP).sum::<usize>().saturating_sub(GAP)
}

fn row_height(groups: &[Group<'_>]) -> usize {
    groups.iter().map(Group::height).max().unwrap_or_default()
}

/// Spreads groups over the width.
fn place(groups: &mut [Group<'_>], width: usize, y: usize) {
    let space = width.saturating_sub(row_width(groups)) / (groups.len() + 1);
    let mut x = 1 + space;
    for group in groups {
        (group.x, group.y) = (x, y);
        x += group.width() + GAP + space;
    }
}
