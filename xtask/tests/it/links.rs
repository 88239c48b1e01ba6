//! Relative links of the Markdown files: the file exists, and so does the heading. Links to other sites are
//! not followed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Directories whose Markdown files are not ours.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];

#[test]
fn links_between_markdown_files_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut pages = Vec::new();
    collect(root, &mut pages);
    assert!(pages.contains(&root.join("README.md")), "{pages:?}");
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in links(&text) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let is_markdown = target.extension().is_some_and(|extension| extension == "md");
            let leads_nowhere = !target.exists()
                || (is_markdown
                    && !heading.is_empty()
                    && !headings(&fs::read_to_string(&target).unwrap()).contains(heading));
            if leads_nowhere {
                broken.push(format!("{}: {link}", page.strip_prefix(root).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

fn collect(directory: &Path, pages: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && !SKIPPED.iter().any(|skipped| name == *skipped) {
            collect(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

/// The relative targets of the links in a text. Those to other pages of GitHub, such as the advisory form, are
/// left out.
fn links(text: &str) -> Vec<&str> {
    let targets = prose(text).flat_map(|line| {
        let parts = line.match_indices("](").map(|(at, _)| (&line[..at], &line[at + 2..]));
        // Not in inline code.
        parts.filter(|(before, _)| before.matches('`').count() % 2 == 0).filter_map(|(_, rest)| rest.split_once(')'))
    });
    let is_local = |link: &&str| !link.contains("://") && !link.starts_with("../../security");
    targets.map(|(link, _)| link).filter(is_local).collect()
}

/// The anchors that GitHub makes of the headings.
fn headings(text: &str) -> BTreeSet<String> {
    let title = |line: &str| line.trim_start_matches('#').trim().to_lowercase();
    let anchor = |title: String| -> String {
        let kept = title.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    prose(text).filter(|line| line.starts_with('#')).map(|line| anchor(title(line))).collect()
}

/// The lines outside of code blocks, fenced or indented.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2).flat_map(str::lines).filter(|line| !line.starts_with("    "))
}
