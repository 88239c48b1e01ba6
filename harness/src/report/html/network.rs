//! A drawing of the network: nodes and connections.

use super::sequence::fitting;
use crate::report::document::{Document, Organization};
use maud::{Markup, html};

const NODE_HEIGHT: usize = 28;
const PAD: usize = 14;
const GAP: usize = 26;
const TITLE: usize = 24;
/// Width of a character, and of the space around a text, in pixels.
const CHARACTER: usize = 7;
const AROUND: usize = 22;
/// Number of nodes in a row of an organization.
const COLUMNS: usize = 4;

/// A group: an organization, or the chaincode servers.
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

    fn drawing(&self) -> Markup {
        let (x, y) = (self.x, self.y);
        html! {
            rect.group x=(x) y=(y) width=(self.width()) height=(self.height()) rx="8" {}
            text.title x=(x + PAD) y=(y + 18) { (self.title) }
            @for (index, node) in self.nodes.iter().enumerate() {
                @let x = x + PAD + index % self.columns * (self.node_width + PAD);
                @let y = y + TITLE + 4 + index / self.columns * (NODE_HEIGHT + PAD);
                rect.box x=(x) y=(y) width=(self.node_width) height=(NODE_HEIGHT) rx="5" {}
                text.mono x=(x + self.node_width / 2) y=(y + 18) text-anchor="middle" { (fitting(node, 60)) }
            }
        }
    }
}

fn group(organization: &Organization) -> Group<'_> {
    let nodes = organization.nodes.iter().map(String::as_str).collect();
    Group::new(organization.msp_id.clone(), nodes, COLUMNS)
}

/// Draws client, organizations, chaincode servers and orderers from top to bottom.
pub(super) fn drawing(document: &Document) -> Markup {
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
    let client = peers.first().map_or(width / 2, Group::middle);
    let edges = edges(client, &peers, &below, &document.chaincode_tls);
    let width = width + 2;
    html! {
        div.drawing {
            svg width=(width) height=(height) viewBox={ "0 0 " (width) " " (height) } role="img"
                aria-label="the network" {
                @for edge in &edges {
                    line.edge x1=(edge.from.0) y1=(edge.from.1) x2=(edge.to.0) y2=(edge.to.1) {}
                }
                rect.box x=(client.saturating_sub(45)) y="4" width="90" height="30" rx="5" {}
                text.title x=(client) y="23" text-anchor="middle" { "client" }
                @for group in peers.iter().chain(&below) { (group.drawing()) }
                // Last, so that nothing covers them.
                @for edge in edges.iter().filter(|edge| !edge.label.is_empty()) {
                    text.on.faint x=(usize::midpoint(edge.from.0, edge.to.0))
                        y=(usize::midpoint(edge.from.1, edge.to.1) + 4) text-anchor="middle" { (edge.label) }
                }
            }
        }
    }
}

/// A line between two points, with a label.
struct Edge {
    from: (usize, usize),
    to: (usize, usize),
    label: String,
}

/// The client calls the first organization's peers; all peers call the chaincode servers and orderers.
fn edges(client: usize, peers: &[Group<'_>], below: &[Group<'_>], chaincode_tls: &str) -> Vec<Edge> {
    let mut edges = Vec::new();
    if let Some(gateway) = peers.first() {
        edges.push(Edge { from: (client, 34), to: (client, gateway.y), label: "gateway, TLS".to_owned() });
    }
    for (index, organization) in peers.iter().enumerate() {
        let bottom = organization.y + organization.height();
        for (number, other) in below.iter().enumerate() {
            let label = match (index, number) {
                (0, 0) => format!("chaincode, {}", tls(chaincode_tls)),
                (_, 1) if index + 1 == peers.len() => "transactions and blocks, TLS".to_owned(),
                _ => String::new(),
            };
            let from = organization.x + organization.width() * (number + 1) / (below.len() + 1);
            let to = other.x + other.width() * (index + 1) / (peers.len() + 1);
            edges.push(Edge { from: (from, bottom), to: (to, other.y), label });
        }
    }
    edges
}

fn tls(mode: &str) -> &'static str {
    match mode {
        "off" => "no TLS",
        "tls" => "TLS",
        _ => "mutual TLS",
    }
}

fn row_width(groups: &[Group<'_>]) -> usize {
    groups.iter().map(|group| group.width() + GAP).sum::<usize>().saturating_sub(GAP)
}

fn row_height(groups: &[Group<'_>]) -> usize {
    groups.iter().map(Group::height).max().unwrap_or_default()
}

/// Distributes the groups over the width.
fn place(groups: &mut [Group<'_>], width: usize, y: usize) {
    let space = width.saturating_sub(row_width(groups)) / (groups.len() + 1);
    let mut x = 1 + space;
    for group in groups {
        (group.x, group.y) = (x, y);
        x += group.width() + GAP + space;
    }
}
