//! Reading a commit: files become a checked and linked [`Site`], or all of its problems.
//!
//! ```text
//! holdfast.yaml --site--> environments, in their order
//! environments/<name>/**.yaml --yaml--> documents --document--> declarations --link--> Site
//!                                 schema and text ------^
//! ```

pub(crate) mod diagnostic;
mod document;
mod link;
mod names;
mod policy;
mod render;
mod schema;
mod site;
mod sitewide;
mod spot;
pub(crate) mod template;
mod text;
pub mod tree;
pub(crate) mod words;
pub(crate) mod yaml;

use std::collections::BTreeSet;
use std::ops::Range;

use crate::desired::Site;
use crate::ident::{EnvironmentName, SiteName};
use crate::plan::Kinds;
use diagnostic::Findings;
use document::{Declaration, Reader};
use spot::Spot;

pub use diagnostic::{Also, Diagnostic, Problems, Severity};
pub use policy::written::{DriftModeSpec, DriftSpec, EnvironmentSpec, GroupSpec, MaintenanceSpec, MovedSpec};
pub use render::render;
pub use schema::{Validators, schema_files};
pub use site::SiteSpec;
pub use tree::Tree;

/// A commit that is in order.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The site's name. See [`Manifest::expect_site`].
    pub name: SiteName,
    name_at: Range<usize>,
    pub site: Site,
    /// What somebody should know although nothing is wrong with the commit.
    pub warnings: Vec<Diagnostic>,
}

impl Manifest {
    /// Refuses a repository of another site than the one that is served: its marks would not be ours.
    ///
    /// # Errors
    /// The one problem that it is another site. `tree` is the one that was read.
    pub fn expect_site(&self, served: &SiteName, tree: &Tree) -> Result<(), Problems> {
        if self.name == *served {
            return Ok(());
        }
        let title = format!("the repository is of site `{}`, but site `{served}` is served", self.name);
        let help =
            format!("write `name: {served}`, or let the service of `{}` watch this repository", self.name);
        let mut findings = Findings::default();
        findings.push(
            Diagnostic::error(title).at(site::PATH, self.name_at.clone()).label("another site").help(help),
        );
        Err(Problems::new(findings, tree))
    }
}

/// Reads a commit. Pure: the same tree and kinds give the same answer.
///
/// # Errors
/// Everything that is wrong with it, at once. A file that cannot be read hides no other.
pub fn read(tree: &Tree, kinds: &Kinds, validators: &Validators) -> Result<Manifest, Problems> {
    let mut findings = Findings::default();
    let mut budget = yaml::Budget::default();
    let site = site::read(tree, &validators.site, &mut budget, &mut findings);
    let environments = site::match_folders(&site, tree, &mut findings);
    let documents = load(tree, &environments, &mut budget, &mut findings);
    let mut read = link::Read {
        environments,
        declarations: Vec::new(),
        policies: Vec::new(),
        sitewide: site.sitewide,
        unclear: documents.unclear,
    };
    let mut reader = Reader { kinds, validators, texts: text::Texts::new(tree) };
    for file in &documents.files {
        for document in &file.documents {
            let spot = Spot { path: file.path, text: file.text, document };
            match one(&mut reader, spot, &file.environment, &mut findings) {
                One::Nothing => {}
                One::Unclear => drop(read.unclear.insert(file.environment.clone())),
                One::Resource(declaration) => read.declarations.push(*declaration),
                One::Environment(written) => read.policies.extend(written.map(|written| *written)),
            }
        }
    }
    let linked = link::link(read, kinds, &mut findings);
    match site.name {
        Some(name) if findings.errors() == 0 => {
            let warnings = findings.into_sorted();
            Ok(Manifest { name, name_at: site.name_at, site: linked, warnings })
        }
        _ => Err(Problems::new(findings, tree)),
    }
}

/// A file of manifests.
struct File<'t> {
    path: &'t str,
    text: &'t str,
    environment: EnvironmentName,
    documents: Vec<yaml::Document>,
}

struct Documents<'t> {
    files: Vec<File<'t>>,
    unclear: BTreeSet<EnvironmentName>,
}

/// Reads the YAML of the environments, and says what stands where nothing would read it.
fn load<'t>(
    tree: &'t Tree,
    environments: &[EnvironmentName],
    budget: &mut yaml::Budget,
    findings: &mut Findings,
) -> Documents<'t> {
    let of = |path: &str| {
        let folder = path.strip_prefix("environments/")?.split_once('/')?.0;
        environments.iter().find(|environment| environment.as_str() == folder).cloned()
    };
    let mut documents = Documents { files: Vec::new(), unclear: BTreeSet::new() };
    for (path, why) in &tree.refused {
        let name = path.rsplit('/').next().unwrap_or(path);
        // What has no ending may be a folder, by a link or as a submodule.
        let matters = path.starts_with("environments") && (is_yaml(path) || !name.contains('.'));
        if matters {
            let title = format!("{} cannot be read: {why}", words::tick(path));
            let help = "put a plain file of less than 1 MiB in its place";
            findings.push(Diagnostic::error(title).in_file(path).help(help));
            documents.unclear.extend(of(path));
        }
    }
    for (path, bytes) in tree.files.iter().filter(|(path, _)| is_yaml(path)) {
        if let Some(environment) = of(path) {
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            let read = yaml::load(path, bytes, budget, findings);
            documents.files.push(File { path, text, environment, documents: read });
        } else if let Some(rest) = path.strip_prefix("environments/") {
            if !rest.contains('/') {
                let title = format!("{} stands in no environment's folder", words::tick(path));
                let help = "move it to `environments/<name>/`";
                findings.push(Diagnostic::error(title).in_file(path).help(help));
            }
        } else if is_stray(path, bytes) {
            let title = format!("{} is not read: it stands outside `environments/`", words::tick(path));
            let help = "move it to `environments/<name>/`";
            findings.push(Diagnostic::warning(title).in_file(path).help(help));
        }
    }
    documents
}

fn is_yaml(path: &str) -> bool {
    let ending = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending);
    matches!(ending, Some("yaml" | "yml"))
}

/// Whether a file looks like a manifest of ours that was put in the wrong place.
fn is_stray(path: &str, bytes: &[u8]) -> bool {
    let begins = |line: &[u8]| line.starts_with(b"apiVersion: holdfast/");
    path != site::PATH && bytes.split(|byte| *byte == b'\n').take(1_000).any(begins)
}

/// What a document is.
enum One<'t> {
    Nothing,
    /// Nobody can tell.
    Unclear,
    Resource(Box<Declaration<'t>>),
    /// `None` where it cannot be read.
    Environment(Option<Box<policy::Written<'t>>>),
}

fn one<'t>(
    reader: &mut Reader<'_>,
    spot: Spot<'t>,
    home: &EnvironmentName,
    findings: &mut Findings,
) -> One<'t> {
    let resource = |declaration: Option<Declaration<'t>>| match declaration {
        Some(declaration) => One::Resource(Box::new(declaration)),
        None => One::Unclear,
    };
    if spot.document.broken {
        return resource(reader.identity(spot, home));
    }
    if spot.value().is_null() {
        return One::Nothing;
    }
    match document::header(spot, findings) {
        None => resource(reader.identity(spot, home)),
        Some(header) if header.kind == policy::KIND && header.api_version == crate::kind::HOLDFAST_V1 => {
            let written = policy::read(spot, home, &reader.validators.environment, findings);
            One::Environment(written.map(Box::new))
        }
        Some(header) => {
            let declaration = reader.resource(spot, home, &header, findings);
            resource(declaration.or_else(|| reader.identity(spot, home)))
        }
    }
}
