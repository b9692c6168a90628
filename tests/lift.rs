//! The walls of the house: who imports whom, and that one layer can be carried out alone.
#![allow(clippy::unwrap_used, reason = "all of this is a test; clippy sees only the functions that are marked so")]

use serde_json::Value;
use std::{
    collections::BTreeSet,
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The folders of `crates/bartizan/src` that are no layers.
const NO_LAYERS: [&str; 3] = ["shared", "bridge", "testing"];

#[test]
fn a_layer_imports_itself_and_what_is_shared() {
    let mut faults = Vec::new();
    for layer in layers() {
        for (file, named) in crate_paths_in(&source().join(&layer)) {
            if named != layer && named != "shared" {
                faults.push(format!("{}: crate::{named}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "a layer may name itself and `shared`, and nothing else:\n{}", faults.join("\n"));
}

#[test]
fn what_is_shared_knows_no_layer() {
    let named: BTreeSet<_> = crate_paths_in(&source().join("shared")).into_iter().map(|(_, named)| named).collect();
    assert!(named.iter().all(|named| named == "shared"), "`shared` names {named:?}");
}

#[test]
fn crates_depend_in_one_direction() {
    // bff → gateway → bartizan → store.
    let metadata = metadata();
    let ours: BTreeSet<&str> = packages(&metadata).map(name_of).collect();
    let allowed: [(&str, &[&str]); 3] = [
        ("bartizan-store", &[]),
        ("bartizan", &["bartizan-store"]),
        ("bartizan-gateway", &["bartizan", "bartizan-store"]),
    ];
    for (package, allowed) in allowed {
        for dependency in dependencies(package_named(&metadata, package)).map(name_of) {
            let is_fine = !ours.contains(dependency) || allowed.contains(&dependency);
            assert!(is_fine, "{package} may not depend on {dependency}");
        }
    }
}

/// Does what `docs/lift.md` tells a reader to do: copies the folder and `shared/`, writes a manifest with what the
/// layer's feature brings, and builds.
#[test]
fn a_lifted_layer_builds_in_a_crate_of_its_own() {
    let metadata = metadata();
    let layers = layers();
    let target = PathBuf::from(text(&metadata["target_directory"])).join("lift");
    let house = target.join("house");
    let _ = fs::remove_dir_all(&house); // what an earlier run left behind
    for layer in &layers {
        let src = house.join(layer).join("src");
        copy(&source().join("shared"), &src.join("shared"));
        copy(&source().join(layer), &src.join(layer));
        fs::write(house.join(layer).join("Cargo.toml"), manifest_of(layer, &metadata)).unwrap();
        fs::write(src.join("lib.rs"), format!("#[allow(dead_code, unused)]\nmod shared;\npub mod {layer};\n")).unwrap();
    }
    fs::write(house.join("Cargo.toml"), "[workspace]\nmembers = [\"*\"]\nresolver = \"3\"\n").unwrap();
    // The versions that this workspace is tested with, which are on this machine already.
    fs::copy(root().join("Cargo.lock"), house.join("Cargo.lock")).unwrap();

    for layer in &layers {
        // One at a time, so that no layer leans on what another one's dependencies switch on.
        let check = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["check", "--quiet", "--offline", "--package", &lifted(layer)])
            .env("CARGO_TARGET_DIR", target.join("target"))
            .current_dir(&house)
            .output()
            .unwrap();
        assert!(check.status.success(), "{layer} does not build alone:\n{}", String::from_utf8_lossy(&check.stderr));
    }
}

#[test]
fn paths_are_found_in_code_and_not_in_comments() {
    let code =
        "//! See crate::tenant.\nuse crate::{shared::{Problem, Refusal}, rate_limit};\nlet x = crate::Problem::new();";
    assert_eq!(crate_paths(code), ["shared", "rate_limit", "Problem"]);
}

// ===== the source =====

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    root().join("crates/bartizan/src")
}

/// The layers are the folders, so that a new one is looked at without being told.
fn layers() -> Vec<String> {
    let entries = fs::read_dir(source()).unwrap().map(|entry| entry.unwrap().path());
    let names = entries.filter(|path| path.is_dir()).map(|path| text_of(path.file_name().unwrap()));
    let mut layers: Vec<String> = names.filter(|name| !NO_LAYERS.contains(&name.as_str())).collect();
    layers.sort();
    assert!(layers.len() >= 4, "where have the layers gone? {layers:?}");
    layers
}

/// What each file in a folder names behind `crate::`.
fn crate_paths_in(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(crate_paths_in(&path));
        } else {
            let code = fs::read_to_string(&path).unwrap();
            found.extend(crate_paths(&code).into_iter().map(|named| (path.clone(), named)));
        }
    }
    found
}

/// The first segments of all paths that begin with `crate::`, those of `crate::{a::b, c}` included.
fn crate_paths(code: &str) -> Vec<String> {
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |all, line| all + line + "\n");
    let mut named = Vec::new();
    for path in code.split("crate::").skip(1) {
        match path.strip_prefix('{') {
            None => named.push(first_segment(path)),
            Some(group) => {
                let mut depth = 0;
                let mut starts = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => starts = true,
                        c if starts && !c.is_whitespace() => {
                            named.push(first_segment(&group[at..]));
                            starts = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

fn first_segment(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

// ===== the manifests =====

fn metadata() -> Value {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().unwrap().iter()
}

fn package_named<'a>(metadata: &'a Value, name: &str) -> &'a Value {
    packages(metadata).find(|package| name_of(package) == name).unwrap()
}

/// What a package depends on when it is built as a dependency.
fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().unwrap().iter().filter(|dependency| dependency["kind"].is_null())
}

/// The manifest of a crate that holds one layer: what bartizan always needs, and what the layer's feature brings.
fn manifest_of(layer: &str, metadata: &Value) -> String {
    let bartizan = package_named(metadata, "bartizan");
    let feature =
        bartizan["features"][layer].as_array().unwrap_or_else(|| panic!("{layer} has no feature of its name"));
    let brought: Vec<&str> = feature.iter().map(text).collect();
    let name = lifted(layer);
    let mut manifest =
        format!("[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n");
    for dependency in dependencies(bartizan) {
        let name = name_of(dependency);
        if dependency["optional"] == true && !brought.contains(&format!("dep:{name}").as_str()) {
            continue;
        }
        let prefix = format!("{name}/");
        let switched = brought.iter().filter_map(|brought| brought.strip_prefix(&prefix));
        let features: Vec<&str> = dependency["features"].as_array().unwrap().iter().map(text).chain(switched).collect();
        let place = match dependency["path"].as_str() {
            Some(path) => format!("path = {path:?}"),
            None => format!("version = {:?}", text(&dependency["req"])),
        };
        let default = &dependency["uses_default_features"];
        writeln!(manifest, "{name} = {{ {place}, default-features = {default}, features = {features:?} }}").unwrap();
    }
    manifest
}

fn lifted(layer: &str) -> String {
    format!("lifted-{}", layer.replace('_', "-"))
}

fn name_of(value: &Value) -> &str {
    text(&value["name"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn text_of(name: &std::ffi::OsStr) -> String {
    name.to_str().unwrap().to_owned()
}
