//! How a crate calls the library, by its `Cargo.toml`: generated code cannot ask, and `::tachyon` may be another name.

use std::path::Path;

/// The package of the library.
const PACKAGE: &str = "tachyon";

/// The name that the crate under compilation gives the library, if that is another one than its own.
pub(crate) fn library() -> Option<String> {
    let directory = std::env::var_os("CARGO_MANIFEST_DIR")?;
    let directory = Path::new(&directory);
    let manifest = std::fs::read_to_string(directory.join("Cargo.toml")).ok()?;
    renamed(&manifest, || {
        let manifests = directory.ancestors().filter_map(|at| std::fs::read_to_string(at.join("Cargo.toml")).ok());
        manifests.into_iter().find(|manifest| manifest.lines().any(|line| line.trim().starts_with("[workspace")))
    })
}

/// A line or a table about one dependency.
#[derive(Default)]
struct Dependency {
    name: String,
    package: Option<String>,
    /// It is what the workspace says.
    inherits: bool,
}

/// As [`library`], of this manifest and of that of its workspace.
fn renamed(manifest: &str, workspace: impl FnOnce() -> Option<String>) -> Option<String> {
    let mut all = dependencies(manifest);
    if all.iter().any(|dependency| dependency.inherits && dependency.package.is_none()) {
        let inherited = workspace().map(|manifest| dependencies(&manifest)).unwrap_or_default();
        for dependency in all.iter_mut().filter(|dependency| dependency.inherits) {
            let said = inherited.iter().find(|said| said.name == dependency.name && !said.inherits);
            dependency.package = said.and_then(|said| said.package.clone());
        }
    }
    let library = |dependency: &&Dependency| dependency.package.as_ref().unwrap_or(&dependency.name) == PACKAGE;
    let mut names = all.iter().filter(library).map(|dependency| &dependency.name);
    let first = names.next()?;
    (first != PACKAGE && names.all(|name| name != PACKAGE)).then(|| first.replace('-', "_"))
}

/// What a manifest says of dependencies, line by line: enough of TOML for how these are written.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    // Whether lines are dependencies, or what is said of the last one found.
    let (mut is_list, mut is_one) = (false, false);
    for line in manifest.lines().map(uncommented) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']').trim();
            is_list = header.ends_with("dependencies");
            let one = header.rsplit_once("dependencies.").filter(|_| !is_list);
            is_one = one.is_some();
            if let Some((_, name)) = one {
                found.push(Dependency { name: unquoted(name), ..Dependency::default() });
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        if is_list {
            let (name, word) = key.split_once('.').map_or((key, None), |(name, word)| (name, Some(word.trim())));
            let name = unquoted(name);
            let at = found.iter().position(|other| other.name == name).unwrap_or(found.len());
            if at == found.len() {
                found.push(Dependency { name, ..Dependency::default() });
            }
            if let Some(word) = word {
                say(&mut found[at], word, value);
                continue;
            }
            let table = value.trim().trim_start_matches('{').trim_end_matches('}');
            for (word, value) in table.split(',').filter_map(|pair| pair.split_once('=')) {
                say(&mut found[at], word.trim(), value);
            }
        } else if is_one && let Some(dependency) = found.last_mut() {
            say(dependency, key.trim(), value);
        }
    }
    found
}

fn say(dependency: &mut Dependency, word: &str, value: &str) {
    match word {
        "package" => dependency.package = Some(unquoted(value)),
        "workspace" => dependency.inherits = value.trim() == "true",
        _ => {}
    }
}

fn unquoted(text: &str) -> String {
    text.trim().trim_matches(['"', '\'']).to_owned()
}

/// The line without its comment.
fn uncommented(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match quote {
            None if c == '#' => return line[..at].trim(),
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ => {}
        }
    }
    line.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_librarys_name_is_that_of_the_manifest() {
        let workspace =
            "[workspace]\n[workspace.dependencies]\nbus = { path = \"x\", package = \"tachyon\" }\ntachyon = \"1\"";
        for (manifest, expected) in [
            ("[dependencies]\ntachyon = \"1\"", None),
            ("[dependencies]\nshm = { version = \"1\", package = \"tachyon\" }", Some("shm")),
            ("[dependencies]\nshm = { features = [\"a\", \"b\"], package = 'tachyon' } # so", Some("shm")),
            ("[dependencies]\n\"shm-bus\" = { package = \"tachyon\" }", Some("shm_bus")),
            ("[dependencies.shm]\nversion = \"1\"\npackage = \"tachyon\"", Some("shm")),
            ("[target.'cfg(unix)'.dependencies.shm]\npackage = \"tachyon\"", Some("shm")),
            ("[target.'cfg(unix)'.dev-dependencies]\nshm.package = \"tachyon\"\nshm.path = \"x\"", Some("shm")),
            ("[dependencies]\nshm = { package = \"tachyon\" }\n[dev-dependencies]\ntachyon = \"1\"", None),
            ("[dependencies]\ntachyon = { package = \"other\" }\nshm = { package = \"tachyon\" }", Some("shm")),
            ("[dependencies]\n# shm = { package = \"tachyon\" }\ntachyon.workspace = true", None),
            ("[dependencies]\nbus.workspace = true", Some("bus")),
            ("[dependencies]\nbus = { workspace = true, features = [] }", Some("bus")),
            ("[dependencies]\ntachyon = { workspace = true }", None),
            ("[dependencies]\nother.workspace = true", None),
            ("[package]\nname = \"tachyon\"\n[dependencies]\nserde = \"1\"", None),
            ("", None),
        ] {
            assert_eq!(renamed(manifest, || Some(workspace.to_owned())).as_deref(), expected, "{manifest}");
        }
    }

    #[test]
    fn this_crate_renames_nothing() {
        assert_eq!(library(), None);
    }
}
