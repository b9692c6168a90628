//! `cargo xtask book`: no page is lost, no link is broken, no example goes untested.

use crate::{
    step::{Done, Failure, is_installed, run as run_command, step},
    workspace::Workspace,
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Checks the pages, and builds the book if mdbook is there.
pub(crate) fn build() -> Done {
    check()?;
    let docs = Workspace::read()?.root.join("docs");
    if is_installed("mdbook") {
        return run_command("book", Command::new("mdbook").arg("build").arg(docs));
    }
    eprintln!("xtask: the book was checked but not built: mdbook is missing; get it with: cargo install mdbook");
    Ok(())
}

/// Checks that each page is in SUMMARY.md and in lib.rs, and that each link leads somewhere.
pub(crate) fn check() -> Done {
    step("pages and links", || {
        let root = Workspace::read()?.root;
        let mut pages = Vec::new();
        find(&root.join("docs"), "md", &mut pages)?;
        let mut faults = incomplete(&root.join("docs"), &pages)?;
        pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root.join(name)));
        for page in &pages {
            let text = read(page)?;
            let broken = links(&text).into_iter().filter(|link| !resolves(page, &text, link));
            faults.extend(broken.map(|link| format!("{}: broken link: {link}", shown(page, &root))));
            if text.lines().any(is_untested) {
                faults.push(format!(
                    "{}: an example is marked `ignore`: let it compile, or call it text",
                    shown(page, &root)
                ));
            }
        }
        faults.extend(lost_tests(&root)?);
        if faults.is_empty() { Ok(()) } else { Err(Failure::new(format!("\n  {}", faults.join("\n  ")))) }
    })
}

/// The pages that SUMMARY.md or lib.rs forgot.
fn incomplete(docs: &Path, pages: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let summary = read(&docs.join("SUMMARY.md"))?;
    let listed: BTreeSet<&str> = links(&summary).into_iter().collect();
    let tested = read(&docs.join("lib.rs"))?;
    let mut faults = Vec::new();
    for page in pages {
        let name = shown(page, docs);
        if name == "SUMMARY.md" {
            continue;
        }
        if !listed.contains(&*name) {
            faults.push(format!("docs/{name} is not in docs/SUMMARY.md"));
        }
        if !tested.contains(&format!("\"{name}\"")) {
            faults.push(format!("docs/{name} is not in docs/lib.rs, so its examples are not tested"));
        }
    }
    Ok(faults)
}

/// The tests that the page on the RFCs names, and that are not there.
fn lost_tests(root: &Path) -> Result<Vec<String>, Failure> {
    let page = read(&root.join("docs/rfc9111.md"))?;
    let mut files = Vec::new();
    find(&root.join("crates/bartizan/src/cache"), "rs", &mut files)?;
    find(&root.join("crates/bartizan-gateway/tests"), "rs", &mut files)?;
    let code = files.iter().map(|file| read(file)).collect::<Result<String, _>>()?;
    let is_there = |test: &&str| code.contains(&format!("fn {test}("));
    let lost = tests_named(&page).filter(|test| !is_there(test));
    Ok(lost.map(|test| format!("docs/rfc9111.md names the test {test:?}, which is not there")).collect())
}

/// What stands in the last column of a table, by the names of functions.
fn tests_named(page: &str) -> impl Iterator<Item = &str> {
    let columns = page.lines().filter_map(|line| line.trim_end().strip_suffix('|')?.rsplit('|').next());
    let names = columns.flat_map(|column| column.split('`').skip(1).step_by(2));
    names.map(|name| name.rsplit("::").next().unwrap_or(name))
}

/// Whether a link of this page leads to something that is there. Links to other sites are not followed.
fn resolves(page: &Path, text: &str, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = page.with_file_name(path);
    match anchor {
        None => target.exists(),
        Some(anchor) if path.is_empty() => anchors(text).contains(anchor),
        Some(anchor) => fs::read_to_string(target).is_ok_and(|text| anchors(&text).contains(anchor)),
    }
}

/// The targets of the links in a Markdown text, those in code excepted.
fn links(markdown: &str) -> Vec<&str> {
    prose(markdown)
        .flat_map(|line| line.split('`').step_by(2))
        .flat_map(|piece| piece.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

/// What `#…` can name in a Markdown text: its headings, in lower case, with dashes for spaces.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let headings = prose(markdown).filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let kept = heading.trim_start_matches('#').trim().chars();
            let kept = kept.filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
        })
        .collect()
}

/// The lines that are not inside a fenced block.
fn prose(markdown: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    markdown.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

/// The first line of a block of Rust that no doctest compiles.
fn is_untested(line: &str) -> bool {
    line.trim_start().strip_prefix("```").is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == "ignore"))
}

/// The files with this extension, in order.
fn find(dir: &Path, extension: &str, files: &mut Vec<PathBuf>) -> Done {
    let unreadable = |error| Failure::new(format!("{}: {error}", dir.display()));
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() && !path.ends_with("docs/book") {
            find(&path, extension, files)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn shown(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_in_prose_and_not_in_code() {
        let text = "see [a](a.md), [b](b.md#c) and `[not](this)`\n```text\n[nor](that)\n```\n[d](https://d.example)";
        assert_eq!(links(text), ["a.md", "b.md#c", "https://d.example"]);
    }

    #[test]
    fn tests_are_named_in_the_last_column() {
        let page = "`no_table` in prose\n| §3 | `no-store` | `vary::a_test`, `another` |\n| §4 | rule | |\n";
        assert_eq!(tests_named(page).collect::<Vec<_>>(), ["a_test", "another"]);
    }

    #[test]
    fn a_heading_is_an_anchor() {
        let found = anchors("# One\n```sh\n# not this\n```\n## What `Two` does, and why\n");
        assert_eq!(found, BTreeSet::from(["one".to_owned(), "what-two-does-and-why".to_owned()]));
    }

    #[test]
    fn a_link_to_nowhere_is_told_from_one_to_somewhere() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("page.md");
        let text = "# Here\n";
        assert!(resolves(&here, text, "Cargo.toml"));
        assert!(resolves(&here, text, "src/main.rs"));
        assert!(resolves(&here, text, "#here"));
        assert!(resolves(&here, text, "https://example.org/elsewhere"));
        assert!(!resolves(&here, text, "gone.md"));
        assert!(!resolves(&here, text, "#there"));
    }
}
